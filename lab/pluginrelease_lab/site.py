"""Inside the lab: start its parts in the order of their dependencies, and watch them to the end."""

from __future__ import annotations

import asyncio
import socket
import time
import traceback
from collections.abc import Awaitable, Coroutine
from typing import Any

from pluginrelease_lab import controlplane, gateways, higress, istio, meshes, network, registries, relay
from pluginrelease_lab.blueprint import API_PORT, PRIVATE_REGISTRY_PORT, REGISTRY_PORT, Blueprint
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.events import Teller
from pluginrelease_lab.gateways import Gateways
from pluginrelease_lab.journal import Journal
from pluginrelease_lab.kubeapi import KubeApi
from pluginrelease_lab.node import cgroups, configuration, joining, mounts, parts
from pluginrelease_lab.node import gateways as node_gateways
from pluginrelease_lab.processes import READY_WITHIN, Program, start


async def keep(lab: Blueprint, listeners: dict[str, socket.socket], teller: Teller) -> None:
    """Build the lab, report that it is ready, and keep it until it is ended from outside."""
    site = Site(lab, Journal(lab, teller))
    try:
        await site.build(listeners)
    except Exception as failure:
        site.journal.enter("failed")
        teller.failed(_first_cause(failure))
        return
    site.journal.enter("ready")
    teller.ready()
    await asyncio.Event().wait()


def _first_cause(failure: BaseException) -> str:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    traceback.print_exception(failure)
    return str(failure) if isinstance(failure, LabError) else repr(failure)


class Site:
    """The running lab."""

    def __init__(self, lab: Blueprint, journal: Journal) -> None:
        self.lab = lab
        self.journal = journal
        self._running: set[asyncio.Task[None]] = set()
        self._ways_in: list[relay.Relay] = []
        self._runtime_ready = asyncio.Event()

    async def build(self, listeners: dict[str, socket.socket]) -> None:
        if self.lab.node:
            mounts.prepare()
            cgroups.make(self.lab.node)
        network.make_bridge()
        self.journal.note("network", "ready", f"private, gateways see the lab at {network.ADDRESS}")
        await self._open_ways_in(listeners)
        controlplane.prepare(self.lab)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.run(registries.open_registry(self.lab)))
            group.create_task(self.run(registries.private_registry(self.lab)))
            group.create_task(self.run(istio.upstream(self.lab)))
            group.create_task(self._cluster())
            if self.lab.node:
                group.create_task(self._container_runtime())

    async def _open_ways_in(self, listeners: dict[str, socket.socket]) -> None:
        for name, port in (
            ("api", API_PORT),
            ("registry", REGISTRY_PORT),
            ("private_registry", PRIVATE_REGISTRY_PORT),
        ):
            way = relay.Relay(listeners[name], relay.to(network.ADDRESS, port))
            way.open()
            self._ways_in.append(way)
        await relay.serve_proxy(listeners["proxy"])

    async def _cluster(self) -> None:
        await self.run(controlplane.etcd(self.lab))
        await self.run(controlplane.apiserver(self.lab))
        controlplane.write_kubeconfigs(self.lab)
        api = self.api = KubeApi(self.lab.api_inside, self.lab.tokens.lab, self.lab.ca_file)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.run(controlplane.controller_manager(self.lab)))
            group.create_task(self._node(api))
            if self.lab.node:
                group.create_task(self._real_node(api))
            group.create_task(self._mesh(api))
            group.create_task(self.step("gateways", gateways.install(self.lab, api)))
        await self._gateways(api)

    async def _node(self, api: KubeApi) -> None:
        await self.step("kwok", controlplane.install_kwok_kinds(self.lab, api))
        await self.run(controlplane.kwok(self.lab))
        await self.step("node", controlplane.make_node(self.lab, api), f"{controlplane.NODE} is ready")

    async def _container_runtime(self) -> None:
        await self.run(parts.containerd(self.lab))
        await self.step("images", joining.import_images(self.lab), "imported", joining.IMPORT_SECONDS)
        self._runtime_ready.set()

    async def _real_node(self, api: KubeApi) -> None:
        await self._runtime_ready.wait()
        async with asyncio.TaskGroup() as group:
            for program in (parts.kubelet, parts.scheduler, parts.proxy):
                group.create_task(self.run(program(self.lab)))
        await self.step("real node", joining.wait_until_ready(api), f"{configuration.NAME} is ready")

    async def _mesh(self, api: KubeApi) -> None:
        await self.step("istio kinds", istio.install_kinds(self.lab, api), "known to the API server")
        await self.run(istio.istiod(self.lab))
        if meshes.of(self.lab).translated:
            await self.run(higress.controller(self.lab))

    async def _gateways(self, api: KubeApi) -> None:
        watched = Gateways(self.lab, api, self.journal)
        self._later(watched.keep())
        expected = meshes.of(self.lab).namespace, self.lab.gateways
        if self.lab.gateways_on_node:
            wanted = node_gateways.wait_until_serving(api, *expected)
        else:
            wanted = watched.wait_until_serving(*expected)
        await self.step("gateways", wanted, "every one answers a request")

    async def run(self, program: Program) -> None:
        """Start a program, wait until it is ready, and watch it from then on. Raises LabError."""
        part = await start(program)
        self.journal.note(program.name, "starting", "starting")
        try:
            seconds = await part.wait_until_ready()
        except LabError as error:
            self.journal.note(program.name, "ended", str(error))
            raise
        self.journal.note(program.name, "ready", f"ready after {seconds:.1f} s")
        self._later(self._mourn(part.process.wait(), part.obituary, program.name))

    async def _mourn(self, ended: Awaitable[int], obituary: Any, name: str) -> None:
        await ended
        self.journal.note(name, "ended", obituary())

    async def step(
        self, name: str, work: Coroutine[Any, Any, None], text: str = "", within: float = READY_WITHIN
    ) -> None:
        """Wait for work that is not a program. Raises LabError if it takes too long."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(within):
                await work
        except TimeoutError:
            raise LabError(f"{name} took longer than {within:.0f} s") from None
        if text:
            self.journal.note(name, "ready", f"{text} (after {time.monotonic() - began:.1f} s)")

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
