"""A relay between the operator and the API server that kills the operator at one exact request.

    python interrupter.py PORT UPSTREAM-HOST UPSTREAM-PORT

Every request goes on as it is, over TLS. Each line of its input is an `Order` as JSON: which requests count, and at
which of them the process gets SIGKILL. ``when`` says on which side of the write: ``after`` it was answered (the answer
is read to its end and kept back: the write has happened, and the operator has not heard of it), or ``before``: the
request is kept back, and the API server never sees it. Prints ``listening``; then, for each request that counts,
``passed METHOD PATH``, or ``interrupted METHOD PATH`` for the one at which it killed. A new order replaces the old.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import ssl
import sys
from dataclasses import dataclass, field

HEAD_LIMIT = 64 * 1024
LOOPBACK = "127.0.0.1"
WRITES = "POST|PUT|PATCH|DELETE"


@dataclass(frozen=True)
class InterruptOrder:
    """Requests whose method, path and body match (path and body are searched), and the one of them that ends ``pid``.

    ``number`` counts from 1; 0 kills at none.
    """

    pid: int
    method: str = WRITES
    path: str = ""
    body: str = ""
    number: int = 1
    when: str = "after"

    def means(self, method: str, path: str, body: bytes) -> bool:
        """Whether the request counts."""
        return bool(
            re.fullmatch(self.method, method) and re.search(self.path, path) and re.search(self.body.encode(), body)
        )


@dataclass
class Interrupter:
    """One relay; ``seen`` counts the requests that its order is about."""

    host: str
    port: int
    order: InterruptOrder | None = None
    seen: int = 0
    tls: ssl.SSLContext = field(default_factory=lambda: trusting())
    serving: set[asyncio.Task[None] | None] = field(default_factory=set)

    def take(self, order: InterruptOrder) -> None:
        """From now on this order."""
        self.order, self.seen = order, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection, so that each can be told from the next."""
        self.serving.add(task := asyncio.current_task())  # the event loop itself keeps no task
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(length(head))
            doomed = self.counts(head, body)
            if doomed and doomed.when == "before":
                self.kill(doomed, head)
                return
            upstream_reader, upstream_writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
            upstream_writer.write((head if is_upgrade(head) else once(head)) + body)
            sending = asyncio.create_task(forward(reader, upstream_writer))
            try:
                await self.answer(doomed, head, upstream_reader, writer)
            finally:
                sending.cancel()
                upstream_writer.close()
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()
            self.serving.discard(task)

    def counts(self, head: bytes, body: bytes) -> InterruptOrder | None:
        """The order, when this is the request at which it kills."""
        order = self.order
        if order is None or not order.means(*request_line(head), body):
            return None
        self.seen += 1
        if self.seen == order.number:
            return order
        print("passed", *request_line(head), flush=True)
        return None

    async def answer(
        self, doomed: InterruptOrder | None, head: bytes, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Hands the answer on, or keeps it and kills."""
        if doomed is None:
            await pipe(upstream, writer)
            return
        await upstream.read()
        self.kill(doomed, head)

    def kill(self, order: InterruptOrder, head: bytes) -> None:
        """As by the kernel."""
        os.kill(order.pid, signal.SIGKILL)
        print("interrupted", *request_line(head), flush=True)


def request_line(head: bytes) -> tuple[str, str]:
    """Method and path."""
    method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
    return method, path


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


async def forward(reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
    """What the operator still says; when it is gone, its watches end too."""
    await pipe(reader, upstream)
    upstream.transport.abort()


async def main(port: str, host: str, upstream: str) -> None:
    """Serves until its input ends."""
    one = Interrupter(host, int(upstream))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with await asyncio.start_server(one.serve, LOOPBACK, int(port), limit=HEAD_LIMIT):
        print("listening", flush=True)
        while line := await orders.readline():
            one.take(InterruptOrder(**json.loads(line)))
            print("taken", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
