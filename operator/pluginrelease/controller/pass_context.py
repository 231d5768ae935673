"""What the steps of one pass act with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from pluginrelease.controller.context import Context
from pluginrelease.controller.reading import Reader
from pluginrelease.core.mesh import target
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.settings import Settings


@dataclass(frozen=True)
class PassContext:
    """``context``: what all passes share. ``reader``: what this pass has read."""

    context: Context
    reader: Reader
    noting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def cluster(self) -> Cluster:
        """Return the API server's client, which also leads to the gateways."""
        return self.context.cluster

    @property
    def settings(self) -> Settings:
        return self.context.settings

    @property
    def mesh(self) -> target.MeshSettings:
        return self.context.mesh

    def wished_at(self, uid: str) -> float | None:
        """Return when the operator heard of a release's spec or command, by the monotonic clock; None if not known."""
        store = self.context.store
        return store.wished_at(uid) if store is not None else None

    def now(self) -> datetime:
        """Return the time by the operator's clock."""
        return self.context.now()
