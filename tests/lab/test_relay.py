"""Connections carried into the lab: what one of them suffers, the next does not notice."""

from __future__ import annotations

import asyncio
import socket
import struct

from pluginrelease_lab import relay

DEADLINE = 5.0


async def test_a_connection_that_was_reset_does_not_stall_a_later_one() -> None:
    """After any number of broken connections, with the client's side still open, new ones are served at once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readline()
        if asked == b"break\n":
            abort = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
        else:
            writer.write(asked)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    one = relay.Relay(relay.reserve_on_loopback(), relay.to("127.0.0.1", server.sockets[0].getsockname()[1]))
    one.open()
    try:
        for _ in range(20):
            broken, breaking = await asyncio.open_connection("127.0.0.1", one.port)
            breaking.write(b"break\n")
            async with asyncio.timeout(DEADLINE):
                assert await asked(one.port) == b"hello\n"
                assert await told_the_end(broken)
            breaking.close()
    finally:
        one.close()
        server.close()


async def asked(port: int) -> bytes:
    """One question and its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\n")
    answer = await reader.readline()
    writer.close()
    return answer


async def told_the_end(reader: asyncio.StreamReader) -> bool:
    """Whether the relay passes on that the connection is over."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True
