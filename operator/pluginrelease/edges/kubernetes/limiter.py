"""Limit how many requests go to the API server at once: one limiter per connection, which obeys 429 and Retry-After.

Requests have lanes. Rollbacks have places of their own and never wait for other requests. They wait only if the API
server asks for it. Renewals of the Lease use another connection without a limiter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import TypeVar

from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import pacing
from pluginrelease.core.errors import Transient

Answer = TypeVar("Answer")


class Lane(Enum):
    """The lane of a request. The value is how many of its requests may run at once."""

    WAY_BACK = 16
    REST = 24


_lane: ContextVar[Lane] = ContextVar("lane", default=Lane.REST)


@contextmanager
def way_back() -> Iterator[None]:
    """Put all requests of the body into the lane of rollbacks, including those of tasks that begin in it."""
    token = _lane.set(Lane.WAY_BACK)
    try:
        yield
    finally:
        _lane.reset(token)


def is_way_back() -> bool:
    """Return whether requests now belong to a rollback."""
    return _lane.get() is Lane.WAY_BACK


# called with the seconds that a request waited for its turn
Observer = Callable[[Lane, float], None]


def ignore(_lane: Lane, _seconds: float) -> None:
    """Do nothing."""


class Limiter:
    """The lanes of one connection."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, observe: Observer = ignore) -> None:
        self._clock = clock
        self._observe = observe
        self._places = {lane: asyncio.Semaphore(lane.value) for lane in Lane}
        self._open_at = dict.fromkeys(Lane, 0.0)

    async def ask(self, send: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the result of ``send``. After a 429 send again, because the API server has done nothing.

        Raises the last 429 (`Transient`, TooManyRequests) after `pacing.PATIENCE` seconds.
        """
        lane, began, tries = _lane.get(), self._clock(), 0
        while True:
            try:
                async with self._place(lane):
                    return await send()
            except Transient as error:
                if error.reason is not Reason.TOO_MANY_REQUESTS:
                    raise
                tries += 1
                pause = pacing.pause(error.retry_after, tries)
                self._pause(lane, pause)
                if self._clock() + pause - began > pacing.PATIENCE:
                    raise

    @asynccontextmanager
    async def _place(self, lane: Lane) -> AsyncIterator[None]:
        """Wait until the lane is open, and take a place in it."""
        came = self._clock()
        async with self._places[lane]:
            while True:
                seconds = self._open_at[lane] - self._clock()
                if seconds <= 0:
                    break
                await asyncio.sleep(seconds)
            self._observe(lane, self._clock() - came)
            yield

    def _pause(self, lane: Lane, seconds: float) -> None:
        """Close the lane. If it is that of rollbacks, close the others too."""
        closed = Lane if lane is Lane.WAY_BACK else (lane,)
        for each in closed:
            self._open_at[each] = max(self._open_at[each], self._clock() + seconds)
