"""Post Events about releases beside the passes: no pass waits for one or fails because of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.writer import Writer
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.status import event_records
from pluginrelease.core.status.event_records import EventRecord, Regarding

log = structlog.get_logger(__name__)

# Events that wait to be posted; beyond this the oldest are dropped
QUEUED = 8000
# seconds to post the rest when the operator ends
DRAIN_SECONDS = 5.0

_Key = tuple[str, str, str, str]


class Recorder:
    """Post Events in the order in which they came. ``instance``: this process, as the Lease names it."""

    def __init__(self, writer: Writer, instance: str, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self._instance = instance
        self._now = now
        self._queue: asyncio.Queue[tuple[Regarding, Event, str]] = asyncio.Queue(QUEUED)
        self._posted: dict[_Key, EventRecord] = {}  # ordered by the last post or repetition
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to post."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Post what waits, for `DRAIN_SECONDS` at most."""
        if self._worker is None:
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._queue.join()
        except TimeoutError:
            log.warning("events not posted", count=self._queue.qsize())
        self._worker.cancel()

    def record(self, regarding: Regarding, event: Event, *, action: str = "") -> None:
        """Queue one Event. ``action``: if empty, the reason gives it."""
        if self._queue.full():
            lost = self._queue.get_nowait()[1]
            self._queue.task_done()
            log.warning("event not posted: the queue is full", reason=str(lost.reason))
        self._queue.put_nowait((regarding, event, action or event_records.name_action(event)))

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        for key in [key for key in self._posted if key[0] == uid]:
            del self._posted[key]

    async def _work(self) -> None:
        while True:
            regarding, event, action = await self._queue.get()
            try:
                await self._post(regarding, event, action)
            except (ReleaseError, NotFound) as error:
                reason = getattr(error, "reason", Reason.NAMESPACE_NOT_FOUND)
                log.warning("event not posted", about=str(event.reason), reason=reason, message=error.message)
            except Exception:
                log.exception("event not posted", about=str(event.reason))
            finally:
                self._queue.task_done()

    async def _post(self, regarding: Regarding, event: Event, action: str) -> None:
        now, key = self._now(), (regarding.uid, event.type, str(event.reason), event.message)
        known = self._posted.get(key)
        if known is not None and event_records.is_of_series(known, now):
            self._note(key, await self._repeat(known, now))
            return
        body = event_records.render(regarding, event, action=action, instance=self._instance, now=now)
        made = await self._writer.create(body)
        self._forget_old(now)
        self._note(key, EventRecord(event_records.identify(made), 1, now, now))

    async def _repeat(self, known: EventRecord, now: datetime) -> EventRecord:
        if not event_records.is_due(known, now):
            return event_records.count_up(known, now)
        made = await self._writer.merge(known.body, event_records.render_series(known, now))
        return event_records.count_up(known, now, body=event_records.identify(made))

    def _note(self, key: _Key, record: EventRecord) -> None:
        self._posted.pop(key, None)
        self._posted[key] = record

    def _forget_old(self, now: datetime) -> None:
        while self._posted:
            oldest, known = next(iter(self._posted.items()))
            if event_records.is_of_series(known, now):
                return
            del self._posted[oldest]
