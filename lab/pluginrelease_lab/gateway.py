"""The life of one gateway pod: its network, its real pilot-agent with a real Envoy, and its status.

The lab acts as the kubelet here. It starts the container, probes it, and restarts it when it ends. On deletion it asks
the container to stop, waits, and only then deletes the object.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp

from pluginrelease_lab import containers, namespaces, network, relay
from pluginrelease_lab.blueprint import ISTIO_DATA, Blueprint
from pluginrelease_lab.containers import ContainerEnd, LabContainer, Pod
from pluginrelease_lab.controlplane import answers
from pluginrelease_lab.crilog import CriLog
from pluginrelease_lab.files import write_private
from pluginrelease_lab.kubeapi import ApiError, KubeApi, Object
from pluginrelease_lab.processes import Argv, clean_environment, last_lines

ADMIN_PORTS = {15000, 15020, 15021, 15090}
LISTENER_PORT = 8080
_TOKEN_SECONDS = 30 * 24 * 3600
_RETRY_AFTER = 0.2
_LONGEST_BACK_OFF = 10.0
_PROBE_UNTIL_READY = 0.1
_PROBE_WHEN_READY = 1.0
_FAILURES_UNTIL_UNREADY = 3
_CHUNK = 64 * 1024
OUT_OF_MEMORY = "out-of-memory"
"""A file in a pod's folder: the lab limits no memory, so who ends a container as the kernel would says so by it."""
_TROUBLE = (ApiError, aiohttp.ClientError, TimeoutError, OSError)

Tell = Callable[[str, str], None]
"""Called with a state (starting, ready, ended, gone) and a text."""


class GatewayProcess:
    """One gateway, from the first sight of its Pod until the Pod is gone. ``address`` is the pod's IP."""

    def __init__(self, lab: Blueprint, api: KubeApi, pod: Pod, number: int, tell: Tell) -> None:
        self.pod = pod
        self.address = network.pod_address(number)
        self.ready = False
        self._lab = lab
        self._api = api
        self._number = number
        self._tell = tell
        self._vanished = False
        self._leaving = asyncio.Event()
        self._life = asyncio.ensure_future(self._live())

    @property
    def _folder(self) -> Path:
        return self._lab.run / "pods" / self.pod.uid

    @property
    def _logs(self) -> Path:
        return self._lab.state / "logs" / "pods" / f"{self.pod.namespace}_{self.pod.name}_{self.pod.uid[:8]}"

    def see(self, pod: Pod) -> None:
        """Process a newer state of the Pod object."""
        self.pod = pod
        if pod.leaving:
            self._leaving.set()
        elif self._folder.exists():
            self._write_downward()

    async def vanish(self) -> None:
        """End at once, because the Pod object is gone."""
        self._vanished = True
        self._leaving.set()
        await self._life

    async def _live(self) -> None:
        if self.pod.leaving:
            self._leaving.set()
        while not self._leaving.is_set():
            try:
                await self._serve()
            except Exception as trouble:  # any error is reported, and tried again while the pod exists
                self._tell("ended", f"could not be run, and is tried again: {trouble!r}")
                await self._unless_leaving(1.0)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await self._let_the_object_go()
        self._tell("gone", "has ended")

    async def _serve(self) -> None:
        self._tell("starting", f"starting at {self.address}")
        own = await asyncio.to_thread(network.make_namespace, self._number)
        try:
            await self._prepare()
            await self._keep_running(own)
        finally:
            await asyncio.to_thread(own.close)

    async def _prepare(self) -> None:
        """Write the files that the kubelet mounts into the pod: downward API, token, CA, empty directories."""
        for place in (
            "data",
            "etc/istio/proxy",
            "var/run/secrets/workload-spiffe-uds",
            "var/run/secrets/credential-uds",
        ):
            (self._folder / place).mkdir(parents=True, exist_ok=True)
        self._write_downward()
        write_private(self._folder / "etc/istio/config/mesh", containers.mesh_file(str(self._lab.programs["envoy"])))
        write_private(self._folder / "var/run/secrets/istio/root-cert.pem", await self._root_certificate())
        write_private(self._folder / "var/run/secrets/tokens/istio-token", await self._token())

    def _write_downward(self) -> None:
        for field in ("labels", "annotations"):
            write_private(self._folder / "etc/istio/pod" / field, self.pod.downward(field))

    async def _root_certificate(self) -> str:
        path = f"/api/v1/namespaces/{self.pod.namespace}/configmaps/istio-ca-root-cert"
        found = await self._once_there(lambda: self._api.get(path))
        return str(found["data"]["root-cert.pem"])

    async def _token(self) -> str:
        account = f"/api/v1/namespaces/{self.pod.namespace}/serviceaccounts/{self.pod.service_account}"
        bound = {"kind": "Pod", "apiVersion": "v1", "name": self.pod.name, "uid": self.pod.uid}
        wanted = {"audiences": ["istio-ca"], "expirationSeconds": _TOKEN_SECONDS, "boundObjectRef": bound}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wanted}
        made = await self._once_there(lambda: self._api.send("POST", f"{account}/token", request))
        return str(made["status"]["token"])

    async def _once_there(self, call: Callable[[], Awaitable[Object]]) -> Object:
        """Return the answer of ``call``; repeat it while a controller still has to create the object."""
        while True:
            try:
                return await call()
            except ApiError as error:
                if error.status != 404 or self._leaving.is_set():
                    raise
            await self._unless_leaving(_RETRY_AFTER)

    async def _map_ports(self, own: network.Namespace) -> dict[int, relay.Relay]:
        """Register with kwok a way to each port of the pod's loopback. Each refuses until the pod's port listens."""
        ports = sorted(ADMIN_PORTS | {LISTENER_PORT} | self.pod.container_ports)
        ways = {port: relay.Relay(relay.reserve_on_loopback(), relay.into(own, port)) for port in ports}
        forwards = [
            {"ports": [port], "target": {"address": "127.0.0.1", "port": way.port}} for port, way in ways.items()
        ]
        await self._api.apply(self._mapping("PortForward", {"forwards": forwards}))
        return ways

    async def _show_log(self, restarts: int) -> None:
        entry = {"containers": [self.pod.proxy["name"]], "logsFile": str(self._log(restarts)), "follow": True}
        if restarts:
            entry["previousLogsFile"] = str(self._log(restarts - 1))
        await self._api.apply(self._mapping("Logs", {"logs": [entry]}))

    async def _show_last_log(self, restarts: int) -> None:
        """Show the log of the container's end under both names, as a kubelet does before the restart."""
        log = str(self._log(restarts))
        entry = {"containers": [self.pod.proxy["name"]], "logsFile": log, "previousLogsFile": log}
        await self._api.apply(self._mapping("Logs", {"logs": [entry]}))

    def _log(self, restarts: int) -> Path:
        return self._logs / f"{restarts}.log"

    def _mapping(self, kind: str, spec: Object) -> Object:
        """Create a kwok object about this pod. The garbage collector deletes it with the pod."""
        owner = {"apiVersion": "v1", "kind": "Pod", "name": self.pod.name, "uid": self.pod.uid}
        about = {"name": self.pod.name, "namespace": self.pod.namespace, "ownerReferences": [owner]}
        return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}

    async def _keep_running(self, own: network.Namespace) -> None:
        restarts, ended = 0, None
        while not self._leaving.is_set():
            container = LabContainer(uuid.uuid4().hex, containers.now(), restarts, False, ended)
            code = await self._run(own, container)
            if self._leaving.is_set():
                return
            ended = ContainerEnd(code, container.started, containers.now(), self._ran_out_of_memory())
            self._say_that_it_ended(code, self._log(restarts))
            await self._show_last_log(restarts)
            await self._report(replace(container, ended=ended, waiting="CrashLoopBackOff"))
            await self._unless_leaving(min(_LONGEST_BACK_OFF, float(restarts)))
            restarts += 1

    def _ran_out_of_memory(self) -> bool:
        """Whether that was said of the end; it is said of one end only."""
        try:
            (self._folder / OUT_OF_MEMORY).unlink()
        except FileNotFoundError:
            return False
        return True

    def _say_that_it_ended(self, code: int, log: Path) -> None:
        lines = "\n".join(f"    {line}" for line in last_lines(log))
        self._tell("ended", f"ended with {code} and is started again. The end of {log}:\n{lines}")

    async def _run(self, own: network.Namespace, container: LabContainer) -> int:
        """Run the container until it ends or the pod must stop; return its exit status."""
        began = time.monotonic()
        await self._show_log(container.restarts)
        ways = await self._map_ports(own)
        process = await self._start(own)
        log = self._log(container.restarts)
        beside = [
            asyncio.ensure_future(_record(process.stdout, CriLog(log, "stdout"))),
            asyncio.ensure_future(_record(process.stderr, CriLog(log, "stderr"))),
        ]
        probing = asyncio.ensure_future(self._probe(container, began))
        opening = asyncio.ensure_future(_open_as_they_listen(own, ways))
        try:
            return await self._until_ended(process)
        finally:
            probing.cancel()
            opening.cancel()
            for way in ways.values():
                way.close()
            _signal(process, signal.SIGKILL)
            await process.wait()
            await asyncio.wait(beside)
            self.ready = False

    async def _start(self, own: network.Namespace) -> asyncio.subprocess.Process:
        template = self._lab.istio_sources / "tools/packaging/common/envoy_bootstrap.json"
        agent: Argv = [
            self._lab.programs["pilot-agent"],
            "proxy",
            self.pod.role,
            f"--domain={self.pod.namespace}.svc.cluster.local",
            "--proxyLogLevel=warning",
            "--proxyComponentLogLevel=misc:error",
            "--log_output_level=default:info",
            f"--templateFile={template}",
        ]
        bound = (str(self._folder / "data"), ISTIO_DATA)
        return await asyncio.create_subprocess_exec(
            *namespaces.launcher(agent, namespaces=[own.descriptor], bound=bound),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**clean_environment(), **containers.environment(self.pod, self.address)},
            cwd=self._folder,
            pass_fds=(own.descriptor,),
            start_new_session=True,
        )

    async def _until_ended(self, process: asyncio.subprocess.Process) -> int:
        """Wait for the end. If the pod must stop, ask for it and wait for the pod's grace period."""
        ended, leaving = asyncio.ensure_future(process.wait()), asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait({ended, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and not self._vanished:
                process.terminate()
                await asyncio.wait({ended}, timeout=self.pod.grace)
            return process.returncode if process.returncode is not None else -signal.SIGKILL
        finally:
            ended.cancel()
            leaving.cancel()

    async def _probe(self, container: LabContainer, began: float) -> None:
        """Report the container as running, and then every change of its readiness."""
        probe, failures = answers(f"http://{self.address}:15021/healthz/ready"), 0
        await self._report(container)
        while True:
            failures = 0 if (up := await probe()) else failures + 1
            if up != self.ready and (up or failures >= _FAILURES_UNTIL_UNREADY):
                await self._report(replace(container, ready=up))
                self.ready = up
                self._tell(*_readiness(up, self.address, time.monotonic() - began))
            await asyncio.sleep(_PROBE_WHEN_READY if self.ready else _PROBE_UNTIL_READY)

    async def _report(self, container: LabContainer) -> None:
        """Write the pod's status. It is no error if the pod is gone."""
        with contextlib.suppress(*_TROUBLE):
            status = containers.status(self.pod, self.address, container)
            self.pod.manifest["status"] = (await self._api.patch_status(self.pod.path, status))["status"]

    async def _unless_leaving(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)

    async def _let_the_object_go(self) -> None:
        """Delete exactly this Pod object, as a kubelet does at the end."""
        while not self._vanished:
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod.uid}}
            try:
                await self._api.send("DELETE", self.pod.path, body)
                return
            except ApiError as error:
                if error.status in {404, 409}:
                    return
            except _TROUBLE:
                pass
            await asyncio.sleep(_RETRY_AFTER)


def _readiness(up: bool, address: str, seconds: float) -> tuple[str, str]:
    if up:
        return "ready", f"ready after {seconds:.1f} s at {address}"
    return "starting", f"not ready any more at {address}"


async def _open_as_they_listen(own: network.Namespace, ways: dict[int, relay.Relay]) -> None:
    """Let port-forwards to a port without a listener fail at once, as with a kubelet."""
    closed = set(ways)
    while closed:
        listening = closed & own.listening_ports()
        for port in listening:
            ways[port].open()
        closed -= listening
        await asyncio.sleep(_PROBE_UNTIL_READY)


async def _record(output: asyncio.StreamReader | None, log: CriLog) -> None:
    with contextlib.closing(log):
        while output and (printed := await output.read(_CHUNK)):
            log.feed(printed)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to the agent and to its Envoy, which would outlive the agent."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
