"""What the API server answered, noted by every session that talks to it, in any thread."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import aiohttp
from aiohttp import ClientHandlerType

from pluginrelease.core.apiserver import health, requests
from pluginrelease.core.apiserver.requests import RequestClass

Clock = Callable[[], float]

# requests that the API server forwards to a kubelet: an error there is not the API server's
RELAYED = ("/portforward", "/log")
# code for a request without an answer
UNANSWERED = "Failed"


@dataclass
class _Stream:
    watch: health.Watch
    answer: aiohttp.ClientResponse | None = None


class Contact:
    """The state of the connection: whether the API server answers, whether it knows us, which watches are open."""

    def __init__(self, needed: Iterable[health.Watch] = (), clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._streams = {(watch.path, watch.is_kopfs): _Stream(watch) for watch in needed}
        self._answering_since: float | None = None
        self._failures = 0
        self._failed_first = 0.0
        self._refused_logins = 0
        self.refusal: str | None = None
        self._asked: Counter[tuple[RequestClass, str]] = Counter()
        self._lock = threading.RLock()

    async def note_own(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        """Note an answer, as a middleware of our own `aiohttp.ClientSession`."""
        return await self.note(request, handler, is_kopfs=False)

    async def note(
        self, request: aiohttp.ClientRequest, handler: ClientHandlerType, *, is_kopfs: bool = True
    ) -> aiohttp.ClientResponse:
        """Note an answer, as a middleware of kopf's `aiohttp.ClientSession`."""
        if request.url.path.endswith(RELAYED):
            return await self._count(request, handler)
        try:
            answer = await self._count(request, handler)
        except (aiohttp.ClientError, TimeoutError):
            self._fail()
            raise
        with self._lock:
            self._take(answer)
            stream = self._streams.get((request.url.path, is_kopfs))
            if stream is not None and request.method == "GET":
                self._take_watch(stream, request, answer)
        return answer

    async def _count(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        code = UNANSWERED
        try:
            answer = await handler(request)
            code = str(answer.status)
        finally:
            is_watch = request.url.query.get("watch") == "true"
            asked = requests.classify(request.method, request.url.path, is_watch=is_watch)
            with self._lock:
                self._asked[asked, code] += 1
        return answer

    def requests(self) -> Counter[tuple[RequestClass, str]]:
        """Return the number of requests by class and code."""
        with self._lock:
            return Counter(self._asked)

    def _take_watch(self, stream: _Stream, request: aiohttp.ClientRequest, answer: aiohttp.ClientResponse) -> None:
        missing = (404, 403) if stream.watch.may_be_forbidden else (404,)
        stream.watch = replace(stream.watch, is_missing=answer.status in missing)
        if answer.status == 200 and request.url.query.get("watch") == "true":
            stream.answer = answer

    def _take(self, answer: aiohttp.ClientResponse) -> None:
        self.refusal = f"{answer.status} {answer.reason}" if answer.status == 401 else None
        if answer.status == 401 or answer.status >= 500:
            self._fail()
            return
        self._failures = self._refused_logins = 0
        if self._answering_since is None:
            self._answering_since = self._clock()

    def _fail(self) -> None:
        with self._lock:
            self._answering_since = None
            self._failures += 1
            if self._failures == 1:
                self._failed_first = self._clock()

    def count_login(self) -> int:
        """Return how many logins were refused in a row, including this one if the last one was refused."""
        if self.refusal is not None:
            self._refused_logins += 1
        return self._refused_logins

    def begin(self) -> None:
        """Require the watches from now on: the operator is no longer a standby."""
        self._started = self._clock()

    def _look_at_watches(self) -> tuple[health.Watch, ...]:
        now = self._clock()
        for stream in self._streams.values():
            if stream.answer is not None and not stream.answer.closed:
                stream.watch = replace(stream.watch, last_open=now)
        return tuple(stream.watch for stream in self._streams.values())

    def facts(
        self,
        *,
        has_ended: bool = False,
        stands_by: str | None = None,
        trouble: str | None = None,
        stood_still: float = 0.0,
        longest_pass: float = 0.0,
    ) -> health.ContactFacts:
        """Return the state now. A stream that is open now counts as last open now."""
        with self._lock:
            watches = self._look_at_watches()
        return health.ContactFacts(
            started=self._started,
            watches=watches,
            refusal=self.refusal,
            answering_since=self._answering_since,
            failing_since=self._failed_first if self._failures > 1 else None,
            has_ended=has_ended,
            stands_by=stands_by,
            trouble=trouble,
            stood_still=stood_still,
            longest_pass=longest_pass,
        )
