"""A steady, counted stream of requests through gateways, from a process of its own inside the lab's network.

    with Traffic(lab, lab.gateway_pods(), rate=300) as traffic:
        …
        traffic.counts()      # {"gateway-1": Counter({Answer(200, "v1", "served"): 917})}
    traffic.stop().rows       # the totals: each kind of answer, how often, and when first and last

The rate is kept whatever the gateways do: a request goes out when its time has come, not when the one before it was
answered. Some go over connections that are kept and used again, some over fresh ones. None is tried a second time.
As a program (``python traffic.py``) it reads its order as JSON from the first line of its input, then prints one line
of counts for each further line, and the totals at the input's end.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pluginrelease_lab import Lab
    from pluginrelease_lab.host import GatewayPod

PORT = 8080
ANSWER_WITHIN = 10.0
"""Seconds until a request without an answer counts as lost."""
KEPT = 8
"""Connections that are kept and used in turn, for each gateway: enough to reach each of its workers."""
FRESH = 0.25
"""The share of requests that go over a connection of their own."""
AT_ONCE = 512
"""Requests without an answer, for each gateway, from which on further ones are skipped, and counted as such."""
TICK = 0.004
MARKER = "x-plugin"
STAND_IN = b"RBAC: access denied"
_HEAD_LIMIT = 64 * 1024
_BODY_KEPT = 200


class Answer(NamedTuple):
    """One kind of answer. ``plugin`` is the response's header x-plugin (or another, `Traffic`'s ``marker``), or "-".

    ``sort`` is ``served`` (2xx), ``stand-in`` (the 403 of Istio in place of a plugin that it could not fetch),
    ``refused`` (any other 4xx), ``failed`` (5xx), ``other``; with status 0, because there was no whole answer:
    ``lost``, or ``reset`` when a kept connection was closed before any of the answer came (a client may try again).
    """

    status: int
    plugin: str
    sort: str


@dataclass
class TrafficRow:
    """How often a gateway gave one kind of answer; ``first`` and ``last`` in seconds of `time.monotonic`."""

    pod: str
    status: int
    plugin: str
    sort: str
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    slowest: float = 0.0
    """Seconds from the request to the answer, at most."""

    @property
    def answer(self) -> Answer:
        return Answer(self.status, self.plugin, self.sort)


@dataclass
class Totals:
    """What was counted until now."""

    rows: list[TrafficRow]
    seconds: float
    """How long the stream has run."""
    sent: dict[str, int]
    """Requests by gateway, those without an answer so far too."""
    skipped: dict[str, int]
    """Requests that were not sent because `AT_ONCE` others waited for their answers."""

    def counts(self) -> dict[str, Counter[Answer]]:
        """By gateway: how often each kind of answer."""
        found: dict[str, Counter[Answer]] = {pod: Counter() for pod in self.sent}
        for row in self.rows:
            found[row.pod][row.answer] += row.count
        return found

    def total(self) -> Counter[Answer]:
        """Of all gateways together."""
        return sum(self.counts().values(), Counter())

    def rate(self) -> dict[str, float]:
        """Requests per second by gateway, as achieved."""
        return {pod: number / self.seconds if self.seconds else 0.0 for pod, number in self.sent.items()}

    def odd(self, wanted: Callable[[Answer], bool]) -> list[TrafficRow]:
        """The rows of answers that were not as wanted, by their first time."""
        return sorted((row for row in self.rows if not wanted(row.answer)), key=lambda row: row.first)

    def span(self, wanted: Callable[[Answer], bool]) -> tuple[float, float] | None:
        """When the first and the last answer came that was not as wanted, in `time.monotonic`; None without any."""
        rows = self.odd(wanted)
        return (rows[0].first, max(row.last for row in rows)) if rows else None

    def since(self, earlier: Totals) -> Counter[Answer]:
        """What was answered between an earlier look and this one, by all gateways together."""
        return self.total() - earlier.total()


class Traffic:
    """Requests to each gateway pod, ``rate`` a second to each, from entering the context until `stop` or its end.

    ``pods`` are gateway pods of the lab, counted by their names. Looks take some milliseconds and disturb nothing.
    """

    def __init__(
        self,
        lab: Lab,
        pods: Iterable[GatewayPod],
        *,
        rate: float = 50,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        port: int = PORT,
        fresh: float = FRESH,
        marker: str = MARKER,
    ) -> None:
        self._lab = lab
        addresses = {pod.name: pod.address for pod in pods}
        self._order = TrafficOrder(addresses, rate, path, dict(headers or {}), port, fresh, marker)
        self._process: subprocess.Popen[str] | None = None
        self._totals: Totals | None = None

    def __enter__(self) -> Traffic:
        """Returns when the first answer of each gateway, or its failure, was counted."""
        argv = [sys.executable, __file__]
        self._process = self._lab.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(json.dumps(asdict(self._order)))
        while any(not answers for answers in self.counts().values()):
            time.sleep(TICK)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def look(self) -> Totals:
        """What was counted so far."""
        if self._totals is not None:
            return self._totals
        self._say("")
        return self._heard()

    def counts(self) -> dict[str, Counter[Answer]]:
        """By pod's name: how often each kind of answer, so far."""
        return self.look().counts()

    def stop(self) -> Totals:
        """Ends the stream, waits for the answers that are on their way, and returns the totals; also a second time."""
        if self._totals is None:
            process = self._started()
            self._input().close()
            self._totals = self._heard()
            process.wait(ANSWER_WITHIN)
        return self._totals

    def _started(self) -> subprocess.Popen[str]:
        assert self._process is not None, "enter the context first"
        return self._process

    def _input(self) -> IO[str]:
        asking = self._started().stdin
        assert asking is not None
        return asking

    def _say(self, line: str) -> None:
        self._input().write(line + "\n")
        self._input().flush()

    def _heard(self) -> Totals:
        telling = self._started().stdout
        assert telling is not None
        line = telling.readline()
        assert line, "the traffic's process has ended by itself"
        return read(json.loads(line))


def read(printed: dict[str, Any]) -> Totals:
    """The inverse of `dataclasses.asdict`."""
    return Totals(**{**printed, "rows": [TrafficRow(**row) for row in printed["rows"]]})


# ------------------------------------------------------------------------------------------- the process of its own


@dataclass(frozen=True)
class TrafficOrder:
    """What the process is asked to do: ``pods`` is address by name."""

    pods: dict[str, str]
    rate: float
    path: str
    headers: dict[str, str]
    port: int = PORT
    fresh: float = FRESH
    marker: str = MARKER

    def request(self, address: str, *, close: bool) -> bytes:
        """The bytes of one request."""
        headers = {"Host": f"{address}:{self.port}", "User-Agent": "traffic", **self.headers}
        lines = [f"GET {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, *(["Connection: close"] if close else []), "", ""]).encode("latin-1")


class ClientConnection(asyncio.Protocol):
    """One connection to a gateway: one request at a time, and the answer to it. It opens with its first request."""

    def __init__(self, gateway: TrafficTarget, request: bytes, began: float, *, kept: bool) -> None:
        self.gateway, self.kept = gateway, kept
        self.first = request
        self.began: float | None = began
        self.again = False
        self.came = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.gateway.open[self] = None
        transport.write(self.first)

    def send(self, request: bytes, began: float) -> None:
        """Sends one more request, whose time counts from ``began``."""
        assert self.transport is not None
        self.began, self.again = began, True
        self.came.clear()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.came += data
        self._read(ended=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._read(ended=True)
        if self.began is not None:
            sort = "reset" if self.again and not self.came else "lost"
            self._done(Answer(0, "-", sort), keep=False)
        self.gateway.forget(self)

    def give_up(self) -> None:
        """Ends it; the request that is under way is lost."""
        if self.transport is not None:
            self.again = False
            self.transport.abort()

    def _read(self, *, ended: bool) -> None:
        """Counts the answer when it is whole."""
        try:
            found = parse(self.came, ended=ended, marker=self.gateway.order.marker)
        except ValueError:
            self.give_up()
            return
        if found is not None and self.began is not None:
            answer, keep = found
            self._done(answer, keep=keep and self.kept and not ended)

    def _done(self, answer: Answer, *, keep: bool) -> None:
        assert self.began is not None
        began, self.began = self.began, None
        self.gateway.count(answer, began)
        if keep:
            self.gateway.idle.append(self)
        elif self.transport is not None:
            self.transport.close()


def parse(came: bytes | bytearray, *, ended: bool, marker: str = MARKER) -> tuple[Answer, bool] | None:
    """(the answer, whether its connection may be used again), or None while it is not whole.

    ``ended``: nothing more will come. ``marker``: the header by which a plugin is known, in lower case. Raises
    ValueError for what is no HTTP/1.1.
    """
    end = came.find(b"\r\n\r\n")
    if end < 0:
        if len(came) > _HEAD_LIMIT:
            raise ValueError("a head without an end")
        return None
    first, *lines = bytes(came[:end]).split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    status = int(first.split(b" ", 2)[1])
    body = whole_body(bytes(came[end + 4 :]), headers, ended=ended)
    if body is None:
        return None
    plugin = headers.get(marker.encode(), b"-").decode("latin-1")
    return Answer(status, plugin, sort_of(status, body)), headers.get(b"connection", b"").lower() != b"close"


def whole_body(rest: bytes, headers: Mapping[bytes, bytes], *, ended: bool) -> bytes | None:
    """The beginning of the body, or None while it is not whole."""
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        return rest[:_BODY_KEPT] if rest.endswith(b"0\r\n\r\n") else None
    if b"content-length" in headers:
        return rest[:_BODY_KEPT] if len(rest) >= int(headers[b"content-length"]) else None
    return rest[:_BODY_KEPT] if ended else None


def sort_of(status: int, body: bytes) -> str:
    """The sort of a whole answer, as in `ServerAnswer`."""
    if status == 403 and STAND_IN in body:
        return "stand-in"
    return {2: "served", 4: "refused", 5: "failed"}.get(status // 100, "other")


@dataclass
class TrafficTarget:
    """One gateway: its connections, and what it answered."""

    pod: str
    address: str
    order: TrafficOrder
    rows: dict[Answer, TrafficRow] = field(default_factory=dict)
    idle: deque[ClientConnection] = field(default_factory=deque)
    open: dict[ClientConnection, None] = field(default_factory=dict)
    kept: int = 0
    sent: int = 0
    answered: int = 0
    skipped: int = 0
    opening: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.once = self.order.request(self.address, close=True)
        self.again = self.order.request(self.address, close=False)

    @property
    def waiting(self) -> int:
        """Requests without an answer so far."""
        return self.sent - self.answered

    def tick(self, due: int) -> None:
        """Sends what is missing of ``due`` requests since the beginning."""
        while self.sent + self.skipped < due:
            if self.waiting >= AT_ONCE:
                self.skipped += 1
                continue
            self.sent += 1
            self.send(fresh=int(self.sent * self.order.fresh) != int((self.sent - 1) * self.order.fresh))

    def send(self, *, fresh: bool) -> None:
        """One request: over a connection of its own, or over the kept one that has rested longest."""
        began = time.monotonic()
        if not fresh and self.idle and self.kept >= KEPT:
            self.idle.popleft().send(self.again, began)
            return
        self.kept += not fresh
        one = ClientConnection(self, self.once if fresh else self.again, began, kept=not fresh)
        task = asyncio.ensure_future(self.connect(one, began))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def connect(self, one: ClientConnection, began: float) -> None:
        """Opens the connection, which sends its request by itself."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await asyncio.get_running_loop().create_connection(lambda: one, self.address, self.order.port)
        except (OSError, TimeoutError):
            self.count(Answer(0, "-", "lost"), began)
            self.forget(one)

    def forget(self, one: ClientConnection) -> None:
        """A connection that is closed or never was."""
        self.kept -= one.kept
        self.open.pop(one, None)
        if one in self.idle:
            self.idle.remove(one)

    def count(self, answer: Answer, began: float) -> None:
        """One more answer of this kind."""
        now = time.monotonic()
        row = self.rows.setdefault(answer, TrafficRow(self.pod, *answer, first=now))
        row.count += 1
        row.last = now
        row.slowest = max(row.slowest, now - began)
        self.answered += 1

    def sweep(self, now: float) -> None:
        """Gives up what has waited too long."""
        for connection in [
            connection
            for connection in self.open
            if connection.began is not None and now - connection.began > ANSWER_WITHIN
        ]:
            connection.give_up()


@dataclass
class Load:
    """All gateways of an order."""

    gateways: list[TrafficTarget]
    rate: float
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Sends until told to stop, then waits for the answers that are on their way."""
        swept = self.began
        while not stopping.is_set():
            now = time.monotonic()
            for place, gateway in enumerate(self.gateways):
                gateway.tick(int((now - self.began) * self.rate + place / len(self.gateways)))
            if now - swept > 1.0:
                swept = now
                self.sweep(now)
            await asyncio.sleep(TICK)
        self.ended = time.monotonic()
        while any(gateway.waiting for gateway in self.gateways):
            self.sweep(time.monotonic())
            await asyncio.sleep(TICK)

    def sweep(self, now: float) -> None:
        for gateway in self.gateways:
            gateway.sweep(now)

    def totals(self) -> Totals:
        """What was counted so far."""
        return Totals(
            rows=[row for gateway in self.gateways for row in gateway.rows.values()],
            seconds=(self.ended or time.monotonic()) - self.began,
            sent={gateway.pod: gateway.sent for gateway in self.gateways},
            skipped={gateway.pod: gateway.skipped for gateway in self.gateways},
        )


async def serve(asked: IO[str], said: IO[str]) -> None:
    """The order, the looks and the end, line by line."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), asked)
    order = TrafficOrder(**json.loads(await lines.readline()))
    load = Load([TrafficTarget(pod, address, order) for pod, address in order.pods.items()], order.rate)
    stopping = asyncio.Event()
    running = asyncio.ensure_future(load.run(stopping))
    while await lines.readline():
        tell(load.totals(), said)
    stopping.set()
    await running
    tell(load.totals(), said)


def tell(totals: Totals, said: IO[str]) -> None:
    """One line."""
    said.write(json.dumps(asdict(totals)) + "\n")
    said.flush()


if __name__ == "__main__":
    asyncio.run(serve(sys.stdin, sys.stdout))
