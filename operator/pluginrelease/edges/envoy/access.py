"""How the operator reaches gateway pods: through the API server, within limits."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import aiohttp


class Channels(Protocol):
    """The two ways to a pod that the API server offers."""

    def portforward(
        self, namespace: str, pod: str, port: int
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """A websocket on which ``v4.channel.k8s.io`` is negotiated, with one forwarded port."""
        ...

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        """The container's log since a time, the first ``limit_bytes`` of it."""
        ...

    async def read_last_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str:
        """The end of the container's log, or of that of the container before it."""
        ...

    async def log_begins(self, namespace: str, pod: str, container: str) -> datetime | None:
        """When the first line of the container's log was written; None for an empty one."""
        ...


@dataclass(frozen=True)
class GatewayAccess:
    """How the operator reaches gateways: the operator's configuration, never a tenant's field."""

    admin_port: int = 15000
    container: str = "istio-proxy"
    parallel: int = 16
    answer_limit_bytes: int = 64 * 1024 * 1024
    dump_limit_bytes: int = 512 * 1024 * 1024
    log_limit_bytes: int = 4 * 1024 * 1024
    log_pages: int = 4
    last_lines: int = 400
    last_limit_bytes: int = 1024 * 1024
    last_seconds: float = 3.0


DEFAULT = GatewayAccess()
