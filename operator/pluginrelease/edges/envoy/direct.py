"""A TCP connection to an Envoy on this machine, as a stream of the same kind as a port-forward."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pluginrelease.edges.envoy.tunnel import CHUNK


class Direct:
    """The bytes of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send all bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        return await self._reader.read(CHUNK)


@contextlib.asynccontextmanager
async def connect(host: str, port: int) -> AsyncIterator[Direct]:
    """Open a connection, and close it at the end without waiting for the other side. Raises OSError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Direct(reader, writer)
    finally:
        writer.transport.abort()
