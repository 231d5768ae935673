"""The main job on two Istio gateways with one release: a guide's plugin works, and bad ones do no harm.

The gateways are in two namespaces. One bad plugin is rolled back on both; the other is refused before a gateway
receives it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pluginrelease.api.reasons import Reason
from pluginrelease.core.mesh import istio
from pluginrelease.core.wording import count_noun
from pluginrelease_lab.controlplane import MANIFESTS
from pluginrelease_lab.demo_steps import JSON, DemoSteps, condition

EXAMPLE = "header-authorization"
MANIFEST = "two-gateways.yaml"
REFUSED_SECONDS = 60.0
ROLLED_BACK_SECONDS = 60.0
GUIDE_BODY = "Forbidden by ASM Wasm Plugin"
TRY = "-H 'allow: true'"

# a module of 53 bytes with a single error: it exports only one ABI version, which no Envoy knows
UNKNOWN_ABI = bytes.fromhex(
    "0061736d01000000"  # header
    "010401600000"  # one type: () -> ()
    "03020100"  # one function of it
    "071b0117" + b"proxy_abi_version_9_9_9".hex() + "0000"  # exported under the unknown version
    "0a040102000b"  # with an empty body
)

# a valid module that refuses its configuration: only a gateway can detect this
REFUSES_TO_CONFIGURE = bytes.fromhex(
    "0061736d01000000"  # header
    "010f0360000060017f017f60027f7f017f"  # three types: () -> (), (i32) -> i32, (i32 i32) -> i32
    "030403000102"  # a function of each
    "0503010001"  # a memory of one page
    "075404"  # four exports
    "17" + b"proxy_abi_version_0_2_0".hex() + "0000"
    "18" + b"proxy_on_memory_allocate".hex() + "0001"
    "12" + b"proxy_on_configure".hex() + "0002"
    "06" + b"memory".hex() + "0200"
    "0a0e0302000b040041000b040041000b"  # an empty body, and two that return 0: the configuration is refused
)


def play(steps: DemoSteps) -> None:
    """Run all steps after the operator's start, in order."""
    add_a_gateway(steps)
    release_plugin(steps)
    ask_the_gateways(steps)
    roll_back_a_bad_version(steps)
    ask_the_gateways(steps)
    refuse_unknown_abi(steps)


def add_a_gateway(steps: DemoSteps) -> None:
    """Apply a gateway in a namespace of its own, which allows releases of the first one's namespace."""
    steps.title("A second gateway, in a namespace of its own")
    applied = steps.lab.kubectl("apply", "-f", str(MANIFESTS / "internal-gateways.yaml"))
    for line in applied.splitlines():
        if line.startswith(("namespace/", "deployment")):
            steps.report(f"  {line}")


def release_plugin(steps: DemoSteps) -> None:
    """Build the source, push the image, apply the PluginRelease, and wait for Ready."""
    steps.title(f"Build and push examples/{EXAMPLE}")
    image = f"plugins/{EXAMPLE}:1.0"
    steps.push(steps.build(EXAMPLE), image)
    steps.title("kubectl apply the PluginRelease, and watch it")
    steps.apply(EXAMPLE, EXAMPLE, image, manifest_file=MANIFEST)
    steps.expect_ready(EXAMPLE)
    steps.show(EXAMPLE)
    expect_both(steps)


def expect_both(steps: DemoSteps) -> None:
    """Expect that every pod of both gateways runs the plugin."""
    summary = steps.release(EXAMPLE)["status"]["summary"]
    steps.expect(summary["gateways"] == "2/2", "the plugin runs on both gateways")


def roll_back_a_bad_version(steps: DemoSteps) -> None:
    """Expect a rollback on both gateways of what they refuse."""
    steps.title("Version 1.1, which refuses to be configured")
    image = f"plugins/{EXAMPLE}:1.1"
    steps.push(REFUSES_TO_CONFIGURE, image)
    steps.patch(EXAMPLE, {"artifact": {"image": {"ref": steps.reference(image)}}})
    steps.expect(steps.watch(EXAMPLE, is_rolled_back, ROLLED_BACK_SECONDS), f"{EXAMPLE} is rolled back")
    steps.show(EXAMPLE)
    steps.report("  " + condition(steps.release(EXAMPLE), "Ready").get("message", ""))
    expect_both(steps)


def is_rolled_back(release: JSON) -> bool:
    """Return whether the former revision runs again on every gateway, and the newest spec failed."""
    status = release.get("status", {})
    current = status.get("observedGeneration") == release["metadata"]["generation"]
    return bool(current and status.get("phase") == "RolledBack")


def ask_the_gateways(steps: DemoSteps) -> None:
    """Send the guide's two requests to every gateway pod."""
    steps.title("The guide's requests, on every gateway")
    for headers, status, text in (({}, 403, GUIDE_BODY), ({"allow": "true"}, 200, "")):
        asked = " ".join(f"-H '{name}: {value}'" for name, value in headers.items()) or "no header"
        for pod, answer in steps.ask(headers):
            said = f" {answer.body.decode().strip()!r}" if answer.status != 200 else ""
            steps.report(f"  {pod.namespace}/{pod.name}  {asked:18} → {answer.status}{said}")
            steps.expect(answer.status == status and text in answer.body.decode(), f"{pod.name} answers {status}")


def refuse_unknown_abi(steps: DemoSteps) -> None:
    """Expect a refusal before any gateway received it: no WasmPlugin was written."""
    name = "unknown-abi"
    steps.title("A second release, whose module has an unknown ABI")
    steps.push(UNKNOWN_ABI, f"plugins/{name}:1.0")
    steps.apply(EXAMPLE, name, f"plugins/{name}:1.0", manifest_file=MANIFEST)
    refused = steps.watch(name, lambda it: condition(it, "Ready").get("reason") == Reason.UNKNOWN_ABI, REFUSED_SECONDS)
    steps.expect(refused, f"{name} is refused with UnknownABI")
    steps.show(name)
    steps.report("  " + condition(steps.release(name), "Ready").get("message", ""))
    count = sum(name in written for written in writes_of_wasm_plugins(steps))
    steps.report(f"  audit log of the API server: {count_noun(count, 'request')} to write a WasmPlugin for it")
    steps.expect(count == 0, f"no WasmPlugin was written for {name}")


def writes_of_wasm_plugins(steps: DemoSteps) -> Iterator[str]:
    """Yield the names of all WasmPlugins that any client asked the API server to write."""
    with steps.lab.audit_log.open() as lines:
        for line in lines:
            event = json.loads(line)
            reference = event.get("objectRef", {})
            if reference.get("resource") == istio.TARGET.plural and event["verb"] in ("create", "update", "patch"):
                yield reference.get("name", "")
