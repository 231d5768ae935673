"""What the tests of whole passes talk to: the lab, its registry and the operator, by kubectl as a user would."""

from __future__ import annotations

import copy
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pluginrelease import api
from pluginrelease_lab import Lab, operator
from pluginrelease_lab.host import GatewayPod
from tests.harness import registries

JSON = dict[str, Any]

GATEWAY_NAMESPACE = "istio-ingress"
GATEWAY_LABELS = {"istio": "ingressgateway"}
LAB_GATEWAY: dict[str, Any] = {
    "provider": "Istio",
    "namespace": GATEWAY_NAMESPACE,
    "selector": {"matchLabels": GATEWAY_LABELS},
}
SETTLE_SECONDS = 120.0

_numbers = itertools.count(1)


def unique(name: str) -> str:
    """A name that no other test uses."""
    return f"{name}-{next(_numbers)}"


@dataclass
class Operator:
    """The operator's process on the lab, as the chart's ServiceAccount."""

    lab: Lab
    log: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[Any] | None = None
    restarts: int = 0

    def start(self, *more: str) -> None:
        """Starts it; returns at once. One that loses its Lease is started again, as by the kubelet."""
        assert self.process is None
        self.process = self._run(more)
        threading.Thread(target=self._keep_up, args=(self.process, more), daemon=True).start()

    def _run(self, more: tuple[str, ...]) -> subprocess.Popen[Any]:
        return operator.run(self.lab, "--liveness-port", "0", *self.arguments, *more, log=self.log)

    def _keep_up(self, process: subprocess.Popen[Any], more: tuple[str, ...]) -> None:
        """Lives as long as the process, which ends with the thread that started it."""
        while process.wait() == operator.LEASE_LOST and self.process is process:
            self.restarts += 1
            print(f"the operator lost its Lease, and is started again: see {self.log}", file=sys.stderr)
            self.process = process = self._run(more)

    def kill(self) -> None:
        """SIGKILL, as by the kernel."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as by the kubelet."""
        self.end(signal.SIGTERM)

    def end(self, by: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(by)
            self.process.wait(30)
            self.process = None


@dataclass
class LabCluster:
    """One lab with an operator, and verbs that wait for what they cause."""

    lab: Lab
    operator: Operator
    created: list[tuple[str, str, str]] = field(default_factory=list)

    # ------------------------------------------------------------------------------------------ images

    def push(self, module: Path | bytes, scratch: Path, name: str = "plugin") -> str:
        """Pushes a module to the lab's registry; returns the reference as gateways know it."""
        path = module if isinstance(module, Path) else scratch / f"{unique(name)}.wasm"
        if isinstance(module, bytes):
            path.write_bytes(module)
        return registries.push(self.lab, path, f"tests/{unique(name)}:1.0")

    # ---------------------------------------------------------------------------------------- releases

    def manifest(
        self, name: str, ref: str, *, namespace: str = GATEWAY_NAMESPACE, gateway: JSON | None = None, **spec: Any
    ) -> JSON:
        """A PluginRelease for the lab's gateways, or for one other ``gateway``; ``spec`` overrides fields of spec.

        In the gateways' own namespace the WasmPlugin is called like the release.
        """
        return {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "artifact": {"image": {"ref": ref, "insecure": True}},
                **placed(name, namespace, gateway or LAB_GATEWAY),
                "plugin": {"phase": "AUTHN"},
                **spec,
            },
        }

    def apply(self, manifest: JSON) -> JSON:
        """kubectl apply; deleted again when the test ends."""
        metadata = manifest["metadata"]
        self.created.append((manifest["kind"], metadata.get("namespace", ""), metadata["name"]))
        applied: JSON = json.loads(self.lab.kubectl("apply", "-o", "json", "-f", "-", stdin=yaml.safe_dump(manifest)))
        return applied

    def get(self, kind: str, namespace: str, name: str) -> JSON | None:
        """The object, or None."""
        text = self.lab.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def release(self, name: str, namespace: str = GATEWAY_NAMESPACE) -> JSON:
        """The PluginRelease, which must be there."""
        found = self.get(api.PLURAL, namespace, name)
        assert found is not None, f"PluginRelease {namespace}/{name} is not there"
        return found

    def await_release(
        self,
        name: str,
        done: Callable[[JSON], bool],
        *,
        namespace: str = GATEWAY_NAMESPACE,
        seconds: float = SETTLE_SECONDS,
    ) -> JSON:
        """The release as soon as it is as wanted; fails with the whole status when it does not become so."""
        for release in self.watch(api.PLURAL, name, namespace, seconds):
            if done(release):
                return release
        status = yaml.safe_dump(self.release(name, namespace).get("status"), sort_keys=False)
        said = self.operator.log.read_text() if self.operator.log.exists() else ""  # in a pod it is the kubelet's
        log = "\n".join(said.splitlines()[-30:])
        raise AssertionError(f"{namespace}/{name} did not become as wanted in {seconds:.0f} s:\n{status}\n{log}")

    def await_ready(self, name: str, **where: Any) -> JSON:
        """Ready=True for the newest generation."""
        return self.await_release(name, is_ready, **where)

    def await_reason(self, name: str, reason: str, **where: Any) -> JSON:
        """Ready is not True for this reason, for the newest generation."""
        return self.await_release(
            name, lambda it: observed(it) and ready(it)["status"] != "True" and ready(it)["reason"] == reason, **where
        )

    def watch(self, kind: str, name: str, namespace: str, seconds: float) -> Iterator[JSON]:
        """The object at once and at each change."""
        return self.lab.watch(kind, "-n", namespace, f"--field-selector=metadata.name={name}", seconds=seconds)

    def retry(self, name: str, namespace: str = GATEWAY_NAMESPACE) -> None:
        """Asks for another try, which is looked at now and not when the next look is due."""
        wish = f"{api.RETRY_ANNOTATION}={time.monotonic()}"
        self.lab.kubectl("annotate", "--overwrite", api.PLURAL, name, "-n", namespace, wish)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """kubectl delete, and wait until it is gone; not for a namespace, whose name no other test uses."""
        where = ["-n", namespace] if namespace else []
        wait = f"--wait={'false' if kind == 'Namespace' else 'true'}"
        # a pod of a node that is gone has no kubelet that lets it go
        now = ["--grace-period=0", "--force"] if kind == "Pod" else []
        self.lab.kubectl("delete", kind, name, *where, wait, *now, "--ignore-not-found", "--timeout=60s", timeout=90)

    def clean_up(self) -> None:
        """Deletes what the test made, newest first."""
        if self.operator.process is None:
            self.operator.start()
        while self.created:
            self.delete(*self.created.pop())

    # ---------------------------------------------------------------------------------------- gateways

    def gateways(self, namespace: str = GATEWAY_NAMESPACE) -> list[GatewayPod]:
        """The gateway pods of a namespace."""
        return [pod for pod in self.lab.gateway_pods() if pod.namespace == namespace]

    def answers(self, path: str = "/", **headers: str) -> list[tuple[int, dict[str, str], str]]:
        """What each gateway pod answers to one request: status, headers, body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answers = [self.lab.request(pod.address, 8080, path, named) for pod in self.gateways()]
        return [(answer.status, answer.headers, answer.body.decode()) for answer in answers]

    def await_answers(self, wanted: Callable[[int, dict[str, str], str], bool], seconds: float = 50.0) -> None:
        """Every gateway pod answers as wanted; a listener that drains may take up to 45 s, and one may be down yet."""
        deadline = time.monotonic() + seconds
        while not ((answers := self.answers_if_any()) and all(wanted(*answer) for answer in answers)):
            assert time.monotonic() < deadline, f"the gateways answer {answers}"

    def answers_if_any(self) -> list[tuple[int, dict[str, str], str]]:
        """The same as `answers`; none while a gateway does not answer."""
        try:
            return self.answers()
        except OSError:
            return []


def placed(name: str, namespace: str, gateway: JSON) -> JSON:
    """The fields of spec for one entry of gateways: ``provider`` and the entry's own fields in one mapping."""
    fields = {key: value for key, value in copy.deepcopy(gateway).items() if key != "provider"}
    named = {"objectName": name} if namespace == fields["namespace"] else {}
    return {"provider": gateway["provider"], "gateways": [{"name": "public", **named, **fields}]}


def plugin(**fields: object) -> JSON:
    """spec.plugin."""
    return {"phase": "AUTHN", **fields}


def conditions(release: JSON) -> dict[str, JSON]:
    """By type."""
    return {condition["type"]: condition for condition in release.get("status", {}).get("conditions", [])}


def ready(release: JSON) -> JSON:
    """The condition Ready."""
    return conditions(release).get("Ready", {"status": "-", "reason": "-", "message": ""})


def observed(release: JSON) -> bool:
    """Whether the status is about the newest spec."""
    return bool(release.get("status", {}).get("observedGeneration") == release["metadata"]["generation"])


def is_ready(release: JSON) -> bool:
    """Ready=True, about the newest spec."""
    return observed(release) and ready(release)["status"] == "True"


def python(*arguments: str) -> list[str]:
    """A command line of this interpreter."""
    return [sys.executable, *arguments]
