"""One question for many: who gets an answer that somebody else asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pluginrelease.controller.questions import KEPT_SECONDS, SharedQuestions
from pluginrelease.controller.turns import Stake, Turns


class SlowRegistry:
    """Answers with a number that counts up, once it may. ``now`` is the clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0
        self.may = asyncio.Event()
        self.may.set()
        self.has_begun = asyncio.Event()
        self.fault: Exception | None = None
        self.questions = SharedQuestions(lambda: self.now)

    async def send(self, leave: Callable[[], None]) -> int:
        leave()
        self.asked += 1
        self.has_begun.set()
        asked = self.asked
        await self.may.wait()
        if self.fault is not None:
            raise self.fault
        return asked

    async def ask(self, since: float | None, key: str = "image:1.0") -> int:
        return await self.questions.ask(key, self.send, since)


# reason, when the second one wished for it, when it asks, which answer it gets; the first question leaves at 100
WISHES: list[tuple[str, float | None, float, int]] = [
    ("it wished before the question left", 99.0, 101.0, 1),
    ("it wished after that: a tag may have been pushed between the two", 100.5, 101.0, 2),
    ("it is not known when it wished", None, 101.0, 2),
    ("the answer is old", 99.0, 101.0 + KEPT_SECONDS, 2),
]


@pytest.mark.parametrize(("reason", "since", "now", "answer"), WISHES, ids=[row[0] for row in WISHES])
async def test_whose_answer_counts(reason: str, since: float | None, now: float, answer: int) -> None:
    """An answer counts for a wish from before its question, and not for long."""
    registry = SlowRegistry()
    assert await registry.ask(None) == 1
    registry.now = now
    assert await registry.ask(since) == answer, reason


async def test_many_ask_once() -> None:
    """Hundreds who wish for the same cost one question, and another image is another question."""
    registry = SlowRegistry()
    registry.may.clear()
    asking = [asyncio.ensure_future(registry.ask(99.0)) for _ in range(300)]
    other = asyncio.ensure_future(registry.ask(99.0, "image:2.0"))
    await asyncio.sleep(0)
    registry.may.set()
    assert await asyncio.gather(*asking) == [1] * 300
    assert await other == 2


async def test_an_error_is_kept_for_nobody() -> None:
    """Who waits for a question that fails hears of it; who comes later asks again."""
    registry = SlowRegistry()
    registry.fault = ValueError("the registry is down")
    with pytest.raises(ValueError, match="down"):
        await registry.ask(99.0)
    registry.fault = None
    assert await registry.ask(99.0) == 2


async def test_who_stops_waiting_takes_nothing_from_the_others() -> None:
    """A pass that is given up ends neither the question nor the places for passes."""
    registry, turns = SlowRegistry(), Turns(1)
    registry.may.clear()

    async def one_pass() -> int:
        async with turns.take(Stake.NOTHING):
            return await registry.ask(99.0)

    first, second = (asyncio.ensure_future(one_pass()) for _ in range(2))
    await registry.has_begun.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    registry.may.set()
    assert await second == 1
    async with asyncio.timeout(1), turns.take(Stake.NOTHING):
        assert turns.are_taken(Stake.NOTHING)
    assert not turns.are_taken(Stake.NOTHING)
