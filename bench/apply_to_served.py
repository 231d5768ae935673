"""Compare from apply to served: a PluginRelease, and the same change as a bare WasmPlugin.

kubectl applies both, one after the other in the same lab. The bytes are new each time and of the same size, so that no
earlier pull, compilation or inspection helps. The clock runs from the start of kubectl until every gateway pod has
answered a request with the new version. Each turn is a first release and then a change of it. Then the object is
deleted, and the next turn begins when no gateway runs the plugin. The order of the two ways alternates. A first turn of
both does not count.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import Figure
from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import Lab

NAMESPACE = "istio-ingress"
LABELS = {"istio": "ingressgateway"}
SELECTOR = "istio=ingressgateway"
NAME = "bench"
HEADER = "x-plugin-version"
STAMP = b"version-stamp:"
STAMP_DIGITS = 16
SERVED_WITHIN = 120.0
LOOK_EVERY = 0.05
SETTLE = 2.0  # seconds of quiet before the clock starts, the same for both ways

Manifest = dict[str, Any]
Report = Callable[[str], None]


def plugin_release(image: str) -> Manifest:
    """Return our object. The lab's registry speaks plain http."""
    return {
        "apiVersion": "pluginrelease.io/v1alpha1",
        "kind": "PluginRelease",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "artifact": {"image": {"ref": image, "insecure": True}},
            "provider": "Istio",
            "gateways": [{"name": "public", "namespace": NAMESPACE, "selector": {"matchLabels": LABELS}}],
            "plugin": {"phase": "AUTHN", "failStrategy": "FAIL_CLOSE"},
        },
    }


def wasm_plugin(image: str) -> Manifest:
    """Return the WasmPlugin with a digest, as the operator would write it."""
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": f"{NAME}-bare", "namespace": NAMESPACE},
        "spec": {
            "url": f"oci://{image}",
            "phase": "AUTHN",
            "failStrategy": "FAIL_CLOSE",
            "selector": {"matchLabels": LABELS},
        },
    }


WAYS: Mapping[str, Callable[[str], Manifest]] = {"ours": plugin_release, "other": wasm_plugin}


@dataclass
class Bench:
    """The lab, its gateways' addresses, the module for new versions, and the measurements so far."""

    lab: Lab
    module: bytes
    workplace: Path
    report: Report
    gateways: Sequence[str] = field(init=False)
    versions: int = 0
    first: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    change: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    ready: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateways = [pod.address for pod in self.lab.gateway_pods(SELECTOR)]

    def run(self, turns: int) -> list[Figure]:
        """Measure both ways ``turns`` times, after one turn that does not count."""
        for turn in range(turns + 1):
            for way in sorted(WAYS, reverse=turn % 2 == 1):
                self._turn(way, counted=turn > 0)
        return [
            Figure("apply-to-served", tuple(self.change["ours"]), tuple(self.change["other"])),
            Figure("first-apply-to-served", tuple(self.first["ours"]), tuple(self.first["other"])),
        ]

    @property
    def median_ready(self) -> float:
        """Return the median of the seconds from apply until the operator reported Ready."""
        return statistics.median(self.ready)

    def _turn(self, way: str, *, counted: bool) -> None:
        times = [self.served(way), self.served(way)]
        self.take_away(way)
        words = f"{way:5}  first {times[0]:5.2f} s  change {times[1]:5.2f} s"
        self.report(words if counted else f"{words}  (not counted)")
        if counted:
            self.first[way].append(times[0])
            self.change[way].append(times[1])

    def served(self, way: str) -> float:
        """Return the seconds from apply until every gateway answers with a new version."""
        version, image, digest = self.new_version()
        manifest = WAYS[way](image if way == "ours" else digest)
        time.sleep(SETTLE)
        began = time.monotonic()
        self.apply(manifest)
        self.await_answers(version)
        served = time.monotonic() - began
        if way == "ours":
            self.await_ready()
            self.ready.append(time.monotonic() - began)
        return served

    def apply(self, manifest: Manifest) -> None:
        """Apply a manifest with kubectl, as a user does."""
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def new_version(self) -> tuple[str, str, str]:
        """Push a new module; return (what it answers, its image by tag, its image by digest)."""
        self.versions += 1
        version = f"{self.versions:0{STAMP_DIGITS}x}"
        file = self.workplace / "plugin.wasm"
        file.write_bytes(stamped(self.module, version))
        place = image_manifests.parse(f"{self.lab.registry_host}/bench/versioned:{version}")
        digest = registry.push(place, file, Access(insecure=True))
        repository = f"{self.lab.registry}/bench/versioned"
        return version, f"{repository}:{version}", f"{repository}@{digest}"

    def await_answers(self, version: str | None) -> None:
        """Wait until every gateway answers 200 with this version in the header (None: without the header)."""
        until = time.monotonic() + SERVED_WITHIN
        waiting = list(self.gateways)
        while waiting:
            waiting = [address for address in waiting if self._version(address) != (200, version)]
            if time.monotonic() > until:
                seen = {address: self._version(address) for address in waiting}
                raise TimeoutError(f"version {version} was not served within {SERVED_WITHIN:.0f} s, but {seen}")
            if waiting:
                time.sleep(LOOK_EVERY)

    def _version(self, address: str) -> tuple[int, str | None]:
        try:
            answer = self.lab.request(address, 8080, "/")
        except OSError:
            return 0, None
        return answer.status, answer.headers.get(HEADER)

    def await_ready(self) -> None:
        """Wait until our release is Ready, so that its observations do not disturb the next measurement."""
        self.lab.kubectl(
            "wait", "pluginrelease", NAME, "-n", NAMESPACE, "--for=condition=Ready", "--timeout=120s", timeout=130
        )

    def take_away(self, way: str) -> None:
        """Delete the object of this way; return when no gateway runs the plugin."""
        manifest = json.dumps(WAYS[way]("none.example/none:none"))
        self.lab.kubectl("delete", "--wait=true", "-f", "-", stdin=manifest, timeout=120)
        self.await_answers(None)


def stamped(module: bytes, version: str) -> bytes:
    """Return the module with another version in its data: other bytes, the same size."""
    at = module.index(STAMP) + len(STAMP)
    return module[:at] + version.encode().rjust(STAMP_DIGITS, b"0") + module[at + STAMP_DIGITS :]
