"""Gateway pods seen through the API server: HTTP to Envoy's admin port over a port-forward, and the pod's log.

A pod that cannot be read is data, never an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import aiohttp

from pluginrelease.core.envoy import PodRef, Sighting, Wanted


class Channels(Protocol):
    """The two ways to a pod that the API server offers."""

    def portforward(
        self, namespace: str, pod: str, port: int
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """A websocket on which ``v4.channel.k8s.io`` is negotiated, with one forwarded port."""
        ...

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        """The container's log since a time, at most ``limit_bytes`` of it."""
        ...


@dataclass(frozen=True)
class Settings:
    """How the operator reaches gateways: the operator's configuration, never a tenant's field."""

    admin_port: int = 15000
    container: str = "istio-proxy"
    parallel: int = 16
    answer_limit_bytes: int = 64 * 1024 * 1024
    log_limit_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True)
class PodVersion:
    """``envoy`` is like "1.40.0"; None with ``error`` when the pod did not tell."""

    pod: PodRef
    envoy: str | None
    error: str | None = None


DEFAULT = Settings()


async def look(
    channels: Channels,
    pods: Sequence[PodRef],
    wanted: Wanted,
    *,
    since: datetime,
    deadline_seconds: float,
    settings: Settings = DEFAULT,
) -> tuple[Sighting, ...]:
    """Every pod, in the order given, under one deadline; log lines from ``since`` on."""
    raise NotImplementedError


async def versions(
    channels: Channels, pods: Sequence[PodRef], *, deadline_seconds: float, settings: Settings = DEFAULT
) -> tuple[PodVersion, ...]:
    """Each pod's Envoy version, in the order given."""
    raise NotImplementedError


async def raise_logging(
    channels: Channels, pod: PodRef, *, deadline_seconds: float = 10, settings: Settings = DEFAULT
) -> str:
    """Sets the ``filter`` logger to debug and returns the level it had. Raises `Transient`."""
    raise NotImplementedError


async def restore_logging(
    channels: Channels,
    pod: PodRef,
    level: str,
    *,
    deadline_seconds: float = 10,
    settings: Settings = DEFAULT,
) -> None:
    """Puts the ``filter`` logger back to ``level``. Raises `Transient`."""
    raise NotImplementedError
