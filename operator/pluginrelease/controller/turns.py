"""How many passes run at once, and in which order. A rollback waits for no other pass.

Hundreds of releases may change together. Without a bound their passes would share the API server, processor and memory
so that none ends in time. Here they run first come, first served. Passes that may end an outage have no bound, and
those that watch a written revision have places of their own. A pass that waits for a registry uses no place.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from enum import Enum, auto

from pluginrelease.edges.kubernetes import limiter


class Stake(Enum):
    """What a pass puts at stake: nothing on gateways yet, a written revision that may fail, or an outage."""

    NOTHING = auto()
    WRITTEN = auto()
    OUTAGE = auto()


class Places:
    """A bounded number of places. A pass that returns to one goes before those that never had one."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._returning: deque[asyncio.Future[None]] = deque()
        self._coming: deque[asyncio.Future[None]] = deque()

    @property
    def are_taken(self) -> bool:
        """Return whether a new pass has to wait."""
        return self._free == 0

    @property
    def waiting(self) -> int:
        """Return how many passes wait for a place."""
        return len(self._returning) + len(self._coming)

    async def take(self, *, returning: bool = False) -> None:
        """Wait for a place."""
        if self._free:
            self._free -= 1
            return
        queue = self._returning if returning else self._coming
        waiting = asyncio.get_running_loop().create_future()
        queue.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():  # a place was handed over at the same moment
                self.give()
            elif waiting in queue:
                queue.remove(waiting)
            raise

    def give(self) -> None:
        """Hand the place over to the next one."""
        for queue in (self._returning, self._coming):
            while queue:
                waiting = queue.popleft()
                if not waiting.done():
                    waiting.set_result(None)
                    return
        self._free += 1


@dataclass
class PassTurn:
    """A pass's place. ``away``: how many of its parts wait for something outside."""

    places: Places
    is_held: bool = True
    away: int = 0
    returning: asyncio.Lock = field(default_factory=asyncio.Lock)

    def leave(self) -> None:
        """Give the place up while a part of the pass waits."""
        self.away += 1
        if self.is_held:
            self.is_held = False
            self.places.give()

    async def come_back(self) -> None:
        """Wait for a place again, unless other parts still wait."""
        self.away -= 1
        async with self.returning:
            if not self.away and not self.is_held:
                await self.places.take(returning=True)
                self.is_held = True

    def end(self) -> None:
        """Give the place up, because the pass has ended."""
        if self.is_held:
            self.places.give()


_turn: ContextVar[PassTurn | None] = ContextVar("turn", default=None)


@asynccontextmanager
async def aside() -> AsyncIterator[None]:
    """Give the pass's place to others while the body waits for something outside. A rollback keeps its own."""
    turn = _turn.get()
    if turn is None or limiter.is_way_back():
        yield
        return
    turn.leave()
    try:
        yield
    except asyncio.CancelledError:  # the pass is interrupted, and must not wait for a place
        turn.away -= 1
        raise
    except BaseException:
        await turn.come_back()
        raise
    await turn.come_back()


def detached() -> Context:
    """Return a copy of this context without the pass's place, for work that may outlive the pass."""
    context = copy_context()
    context.run(_turn.set, None)
    return context


class Turns:
    """The places for passes: ``parallel`` for each stake that has a bound."""

    def __init__(self, parallel: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = {stake: Places(parallel) for stake in (Stake.NOTHING, Stake.WRITTEN)}
        self._clock = clock
        self._began: dict[Stake, list[float]] = {stake: [] for stake in Stake}

    def are_taken(self, stake: Stake) -> bool:
        """Return whether a pass of this stake would wait now."""
        return stake in self._places and self._places[stake].are_taken

    def under_way(self, stake: Stake) -> int:
        """Return how many passes of this stake have begun, including those that wait for a registry."""
        return len(self._began[stake])

    def oldest(self) -> float:
        """Return the age of the oldest pass under way, of any stake, in seconds; 0 if there is none."""
        began = [times[0] for times in map(tuple, self._began.values()) if times]  # also asked in another thread
        return self._clock() - min(began) if began else 0.0

    def waiting(self, stake: Stake) -> int:
        """Return how many passes of this stake wait for a place."""
        return self._places[stake].waiting if stake in self._places else 0

    @asynccontextmanager
    async def take(self, stake: Stake) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the body."""
        async with self._take(stake):
            began = self._clock()
            self._began[stake].append(began)
            try:
                yield
            finally:
                self._began[stake].remove(began)

    @asynccontextmanager
    async def _take(self, stake: Stake) -> AsyncIterator[None]:
        if stake is Stake.OUTAGE:
            yield
            return
        places = self._places[stake]
        await places.take()
        turn = PassTurn(places)
        token = _turn.set(turn)
        try:
            yield
        finally:
            _turn.reset(token)
            turn.end()
