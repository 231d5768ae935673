"""Steps of every demo: a lab, an operator on it, and small steps that show what a user would look at."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pluginrelease import api, shipped
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.toolchain import builder
from pluginrelease_lab import host, operator
from pluginrelease_lab.host import GatewayPod, HTTPAnswer

JSON = dict[str, Any]
READY_SECONDS = 180.0
_PORT = 8080


@dataclass
class DemoSteps:
    """``report`` prints a line; ``failures`` are the expectations that did not hold."""

    lab: host.Lab
    report: Callable[[str], None]
    failures: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """Return the namespace of the gateways, which is also that of a demo's releases."""
        return self.lab.gateway_namespace

    # -------------------------------------------------------------------------------------------- the operator

    def start_operator(self, *, stays: bool) -> None:
        """Start the operator with the chart's ServiceAccount and permissions."""
        self.title("The operator, with the permissions of the Helm chart")
        operator.install(self.lab)
        start = operator.leave_running if stays else operator.run
        start(self.lab, "--liveness-port", "0", log=self.lab.log("operator"))
        self.report(f"  its log: {self.lab.log('operator')}")

    def check_permissions(self) -> None:
        """Expect that the chart's permissions were sufficient."""
        forbidden = operator.forbidden(self.lab)
        self.expect(not forbidden, f"the API server refused the operator nothing {forbidden[:1] or ''}")

    # ---------------------------------------------------------------------------------------------- the plugin

    def build(self, example: str) -> bytes:
        """Return the module of a plugin in examples/."""
        with tempfile.TemporaryDirectory() as scratch:
            module = Path(scratch) / "plugin.wasm"
            built = builder.compile_go(shipped.folder("examples") / example, module, deadline=600)
            self.report(f"  built with Go {built.go}: {built.size} bytes, sha256 {built.sha256}")
            return module.read_bytes()

    def push(self, module: bytes, image: str) -> Digest:
        """Push to the registry's address on the host; gateways use another address."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "plugin.wasm"
            file.write_bytes(module)
            digest = registry.push(
                image_manifests.parse(f"{self.lab.registry_host}/{image}"), file, Access(insecure=True)
            )
        self.report(f"  pushed as {self.lab.registry}/{image}, {digest}")
        return digest

    # --------------------------------------------------------------------------------------------- the release

    def apply(
        self, example: str, name: str, image: str, *, manifest_file: str = "pluginrelease.yaml", **plugin: Any
    ) -> None:
        """Apply the example's manifest, with the lab's registry, and with these fields of ``spec.plugin``."""
        manifest = yaml.safe_load((shipped.folder("examples") / example / manifest_file).read_text())
        manifest["metadata"] = {"name": name, "namespace": self.namespace}
        manifest["spec"]["artifact"] = {"image": {"ref": self.reference(image), "insecure": True}}
        manifest["spec"]["plugin"] |= plugin
        self.report("  " + self.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest)).strip())

    def reference(self, image: str) -> str:
        """Return an image's reference for gateways."""
        return f"{self.lab.registry}/{image}"

    def change(self, name: str, **plugin: Any) -> None:
        """Change fields of ``spec.plugin``, as a user would."""
        self.patch(name, {"plugin": plugin})

    def patch(self, name: str, spec: JSON) -> None:
        """Change fields of ``spec``, and print the command."""
        patch = json.dumps({"spec": spec})
        self.report(f"  kubectl patch {api.SHORT_NAME} {name} --type merge -p '{patch}'")
        about = (api.SHORT_NAME, name, "-n", self.namespace)
        self.report("  " + self.lab.kubectl("patch", *about, "--type", "merge", "-p", patch).strip())

    def watch(self, name: str, done: Callable[[JSON], bool], seconds: float = READY_SECONDS) -> bool:
        """Print the status when it changes, until ``done`` returns True."""
        one = f"--field-selector=metadata.name={name}"
        started, shown = time.monotonic(), ""
        for release in self.lab.watch(api.SHORT_NAME, one, "-n", self.namespace, seconds=seconds):
            if (line := in_brief(release)) != shown:
                self.report(f"  {time.monotonic() - started:5.1f}s  {line}")
            shown = line
            if done(release):
                return True
        return False

    def expect_ready(self, name: str) -> None:
        """Expect Ready for the newest generation."""
        self.expect(self.watch(name, is_ready), f"{name} is Ready")

    def show(self, name: str) -> None:
        """Print the release as kubectl shows it."""
        for line in self.lab.kubectl("get", api.SHORT_NAME, name, "-n", self.namespace).splitlines():
            self.report(f"  {line}")

    def release(self, name: str) -> JSON:
        """Return the object."""
        return dict(json.loads(self.lab.kubectl("get", api.SHORT_NAME, name, "-n", self.namespace, "-o", "json")))

    # -------------------------------------------------------------------------------------------- the gateways

    def ask(self, headers: Mapping[str, str]) -> Iterator[tuple[GatewayPod, HTTPAnswer]]:
        """Send one request to every gateway pod; yield pods and answers."""
        for pod in self.lab.gateway_pods():
            yield pod, self.lab.request(pod.address, _PORT, "/", headers)

    # ---------------------------------------------------------------------------------------------- small steps

    def title(self, text: str) -> None:
        """Print a heading."""
        self.report(f"\n== {text}")

    def expect(self, holds: bool, what: str) -> None:
        """Note an expectation that does not hold. The demo continues, so that the user sees all of it."""
        if not holds:
            self.failures.append(what)
            self.report(f"  DID NOT HOLD: {what}")


def in_brief(release: JSON) -> str:
    """Return the phase, how many gateways have the plugin, whether the release is ready, and why not."""
    status = release.get("status", {})
    counted = status.get("summary", {})
    counts = counted.get("gateways", "-"), counted.get("pods", "-")
    ready = condition(release, "Ready")
    known = ready.get("status", "-"), ready.get("reason", "-")
    return "{:<5} {:<5} {:<11} {:<8} {}".format(*counts, status.get("phase", "-"), *known)


def is_ready(release: JSON) -> bool:
    """Return whether the release is ready for its newest generation."""
    ready = condition(release, "Ready")
    current = ready.get("observedGeneration") == release["metadata"]["generation"]
    return bool(current and ready["status"] == "True")


def condition(release: JSON, kind: str) -> JSON:
    """Return one condition of a release; empty if there is none."""
    every = release.get("status", {}).get("conditions", [])
    return next((each for each in every if each["type"] == kind), {})
