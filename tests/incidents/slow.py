"""A relay to a registry that gives out the blobs of some repositories slowly.

    python slow.py HOST:PORT REGISTRY WORD SECONDS

A blob is answered SECONDS late when WORD is in its repository's path; everything else at once.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from aiohttp import ClientSession, web

DROPPED = ("Transfer-Encoding", "Connection", "Content-Encoding")


@dataclass(frozen=True)
class Relay:
    """Requests of gateways, and of the operator."""

    registry: str
    word: str
    seconds: float

    async def answer(self, request: web.Request) -> web.Response:
        """Late where it should be."""
        if "/blobs/" in request.path and self.word in request.path:
            await asyncio.sleep(self.seconds)
        url = f"http://{self.registry}{request.path_qs}"
        async with ClientSession() as session, session.request(request.method, url, headers=request.headers) as found:
            headers = {name: value for name, value in found.headers.items() if name not in DROPPED}
            return web.Response(status=found.status, headers=headers, body=await found.read())


def serve(listen: str, relay: Relay) -> None:
    """Serve until the process is ended."""
    host, _, port = listen.partition(":")
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", relay.answer)
    web.run_app(application, host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    serve(sys.argv[1], Relay(sys.argv[2], sys.argv[3], float(sys.argv[4])))
