"""Gateway pods seen through the API server: HTTP to Envoy's admin port over a port-forward, and the pod's log.

A pod that cannot be read is data, never an exception: its `PodObservation` says why. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import h11
import ijson
from ijson.utils import coroutine

from pluginrelease.core.apiserver import answers
from pluginrelease.core.errors import ReleaseError, Transient
from pluginrelease.core.gateway import container as containers
from pluginrelease.core.gateway import log_rotation, logs, observations
from pluginrelease.core.gateway.container import LastWords, Termination
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.listeners import ListenerReader, Listeners
from pluginrelease.core.gateway.log_rotation import Beginning
from pluginrelease.core.gateway.observations import Documents, PodObservation, PodRef
from pluginrelease.edges.envoy.tunnel import Broken, Forwarded, Http

T = TypeVar("T")

# a Date header has whole seconds, and the answer took its way: less than this is no difference between two clocks
CLOCK_TOLERANCE = timedelta(seconds=2)
# a line of the time before that which is wanted shows that nothing between the two is missing
LOOK_BACK = timedelta(seconds=2)
LOGGER = "filter"
# Istio's agent serves its own there (pkg/config/constants, cmd/pilot-agent/status)
AGENT_PORT = 15020
LONGEST_VALUE = 16 * 1024 * 1024
NO_JSON = "dynamic_listeners did not answer with a JSON object"


class Channels(Protocol):
    """The two ways to a pod that the API server offers."""

    def portforward(
        self, namespace: str, pod: str, port: int
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """A websocket on which ``v4.channel.k8s.io`` is negotiated, with one forwarded port."""
        ...

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        """The container's log since a time, the first ``limit_bytes`` of it."""
        ...

    async def read_last_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str:
        """The end of the container's log, or of that of the container before it."""
        ...

    async def log_begins(self, namespace: str, pod: str, container: str) -> datetime | None:
        """When the first line of the container's log was written; None for an empty one."""
        ...


@dataclass(frozen=True)
class GatewayAccess:
    """How the operator reaches gateways: the operator's configuration, never a tenant's field."""

    admin_port: int = 15000
    container: str = "istio-proxy"
    parallel: int = 16
    answer_limit_bytes: int = 64 * 1024 * 1024
    dump_limit_bytes: int = 512 * 1024 * 1024
    log_limit_bytes: int = 4 * 1024 * 1024
    log_pages: int = 4
    last_lines: int = 400
    last_limit_bytes: int = 1024 * 1024
    last_seconds: float = 3.0


DEFAULT = GatewayAccess()
LISTENERS = "/config_dump?resource=dynamic_listeners"
# whatever happens to a listener changes one of these; a mask cannot name what is within a listener
BRIEF = (
    f"{LISTENERS}&mask=name,error_state.details,error_state.last_update_attempt,active_state.version_info,"
    "active_state.last_updated,warming_state.version_info,warming_state.last_updated"
)


@dataclass(frozen=True)
class CachedDump:
    """What one run of a pod's Envoy, known by ``start``, answered; ``listeners`` hold while they have this ``mark``."""

    start: str
    info: str
    mark: bytes = b""
    listeners: Listeners = field(default_factory=Listeners)


class DumpCache:
    """What gateways answered at the last look, so that it is not sent again while nothing about it changes.

    For all releases together, of the ``limit`` pods that were looked at last. Losing it costs bytes and nothing else.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, CachedDump] = OrderedDict()
        self._ends: OrderedDict[str, tuple[Termination, LastWords]] = OrderedDict()
        self._logs: OrderedDict[str, tuple[str, Beginning]] = OrderedDict()

    def recall_end(self, pod: PodRef) -> LastWords | None:
        """What the container's last log said, if that was of its present end."""
        ended, words = self._ends.get(pod.uid, (None, None))
        return words if ended == pod.container.terminated else None

    def keep_end(self, pod: PodRef, words: LastWords) -> None:
        """In place of an earlier end of this pod's container."""
        if pod.container.terminated is not None:
            self._ends[pod.uid] = (pod.container.terminated, words)
            self._ends.move_to_end(pod.uid)
        while len(self._ends) > self._limit:
            self._ends.popitem(last=False)

    def recall(self, pod: PodRef, start: str) -> CachedDump | None:
        """What was kept of this run of the pod's Envoy."""
        kept = self._kept.get(pod.uid)
        return kept if kept and kept.start == start else None

    def keep(self, pod: PodRef, kept: CachedDump) -> None:
        """In place of what was kept of this pod."""
        self._kept[pod.uid] = kept
        self._forget_oldest(self._kept, pod)

    def learn(self, pod: PodRef, start: str, now: Beginning) -> Beginning:
        """What is known of the log of this run of the pod's Envoy, after a look at how it begins."""
        run, before = self._logs.get(pod.uid, ("", None))
        found = log_rotation.carry(before if run == start else None, now)
        self._logs[pod.uid] = (start, found)
        self._forget_oldest(self._logs, pod)
        return found

    def _forget_oldest(self, kept: OrderedDict[str, Any], newest: PodRef) -> None:
        kept.move_to_end(newest.uid)
        while len(kept) > self._limit:
            kept.popitem(last=False)


@dataclass(frozen=True)
class ReadOptions:
    """What need not be asked again: the log of pods whose Envoy is among ``verified`` is read since ``recent`` only."""

    verified: Collection[Incarnation] = ()
    recent: datetime | None = None
    memory: DumpCache | None = None


NEW = ReadOptions()


class Call:
    """A connection that an admin port has taken, and on which it has not answered yet."""

    def __init__(self) -> None:
        self._since: float | None = None

    def taken(self) -> None:
        """The connection is there; from now on an answer is awaited."""
        self._since = asyncio.get_running_loop().time()

    def ended(self) -> None:
        """The port has answered, or the connection has broken."""
        self._since = None

    def silence(self) -> timedelta | None:
        """For how long an answer has been awaited; None where none is."""
        return None if self._since is None else timedelta(seconds=asyncio.get_running_loop().time() - self._since)


class Unreadable(Exception):
    """The pod did not answer as an Envoy does; the text is for people."""


BROKEN = (Unreadable, Broken, aiohttp.ClientError, OSError, h11.ProtocolError)


# ------------------------------------------------------------------------------------------------------------ looking


async def look(
    channels: Channels,
    pods: Sequence[PodRef],
    wanted: DesiredPlugin,
    *,
    since: datetime,
    deadline_seconds: float,
    settings: GatewayAccess = DEFAULT,
    habit: ReadOptions = NEW,
) -> tuple[PodObservation, ...]:
    """Every pod, in the order given, under one deadline; ``since`` is where reading the logs begins.

    A pod whose container does not run is not asked.
    """
    ends: dict[str, LastWords | None] = {}
    calls = {pod.uid: Call() for pod in pods}

    async def one(pod: PodRef) -> PodObservation:
        ends[pod.uid] = words = await _last_words(channels, pod, since, settings, habit)
        if not pod.container.running:
            return _unasked(pod, _does_not_run(pod, settings), words)
        read = await _twice(lambda: documents(channels, pod, wanted, since, settings, habit, calls[pod.uid]))
        return replace(observations.observe_pod(pod, datetime.now(UTC), read, wanted, since), last_words=words)

    def failed(pod: PodRef, error: str) -> PodObservation:
        return replace(_unasked(pod, error, ends.get(pod.uid)), silent=calls[pod.uid].silence())

    return await _each(pods, one, failed, deadline_seconds, settings)


async def glance(
    channels: Channels,
    pods: Sequence[PodRef],
    *,
    since: datetime,
    settings: GatewayAccess = DEFAULT,
    habit: ReadOptions = NEW,
) -> tuple[PodObservation, ...]:
    """What the pods' status alone shows, with how a container ended that has; no gateway is asked."""
    words = await asyncio.gather(*(_last_words(channels, pod, since, settings, habit) for pod in pods))
    return tuple(_unasked(pod, "it was not asked", last) for pod, last in zip(pods, words, strict=True))


def _unasked(pod: PodRef, why: str, words: LastWords | None) -> PodObservation:
    return PodObservation(pod, datetime.now(UTC), unreachable=why, last_words=words)


def _does_not_run(pod: PodRef, settings: GatewayAccess) -> str:
    why = pod.container.waiting or (pod.container.terminated.reason if pod.container.terminated else "")
    return f"its container {settings.container} does not run{f': {why}' if why else ''}"


async def _last_words(
    channels: Channels, pod: PodRef, since: datetime, settings: GatewayAccess, habit: ReadOptions
) -> LastWords | None:
    """How the container ended, when that was after ``since``; what it said is asked for once, and is not waited for."""
    ended = pod.container.terminated
    if ended is None or ended.at < since - CLOCK_TOLERANCE:
        return None
    known = habit.memory.recall_end(pod) if habit.memory else None
    if known is not None:
        return known
    try:
        async with asyncio.timeout(settings.last_seconds):
            log = await channels.read_last_log(
                pod.namespace,
                pod.name,
                settings.container,
                previous=not ended.is_state,
                tail_lines=settings.last_lines,
                limit_bytes=settings.last_limit_bytes,
            )
    except (TimeoutError, ReleaseError):
        return containers.last_words(ended, "")
    words = containers.last_words(ended, log)
    if habit.memory:
        habit.memory.keep_end(pod, words)
    return words


async def read_logging(
    channels: Channels, pod: PodRef, *, deadline_seconds: float = 10, settings: GatewayAccess = DEFAULT
) -> str:
    """The level of Envoy's ``filter`` logger. Raises `Transient`."""
    return await _logging(channels, pod, "/logging", deadline_seconds, settings)


async def set_logging(
    channels: Channels, pod: PodRef, level: str, *, deadline_seconds: float = 10, settings: GatewayAccess = DEFAULT
) -> None:
    """Sets Envoy's ``filter`` logger; at debug it names each plugin it has loaded. Raises `Transient`."""
    query = urlencode({LOGGER: level})
    found = await _logging(channels, pod, f"/logging?{query}", deadline_seconds, settings)
    if found != level:
        raise _transient(pod, f"the {LOGGER} logger is at {found} after it was set to {level}")


async def end(
    channels: Channels, pod: PodRef, *, deadline_seconds: float = 10, settings: GatewayAccess = DEFAULT
) -> None:
    """Lets the agent end Envoy, also one that hangs, and itself; the kubelet starts the container again.

    The agent takes that from the pod's own loopback only, which a port-forward is. Raises `Transient`.
    """
    at_agent = replace(settings, admin_port=AGENT_PORT)
    try:
        async with asyncio.timeout(deadline_seconds):
            answer = await _ask(channels, pod, "POST", "/quitquitquit", at_agent)
    except (*BROKEN, TimeoutError) as error:
        raise Transient("GatewayNotRestarted", f"{pod.namespace}/{pod.name}: {_said(error)}") from error
    if answer.status != 200:
        raise Transient("GatewayNotRestarted", f"{pod.namespace}/{pod.name}: the agent answered {answer.status}")


async def _each(
    pods: Sequence[PodRef],
    one: Callable[[PodRef], Awaitable[T]],
    failed: Callable[[PodRef, str], T],
    deadline_seconds: float,
    settings: GatewayAccess,
) -> tuple[T, ...]:
    """All pods side by side, ``parallel`` at a time, each ended by the common deadline."""
    deadline = asyncio.get_running_loop().time() + deadline_seconds
    free = asyncio.Semaphore(settings.parallel)

    async def bounded(pod: PodRef) -> T:
        try:
            async with asyncio.timeout_at(deadline), free:
                return await one(pod)
        except TimeoutError:
            return failed(pod, f"no answer within {deadline_seconds:g} s")
        except (*BROKEN, ReleaseError, ValueError) as error:
            return failed(pod, _said(error))

    return tuple(await asyncio.gather(*map(bounded, pods)))


async def _logging(
    channels: Channels, pod: PodRef, target: str, deadline_seconds: float, settings: GatewayAccess
) -> str:
    try:
        async with asyncio.timeout(deadline_seconds):
            answer = await _twice(lambda: _ask(channels, pod, "POST", target, settings))
    except BROKEN as error:
        raise _transient(pod, _said(error)) from error
    level = observations.logger_level(answer.text, LOGGER)
    if answer.status != 200 or level is None:
        raise _transient(pod, f"POST /logging answered {answer.status} without the {LOGGER} logger")
    return level


async def _twice(ask: Callable[[], Awaitable[T]]) -> T:
    """An Envoy that was busy compiling resets connections that waited meanwhile; the next one is answered."""
    try:
        return await ask()
    except BROKEN:
        return await ask()


def _transient(pod: PodRef, message: str) -> Transient:
    return Transient("LoggerNotSet", f"{pod.namespace}/{pod.name}: {message}", "The next look tries again.")


def _said(error: Exception) -> str:
    """A sentence without the API server's address."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return answers.refused_stream(error.status)
    if isinstance(error, ReleaseError):
        return error.message
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, h11.ProtocolError):
        return f"the admin port does not speak HTTP ({error})"
    return str(error) or type(error).__name__


# ----------------------------------------------------------------------------------------------------- what is asked


async def documents(
    channels: Channels,
    pod: PodRef,
    wanted: DesiredPlugin,
    since: datetime,
    settings: GatewayAccess = DEFAULT,
    habit: ReadOptions = NEW,
    call: Call | None = None,
) -> Documents:
    """What one pod answers, unjudged. Configuration before statistics before log: what refused the first then shows
    in the others. Raises what the port-forward raises, and `Unreadable`; the caller sets the deadline.
    """
    async with _admin(channels, pod, settings) as admin:
        start = await _first_answer(admin, call or Call())
        known = habit.memory.recall(pod, start.text) if habit.memory else None
        info = known.info if known else observations.trim_server_info((await admin.get("/server_info")).text)
        ecds = await admin.section("ecds_filters")
        mark = await _mark(admin) if habit.memory else b""
        same = known if known and known.mark == mark != b"" else None
        listeners = same.listeners if same else await admin.listeners()
        stats = await admin.get(f"/stats?format=json&filter={quote(_statistics(wanted), safe='')}")
    if habit.memory and not listeners.unknown:
        habit.memory.keep(pod, CachedDump(start.text, info, mark, listeners))
    log_from = observations.log_since(ecds, wanted, since + start.skew)
    if habit.recent and observations.running(pod, start.text) in habit.verified:
        log_from = max(log_from, habit.recent + start.skew)
    log, truncated = await _log(channels, pod, log_from - LOOK_BACK, settings)
    if not truncated and not logs.reaches_back(log, log_from):
        found = await _beginning(channels, pod, start, settings, habit)
        truncated = not log_rotation.is_whole(found, log_from, observations.started_at(start.text))
    return Documents(info, start.text, ecds, listeners, stats.text, log, truncated, start.skew, log_from)


async def _first_answer(admin: Admin, call: Call) -> AdminResponse:
    """When this run of Envoy began. One that hangs takes the connection, and never answers."""
    call.taken()
    try:
        answer = await admin.get("/config_dump?mask=last_updated")
    except BROKEN:
        call.ended()
        raise
    call.ended()
    return answer


async def _beginning(
    channels: Channels, pod: PodRef, start: AdminResponse, settings: GatewayAccess, habit: ReadOptions
) -> Beginning:
    """How the log begins, after it was read: a rotation between the two is taken for one before."""
    first = await channels.log_begins(pod.namespace, pod.name, settings.container)
    now = Beginning(first, datetime.now(UTC) + start.skew)
    return habit.memory.learn(pod, start.text, now) if habit.memory else now


async def _mark(admin: Admin) -> bytes:
    """What changes with anything about the listeners; b"" where the gateway does not tell."""
    brief = await admin.request("GET", BRIEF)
    return hashlib.sha256(brief.text.encode()).digest() if brief.status == 200 else b""


async def _ask(channels: Channels, pod: PodRef, method: str, target: str, settings: GatewayAccess) -> AdminResponse:
    async with _admin(channels, pod, settings) as admin:
        return await admin.request(method, target)


def _statistics(wanted: DesiredPlugin) -> str:
    """Envoy's own Wasm statistics, and those of the subscription of one plugin."""
    name = re.escape(f"{wanted.namespace}.{wanted.name}")
    return rf"^wasm\.|^extension_config_discovery\..*{name}"


async def _log(channels: Channels, pod: PodRef, since: datetime, settings: GatewayAccess) -> tuple[str, bool]:
    """The whole log since a time, page by page; (its last seconds, True) behind a gap when it is too long for that."""
    pages: list[str] = []
    start = since
    for _ in range(settings.log_pages):
        page = await _page(channels, pod, start, settings)
        pages.append(page)
        if len(page.encode()) < settings.log_limit_bytes:
            return "\n".join(pages), False
        reached = logs.last_time(page)
        if reached is None or reached <= start:
            break
        start = reached
    pages.append(await _page(channels, pod, datetime.now(UTC) - timedelta(seconds=5), settings))
    return "\n".join(pages), True


async def _page(channels: Channels, pod: PodRef, since: datetime, settings: GatewayAccess) -> str:
    limit = settings.log_limit_bytes
    return await channels.read_log(pod.namespace, pod.name, settings.container, since=since, limit_bytes=limit)


# ------------------------------------------------------------------------------------------ HTTP over a port-forward


@dataclass(frozen=True)
class AdminResponse:
    """``skew``: how far the answering clock is ahead of ours; zero when that is within its precision."""

    status: int
    text: str
    skew: timedelta = timedelta()


class Admin:
    """HTTP/1.1 on one forwarded port, one request after the other on one connection."""

    def __init__(self, http: Http, settings: GatewayAccess) -> None:
        self._http = http
        self._limit = settings.answer_limit_bytes
        self._dump_limit = settings.dump_limit_bytes

    async def get(self, target: str) -> AdminResponse:
        """Raises `Unreadable` for any status but 200."""
        answer = await self.request("GET", target)
        if answer.status != 200:
            raise Unreadable(f"GET {target.partition('?')[0]} answered {answer.status}")
        return answer

    async def section(self, mask: str) -> str:
        """Of the configuration dump only the sections with this field, of all kinds; "" when there are none."""
        answer = await self.request("GET", f"/config_dump?mask={mask}")
        if answer.status == 400 and "could not be successfully applied to any configs" in answer.text:
            return ""
        if answer.status != 200:
            raise Unreadable(f"GET /config_dump?mask={mask} answered {answer.status}")
        return answer.text

    async def listeners(self) -> Listeners:
        """What the control plane's listeners say, read as the bytes come and never held whole."""
        response = await self._ask("GET", LISTENERS)
        reader = ListenerReader()
        parser = _Parser(reader)
        async for data in self._data(self._dump_limit):
            parser.feed(data)
        parser.end()
        if response.status_code != 200:
            raise Unreadable(f"GET {LISTENERS} answered {response.status_code}")
        return reader.finished()

    async def request(self, method: str, target: str) -> AdminResponse:
        """One request and its whole answer, at most ``limit`` bytes of it."""
        response = await self._ask(method, target)
        body = bytearray()
        async for data in self._data(self._limit):
            body += data
        return AdminResponse(response.status_code, body.decode(errors="replace"), _skew(response))

    async def _ask(self, method: str, target: str) -> h11.Response:
        if self._http.connection.our_state is h11.DONE:
            self._http.connection.start_next_cycle()
        head = [("Host", "localhost"), ("Content-Length", "0")]
        await self._http.send(h11.Request(method=method, target=target, headers=head), h11.EndOfMessage())
        return await self._expect()

    async def _expect(self) -> h11.Response:
        event = await self._http.event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._http.event()
        if not isinstance(event, h11.Response):
            raise Unreadable("the connection ended before an answer")
        return event

    async def _data(self, limit: int) -> AsyncIterator[bytes]:
        """The answer's body as it comes, at most ``limit`` bytes."""
        size = 0
        while not isinstance(event := await self._http.event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise Unreadable("the connection ended within an answer")
            size += len(event.data)
            if size > limit:
                raise Unreadable(f"an answer is longer than {limit} bytes")
            yield bytes(event.data)


class _Parser:
    """JSON that is taken in pieces, and told to a reader event by event."""

    def __init__(self, reader: ListenerReader) -> None:
        self._reader = reader
        self._silent = 0
        self._broken = False
        self._parser = ijson.parse_coro(self._events())

    def feed(self, data: bytes) -> None:
        """The next piece. What is no JSON is told to the reader, and the rest of it passed over."""
        self._silent += 0 if self._broken else len(data)
        if self._silent > LONGEST_VALUE:
            raise Unreadable(f"a value in the listeners' description is longer than {LONGEST_VALUE} bytes")
        self._guarded(lambda: self._parser.send(data))

    def end(self) -> None:
        """There is no more."""
        self._guarded(self._parser.close)

    def _guarded(self, step: Callable[[], object]) -> None:
        if self._broken:
            return
        try:
            step()
        except ijson.JSONError:
            self._broken = True
            self._reader.strange(NO_JSON)

    @coroutine  # type: ignore[untyped-decorator]
    def _events(self) -> Generator[None, tuple[str, str, Any], None]:
        while True:
            path, kind, value = yield
            self._silent = 0
            self._reader.take(path, kind, value)


def _skew(response: h11.Response) -> timedelta:
    for name, value in response.headers:
        if name == b"date":
            with contextlib.suppress(ValueError):
                skew = parsedate_to_datetime(value.decode("ascii")) - datetime.now(UTC)
                return skew if abs(skew) > CLOCK_TOLERANCE else timedelta()
    return timedelta()


@contextlib.asynccontextmanager
async def _admin(channels: Channels, pod: PodRef, settings: GatewayAccess) -> AsyncIterator[Admin]:
    async with channels.portforward(pod.namespace, pod.name, settings.admin_port) as socket:
        yield Admin(Http(Forwarded(socket)), settings)
