"""The main job on Istio's gateways: a guide's plugin is released and does its work, and a bad one is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pluginrelease.core.mesh import istio
from pluginrelease.core.wording import count_noun
from pluginrelease_lab.demo_steps import DemoSteps, condition

EXAMPLE = "header-authorization"
REFUSED_SECONDS = 60.0
GUIDE_BODY = "Forbidden by ASM Wasm Plugin"
TRY = "-H 'allow: true'"

# a module of 53 bytes that is sound in every way but one: its only ABI version is one that no Envoy knows
UNKNOWN_ABI = bytes.fromhex(
    "0061736d01000000"  # header
    "010401600000"  # one type: () -> ()
    "03020100"  # one function of it
    "071b0117" + b"proxy_abi_version_9_9_9".hex() + "0000"  # exported under the unknown version
    "0a040102000b"  # with an empty body
)


def play(steps: DemoSteps) -> None:
    """All steps after the operator's start, in order."""
    release_plugin(steps)
    ask_the_gateways(steps)
    refuse_unknown_abi(steps)


def release_plugin(steps: DemoSteps) -> None:
    """Source → image → PluginRelease → Ready."""
    steps.title(f"Build and push examples/{EXAMPLE}")
    image = f"plugins/{EXAMPLE}:1.0"
    steps.push(steps.build(EXAMPLE), image)
    steps.title("kubectl apply the PluginRelease, and watch it")
    steps.apply(EXAMPLE, EXAMPLE, image)
    steps.expect_ready(EXAMPLE)
    steps.show(EXAMPLE)


def ask_the_gateways(steps: DemoSteps) -> None:
    """The guide's two requests, on every gateway pod."""
    steps.title("The guide's requests, on every gateway")
    for headers, status, text in (({}, 403, GUIDE_BODY), ({"allow": "true"}, 200, "")):
        asked = " ".join(f"-H '{name}: {value}'" for name, value in headers.items()) or "no header"
        for pod, answer in steps.ask(headers):
            said = f" {answer.body.decode().strip()!r}" if answer.status != 200 else ""
            steps.report(f"  {pod.name}  {asked:18} → {answer.status}{said}")
            steps.expect(answer.status == status and text in answer.body.decode(), f"{pod.name} answers {status}")


def refuse_unknown_abi(steps: DemoSteps) -> None:
    """Refused before any gateway saw it: no WasmPlugin was ever asked for."""
    name = "unknown-abi"
    steps.title("A second release, whose module has an unknown ABI")
    steps.push(UNKNOWN_ABI, f"plugins/{name}:1.0")
    steps.apply(EXAMPLE, name, f"plugins/{name}:1.0")
    refused = steps.watch(name, lambda it: condition(it, "Ready").get("reason") == "UnknownABI", REFUSED_SECONDS)
    steps.expect(refused, f"{name} is refused with UnknownABI")
    steps.show(name)
    steps.report("  " + condition(steps.release(name), "Ready").get("message", ""))
    count = list(writes_of_wasm_plugins(steps)).count(name)
    steps.report(f"  audit log of the API server: {count_noun(count, 'request')} to write a WasmPlugin for it")
    steps.expect(count == 0, f"no WasmPlugin was written for {name}")


def writes_of_wasm_plugins(steps: DemoSteps) -> Iterator[str]:
    """Names of all WasmPlugins that anybody asked the API server to write."""
    with steps.lab.audit_log.open() as lines:
        for line in lines:
            event = json.loads(line)
            reference = event.get("objectRef", {})
            if reference.get("resource") == istio.TARGET.plural and event["verb"] in ("create", "update", "patch"):
                yield reference.get("name", "")
