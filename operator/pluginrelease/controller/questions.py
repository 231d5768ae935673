"""Send one request for all who need the same answer at the same time.

An answer counts only for callers whose wish is older than the request. So a release that was applied after a push never
gets an answer from before the push.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from pluginrelease.controller.turns import aside, detached

Answer = TypeVar("Answer")
Leave = Callable[[], None]

# seconds for which an answer counts, and how many answers are kept
KEPT_SECONDS = 10.0
KEPT = 1000


@dataclass
class Question:
    """A request and its answer. ``sent``: when, by a monotonic clock; None while it waits for its turn."""

    answer: asyncio.Task[Any]
    sent: float | None = None

    def counts_for(self, since: float | None, now: float) -> bool:
        """Return whether the answer counts for a wish made at ``since``; None means now."""
        if self.sent is None:
            return True
        is_later = since is not None and self.sent >= since
        return is_later and now - self.sent <= KEPT_SECONDS


class SharedQuestions:
    """Requests and answers by key."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: dict[Hashable, Question] = {}

    async def ask(
        self, key: Hashable, send: Callable[[Leave], Coroutine[Any, Any, Answer]], since: float | None
    ) -> Answer:
        """Return the result of ``send``, or of another caller's ``send`` after ``since``.

        ``send`` calls its argument when the request leaves. All callers that wait get the same error, and it is not
        kept. A caller that stops waiting does not cancel the request for the others.
        """
        question = self._asked.get(key)
        if question is None or not question.counts_for(since, self._clock()):
            question = self._begin(key, send)
        if not question.answer.done():
            async with aside():
                await asyncio.wait([question.answer])
        answer: Answer = question.answer.result()
        return answer

    def _begin(self, key: Hashable, send: Callable[[Leave], Coroutine[Any, Any, Answer]]) -> Question:
        def leave() -> None:
            question.sent = self._clock()

        def forget(done: asyncio.Task[Answer]) -> None:
            if (done.cancelled() or done.exception() is not None) and self._asked.get(key) is question:
                del self._asked[key]

        loop = asyncio.get_running_loop()
        question = Question(loop.create_task(send(leave), context=detached()))
        question.answer.add_done_callback(forget)
        self._asked.pop(key, None)
        self._asked[key] = question
        while len(self._asked) > KEPT:
            self._asked.pop(next(iter(self._asked)))
        return question
