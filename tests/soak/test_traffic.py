"""The counting client counts what was answered, as it was answered, and sends no request twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.harness import traffic
from tests.harness.traffic import Answer, Load, TrafficOrder, TrafficTarget

HEAD = b"HTTP/1.1 200 OK\r\nx-plugin: v1\r\n"
DENIED = b"RBAC: access denied"


@pytest.mark.parametrize(
    ("came", "wanted"),
    [
        (HEAD + b"content-length: 2\r\n\r\nok", (Answer(200, "v1", "served"), True)),
        (HEAD + b"content-length: 2\r\n\r\no", None),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", (Answer(200, "v1", "served"), True)),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n", None),
        (HEAD + b"connection: close\r\ncontent-length: 0\r\n\r\n", (Answer(200, "v1", "served"), False)),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 19\r\n\r\n" + DENIED, (Answer(403, "-", "stand-in"), True)),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", (Answer(403, "-", "refused"), True)),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", (Answer(500, "-", "failed"), True)),
        (b"HTTP/1.1 200 OK\r\n", None),
    ],
    ids=[
        "whole",
        "cut",
        "chunked",
        "chunks to come",
        "closing",
        "stand-in",
        "the plugin's own",
        "failed",
        "half a head",
    ],
)
def test_an_answer_is_counted_when_it_is_whole(came: bytes, wanted: object) -> None:
    """Whose 403 it is can be told, and half an answer is none."""
    assert traffic.parse(came, ended=False) == wanted


@dataclass
class TrafficServer:
    """Answers requests in turn as told: with a version, or by closing the connection without a word."""

    script: list[str]
    wanted: int
    asked: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                said = self.script[min(self.asked, len(self.script) - 1)]
                self.asked += 1
                if self.asked >= self.wanted:
                    self.enough.set()
                if said == "nothing":
                    break
                writer.write(f"HTTP/1.1 200 OK\r\nx-plugin: {said}\r\ncontent-length: 0\r\n\r\n".encode())
        except asyncio.IncompleteReadError:
            pass
        writer.close()


async def counted(server: TrafficServer, fresh: float) -> Counter[Answer]:
    """What the client counts for as many requests as the server wants."""
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        order = TrafficOrder({"pod": "127.0.0.1"}, rate=500, path="/", headers={}, port=port, fresh=fresh)
        gateway = TrafficTarget("pod", "127.0.0.1", order)
        load, stopping = Load([gateway], order.rate), asyncio.Event()
        running = asyncio.ensure_future(load.run(stopping))
        await server.enough.wait()
        stopping.set()
        await running
        totals = load.totals()
    assert totals.sent == {"pod": server.asked}, "each request was sent once"
    return totals.total()


@pytest.mark.parametrize("fresh", [0.0, 0.25, 1.0])
async def test_every_request_is_counted_once(fresh: float) -> None:
    """Over kept and over fresh connections alike, what the server answered is what is counted."""
    server = TrafficServer(["v1"] * 20 + ["v2"], wanted=100)
    counts = await counted(server, fresh)
    assert counts == {Answer(200, "v1", "served"): 20, Answer(200, "v2", "served"): server.asked - 20}


async def test_a_request_without_an_answer_is_lost() -> None:
    """A connection that ends without a word is told, and the request is not tried again."""
    server = TrafficServer(["v1"] * 10 + ["nothing", "v1"], wanted=50)
    counts = await counted(server, 1.0)
    assert counts[Answer(0, "-", "lost")] == 1


async def test_nobody_listens() -> None:
    """A refused connection is a lost request."""
    gateway = TrafficTarget("pod", "127.0.0.1", TrafficOrder({"pod": "127.0.0.1"}, 1, "/", {}, port=1))
    gateway.tick(3)
    await asyncio.gather(*gateway.opening)
    assert gateway.rows[Answer(0, "-", "lost")].count == 3
