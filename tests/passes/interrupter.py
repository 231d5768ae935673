"""A relay between the operator and the API server that kills the operator at one exact point.

    python interrupter.py PORT UPSTREAM-HOST UPSTREAM-PORT METHOD PATH-REGEX BODY-REGEX PID-FILE

Every request goes on as it is, over TLS. At the first one that matches, the API server's answer is read to its end,
and then, instead of handing it on, the process whose id is in PID-FILE gets SIGKILL: the write has happened, and the
operator has not heard of it. Prints ``listening`` and later ``interrupted METHOD PATH``.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

HEAD_LIMIT = 64 * 1024
LOOPBACK = "127.0.0.1"


@dataclass
class Interrupter:
    """One relay; ``method``, ``path`` and ``body`` (searched) name the request, ``pid_file`` the victim."""

    host: str
    port: int
    method: str
    path: re.Pattern[str]
    body: re.Pattern[bytes]
    pid_file: Path
    done: bool = False
    tls: ssl.SSLContext = field(default_factory=lambda: trusting())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection, so that each can be told from the next."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            upstream_reader, upstream_writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
            body = await reader.readexactly(length(head))
            upstream_writer.write((head if is_upgrade(head) else once(head)) + body)
            sending = asyncio.create_task(pipe(reader, upstream_writer))
            try:
                await self.answer(head, body, upstream_reader, writer)
            finally:
                sending.cancel()
                upstream_writer.close()
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def answer(
        self, head: bytes, body: bytes, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Hands the answer on, or keeps it and kills."""
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        matches = method == self.method and self.path.search(path) and self.body.search(body)
        if self.done or not matches:
            await pipe(upstream, writer)
            return
        self.done = True
        answer = await upstream.read()
        assert b" 2" in answer.split(b"\r\n", 1)[0], answer[:200]
        os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
        print(f"interrupted {method} {path}", flush=True)


def trusting() -> ssl.SSLContext:
    """The lab's API server has a certificate of its own making; it is on this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def length(head: bytes) -> int:
    """How long the body is; the client sends no body in chunks."""
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found.group(1)) if found else 0


def is_upgrade(head: bytes) -> bool:
    """A websocket stays open."""
    return b"\r\nupgrade:" in head.lower()


def once(head: bytes) -> bytes:
    """The same head, with the connection closed after the answer."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([lines[0], b"Connection: close", *lines[1:]])


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes from one to the other, until the end."""
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()


async def main(port: str, host: str, upstream: str, method: str, path: str, body: str, pid_file: str) -> None:
    """Serves until it is killed."""
    one = Interrupter(host, int(upstream), method, re.compile(path), re.compile(body.encode()), Path(pid_file))
    server = await asyncio.start_server(one.serve, LOOPBACK, int(port), limit=HEAD_LIMIT)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
