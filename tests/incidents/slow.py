"""A relay to a registry that gives out the blobs of some repositories slowly.

    python slow.py HOST:PORT REGISTRY WORD SECONDS

A blob takes SECONDS, a little of it in each, when WORD is in its repository's path; all else is answered at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass

from aiohttp import ClientSession, web

DROPPED = ("Transfer-Encoding", "Connection", "Content-Encoding")


@dataclass(frozen=True)
class SlowRelay:
    """Requests of gateways, and of the operator."""

    registry: str
    word: str
    seconds: int

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """As the registry answers, but slowly where it should be."""
        url = f"http://{self.registry}{request.path_qs}"
        async with ClientSession() as session, session.request(request.method, url, headers=request.headers) as found:
            headers = {name: value for name, value in found.headers.items() if name not in DROPPED}
            body = await found.read()
        if "/blobs/" not in request.path or self.word not in request.path or not body:
            return web.Response(status=found.status, headers=headers, body=body)
        return await self.drip(request, web.StreamResponse(status=found.status, headers=headers), body)

    async def drip(self, request: web.Request, answer: web.StreamResponse, body: bytes) -> web.StreamResponse:
        """The body, over ``seconds``."""
        await answer.prepare(request)
        piece = -(-len(body) // self.seconds)
        for start in range(0, len(body), piece):
            await asyncio.sleep(1)
            with contextlib.suppress(ConnectionError):  # whoever asked has given up
                await answer.write(body[start : start + piece])
        return answer


def serve(listen: str, relay: SlowRelay) -> None:
    """Serve until the process is ended."""
    host, _, port = listen.partition(":")
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", relay.answer)
    web.run_app(application, host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    serve(sys.argv[1], SlowRelay(sys.argv[2], sys.argv[3], int(sys.argv[4])))
