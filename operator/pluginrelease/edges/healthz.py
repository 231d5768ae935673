"""The HTTP endpoint that the kubelet's probes ask: 200 or 503, and a line that says why."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

# says what is wrong, or None
Check = Callable[[], str | None]


@asynccontextmanager
async def serve(port: int, checks: Mapping[str, Check]) -> AsyncIterator[None]:
    """Answers ``GET`` of these paths meanwhile, on IPv4 and on IPv6, whichever the system has. Port 0: on none.

    Raises OSError when the port is taken.
    """
    if not port:
        yield
        return
    application = web.Application()
    application.add_routes([web.get(path, make_handler(check)) for path, check in checks.items()])
    runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, open_socket(port)).start()
        yield
    finally:
        await runner.cleanup()


def make_handler(check: Check) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler that says what the check finds."""

    async def answer(_: web.Request) -> web.StreamResponse:
        wrong = check()
        found = web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")
        found.force_close()  # a connection that stays open would hold up the operator's end
        return found

    return answer


def open_socket(port: int) -> socket.socket:
    """A socket on every address of both families; on IPv4 alone where the system has no IPv6."""
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        return socket.create_server(("0.0.0.0", port))  # noqa: S104  the kubelet asks at the pod's address
