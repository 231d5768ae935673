"""While one release rolls back, passes over other releases wait before their next step: all share one event loop.

Each of them waits at most `HELD_SECONDS`, so that a rollback that hangs does not stop other releases.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pluginrelease.edges.kubernetes import limiter

# seconds that one rollback can make other passes wait
HELD_SECONDS = 3.0


class RightOfWay:
    """Rollbacks that are running, and the passes that wait for them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held_until: dict[object, float] = {}
        self._is_free = asyncio.Event()

    @property
    def is_held(self) -> bool:
        """Return True while a rollback is running."""
        return bool(self._held_until)

    @contextmanager
    def going_back(self) -> Iterator[None]:
        """Run a rollback: its requests take the lane `WAY_BACK`, and other passes wait in `give_way`."""
        mark = object()
        self._held_until[mark] = self._clock() + HELD_SECONDS
        self._is_free.clear()
        try:
            with limiter.way_back():
                yield
        finally:
            del self._held_until[mark]
            if not self._held_until:
                self._is_free.set()

    async def give_way(self) -> None:
        """Return when the running rollbacks have ended or their time is over; a rollback itself does not wait."""
        if limiter.is_way_back() or not self._held_until:
            return
        seconds = max(self._held_until.values()) - self._clock()
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_free.wait()
