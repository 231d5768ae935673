"""Envoy's admin interface: HTTP on one forwarded port. The largest answer is parsed while it arrives."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
import h11
import ijson
from ijson.utils import coroutine

from pluginrelease.core.apiserver import answers
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway.listeners import ListenerReader, Listeners
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.edges.envoy.access import Channels, GatewayAccess
from pluginrelease.edges.envoy.tunnel import Broken, Forwarded, Http

T = TypeVar("T")

# a Date header has whole seconds, and the answer needs time: a smaller difference does not count
CLOCK_TOLERANCE = timedelta(seconds=2)
LONGEST_VALUE = 16 * 1024 * 1024
NO_JSON = "dynamic_listeners did not answer with a JSON object"
LISTENERS = "/config_dump?resource=dynamic_listeners"

# every change of a listener changes one of these; a mask cannot name fields within a listener
LISTENER_VERSIONS = (
    f"{LISTENERS}&mask=name,error_state.details,error_state.last_update_attempt,active_state.version_info,"
    "active_state.last_updated,warming_state.version_info,warming_state.last_updated"
)


class Unreadable(Exception):
    """The pod did not answer like an Envoy. The text is for people."""


BROKEN = (Unreadable, Broken, aiohttp.ClientError, OSError, h11.ProtocolError)


async def retry_once(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask, and ask once more if the connection was reset: an Envoy that compiles resets waiting connections."""
    try:
        return await ask()
    except BROKEN:
        return await ask()


def describe_error(error: Exception) -> str:
    """Return a sentence without the API server's address."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return answers.explain_refused_stream(error.status)
    if isinstance(error, ReleaseError):
        return error.message
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, h11.ProtocolError):
        return f"the admin port does not speak HTTP ({error})"
    return str(error) or type(error).__name__


async def hash_listeners(admin: Admin) -> bytes:
    """Return a hash that changes with the listeners; b"" if the gateway does not show them."""
    brief = await admin.request("GET", LISTENER_VERSIONS)
    return hashlib.sha256(brief.text.encode()).digest() if brief.status == 200 else b""


async def ask(channels: Channels, pod: PodRef, method: str, target: str, settings: GatewayAccess) -> AdminResponse:
    async with connect(channels, pod, settings) as admin:
        if method != "GET":  # the last moment before the change, because opening the connection takes time
            settings.fence()
        return await admin.request(method, target)


@dataclass(frozen=True)
class AdminResponse:
    """An answer. ``skew``: how far Envoy's clock is ahead of ours; zero if this is within its precision."""

    status: int
    text: str
    skew: timedelta = timedelta()


class Admin:
    """HTTP/1.1 on one forwarded port, with one request after the other on one connection."""

    def __init__(self, http: Http, settings: GatewayAccess) -> None:
        self._http = http
        self._limit = settings.answer_limit_bytes
        self._dump_limit = settings.dump_limit_bytes

    async def get(self, target: str) -> AdminResponse:
        """Send a GET. Raises `Unreadable` for any status except 200."""
        answer = await self.request("GET", target)
        if answer.status != 200:
            raise Unreadable(f"GET {target.partition('?')[0]} answered {answer.status}")
        return answer

    async def section(self, mask: str) -> str:
        """Return the sections of the configuration dump that have this field; "" if there are none."""
        answer = await self.request("GET", f"/config_dump?mask={mask}")
        if answer.status == 400 and "could not be successfully applied to any configs" in answer.text:
            return ""
        if answer.status != 200:
            raise Unreadable(f"GET /config_dump?mask={mask} answered {answer.status}")
        return answer.text

    async def listeners(self) -> Listeners:
        """Return what the control plane's listeners say, parsed while the bytes arrive and never held whole."""
        response = await self._ask("GET", LISTENERS)
        reader = ListenerReader()
        parser = _Parser(reader)
        async for data in self._data(self._dump_limit):
            parser.feed(data)
        parser.end()
        if response.status_code != 200:
            raise Unreadable(f"GET {LISTENERS} answered {response.status_code}")
        return reader.finish()

    async def request(self, method: str, target: str) -> AdminResponse:
        """Send one request; return its answer. Raises `Unreadable` beyond ``limit`` bytes."""
        response = await self._ask(method, target)
        body = bytearray()
        async for data in self._data(self._limit):
            body += data
        return AdminResponse(response.status_code, body.decode(errors="replace"), _clock_skew(response))

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
        """Yield the answer's body as it arrives, up to ``limit`` bytes."""
        size = 0
        while not isinstance(event := await self._http.event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise Unreadable("the connection ended within an answer")
            size += len(event.data)
            if size > limit:
                raise Unreadable(f"an answer is longer than {limit} bytes")
            yield bytes(event.data)


class _Parser:
    """A JSON parser that takes pieces and passes events to a reader."""

    def __init__(self, reader: ListenerReader) -> None:
        self._reader = reader
        self._silent = 0
        self._broken = False
        self._parser = ijson.parse_coro(self._events())

    def feed(self, data: bytes) -> None:
        """Parse the next piece. After invalid JSON, notify the reader and ignore the rest."""
        self._silent += 0 if self._broken else len(data)
        if self._silent > LONGEST_VALUE:
            raise Unreadable(f"a value in the listeners' description is longer than {LONGEST_VALUE} bytes")
        self._guarded(lambda: self._parser.send(data))

    def end(self) -> None:
        """End the document."""
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


def _clock_skew(response: h11.Response) -> timedelta:
    for name, value in response.headers:
        if name == b"date":
            with contextlib.suppress(ValueError):
                skew = parsedate_to_datetime(value.decode("ascii")) - datetime.now(UTC)
                return skew if abs(skew) > CLOCK_TOLERANCE else timedelta()
    return timedelta()


@contextlib.asynccontextmanager
async def connect(channels: Channels, pod: PodRef, settings: GatewayAccess) -> AsyncIterator[Admin]:
    async with channels.portforward(pod.namespace, pod.name, settings.admin_port) as socket:
        yield Admin(Http(Forwarded(socket)), settings)
