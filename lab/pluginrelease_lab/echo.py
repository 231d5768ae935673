"""The upstream behind the lab's gateways: it answers 200 with the request as JSON."""

from __future__ import annotations

import sys

from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    """Return ``{"method": …, "path": …, "headers": {name in lower case: value}}``."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return web.json_response({"method": request.method, "path": request.path_qs, "headers": headers})


def serve(address: str, port: int) -> None:
    """Serve until the process is ended."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    web.run_app(application, host=address, port=port, print=None, access_log=None)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
