"""How many passes run at once, in which order, and what waits for none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pluginrelease.controller.turns import Stake, Turns, aside
from pluginrelease.edges.kubernetes.limiter import way_back

PARALLEL = 2


class Passes:
    """Passes that each wait for a word to go on; who began, in order, and how many are under way."""

    def __init__(self) -> None:
        self.turns = Turns(PARALLEL)
        self.began: list[str] = []
        self.went_on: list[str] = []
        self.under_way: set[str] = set()
        self.words: dict[str, asyncio.Event] = {}
        self.outside: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, name: str, stake: Stake = Stake.NOTHING, *, asks: bool = False) -> None:
        """``asks``: it waits for something outside first."""
        self.words[name], self.outside[name] = asyncio.Event(), asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(name, stake, asks))
        await settle()

    async def _run(self, name: str, stake: Stake, asks: bool) -> None:
        async with self.turns.take(stake):
            self.began.append(name)
            if asks:
                async with aside():
                    await self.outside[name].wait()
            self.went_on.append(name)
            self.under_way.add(name)
            try:
                await self.words[name].wait()
            finally:
                self.under_way.discard(name)

    async def end(self, name: str) -> None:
        self.words[name].set()
        await settle()

    async def answer(self, name: str) -> None:
        self.outside[name].set()
        await settle()

    async def give_up(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.wait({self.tasks[name]}, timeout=1)
        await settle()
        assert self.tasks[name].done()


async def settle() -> None:
    """Let every task come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_than_these_at_once_and_in_order() -> None:
    """The first that comes is the first that runs."""
    passes = Passes()
    for name in "abcde":
        await passes.start(name)
    assert passes.under_way == {"a", "b"}
    await passes.end("b")
    await passes.end("a")
    assert passes.began == ["a", "b", "c", "d"]
    assert passes.turns.are_taken(Stake.NOTHING)


@pytest.mark.parametrize(
    ("reason", "stake"), [("it may end an outage", Stake.OUTAGE), ("it watches what was written", Stake.WRITTEN)]
)
async def test_what_does_not_wait_for_first_passes(reason: str, stake: Stake) -> None:
    """Many new releases hold up nothing that is on gateways already."""
    passes = Passes()
    for name in "abcde":
        await passes.start(name)
    await passes.start("urgent", stake)
    assert "urgent" in passes.under_way, reason


async def test_an_outage_has_no_bound() -> None:
    """However many gateways crash, each way back begins at once."""
    passes = Passes()
    for number in range(10 * PARALLEL):
        await passes.start(f"back-{number}", Stake.OUTAGE)
    assert len(passes.under_way) == 10 * PARALLEL


async def test_whoever_waits_for_a_registry_takes_no_place() -> None:
    """Passes that wait for a registry that hangs keep nobody from running; one that comes back goes before new ones."""
    passes = Passes()
    for name in "abcd":
        await passes.start(name, asks=True)
    assert passes.began == ["a", "b", "c", "d"]
    for name in "efg":
        await passes.start(name)
    assert passes.under_way == {"e", "f"}
    await passes.answer("a")
    await passes.end("e")
    assert passes.went_on == ["e", "f", "a"]


GIVEN_UP: list[tuple[str, Callable[[Passes], str]]] = [
    ("it runs", lambda _: "a"),
    ("it waits for its turn", lambda _: "d"),
    ("it waits for a registry", lambda _: "c"),
]


@pytest.mark.parametrize(("reason", "choose"), GIVEN_UP, ids=[row[0] for row in GIVEN_UP])
async def test_a_pass_that_is_given_up_leaves_its_place(reason: str, choose: Callable[[Passes], str]) -> None:
    """It ends at once, and no place is lost or made by it."""
    passes = Passes()
    await passes.start("c", asks=True)
    for name in "abd":
        await passes.start(name)
    await passes.give_up(choose(passes))
    for name in "xyz":
        await passes.start(name)
    assert len(passes.under_way) == PARALLEL, reason


async def test_a_pass_that_is_given_up_while_it_comes_back() -> None:
    """The place that it waited for goes to the next one."""
    passes = Passes()
    await passes.start("back", asks=True)
    for name in "abc":
        await passes.start(name)
    await passes.answer("back")
    await passes.give_up("back")
    await passes.end("a")
    assert passes.under_way == {"b", "c"}


async def test_a_way_back_keeps_its_place_while_it_asks() -> None:
    """It has three seconds for a registry, and must not lose them in a queue."""
    turns, queued = Turns(1), asyncio.Event()

    async def come() -> None:
        async with turns.take(Stake.NOTHING):
            queued.set()

    async with turns.take(Stake.NOTHING):
        waiting = asyncio.create_task(come())
        with way_back():
            async with aside():
                await settle()
        assert not queued.is_set()
    await waiting


async def test_the_oldest_pass_is_known_whatever_is_at_stake() -> None:
    """What is under way longest counts, also where another pass began later and ended before it."""
    now = 100.0
    turns = Turns(1, lambda: now)
    assert turns.oldest() == 0.0
    async with turns.take(Stake.OUTAGE):
        now = 130.0
        async with turns.take(Stake.NOTHING):
            now = 150.0
            assert turns.oldest() == 50.0
        assert turns.oldest() == 50.0
    assert turns.oldest() == 0.0
