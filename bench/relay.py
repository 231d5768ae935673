"""A port that forwards to another one and counts the bytes that come back.

It is also a program, ``python relay.py ADDRESS PORT HOST PORT CLIENT``, which prints ``listening`` and runs until it is
ended. Like a network policy, it closes every connection that does not come from the address CLIENT.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass

PIECE = 2**18


@dataclass
class RequestCounter:
    """The number of bytes on the wire."""

    received: int = 0


async def relay(
    address: str, port: int, host: str, to: int, counter: RequestCounter, client: str | None = None
) -> asyncio.Server:
    """Listen on ``address``; port 0 uses a free one. Without a ``client`` every client is accepted."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if client is not None and writer.get_extra_info("peername")[0] != client:
            writer.close()
            return
        answers, upstream = await asyncio.open_connection(host, to)
        sending = asyncio.ensure_future(pipe(reader, upstream, RequestCounter()))
        await pipe(answers, writer, counter)
        sending.cancel()

    return await asyncio.start_server(serve, address, port)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: RequestCounter) -> None:
    """Copy bytes from one to the other until the end, and count them."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            counter.received += len(piece)
            writer.write(piece)
            await writer.drain()
    writer.close()


async def main(address: str, port: str, host: str, to: str, client: str) -> None:
    """Run until the process is ended."""
    server = await relay(address, int(port), host, int(to), RequestCounter(), client)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
