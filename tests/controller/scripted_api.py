"""An API server that holds a few objects, records every request, and fails or hangs where a test says so.

For injecting faults only: how the real one behaves is tested against the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.context import Context
from pluginrelease.controller.writer import Writer
from pluginrelease.core.errors import Transient
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.resources import BY_KIND, NAMESPACES, Resource
from pluginrelease.settings import Settings

JSON = dict[str, Any]
Fault = Callable[[], BaseException | None]

HANG = "hang"


class ScriptedAPI:
    """``faults``: "VERB plural" → an exception to raise, or `HANG`. ``requests``: what was asked, in order."""

    def __init__(self, *objects: JSON, faults: dict[str, BaseException | str] | None = None) -> None:
        for item in objects:
            item["metadata"].setdefault("resourceVersion", "1")
        self.objects = {self._key(item): item for item in objects}
        self.faults = faults or {}
        self.requests: list[str] = []
        self.namespaces: dict[str, JSON] = {}
        self.written: dict[str, int] = {}  # name of an object → how often it was applied

    @staticmethod
    def _key(one: JSON) -> tuple[Resource, str, str]:
        resource = BY_KIND[one["apiVersion"], one["kind"]]
        return resource, one["metadata"]["namespace"], one["metadata"]["name"]

    async def _ask(self, verb: str, plural: str) -> None:
        self.requests.append(f"{verb} {plural}")
        match self.faults.get(f"{verb} {plural}"):
            case BaseException() as error:
                raise error
            case str():
                await asyncio.Event().wait()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JSON | None:
        await self._ask("GET", resource.plural)
        if resource == NAMESPACES:
            return self.namespaces.get(name)
        return self.objects.get((resource, namespace or "", name))

    async def list(self, resource: Resource, namespace: str | None, labels: dict[str, str]) -> list[JSON]:
        await self._ask("LIST", resource.plural)
        kind = resources.type_meta(resource)
        return [
            {key: value for key, value in one.items() if key not in kind}
            for (known, where, _), one in self.objects.items()
            if known == resource
            and namespace in (None, where)
            and labels.items() <= (one["metadata"].get("labels") or {}).items()
        ]

    async def apply(self, manifest: JSON, *, uid: str | None, version: str | None = None) -> JSON:
        key = self._key(manifest)
        await self._ask("APPLY", key[0].plural)
        self.written[key[-1]] = self.written.get(key[-1], 0) + 1
        metadata = {**manifest["metadata"], "uid": uid or "made"}
        self.objects[key] = {**manifest, "metadata": metadata}
        return self.objects[key]

    async def merge(self, observed: JSON, patch: JSON) -> JSON:
        key = self._key(observed)
        await self._ask("MERGE", key[0].plural)
        changed = {**self.objects[key]["metadata"], **patch["metadata"], "resourceVersion": "merged"}
        self.objects[key] = {**self.objects[key], "metadata": changed}
        return self.objects[key]

    async def apply_status(self, release: api.Release, status: api.Status, version: str | None = None) -> None:
        await self._ask("STATUS", api.PLURAL)

    async def delete(self, observed: JSON) -> None:
        key = self._key(observed)
        await self._ask("DELETE", key[0].plural)
        self.objects.pop(key, None)

    async def disown(self, observed: JSON) -> None:
        await self._ask("DISOWN", self._key(observed)[0].plural)

    @asynccontextmanager
    async def portforward(self, namespace: str, pod: str, port: int) -> Any:
        await self._ask("FORWARD", "pods")
        raise Transient(Reason.API_SERVER_UNAVAILABLE, "the pod does not answer")
        yield

    async def read_log(self, namespace: str, pod: str, container: str, **_: Any) -> str:
        await self._ask("LOG", "pods")
        return ""

    async def read_last_log(self, namespace: str, pod: str, container: str, **_: Any) -> str:
        await self._ask("LASTLOG", "pods")
        return ""

    def writes(self) -> list[str]:
        """What was asked to be changed, in order."""
        return [item for item in self.requests if item.split()[0] in ("APPLY", "STATUS", "DELETE", "DISOWN")]


class ScriptedRegistry:
    """In place of the cache of artifacts: it answers, raises, or hangs."""

    def __init__(self, fault: BaseException | str | None = None) -> None:
        self.fault = fault
        self.asked = 0

    async def ask(self, *_: object) -> None:
        self.asked += 1
        if isinstance(self.fault, BaseException):
            raise self.fault
        if self.fault == HANG:
            await asyncio.Event().wait()


def context(cluster: ScriptedAPI, registry: ScriptedRegistry | None = None) -> Context:
    """The operator's context around both."""
    shelf = registry or ScriptedRegistry()
    writer = Writer(cast(Any, cluster))
    return Context(cluster=cast(Any, cluster), writer=writer, settings=Settings(), shelf=cast(Any, shelf))
