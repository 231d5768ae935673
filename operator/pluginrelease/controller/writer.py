"""Write every change to the cluster and to gateways: there is one `Writer`.

It has the clean-up gate: one write of a release runs at a time, and none after its clean-up has begun. A write that has
begun is awaited, also if its caller is cancelled, so that nothing appears after the clean-up has listed the objects.
The connection below it checks the Lease and the rate limits (`edges.kubernetes.client`).

Each write to an existing object names the uid and version that were observed. The Lease does not fence, so a process
that was stopped for a while must get a conflict.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Protocol, TypeVar

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import stored
from pluginrelease.core.apiserver.stored import JSON
from pluginrelease.core.errors import Transient, Waiting
from pluginrelease.core.rollout import foreign_fields, plan
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster

Made = TypeVar("Made")

# how many times a necessary change is tried, each time on a newer version of the object
TRIES = 4


class Feed(Protocol):
    """Learn of a write before any watch reports it."""

    def writing(self, thing: JSON) -> AbstractContextManager[None]:
        """Hold back events of this object until the write has its answer."""
        ...

    def took(self, written: JSON) -> None:
        """Note the answer to a write."""

    def lost(self, deleted: JSON) -> None:
        """Note that an object was deleted."""

    def doubt(self, thing: JSON) -> None:
        """Note that an object differs from what was observed."""


class Nobody:
    """A `Feed` that keeps nothing."""

    def writing(self, thing: JSON) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def took(self, written: JSON) -> None:
        """Do nothing."""

    def lost(self, deleted: JSON) -> None:
        """Do nothing."""

    def doubt(self, thing: JSON) -> None:
        """Do nothing."""


class Writer:
    """Write to the API server and to gateways. A gate is named by the release's uid."""

    def __init__(self, cluster: Cluster, feed: Feed | None = None) -> None:
        self._cluster = cluster
        self._feed = feed or Nobody()
        self._locks: dict[str, asyncio.Lock] = {}
        self._closed: set[str] = set()
        # uid of a release → the version that a pass read, the version after its writes, and the status's mark
        self._written: dict[str, tuple[str, str, bytes]] = {}

    # ---------------------------------------------------------------------------------------------- the gate

    async def write(self, gate: str, act: Callable[[], Awaitable[Made]]) -> Made:
        """Run one write to its end, even if the caller is cancelled. Raises `Waiting` (Deleting) after `close`."""
        return await asyncio.shield(self._locked(gate, act))

    async def _locked(self, gate: str, act: Callable[[], Awaitable[Made]]) -> Made:
        async with self._lock(gate):
            if gate in self._closed:
                raise Waiting(Reason.DELETING, "the PluginRelease is being deleted")
            return await act()

    async def close(self, gate: str) -> None:
        """Allow no more writes; return when the last one has ended."""
        self._closed.add(gate)
        async with self._lock(gate):
            return

    async def finish(self, gate: str) -> None:
        """Return when the writes of an interrupted pass have ended, so that the next pass reads their result.

        It does not wait for a write of the status, because a rollback does not; its version keeps the order.
        """
        async with self._lock(gate):
            return

    def forget(self, gate: str) -> None:
        """Forget a release that is gone."""
        self._locks.pop(gate, None)
        self._locks.pop(f"{gate}/status", None)
        self._closed.discard(gate)
        self._written.pop(gate, None)

    def _lock(self, gate: str) -> asyncio.Lock:
        return self._locks.setdefault(gate, asyncio.Lock())

    # ------------------------------------------------------------------------------------------- the objects

    async def apply(self, gate: str, write: plan.Write) -> JSON:
        """Apply one whole object; return it. Raises `Transient` (Conflict) if it changed meanwhile."""

        async def act() -> JSON:
            with self._feed.writing(write.manifest), self._doubting(write.manifest):
                version = await self._change_metadata(write)
                made = await self._cluster.apply(write.manifest, uid=write.uid, version=version)
                self._feed.took(made)
                return made

        return await self.write(gate, act)

    @contextmanager
    def _doubting(self, thing: JSON) -> Iterator[None]:
        """Read the object again after a conflict, because the watch may report the change later."""
        try:
            yield
        except Transient as error:
            if error.reason is Reason.CONFLICT:
                self._feed.doubt(thing)
            raise

    async def _change_metadata(self, write: plan.Write) -> str | None:
        """Change the metadata that must change before the apply; return the object's version after that."""
        changes = {**(write.first or {}), **(await self._take_spec(write) if write.takes_spec else {})}
        if not changes:
            return write.version
        patch = {"metadata": {"uid": write.uid, "resourceVersion": write.version, **changes}}
        changed = await self._cluster.merge(write.manifest, patch)
        version: str = changed["metadata"]["resourceVersion"]
        return version

    async def _take_spec(self, write: plan.Write) -> JSON:
        """Return the managed fields with the release as owner of the spec.

        The store lacks them, so the API server is asked.
        """
        own = write.manifest["metadata"]
        resource = resources.BY_KIND[write.manifest["apiVersion"], write.manifest["kind"]]
        found = await self._cluster.get(resource, own["namespace"], own["name"])
        managed = (found or {"metadata": {}})["metadata"].get("managedFields") or []
        return {"managedFields": foreign_fields.take_over_spec(managed, write.manifest["apiVersion"])}

    async def delete(self, gate: str | None, observed: JSON) -> None:
        """Delete the observed object, even if it changed. An object that was created again is left alone.

        Without a ``gate`` the clean-up itself deletes.
        """

        async def delete(newest: JSON) -> None:
            with self._feed.writing(observed):
                await self._cluster.delete(newest)
                self._feed.lost(observed)

        await self._persist(gate, observed, delete)

    async def disown(self, gate: str | None, observed: JSON) -> None:
        """Let an object outlive its release, as `Cluster.disown` does; otherwise as `delete`."""
        await self._persist(gate, observed, self._cluster.disown)

    async def _persist(self, gate: str | None, observed: JSON, change: Callable[[JSON], Awaitable[None]]) -> None:
        async def act() -> None:
            newest = observed
            for tries_left in reversed(range(TRIES)):
                try:
                    return await change(newest)
                except Transient as error:
                    found = await self._find_again(observed) if error.reason is Reason.CONFLICT else observed
                    if found is None:
                        return None
                    if found is observed or not tries_left:
                        raise
                    newest = found
            return None

        await (asyncio.shield(act()) if gate is None else self.write(gate, act))

    async def _find_again(self, observed: JSON) -> JSON | None:
        """Return the same object as it is now; None if it is gone, was created again, or belongs to another release."""
        metadata = observed["metadata"]
        resource = resources.BY_KIND[observed["apiVersion"], observed["kind"]]
        found = await self._cluster.get(resource, metadata["namespace"], metadata["name"])
        if found is None or found["metadata"]["uid"] != metadata["uid"]:
            return None
        labels = ("metadata", "labels", api.UID_LABEL)
        return found if stored.read_path(found, *labels) == stored.read_path(observed, *labels) else None

    async def create(self, manifest: JSON) -> JSON:
        """Create one object that needs no gate, such as an Event; return it."""
        return await asyncio.shield(self._cluster.create(manifest))

    async def merge(self, observed: JSON, patch: JSON) -> JSON:
        """Change a few fields of the observed object; ``patch`` names its uid and version. Return the object."""
        return await asyncio.shield(self._cluster.merge(observed, patch))

    # --------------------------------------------------------------------------------------------- the status

    async def write_status(self, release: api.Release, status: api.Status) -> None:
        """Write the whole status over the version that was read, or that this process has written since.

        A release that is gone is skipped. Raises `Transient` (Conflict) if another client changed the spec or the
        status: then the next pass decides again.
        """
        await asyncio.shield(self._write_status(release, status))

    async def _write_status(self, release: api.Release, status: api.Status) -> None:
        own = release.metadata
        async with self._lock(f"{own.uid}/status"), self._hearing(release):
            read, version, known = self._written.get(own.uid, ("", "", b""))
            if read != own.resource_version:
                version, known = own.resource_version, b""
            try:
                answer = await self._cluster.apply_status(release, status, version)
            except Transient as error:
                if error.reason is not Reason.CONFLICT:
                    raise
                newer = await self._find_newer(release, known or stored.compute_mark(release.status))
                if newer is None:
                    raise
                answer = await self._cluster.apply_status(release, status, newer)
            if answer is not None:
                self._feed.took(answer)
                made = answer["metadata"]["resourceVersion"]
                self._written[own.uid] = (own.resource_version, made, stored.compute_mark(status))

    @asynccontextmanager
    async def _hearing(self, release: api.Release) -> AsyncIterator[None]:
        own = release.metadata
        named = {"apiVersion": api.API_VERSION, "kind": api.KIND}
        thing = {**named, "metadata": {"namespace": own.namespace, "name": own.name}}
        with self._feed.writing(thing), self._doubting(thing):
            yield

    async def _find_newer(self, release: api.Release, known: bytes) -> str | None:
        """Return a newer version with the same spec, commands and status; None if there is none."""
        own = release.metadata
        found = await self._cluster.get(resources.RELEASES, own.namespace, own.name)
        is_same = found is not None and stored.may_write_status(found, own.uid, own.generation, known)
        return found["metadata"]["resourceVersion"] if found is not None and is_same else None

    async def write_raw_status(self, metadata: JSON, status: JSON) -> None:
        """Write the status of a release that does not fit the models, in the version that was read."""
        await asyncio.shield(self._cluster.apply_raw_status(metadata, status))
