"""Keep the Leases in a thread with its own event loop and connection, so that a busy main loop loses none.

The thread also watches whether the main loop still runs. A blocked main loop writes nothing, so it is safe to hold the
Lease for it. But no other operator acts meanwhile, so the process exits after a while.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from pluginrelease.controller.lease import Leadership, read_clock
from pluginrelease.core.apiserver import health
from pluginrelease.core.apiserver.health import Pulse

log = structlog.get_logger(__name__)

Made = TypeVar("Made")

# exit codes: the operator lost the Lease; its main loop was blocked
LEASE_LOST = 75
STOOD_STILL = 76

# ends the process, with its exit code and why
End = Callable[[int, str], None]


def end_process(code: int, why: str) -> None:
    """End the process at once. Nothing that matters is in memory."""
    log.error("the operator exits", why=why)
    sys.stderr.flush()
    os._exit(code)


def run_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Run an event loop until another thread stops it."""
    asyncio.set_event_loop(loop)
    loop.run_forever()


class LeaseThread:
    """Keep what `Leadership` takes. Await its coroutines in the main loop; call the other methods in any thread."""

    def __init__(self, make: Callable[[], Awaitable[Leadership]], end: End = end_process) -> None:
        self._make = make
        self._end = end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._leadership = Leadership(())
        self._turns = 0
        self._turning: asyncio.Task[None] | None = None
        self._guards: list[asyncio.Future[None]] = []
        self._pulse = Pulse(0, read_clock(), read_clock())

    async def start(self) -> None:
        """Start the thread; return when it has its connection. Raises what ``make`` raises."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=run_loop, args=(self._loop,), name="lease", daemon=True)
        self._thread.start()
        self._turning = asyncio.create_task(self._turn())
        await self.call(self._begin())

    async def acquire(self) -> None:
        """Return once every Lease is held. From then on the process exits if one is lost or the main loop blocks."""
        await self.call(self._acquire())

    async def stop(self) -> None:
        """Release the Leases and end the thread. No write may be running."""
        if self._loop is None or self._thread is None or self._turning is None:
            return
        await self.call(self._give_back())
        self._turning.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def call(self, work: Coroutine[Any, Any, Made]) -> Made:
        """Run a coroutine in the thread, after `start`; return its result. Cancelling this call cancels it."""
        assert self._loop is not None  # noqa: S101  the thread was started
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def require(self) -> None:
        """Raise `Transient` (LeaseNotHeld) if no write may begin now."""
        self._leadership.require()

    def age(self) -> float | None:
        """Return the seconds since the oldest renewal; None if not all Leases are held."""
        return self._leadership.age()

    def describe_wait(self) -> str | None:
        """Say which Lease the operator waits for; None if it holds all."""
        return self._leadership.describe_wait()

    def trouble(self) -> str | None:
        """Say why the request for an awaited Lease failed; None if it did not."""
        return self._leadership.trouble()

    def stood_still(self) -> float:
        """Return for how many seconds the main loop has been blocked."""
        return self._pulse.stood_still

    # ------------------------------------------------------------------------------------------- in the thread

    async def _begin(self) -> None:
        self._leadership = await self._make()
        self._guards = [asyncio.ensure_future(self._watch_main_loop())]

    async def _acquire(self) -> None:
        await self._leadership.acquire()
        self._guards.append(asyncio.ensure_future(self._end_without_lease()))

    async def _end_without_lease(self) -> None:
        self._end(LEASE_LOST, await self._leadership.lost())

    async def _watch_main_loop(self) -> None:
        while True:
            self._pulse = health.observe_pulse(self._pulse, self._turns, read_clock())
            if self._pulse.stood_still > health.STOPPED_SECONDS:
                self._end(STOOD_STILL, f"the main loop has not run for {self._pulse.stood_still:.0f} s")
            await asyncio.sleep(health.LOOK_SECONDS)

    async def _give_back(self) -> None:
        for guard in self._guards:
            guard.cancel()
        await asyncio.gather(*self._guards, return_exceptions=True)
        await self._leadership.give_back()
        await self._leadership.close()

    # --------------------------------------------------------------------------------------- in the main loop

    async def _turn(self) -> None:
        while True:
            self._turns += 1
            await asyncio.sleep(health.LOOK_SECONDS / 2)
