"""Check that running images, and those of a rollback, can still be fetched: one HEAD per image and resync.

All releases with the same image and credential share the answer. An image is first checked one resync after the
operator met it: it was fetched at that time, or an earlier process checked it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from pluginrelease.core.errors import ReleaseError

log = structlog.get_logger(__name__)

REMEMBERED = 4000
# share of a resync: passes are not exactly on time, and none should be skipped because it is a moment early
PART = 0.9


@dataclass(frozen=True)
class ImageKey:
    """An image by its digest, and the Secret that it is asked for with, by namespace and name."""

    image: str
    namespace: str = ""
    secret: str = ""


@dataclass(frozen=True)
class Answer:
    """When the registry was last asked, and whether the image was gone then."""

    at: datetime
    is_gone: bool = False


@dataclass
class ImageChecks:
    """What the registries last said of images."""

    _known: dict[ImageKey, Answer] = field(default_factory=dict)
    _locks: dict[ImageKey, asyncio.Lock] = field(default_factory=dict)

    async def is_gone(
        self,
        key: ImageKey,
        has: Callable[[], Awaitable[bool]],
        *,
        now: datetime,
        resync: float,
        was_gone: bool,
    ) -> bool:
        """Return whether the registry has lost the image; ask it with ``has`` if the check is due.

        ``was_gone``: the status says so, perhaps written by an earlier process; then an unknown image is checked at
        once. If the registry does not answer, the last answer stays.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._known.pop(key, None)
            if known is None and not was_gone:
                known = Answer(now)
            elif known is None or now - known.at >= timedelta(seconds=PART * resync):
                known = Answer(now, await self._ask(has, was_gone=known.is_gone if known else was_gone))
            self._remember(key, known)
        return known.is_gone

    async def _ask(self, has: Callable[[], Awaitable[bool]], *, was_gone: bool) -> bool:
        try:
            return not await has()
        except ReleaseError as error:
            log.info("could not check that the image still exists", reason=error.reason, message=error.message)
            return was_gone

    def _remember(self, key: ImageKey, known: Answer) -> None:
        self._known[key] = known
        while len(self._known) > REMEMBERED:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._locks.pop(oldest, None)
