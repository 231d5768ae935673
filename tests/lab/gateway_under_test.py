"""A gateway of the lab's own tests, away from the one that other tests use, and ways to look at it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pluginrelease_lab import Lab, binaries
from pluginrelease_lab.host import GatewayPod
from pluginrelease_lab.kubeapi import KubeApi
from tests.harness import gateways

NAMESPACE = "lab-tests"
MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: lab-tests}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: lab-tests}
spec:
  replicas: 1
  selector: {matchLabels: {app: edge}}
  template:
    metadata:
      labels: {app: edge, pluginrelease.io/lab: gateway}
      annotations: {proxy.istio.io/config: "proxyMetadata: {FROM_ANNOTATION: 'yes'}"}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: istio-proxy
          image: istio/proxyv2:1.31.0
          env:
            - {name: WASM_INSECURE_REGISTRIES, value: "*"}
            - {name: ISTIO_META_FROM_SPEC, value: seen}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: lab-tests}
spec:
  selector: {app: edge}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
"""
T = TypeVar("T")


def eventually(look: Callable[[], T | None], within: float = 60.0) -> T:
    """What ``look`` finds, asked again until it finds something; fails after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"not seen within {within} s"
        time.sleep(0.1)
    return found


@dataclass(frozen=True)
class Edge:
    """The Deployment ``edge`` of `MANIFESTS` on a lab."""

    lab: Lab

    def apply(self) -> None:
        self.lab.kubectl("apply", "-f", "-", stdin=MANIFESTS)

    def pods(self) -> list[GatewayPod]:
        return [pod for pod in self.lab.gateway_pods("app=edge") if pod.ready]

    def pod(self) -> GatewayPod:
        """The pod, once there is exactly one and it is ready."""
        return eventually(lambda: pods[0] if len(pods := self.pods()) == 1 else None)

    def restarts(self) -> int:
        path = "jsonpath={.items[0].status.containerStatuses[0].restartCount}"
        return int(self.kubectl("get", "pods", "-l", "app=edge", "-o", path) or 0)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.lab.kubectl("-n", NAMESPACE, *arguments, stdin=stdin)

    async def forward(self, port: int, request: bytes) -> tuple[bytes, str]:
        """(what the pod's port answered, what the port-forward complained of); ends with the first piece of either."""
        async with (
            asyncio.timeout(20),
            KubeApi.of(self.lab.kubeconfig) as api,
            api.port_forward(NAMESPACE, self.pod().name, port) as stream,
        ):
            try:
                return await anext(gateways.exchange(stream, request)), ""
            except ConnectionError as error:
                return b"", str(error)

    def follow_logs(self, pod: GatewayPod) -> subprocess.Popen[str]:
        """`kubectl logs -f` from the last line on."""
        kubectl = [binaries.provide("kubectl"), "--kubeconfig", self.lab.kubeconfig, "-n", NAMESPACE]
        return subprocess.Popen([*kubectl, "logs", "-f", "--tail=1", pod.name], stdout=subprocess.PIPE, text=True)
