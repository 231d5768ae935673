"""The main job from end to end on real parts: what ``make demo`` runs.

Every step says what it does, shows what a person would look at, and fails the demo when it does not hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pluginrelease import shipped
from pluginrelease.core import api, artifact, istio
from pluginrelease.core.artifact import Digest
from pluginrelease.edges import builder, registry
from pluginrelease.edges.registry import Access
from pluginrelease.lab import binaries, host, operator
from pluginrelease.lab.errors import LabError

NAMESPACE = "istio-ingress"
EXAMPLE = "header-authorization"
READY_SECONDS = 180.0
REFUSED_SECONDS = 60.0
GUIDE_BODY = "Forbidden by ASM Wasm Plugin"

# a module of 53 bytes that is sound in every way but one: its only ABI version is one that no Envoy knows
UNKNOWN_ABI = bytes.fromhex(
    "0061736d01000000"  # header
    "010401600000"  # one type: () -> ()
    "03020100"  # one function of it
    "071b0117" + b"proxy_abi_version_9_9_9".hex() + "0000"  # exported under the unknown version
    "0a040102000b"  # with an empty body
)


@dataclass
class Demo:
    """One run; ``report`` prints a line, ``failures`` are what did not hold."""

    lab: host.Lab
    report: Callable[[str], None]
    failures: list[str] = field(default_factory=list)

    def run(self, *, stays: bool) -> None:
        """All steps, in order."""
        self.start_operator(stays=stays)
        self.release_plugin()
        self.ask_the_gateways()
        self.refuse_unknown_abi()
        self.check_permissions()

    # ---------------------------------------------------------------------------------------- the operator

    def start_operator(self, *, stays: bool) -> None:
        """As the chart's ServiceAccount, with the chart's permissions."""
        self.title("The operator, with the permissions of the Helm chart")
        operator.install(self.lab)
        start = operator.leave_running if stays else operator.run
        start(self.lab, "--liveness-port", "0", log=self.lab.log("operator"))
        self.report(f"  its log: {self.lab.log('operator')}")

    # ------------------------------------------------------------------------------------------ a good plugin

    def release_plugin(self) -> None:
        """Source → image → PluginRelease → Ready."""
        self.title(f"Build and push examples/{EXAMPLE}")
        with tempfile.TemporaryDirectory() as scratch:
            module = Path(scratch) / "plugin.wasm"
            built = builder.compile_go(shipped.folder("examples") / EXAMPLE, module, deadline=600)
            self.report(f"  built with Go {built.go}: {built.size} bytes, sha256 {built.sha256}")
            digest = self.push(module, f"plugins/{EXAMPLE}:1.0")
        self.report(f"  pushed as {self.lab.registry}/plugins/{EXAMPLE}:1.0, {digest}")
        self.title("kubectl apply the PluginRelease, and watch it")
        self.apply(EXAMPLE, f"plugins/{EXAMPLE}:1.0")
        ready = self.watch(EXAMPLE, lambda ready: ready["status"] == "True", READY_SECONDS)
        self.expect(ready, f"{EXAMPLE} is Ready")
        self.show(EXAMPLE)

    def ask_the_gateways(self) -> None:
        """The guide's two requests, on every gateway pod."""
        self.title("The guide's requests, on every gateway")
        for pod in self.lab.gateway_pods():
            for headers, status, text in (({}, 403, GUIDE_BODY), ({"allow": "true"}, 200, "")):
                answer = self.lab.request(pod.address, 8080, "/", headers)
                said = f" {answer.body.decode().strip()!r}" if answer.status != 200 else ""
                asked = " ".join(f"-H '{name}: {value}'" for name, value in headers.items()) or "no header"
                self.report(f"  {pod.name}  {asked:18} → {answer.status}{said}")
                self.expect(answer.status == status and text in answer.body.decode(), f"{pod.name} answers {status}")

    # -------------------------------------------------------------------------------------------- a bad plugin

    def refuse_unknown_abi(self) -> None:
        """Refused before any gateway saw it: no WasmPlugin was ever asked for."""
        self.title("A second release, whose module has an unknown ABI")
        with tempfile.TemporaryDirectory() as scratch:
            module = Path(scratch) / "plugin.wasm"
            module.write_bytes(UNKNOWN_ABI)
            self.push(module, "plugins/unknown-abi:1.0")
        self.apply("unknown-abi", "plugins/unknown-abi:1.0")
        refused = self.watch("unknown-abi", lambda ready: ready["reason"] == "UnknownABI", REFUSED_SECONDS)
        self.expect(refused, "unknown-abi is refused with UnknownABI")
        self.show("unknown-abi")
        self.report("  " + self.condition("unknown-abi", "Ready").get("message", ""))
        written = [line for line in self.writes_of_wasm_plugins() if line == "unknown-abi"]
        count = len(written)
        self.report(f"  audit log of the API server: {count} requests to write a WasmPlugin for it")
        self.expect(count == 0, "no WasmPlugin was written for unknown-abi")

    def writes_of_wasm_plugins(self) -> Iterator[str]:
        """Names of all WasmPlugins that anybody asked the API server to write."""
        with self.lab.audit_log.open() as lines:
            for line in lines:
                event = json.loads(line)
                reference = event.get("objectRef", {})
                if reference.get("resource") == istio.TARGET.plural and event["verb"] in ("create", "update", "patch"):
                    yield reference.get("name", "")

    def check_permissions(self) -> None:
        """The chart's permissions were enough."""
        forbidden = operator.forbidden(self.lab)
        self.expect(not forbidden, f"the API server refused the operator nothing {forbidden[:1] or ''}")

    # -------------------------------------------------------------------------------------------- small steps

    def push(self, module: Path, repository: str) -> Digest:
        """By the registry's address on the host; gateways know it by another."""
        return registry.push(artifact.parse(f"{self.lab.registry_host}/{repository}"), module, Access(insecure=True))

    def apply(self, name: str, repository: str) -> None:
        """The example's manifest, with the lab's registry."""
        manifest = yaml.safe_load((shipped.folder("examples") / EXAMPLE / "pluginrelease.yaml").read_text())
        manifest["metadata"] = {"name": name, "namespace": NAMESPACE}
        manifest["spec"]["artifact"] = {"image": {"ref": f"{self.lab.registry}/{repository}", "insecure": True}}
        self.report("  " + self.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest)).strip())

    def watch(self, name: str, done: Callable[[dict[str, Any]], bool], seconds: float) -> bool:
        """Shows the status as it changes, until Ready is as wanted."""
        kubectl = [str(binaries.provide("kubectl")), "--kubeconfig", str(self.lab.kubeconfig)]
        # by a selector: of one object by its name, kubectl drops the first event of the watch
        one = f"--field-selector=metadata.name={name}"
        argv = [*kubectl, "get", api.SHORT_NAME, one, "-n", NAMESPACE, "--watch", "-o", "json"]
        started, shown = time.monotonic(), ""
        argv.append(f"--request-timeout={seconds:.0f}s")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                for release in documents(process):
                    status = release.get("status", {})
                    ready = conditions(status).get("Ready", {"status": "-", "reason": "-"})
                    line = "  {:<9} {:<5} {:<6} {}".format(
                        status.get("phase", "-"),
                        status.get("gateways", {}).get("summary", "-"),
                        ready["status"],
                        ready["reason"],
                    )
                    if line != shown:
                        self.report(f"  {time.monotonic() - started:5.1f}s{line}")
                    shown = line
                    if done(ready):
                        return True
                return False
            finally:
                process.kill()

    def show(self, name: str) -> None:
        """As kubectl shows it."""
        for line in self.lab.kubectl("get", api.SHORT_NAME, name, "-n", NAMESPACE).splitlines():
            self.report(f"  {line}")

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """One condition of a release."""
        release = json.loads(self.lab.kubectl("get", api.SHORT_NAME, name, "-n", NAMESPACE, "-o", "json"))
        return conditions(release.get("status", {})).get(kind, {})

    def title(self, text: str) -> None:
        """A heading."""
        self.report(f"\n== {text}")

    def expect(self, holds: bool, what: str) -> None:
        """Notes what did not hold; the demo goes on, so that one sees all of it."""
        if not holds:
            self.failures.append(what)
            self.report(f"  DID NOT HOLD: {what}")


def run(*, keep: bool, gateways: int = 2, name: str = "demo", report: Callable[[str], None] = print) -> list[str]:
    """The whole demo; returns what did not hold. With ``keep`` the lab and the operator stay when all is well."""
    started = time.monotonic()
    running = host.up(name, gateways=gateways, report=report, detached=keep)
    demo = Demo(running, report)
    try:
        demo.run(stays=keep)
    except BaseException:
        running.close()
        raise
    if not keep:
        running.close()
    outcome = "all of it happened" if not demo.failures else f"{len(demo.failures)} things did not hold"
    report(f"\n{outcome}, in {time.monotonic() - started:.0f} s")
    if keep:
        report(how_to_talk(running))
    return demo.failures


def how_to_talk(lab: host.Lab) -> str:
    """What a person can do with what was left running."""
    pod = lab.gateway_pods()[0]
    return f"""
It goes on running. Talk to it:
  export KUBECONFIG={lab.kubeconfig}
  kubectl get prel -A -o wide
  kubectl describe prel -n {NAMESPACE} {EXAMPLE}
  curl -x {lab.proxy} http://{pod.address}:8080/ -H 'allow: true'
  {Path(sys.argv[0]).name} push plugin.wasm {lab.registry_host}/plugins/mine:1.0 --insecure
      (in a PluginRelease: {lab.registry}/plugins/mine:1.0)
  tail -f {lab.log("operator")}
End it:
  pluginrelease lab down --name {lab.name}"""


def documents(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects that ``kubectl get --watch -o json`` prints one after the other."""
    if process.stdout is None:
        raise LabError("kubectl has no output")
    decoder, text = json.JSONDecoder(), ""
    for line in process.stdout:
        text += line
        if line.rstrip() == "}":
            document, _ = decoder.raw_decode(text)
            text = ""
            yield document


def conditions(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By type."""
    return {condition["type"]: condition for condition in status.get("conditions", [])}
