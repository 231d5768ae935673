"""What the API server answered, noted by every session that speaks with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import aiohttp
from aiohttp import ClientHandlerType

from pluginrelease.core.apiserver import health

Clock = Callable[[], float]

# what the API server asks a kubelet for: a fault there is not its own
RELAYED = ("/portforward", "/log")


@dataclass
class _Stream:
    watch: health.Watch
    answer: aiohttp.ClientResponse | None = None


class Contact:
    """How the operator and the API server stand: whether it answers, whether it knows us, which watches are open."""

    def __init__(self, needed: Iterable[health.Watch] = (), clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._streams = {watch.path: _Stream(watch) for watch in needed}
        self._answering_since: float | None = None
        self._failures = 0
        self._failed_first = 0.0
        self._refused_logins = 0
        self.refusal: str | None = None

    async def note(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        """A middleware of `aiohttp.ClientSession`."""
        if request.url.path.endswith(RELAYED):
            return await handler(request)
        try:
            answer = await handler(request)
        except (aiohttp.ClientError, TimeoutError):
            self._fail()
            raise
        self._take(answer)
        stream = self._streams.get(request.url.path)
        if stream is not None and request.method == "GET":
            is_missing = answer.status == 404
            stream.watch = replace(stream.watch, is_missing=is_missing)
            if answer.status == 200 and request.url.query.get("watch") == "true":
                stream.answer = answer
        return answer

    def _take(self, answer: aiohttp.ClientResponse) -> None:
        self.refusal = f"{answer.status} {answer.reason}" if answer.status == 401 else None
        if answer.status == 401 or answer.status >= 500:
            self._fail()
            return
        self._failures = self._refused_logins = 0
        if self._answering_since is None:
            self._answering_since = self._clock()

    def _fail(self) -> None:
        self._answering_since = None
        self._failures += 1
        if self._failures == 1:
            self._failed_first = self._clock()

    def count_login(self) -> int:
        """How many logins were refused since the API server knew us, this one told in case that the last was."""
        if self.refusal is not None:
            self._refused_logins += 1
        return self._refused_logins

    def facts(self, *, has_ended: bool = False) -> health.Facts:
        """As it is now. A stream that is open now was last open now."""
        now = self._clock()
        for stream in self._streams.values():
            if stream.answer is not None and not stream.answer.closed:
                stream.watch = replace(stream.watch, last_open=now)
        watches = tuple(stream.watch for stream in self._streams.values())
        return health.Facts(
            started=self._started,
            watches=watches,
            refusal=self.refusal,
            answering_since=self._answering_since,
            failing_since=self._failed_first if self._failures > 1 else None,
            has_ended=has_ended,
        )
