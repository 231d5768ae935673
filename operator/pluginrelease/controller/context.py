"""What every pass works with: the connection, the settings, the clock, and the gate that a clean-up closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import artifacts, loggers
from pluginrelease.core.errors import Waiting
from pluginrelease.core.mesh import target
from pluginrelease.edges.envoy.access import GatewayAccess
from pluginrelease.edges.envoy.dump_cache import DumpCache
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.settings import Settings

Made = TypeVar("Made")


def utc_now() -> datetime:
    """The only clock of the operator."""
    return datetime.now(UTC)


class Gates:
    """Writes of one release, one at a time, and none once its clean-up has begun. Named by the release's uid.

    A daemon may be cancelled while its write is on the way to the API server: the write is awaited all the same, and
    the clean-up waits for it, so that nothing appears after the clean-up has looked.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._closed: set[str] = set()

    async def write(self, uid: str, act: Callable[[], Awaitable[Made]]) -> Made:
        """Runs one write to its end, also when the caller is cancelled; raises `Waiting` after `close`."""
        return await asyncio.shield(self._locked(uid, act))

    async def _locked(self, uid: str, act: Callable[[], Awaitable[Made]]) -> Made:
        async with self._lock(uid):
            if uid in self._closed:
                raise Waiting(Reason.DELETING, "the PluginRelease is being deleted")
            return await act()

    async def close(self, uid: str) -> None:
        """No more writes; returns when the last one has ended."""
        self._closed.add(uid)
        async with self._lock(uid):
            return

    def forget(self, uid: str) -> None:
        """The release is gone."""
        self._locks.pop(uid, None)
        self._closed.discard(uid)

    def _lock(self, uid: str) -> asyncio.Lock:
        return self._locks.setdefault(uid, asyncio.Lock())


@dataclass(frozen=True)
class Context:
    """Everything a pass works with."""

    cluster: Cluster
    settings: Settings
    shelf: artifacts.ArtifactCache
    gates: Gates = field(default_factory=Gates)
    memory: DumpCache = field(default_factory=DumpCache)
    # uid of a release and name of an entry → when this process last looked at its gateways
    looks: dict[tuple[str, str], datetime] = field(default_factory=dict)
    # uid of a release → the generation at which objects without an entry were last looked for
    swept: dict[str, int] = field(default_factory=dict)
    # uid of a release → the status that could not be written: what it decided must not be decided otherwise
    unwritten: dict[str, api.Status] = field(default_factory=dict)
    # log levels that one release leaves to another
    left: loggers.Left = field(default_factory=set)
    now: Callable[[], datetime] = utc_now

    def forget(self, uid: str) -> None:
        """The release is gone."""
        self.gates.forget(uid)
        self.gates.forget(loggers.gate(uid))
        self.swept.pop(uid, None)
        for key in [key for key in self.looks if key[0] == uid]:
            del self.looks[key]
        self.unwritten.pop(uid, None)
        self.left.difference_update([pair for pair in self.left if pair[0] == uid])

    @property
    def reach(self) -> GatewayAccess:
        """How gateways are reached."""
        return GatewayAccess(admin_port=self.settings.gateway_admin_port)

    @property
    def mesh(self) -> target.MeshSettings:
        """What the settings say of the installation."""
        settings = self.settings
        return target.MeshSettings(settings.istio_root_namespace, settings.gateway_container, settings.higress_labels)
