"""Gateways of a test's own, and what gateways say when they are asked directly, past all code of the operator.

Tests that judge the operator take the truth from here. The way leads through the API server's port-forward, as the
admin port listens on the pod's loopback alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Collection, Iterable
from pathlib import Path
from typing import Any, cast

import aiohttp
import yaml

from pluginrelease_lab import Lab, network
from pluginrelease_lab.controlplane import MANIFESTS
from pluginrelease_lab.gateway import OUT_OF_MEMORY
from pluginrelease_lab.host import GatewayPod
from pluginrelease_lab.kubeapi import KubeApi
from tests.harness import registries
from tests.harness.cluster import LabCluster

ADMIN_PORT = 15000
SECONDS = 20.0
LOWEST_PRIORITY = 19
LAST_CHUNK = b"\r\n0\r\n\r\n"
REQUEST = "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def exchange(stream: aiohttp.ClientWebSocketResponse, request: bytes) -> AsyncIterator[bytes]:
    """Sends a request; yields the answer piece by piece. Raises ConnectionError with the port-forward's complaint."""
    for _ in range(2):
        await stream.receive_bytes()  # the port's number on each of the two channels
    if request:
        await stream.send_bytes(b"\0" + request)
    async for message in stream:
        if message.data[0] != 0:
            raise ConnectionError(message.data[1:].decode())
        yield message.data[1:]


async def ask(stream: aiohttp.ClientWebSocketResponse, method: str, target: str) -> str:
    """The body of the admin interface's answer. Raises ConnectionError when there is none, or another than 200."""
    answer = bytearray()
    async for piece in exchange(stream, REQUEST.format(method=method, target=target).encode()):
        answer += piece
        if answer.endswith(LAST_CHUNK):
            break
    response = http.client.HTTPResponse(cast("socket.socket", _Received(bytes(answer))))
    try:
        response.begin()
        body = response.read().decode()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{method} {target} gave no answer: {error!r}") from error
    if response.status != 200:
        raise ConnectionError(f"{method} {target} answered {response.status}: {body}")
    return body


class _Received:
    """What `http.client` reads an answer from."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._answer)


async def ask_pod(api: KubeApi, pod: GatewayPod, method: str, target: str) -> str:
    """The same of a pod of the lab, within `SECONDS`."""
    async with asyncio.timeout(SECONDS), api.port_forward(pod.namespace, pod.name, ADMIN_PORT) as stream:
        return await ask(stream, method, target)


def ask_admin(lab: Lab, pod: GatewayPod, target: str, method: str = "GET") -> str:
    """The same, where no event loop runs."""

    async def asked() -> str:
        async with KubeApi.of(lab.kubeconfig) as api:
            return await ask_pod(api, pod, method, target)

    return asyncio.run(asked())


def level_of(answer: str, logger: str = "filter") -> str:
    """A logger's level in the answer of ``POST /logging``, which lists every logger on a line of its own."""
    [level] = re.findall(rf"^\s*{re.escape(logger)}: (\w+)\s*$", answer, re.MULTILINE)
    return str(level)


def filter_level(lab: Lab, pod: GatewayPod, level: str | None = None) -> str:
    """The level of the gateway's filter logger, after setting it to ``level`` when one is given."""
    return level_of(ask_admin(lab, pod, f"/logging?filter={level}" if level else "/logging", "POST"))


def admin_is_silent(lab: Lab, pod: GatewayPod, seconds: float = 3.0) -> bool:
    """Whether the gateway's admin port takes a connection and does not answer within ``seconds``."""

    async def asked() -> bool:
        async with KubeApi.of(lab.kubeconfig) as api, api.port_forward(pod.namespace, pod.name, ADMIN_PORT) as stream:
            return await is_silent(stream, seconds)

    return asyncio.run(asked())


async def is_silent(stream: aiohttp.ClientWebSocketResponse, seconds: float) -> bool:
    """Whether nothing comes for so long; a port that takes no connection is not silent, it complains."""
    try:
        async with asyncio.timeout(seconds):
            await ask(stream, "GET", "/server_info")
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    return False


def break_envoy(*pods: GatewayPod) -> None:
    """End the Envoys of these pods as a fault of their own would, by SIGSEGV."""
    for pod in pods:
        assert end_envoy(pod, signal.SIGSEGV), f"{pod.name} has no Envoy"


def end_envoy(pod: GatewayPod, by: signal.Signals) -> bool:
    """Send a signal to the pod's Envoy; its agent ends for that. Return whether there was one."""
    return send(by, find_processes(pod, {"envoy"})) > 0


def run_out_of_memory(lab: Lab, pod: GatewayPod) -> bool:
    """End the pod's container as the kernel does where it takes too much memory: all of it, by SIGKILL, and the status
    says OOMKilled. Return whether it ran."""
    found = find_processes(pod, {"envoy", "pilot-agent"})
    if not found:
        return False
    uid = lab.kubectl("get", "pod", pod.name, "-n", pod.namespace, "-o", "jsonpath={.metadata.uid}")
    (lab.state / "run" / "pods" / uid / OUT_OF_MEMORY).touch()
    return send(signal.SIGKILL, found) > 0


def find_processes(pod: GatewayPod, names: Collection[str]) -> list[int]:
    """The process ids of a pod's programs of these names."""
    wanted = {f"POD_NAME={pod.name}".encode(), f"POD_NAMESPACE={pod.namespace}".encode()}
    return [int(process.name) for process in Path("/proc").iterdir() if is_of_pod(process, names, wanted)]


def is_of_pod(process: Path, names: Collection[str], wanted: set[bytes]) -> bool:
    """Whether a folder of /proc is of such a program with these variables in its environment."""
    with contextlib.suppress(OSError):
        is_named = (process / "comm").read_text().strip() in names
        return is_named and wanted <= {*(process / "environ").read_bytes().split(b"\0")}
    return False


def calm_busiest_thread(pod: GatewayPod) -> None:
    """Let a thread of the pod's Envoy that never returns give way to all others, as a CPU limit does in a cluster."""
    for process in find_processes(pod, {"envoy"}):
        busiest = max(Path(f"/proc/{process}/task").iterdir(), key=read_cpu_time)
        os.setpriority(os.PRIO_PROCESS, int(busiest.name), LOWEST_PRIORITY)


def read_cpu_time(thread: Path) -> int:
    """Return a thread's time in user mode, in clock ticks (proc_pid_stat(5), field 14), from its folder in /proc."""
    return int((thread / "stat").read_text().rpartition(")")[2].split()[11])


def send(number: signal.Signals, processes: Iterable[int]) -> int:
    """Send a signal; return how many processes were still there to get it."""
    sent = 0
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
            sent += 1
    return sent


# --- gateways of a test's own ---


def deploy(cluster: LabCluster, namespace: str, replicas: int) -> None:
    """Gateways like the lab's own in a namespace of their own, with ``istio: <namespace>`` as their label.

    They may also pull from `registries.Registry`. Returns when all of them are ready.
    """
    for manifest in manifests(namespace, replicas):
        cluster.apply(manifest)
    cluster.lab.kubectl("rollout", "status", f"deployment/{namespace}", "-n", namespace, "--timeout=120s", timeout=150)


def manifests(namespace: str, replicas: int, port: int = registries.PORT) -> list[dict[str, Any]]:
    """A namespace with gateways like the lab's own, that may also pull from a registry at ``port``."""
    text = (MANIFESTS / "gateways.yaml").read_text()
    text = text.replace("istio-ingressgateway", namespace).replace("istio-ingress", namespace)
    text = text.replace("istio: ingressgateway", f"istio: {namespace}").replace(
        ":5001", f":5001,{network.ADDRESS}:{port}"
    )
    made = [manifest for manifest in yaml.safe_load_all(text) if manifest["kind"] not in ("Service", "ServiceEntry")]
    for manifest in made:
        if manifest["kind"] == "Deployment":
            manifest["spec"]["replicas"] = replicas
    return made
