"""Send probes to gateway pods through the API server: each request on its own port-forward.

A connection that fails is data, never an exception: it becomes a `probe.Unanswered`. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import h11

from pluginrelease import api
from pluginrelease.core.apiserver import answers
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.rollout import probe
from pluginrelease.core.rollout.probe import PodProbe, ProbeResponse, Unanswered
from pluginrelease.edges.envoy.access import DEFAULT, Channels, GatewayAccess
from pluginrelease.edges.envoy.tunnel import Broken, Forwarded, Http, Secured, TunnelStream

CONNECTIONS_PER_POD = 8
# a request that hangs must leave time for the others
ANSWER_SECONDS = 10.0
AGENT = "pluginrelease-probe"
# Host header of a probe without a host
ANY_HOST = "localhost"

FAILED = (Broken, aiohttp.ClientError, OSError, h11.ProtocolError, ReleaseError, TimeoutError, ValueError)


@dataclass
class _Series:
    """One probe in one pod: its target, its number of requests, and the answers."""

    pod: PodRef
    asked: api.Probe
    port: int
    times: int
    outcomes: list[ProbeResponse | Unanswered] = field(default_factory=list)


async def ask(
    channels: Channels,
    sightings: Sequence[PodObservation],
    probes: Sequence[api.Probe],
    *,
    deadline_seconds: float,
    settings: GatewayAccess = DEFAULT,
    written: bool = True,
) -> tuple[PodProbe, ...]:
    """Send every probe to every pod under one deadline; return the answers in the order of ``sightings``.

    ``settings.parallel`` pods are asked at a time, over `CONNECTIONS_PER_POD` connections each. ``written`` is False
    before the first write (`probe.find_port`). The caller omits pods that could not be observed.
    """
    deadline = asyncio.get_running_loop().time() + deadline_seconds
    planned = [[_plan(seen, probe, written) for probe in probes] for seen in sightings]
    pods = iter([[entry for entry in row if isinstance(entry, _Series)] for row in planned])
    async with asyncio.TaskGroup() as group:
        for _ in range(min(settings.parallel, len(planned))):
            group.create_task(_ask_pods(channels, pods, deadline))
    return tuple(entry if isinstance(entry, PodProbe) else _count(entry) for row in planned for entry in row)


def _plan(seen: PodObservation, asked: api.Probe, written: bool) -> _Series | PodProbe:
    try:
        port = probe.find_port(asked, seen.listeners, written=written)
    except Refused as refused:
        return probe.report_no_port(seen.pod, asked, refused)
    return _Series(seen.pod, asked, port, probe.count_connections(seen.concurrency))


def _count(series: _Series) -> PodProbe:
    return probe.count(series.pod, series.asked, series.outcomes)


async def _ask_pods(channels: Channels, pods: Iterator[list[_Series]], deadline: float) -> None:
    """Ask one pod after the other until none is left."""
    for row in pods:
        turns = iter([series for series in row for _ in range(series.times)])
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS_PER_POD):
                group.create_task(_ask_in_turn(channels, turns, deadline))


async def _ask_in_turn(channels: Channels, turns: Iterator[_Series], deadline: float) -> None:
    """Use one connection after the other until none is left."""
    for series in turns:
        series.outcomes.append(await _ask_once(channels, series, deadline))


async def _ask_once(channels: Channels, series: _Series, deadline: float) -> ProbeResponse | Unanswered:
    now = asyncio.get_running_loop().time()
    if now >= deadline:
        return Unanswered("there was no time left to ask")
    try:
        async with asyncio.timeout_at(min(deadline, now + ANSWER_SECONDS)), _connect(channels, series) as stream:
            return await exchange(Http(stream), series.asked)
    except FAILED as error:
        return Unanswered(describe_failure(error))


@asynccontextmanager
async def _connect(channels: Channels, series: _Series) -> AsyncIterator[TunnelStream]:
    """Open a new connection to the pod, with TLS if the probe needs it."""
    pod = series.pod
    async with channels.portforward(pod.namespace, pod.name, series.port) as socket:
        plain = Forwarded(socket)
        if series.asked.scheme is api.Scheme.HTTP:
            yield plain
            return
        secured = Secured(plain, series.asked.host or ANY_HOST)
        await secured.handshake()
        yield secured


async def exchange(http: Http, asked: api.Probe) -> ProbeResponse:
    """Send the probe's request; return the answer with the first `probe.BODY_LIMIT` bytes of its body."""
    body = (asked.body or "").encode()
    head = h11.Request(method=asked.method.value, target=asked.path, headers=_headers(asked, len(body)))
    await http.send(head, h11.Data(data=body), h11.EndOfMessage())
    event = await http.event()
    while isinstance(event, h11.InformationalResponse) and event.status_code != 101:
        event = await http.event()
    if isinstance(event, h11.InformationalResponse):
        return ProbeResponse(event.status_code, _decode_headers(event))
    if not isinstance(event, h11.Response):
        raise Broken("the connection ended before an answer")
    return ProbeResponse(event.status_code, _decode_headers(event), await _body(http))


def _headers(asked: api.Probe, length: int) -> list[tuple[bytes, bytes]]:
    """Return the probe's headers and the required ones. White space around a value is not part of it."""
    own = {name.encode(): value.strip().encode() for name, value in (asked.headers or {}).items()}
    given_names = {name.lower() for name in own}
    usual = {b"User-Agent": AGENT.encode(), b"Accept": b"*/*"}
    needed = (
        {b"Content-Length": str(length).encode()} if length or asked.method.value in ("POST", "PUT", "PATCH") else {}
    )
    return [
        (b"Host", (asked.host or ANY_HOST).encode()),
        *((name, value) for name, value in usual.items() if name.lower() not in given_names),
        *own.items(),
        *needed.items(),
        (b"Connection", b"close"),
    ]


async def _body(http: Http) -> bytes:
    """Return the beginning of the body. The rest is not read."""
    body = bytearray()
    while len(body) < probe.BODY_LIMIT and not isinstance(event := await http.event(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise Broken("the connection ended within an answer")
        body += event.data
    return bytes(body[: probe.BODY_LIMIT])


def _decode_headers(event: h11.Response | h11.InformationalResponse) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode(errors="replace")) for name, value in event.headers)


def describe_failure(error: Exception) -> str:
    """Return why there was no answer, without the API server's address and without request or answer."""
    match error:
        case aiohttp.WSServerHandshakeError():
            return answers.explain_refused_stream(error.status)
        case ssl.SSLError():
            # an error from Python itself has no reason
            reason = getattr(error, "reason", None) or "unknown reason"
            return f"TLS failed ({reason.lower().replace('_', ' ')})"
        case h11.RemoteProtocolError():
            return "what came back is not a whole answer of HTTP/1.1"
        case h11.LocalProtocolError():
            return "the probe's headers are none of HTTP/1.1"
        case TimeoutError():
            return "no answer in time"
        case Broken():
            return str(error)
        case ReleaseError():
            return error.message
        case ValueError():
            return "the probe's host cannot be a server name"
        case _:
            return f"the connection failed ({type(error).__name__})"
