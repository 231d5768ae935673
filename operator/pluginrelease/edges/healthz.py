"""HTTP endpoints: 200 or 503 with one line of text for the kubelet's probes, and a page for Prometheus."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True)
class Health:
    """Whether a check passes, and its text."""

    is_well: bool
    said: str = "ok"


Check = Callable[[], Health]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(port: int, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer ``GET`` for these paths during the body, on IPv4 and IPv6 if the system has both. Port 0: do nothing.

    Raises OSError if the port is taken.
    """
    if not port:
        yield
        return
    application = web.Application()
    application.add_routes([web.get(path, handler) for path, handler in handlers.items()])
    runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, open_socket(port)).start()
        yield
    finally:
        await runner.cleanup()


def make_page(render: Callable[[], bytes], content_type: str) -> Handler:
    """Return a handler that renders the page for each request."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=render(), headers={"Content-Type": content_type})

    return answer


def make_handler(check: Check) -> Handler:
    """Return a handler that answers with the result of the check."""

    async def answer(_: web.Request) -> web.StreamResponse:
        health = check()
        found = web.Response(status=200 if health.is_well else 503, text=f"{health.said}\n")
        found.force_close()  # a connection that stays open would delay the operator's exit
        return found

    return answer


def open_socket(port: int) -> socket.socket:
    """Return a socket on every address of both families; only IPv4 if the system has no IPv6."""
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        return socket.create_server(("0.0.0.0", port))  # noqa: S104  the kubelet asks at the pod's address
