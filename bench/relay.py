"""A port that leads to another one and counts what comes back.

Also a program, ``python relay.py ADDRESS PORT HOST PORT CLIENT``: it prints ``listening``, runs until it is ended, and
closes every connection that does not come from the address CLIENT, as a network policy does.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass

PIECE = 2**18


@dataclass
class Counter:
    """Bytes as they came over the wire."""

    received: int = 0


async def relay(
    address: str, port: int, host: str, to: int, counter: Counter, client: str | None = None
) -> asyncio.Server:
    """Listens on ``address``; port 0 takes a free one. Without a ``client`` everybody is served."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if client is not None and writer.get_extra_info("peername")[0] != client:
            writer.close()
            return
        answers, upstream = await asyncio.open_connection(host, to)
        sending = asyncio.ensure_future(pipe(reader, upstream, Counter()))
        await pipe(answers, writer, counter)
        sending.cancel()

    return await asyncio.start_server(serve, address, port)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: Counter) -> None:
    """Bytes from one to the other until the end, counted."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            counter.received += len(piece)
            writer.write(piece)
            await writer.drain()
    writer.close()


async def main(address: str, port: str, host: str, to: str, client: str) -> None:
    """Until the process is ended."""
    server = await relay(address, int(port), host, int(to), Counter(), client)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
