"""Operators as processes on a lone API server that has the chart, and the releases that they act on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests
import yaml

from pluginrelease import api
from pluginrelease.cli import crd
from pluginrelease.core.apiserver import lease
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import operator
from tests import wasm_modules
from tests.edges import lone_apiserver
from tests.edges.lone_apiserver import Lone
from tests.edges.real_envoy import free_port
from tests.edges.real_registry import Real

ONE_INSTALL, ANOTHER_INSTALL = "pluginrelease-system", "pluginrelease-second"
NAMESPACE = "apps"
SECONDS = 90.0
LOST = 75
"""The exit code of an operator that lost the Lease."""

# enough of Istio's kind to be written
PLUGINS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: wasmplugins.extensions.istio.io}
spec:
  group: extensions.istio.io
  names: {kind: WasmPlugin, listKind: WasmPluginList, plural: wasmplugins, singular: wasmplugin}
  scope: Namespaced
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


@contextmanager
def running(folder: Path) -> Iterator[Lone]:
    """An API server with the chart in two namespaces, but for its Deployments."""
    with lone_apiserver.running(folder, "::1") as lone:
        lone.apply("\n---\n".join([crd.text(), PLUGINS]))
        for namespace in (NAMESPACE, ONE_INSTALL, ANOTHER_INSTALL):
            lone.kubectl("create", "namespace", namespace)
        for namespace in (ONE_INSTALL, ANOTHER_INSTALL):
            rendered = operator.render(namespace, ["crds.install=false", f'fullnameOverride="{namespace}"'])
            objects = [found for found in rendered if found["kind"] != "Deployment"]
            lone.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))
        yield lone


@dataclass
class Contender:
    """One of two operators, by the identity that the Lease and the audit log know it by."""

    lone: Lone
    identity: str
    folder: Path
    install: str = ONE_INSTALL
    port: int = field(default_factory=lambda: free_port("127.0.0.1"))
    process: subprocess.Popen[bytes] | None = None
    more: dict[str, object] = field(default_factory=dict)

    def start(self) -> None:
        """As the ServiceAccount of its install."""
        token = self.lone.kubectl("create", "token", self.install, "-n", self.install).strip()
        flags = {
            "kubeconfig": self.lone.kubeconfig(token),
            "identity": self.identity,
            "liveness-port": self.port,
            "cache-dir": self.folder / f"{self.identity}-cache",
            **self.more,
        }
        argv = [
            sys.executable,
            "-m",
            "pluginrelease.cli",
            "run",
            *(f"--{flag}={value}" for flag, value in flags.items()),
        ]
        with self.log.open("ab") as lines:
            self.process = subprocess.Popen(argv, stdout=lines, stderr=lines)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.identity}.log"

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self, seconds: float = 40.0) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def says(self) -> tuple[int, str]:
        """What a kubelet's readiness probe is answered; 0 while nobody listens."""
        try:
            answer = requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        except OSError:
            return 0, ""
        return answer.status_code, answer.text.strip()

    def until(self, done: Callable[[int, str], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not done(*(said := self.says())):
            assert time.monotonic() < deadline, f"{self.identity} still says {said}:\n{self.log.read_text()[-2000:]}"
            time.sleep(0.1)

    def holds(self) -> None:
        """Return once it acts."""
        self.until(lambda status, said: (status, said) == (200, "ok"))

    def stands_by(self) -> None:
        """Return once it waits for the Lease, which is Ready too."""
        self.until(lambda status, said: status == 200 and said.startswith(lease.WAITS))


def end(contender: Contender) -> None:
    """End it in order, if it runs."""
    if contender.process is not None and contender.process.poll() is None:
        contender.send(signal.SIGCONT)
        contender.send(signal.SIGTERM)
        contender.ended()


def push_image(plain: Real, folder: Path) -> None:
    """Push the module of every release."""
    module = folder / "plugin.wasm"
    module.write_bytes(wasm_modules.answering("leased"))
    registry.push(plain.reference("plugin:1.0"), module, Access(insecure=True))


def read_now() -> datetime:
    """The API server runs on this machine."""
    return datetime.now().astimezone() - timedelta(milliseconds=1)


def release(plain: Real, name: str) -> dict[str, Any]:
    """A release whose gateways are in its own namespace, where none are."""
    gateway = {"name": "public", "namespace": NAMESPACE, "selector": {"matchLabels": {"gateway": name}}}
    spec = {
        "provider": "Istio",
        "artifact": {"image": {"ref": f"{plain.host}/plugin:1.0", "insecure": True}},
        "gateways": [gateway],
        "plugin": {"phase": "AUTHN"},
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "spec": spec}


def apply(lone: Lone, plain: Real, *names: str) -> None:
    """Apply releases."""
    lone.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(release(plain, name)) for name in names))


def await_written(lone: Lone, name: str) -> None:
    """Return when the object of a release is written, and its status says so."""
    waiting = "--for=jsonpath={.status.conditions[?(@.type=='Applied')].status}=True"
    lone.kubectl("wait", waiting, f"{api.PLURAL}/{name}", "-n", NAMESPACE, "--timeout=80s")
