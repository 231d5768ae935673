"""All reads of a pass. Each thing is read once; what the pass wrote is known from the answer to the write.

`Reader` is what a pass needs. `DirectReader` asks the API server. `StoreReader` asks the store first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol, TypeVar

from pluginrelease import api
from pluginrelease.controller.store import Store
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.rollout import bare_plugins, plan
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import Resource

JSON = dict[str, Any]
Answer = TypeVar("Answer")
Key = tuple[Resource, str | None, str]


class ObjectReader(Protocol):
    """Read objects by name, from the API server or from what a pass has read of it."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JSON | None:
        """Return one object; None if there is none. Raises `ReleaseError`."""
        ...


class Reader(ObjectReader, Protocol):
    """What a pass reads. Every method raises `ReleaseError` if the API server does not answer."""

    async def carrier(self, placement: Placement) -> JSON | None:
        """Return the object that carries an entry's plugin."""
        ...

    async def owned(self, kind: Resource, uid: str) -> list[JSON]:
        """Return the objects with a release's uid, in any namespace; none if the kind is not installed."""
        ...

    async def bare_carriers(self, kind: Resource, repository: str) -> list[JSON]:
        """Return at least the objects of a kind with this repository's image and no release's uid, in any namespace."""
        ...

    async def pods(self, where: target.Pods, *, fresh: bool = False) -> list[JSON]:
        """Return the pods. ``fresh``: as they are now, even if they were read before."""
        ...

    async def namespace(self, name: str) -> JSON | None:
        """Return a Namespace."""
        ...

    async def releases_on(self, where: target.Pods) -> list[JSON]:
        """Return at least the PluginReleases that may select some of these pods: neighbours and rivals."""
        ...

    async def releases_noting(self, marks: Collection[str]) -> list[JSON]:
        """Return at least the PluginReleases that raised the logger of a pod with one of these marks now."""
        ...

    async def revisions(self, release: api.Release) -> list[JSON]:
        """Return the ControllerRevisions that carry the release's uid."""
        ...

    def took(self, written: JSON) -> None:
        """Note an object from the answer to a write."""

    def lost(self, deleted: JSON) -> None:
        """Note that an object is being deleted."""

    def doubt(self, thing: JSON) -> None:
        """Read an object again at the next request, because it has changed."""


class DirectReader:
    """Ask the API server, for each thing at most once. Errors are not kept."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reads: dict[object, asyncio.Future[Any]] = {}

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JSON | None:
        """Return one object; None if there is none."""
        return await self._once((resource, namespace, name), lambda: self._cluster.get(resource, namespace, name))

    async def carrier(self, placement: Placement) -> JSON | None:
        """Return the object that carries an entry's plugin."""
        kind = resources.resource_for(providers.plugin_api_of(placement.spec).TARGET)
        return await self.get(kind, placement.gateway.namespace, target.name_object(placement))

    async def owned(self, kind: Resource, uid: str) -> list[JSON]:
        """Return the objects with a release's uid, in any namespace; none if the kind is not installed."""
        return await list_owned(self._cluster, kind, uid)

    async def bare_carriers(self, kind: Resource, repository: str) -> list[JSON]:
        """Return all objects of a kind without a release's uid, of all namespaces."""
        return await self._once(("bare", kind), lambda: list_bare(self._cluster, kind))

    async def pods(self, where: target.Pods, *, fresh: bool = False) -> list[JSON]:
        """Return the pods. ``fresh``: as they are now, even if they were read before."""
        key = ("pods", where.namespace, tuple(sorted(where.labels.items())))
        if fresh:
            self._reads.pop(key, None)
        return await self._once(key, lambda: self._cluster.list(resources.PODS, where.namespace, where.labels))

    async def namespace(self, name: str) -> JSON | None:
        """Return a Namespace."""
        return await self.get(resources.NAMESPACES, None, name)

    async def releases_on(self, where: target.Pods) -> list[JSON]:
        """Return every PluginRelease."""
        return await self._once("releases", lambda: self._cluster.list(resources.RELEASES, None, {}))

    async def releases_noting(self, marks: Collection[str]) -> list[JSON]:
        """Return every PluginRelease as it is now."""
        return await self._cluster.list(resources.RELEASES, None, {})

    async def revisions(self, release: api.Release) -> list[JSON]:
        """Return the ControllerRevisions that carry the release's uid, as they are now."""
        kind, labels = resources.CONTROLLER_REVISIONS, {api.UID_LABEL: release.metadata.uid}
        listed = await self._cluster.list(kind, release.metadata.namespace, labels)
        return [{**found, **resources.type_meta(kind)} for found in listed]

    def took(self, written: JSON) -> None:
        """Note an object from the answer to a write."""
        self._note(written, written)

    def lost(self, deleted: JSON) -> None:
        """Note that an object is being deleted."""
        self._reads.pop(key_of(deleted), None)

    def doubt(self, thing: JSON) -> None:
        """Read an object again at the next request."""
        self._reads.pop(key_of(thing), None)

    def close(self) -> None:
        """Cancel reads that still run, because the pass has ended."""
        for read in self._reads.values():
            read.cancel()

    def _note(self, thing: JSON, value: JSON | None) -> None:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(value)
        self._reads[key_of(thing)] = done

    async def _once(self, key: object, read: Callable[[], Awaitable[Answer]]) -> Answer:
        """Read once for all who ask meanwhile. A caller that stops waiting does not cancel the read for the others."""
        if key not in self._reads:
            self._reads[key] = asyncio.ensure_future(read())
            self._reads[key].add_done_callback(lambda done: self._forget_error(key, done))
        answer: Answer = await asyncio.shield(self._reads[key])
        return answer

    def _forget_error(self, key: object, done: asyncio.Future[Any]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._reads.pop(key, None)


class StoreReader(DirectReader):
    """Ask the store, and the API server only for what the store does not know.

    A rollback never waits for the store: what the store does not know at once is asked of the API server.
    """

    def __init__(self, cluster: Cluster, store: Store) -> None:
        super().__init__(cluster)
        self._store = store

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JSON | None:
        """Return one object; None if there is none."""
        place = namespace or "", name
        if self._store.knows(resource, place):
            return self._store.carrier(resource, place)
        if resource == resources.PODS and (pod := self._store.pods.get(*place)) is not None:
            return pod
        found = await super().get(resource, namespace, name)
        self._store.learn(resource, place, found)
        return found

    async def owned(self, kind: Resource, uid: str) -> list[JSON]:
        """Return the objects with a release's uid, in any namespace; none if the kind is not installed."""
        known = self._store.find_owned(kind, uid)
        return known if known is not None else await super().owned(kind, uid)

    async def pods(self, where: target.Pods, *, fresh: bool = False) -> list[JSON]:
        """Return the pods there."""
        known = await self._store.pods.find(where)
        return known if known is not None else await super().pods(where, fresh=fresh)

    async def namespace(self, name: str) -> JSON | None:
        """Return a Namespace. One that the store does not know may be new, so the API server is asked."""
        known = self._store.namespace(name)
        return known if known is not None else await super().namespace(name)

    async def releases_on(self, where: target.Pods) -> list[JSON]:
        """Return the PluginReleases that may select some of these pods, with this process's own writes."""
        return self._store.find_on_pods(where) if self._store.knows_all_releases else await super().releases_on(where)

    async def releases_noting(self, marks: Collection[str]) -> list[JSON]:
        """Return the PluginReleases that raised the logger of a pod with one of these marks."""
        is_known = self._store.knows_all_releases
        return self._store.find_noting(marks) if is_known else await super().releases_noting(marks)

    async def bare_carriers(self, kind: Resource, repository: str) -> list[JSON]:
        """Return the objects with an image of this repository and no release's uid; none while they are not known."""
        return self._store.find_bare(kind, repository) or []


def key_of(thing: JSON) -> Key:
    """Return the key of an object in `DirectReader`."""
    kind = resources.BY_KIND[thing["apiVersion"], thing["kind"]]
    return kind, thing["metadata"]["namespace"], thing["metadata"]["name"]


async def read_own_carrier(reader: Reader, placement: Placement) -> JSON | None:
    """Return the object that carries an entry's plugin; None if there is none. Raises `Refused` (ObjectNotOurs)."""
    observed = await reader.carrier(placement)
    if observed is not None:
        plan.check_owner(placement, observed)
    return observed


async def list_bare(cluster: Cluster, kind: Resource) -> list[JSON]:
    """Return the objects of a kind without a release's uid, of all namespaces; none if it is not installed."""
    try:
        return [found for found in await cluster.list(kind, None, {}) if bare_plugins.is_bare(found)]
    except NotFound:
        return []


async def list_owned(cluster: Cluster, kind: Resource, uid: str) -> list[JSON]:
    """Return the objects with a release's uid, in any namespace; none if the kind is not installed."""
    try:
        listed = await cluster.list(kind, None, {api.UID_LABEL: uid})
    except NotFound:
        return []
    return [{**found, **resources.type_meta(kind)} for found in listed]
