"""How the operator reaches gateway pods: through the API server, within limits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import aiohttp


class Channels(Protocol):
    """The two ways to a pod that the API server offers: port-forward and log."""

    def portforward(
        self, namespace: str, pod: str, port: int
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """Open a websocket with ``v4.channel.k8s.io`` and one forwarded port."""
        ...

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        """Return the first ``limit_bytes`` of the container's log after ``since``."""
        ...

    async def read_last_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str:
        """Return the end of the container's log, or of its predecessor's with ``previous``."""
        ...

    async def read_log_head(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        """Return the first ``limit_bytes`` of the container's log; each line begins with its time and a space."""
        ...


def allow() -> None:
    """Allow every change."""


@dataclass(frozen=True)
class GatewayAccess:
    """How the operator reaches gateways: from the operator's configuration, never from a tenant's field.

    ``fence`` is called before each change of a gateway. It raises `ReleaseError` if no change may begin.
    """

    admin_port: int = 15000
    container: str = "istio-proxy"
    parallel: int = 16
    answer_limit_bytes: int = 64 * 1024 * 1024
    dump_limit_bytes: int = 512 * 1024 * 1024
    log_limit_bytes: int = 4 * 1024 * 1024
    log_pages: int = 4
    log_head_bytes: int = 32 * 1024
    last_lines: int = 400
    last_limit_bytes: int = 1024 * 1024
    last_seconds: float = 3.0
    fence: Callable[[], None] = allow


DEFAULT = GatewayAccess()
