"""Watch Pods that ask to be real gateways, in any namespace, and run a gateway for each."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Coroutine
from typing import Any

import aiohttp

from pluginrelease_lab import meshes
from pluginrelease_lab.blueprint import Blueprint
from pluginrelease_lab.containers import Pod
from pluginrelease_lab.controlplane import GATEWAY_LABEL, GATEWAY_VALUE, HOSTNAME, MANIFESTS, NODE, answers
from pluginrelease_lab.gateway import LISTENER_PORT, GatewayProcess
from pluginrelease_lab.journal import Journal
from pluginrelease_lab.kubeapi import ApiError, KubeApi, Object, read_manifests
from pluginrelease_lab.node import gateways as node_gateways
from pluginrelease_lab.processes import until

_PODS = "/api/v1/pods"
_CHOSEN = f"labelSelector={GATEWAY_LABEL}%3D{GATEWAY_VALUE}"
_WATCH_AGAIN_AFTER = 0.5


async def install(lab: Blueprint, api: KubeApi) -> None:
    """Create the gateway Deployment with the lab's number of replicas, its Service and its route."""
    for manifest in read_manifests((MANIFESTS / meshes.of(lab).gateways).read_text()):
        if manifest["kind"] == "Deployment" and _is_gateway(manifest):
            manifest["spec"]["replicas"] = lab.gateways
        on_node = lab.gateways_on_node and manifest["kind"] == "Deployment" and _is_gateway(manifest)
        await api.apply_when_known(node_gateways.injected(manifest) if on_node else manifest)


def _is_gateway(deployment: Object) -> bool:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    return bool(labels.get(GATEWAY_LABEL) == GATEWAY_VALUE)


def is_for_the_lab(spec: Object) -> bool:
    """Return whether the lab runs this gateway pod, and no other node does."""
    node = spec.get("nodeName") or spec.get("nodeSelector", {}).get(HOSTNAME)
    return node in {None, NODE}


class Gateways:
    """All gateways of the lab, by the uid of their pods."""

    def __init__(self, lab: Blueprint, api: KubeApi, journal: Journal) -> None:
        self._lab = lab
        self._api = api
        self._journal = journal
        self._numbers = itertools.count()
        self._living: dict[str, GatewayProcess] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def keep(self) -> None:
        """List, then watch, and begin again when the watch ends. Never returns."""
        while True:
            try:
                version = await self._catch_up()
                async for kind, found in self._api.watch(_PODS, f"{_CHOSEN}&resourceVersion={version}"):
                    self._take_in(kind, found)
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                print(f"watching gateway pods again: {error!r}", file=sys.stderr)
            await asyncio.sleep(_WATCH_AGAIN_AFTER)

    async def _catch_up(self) -> str:
        """Process all current pods, and end gateways without one; return the version to watch from."""
        listed = await self._api.get(f"{_PODS}?{_CHOSEN}")
        there = {item["metadata"]["uid"] for item in listed["items"]}
        for item in listed["items"]:
            self._take_in("MODIFIED", item)
        for uid in set(self._living) - there:
            self._say_farewell(uid)
        return str(listed["metadata"]["resourceVersion"])

    def _take_in(self, kind: str, found: Object) -> None:
        if kind == "ERROR":
            raise ApiError(int(found.get("code", 500)), str(found.get("message", "")))
        if not is_for_the_lab(found["spec"]):
            return
        pod = Pod(found)
        if kind == "DELETED":
            self._say_farewell(pod.uid)
        elif pod.uid in self._living:
            self._living[pod.uid].see(pod)
        elif not found["spec"].get("nodeName"):
            self._later(self._bind(pod))
        else:
            self._living[pod.uid] = self._begin(pod)

    def _begin(self, pod: Pod) -> GatewayProcess:
        def tell(state: str, text: str) -> None:
            self._journal.note(f"{pod.namespace}/{pod.name}", state, text)
            self._changed.set()

        return GatewayProcess(self._lab, self._api, pod, next(self._numbers), tell)

    def _say_farewell(self, uid: str) -> None:
        if gateway := self._living.pop(uid, None):
            self._later(gateway.vanish())

    async def _bind(self, pod: Pod) -> None:
        """Bind the pod to the one node: this is all scheduling in the lab."""
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name}, "target": target}
        try:
            await self._api.send("POST", f"{pod.path}/binding", binding)
        except ApiError as error:
            print(f"binding {pod.name}: {error}", file=sys.stderr)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    async def wait_until_serving(self, namespace: str, count: int) -> None:
        """Wait until ``count`` gateways of ``namespace`` are ready and serve a request. The caller sets a deadline."""
        while len(ready := self._ready(namespace)) < count:
            self._changed.clear()
            await self._changed.wait()
        for gateway in ready:
            await until(answers(f"http://{gateway.address}:{LISTENER_PORT}/"))

    def _ready(self, namespace: str) -> list[GatewayProcess]:
        return [each for each in self._living.values() if each.ready and each.pod.namespace == namespace]
