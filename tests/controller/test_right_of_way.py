"""Other passes wait while one release rolls back, and not for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import reconcile, right_of_way
from pluginrelease.controller.context import Context
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.right_of_way import RightOfWay
from pluginrelease.controller.steps import Names, Once, run_action
from pluginrelease.core.rollout import facts
from pluginrelease.core.rollout.actions import (
    Action,
    Decide,
    Glance,
    Observe,
    Remove,
    RemoveSuperseded,
    ReturnToStable,
    RollBack,
    RollOut,
    SwitchOff,
)
from pluginrelease.core.rollout.facts import Facts
from pluginrelease.edges.kubernetes.limiter import is_way_back
from tests.controller.rolling import rolling_out
from tests.controller.scripted_api import ScriptedAPI, ScriptedRegistry, context
from tests.controller.test_way_back import POD, carrier, failed, kept

JSON = dict[str, Any]

LONG = 60.0


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than a moment."""
    monkeypatch.setattr(right_of_way, "HELD_SECONDS", 0.05)


async def settle() -> None:
    """Let every task come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nobody_waits_where_nothing_goes_back() -> None:
    """Where nothing goes back, a step begins at once."""
    other = asyncio.ensure_future(RightOfWay().give_way())
    await asyncio.sleep(0)
    assert other.done()


async def test_others_wait_until_the_last_way_back_has_ended() -> None:
    """Of two ways back both go first."""
    way = RightOfWay()
    first, second, told = way.going_back(), way.going_back(), asyncio.Event()
    other = asyncio.ensure_future(yield_once(way, told))
    with first:
        told.set()
        await settle()
        with second:
            assert not other.done()
        await settle()
        assert not other.done()
    await asyncio.wait_for(other, LONG)


async def yield_once(way: RightOfWay, told: asyncio.Event) -> None:
    """Yield when told to; in a task from before the way back, as another pass is."""
    await told.wait()
    await way.give_way()


async def test_a_way_back_that_hangs_holds_nobody_up(short: None) -> None:
    """After a while the others go on."""
    way, told = RightOfWay(), asyncio.Event()
    other = asyncio.ensure_future(yield_once(way, told))
    await settle()
    with way.going_back():
        told.set()
        await asyncio.wait_for(other, LONG)
        assert way.is_held


async def test_a_way_back_yields_to_nobody() -> None:
    """Two releases whose gateways crash do not wait for each other."""
    way = RightOfWay()
    with way.going_back():
        assert is_way_back()
        await asyncio.wait_for(way.give_way(), LONG)
    assert not is_way_back()


WAYS: list[tuple[str, Action, bool, bool]] = [
    ("what ran before is put back", RollBack(()), True, True),
    ("somebody switched it off", SwitchOff(()), True, True),
    ("an entry is gone", Remove(()), True, True),
    ("the gateways cannot run a first revision", RemoveSuperseded(()), True, True),
    ("one crashes that is not wanted any more", ReturnToStable(()), True, True),
    ("most glances find nothing", Glance(()), False, True),
    ("no request of a decision waits", Decide(()), False, True),
    ("a rollout", RollOut(()), False, False),
    ("a look", Observe(()), False, False),
]


@pytest.mark.parametrize(("reason", "action", "holds", "is_urgent"), WAYS, ids=[row[0] for row in WAYS])
async def test_what_makes_others_wait(reason: str, action: Action, holds: bool, is_urgent: bool) -> None:
    """What changes an object on its way back makes the others wait; what only looks for a reason does not."""
    shared = context(ScriptedAPI(), ScriptedRegistry())
    with reconcile.precedence_of(shared, action):
        assert (shared.right_of_way.is_held, is_way_back()) == (holds, is_urgent), reason


async def test_a_rollout_waits_between_two_steps() -> None:
    """A pass that is under way stops before its next step, and goes on after the way back."""
    body = rolling_out()
    shared: Context = context(ScriptedAPI(body), ScriptedRegistry())
    done, may_end = list[int](), asyncio.Event()

    def step(number: int) -> Once:
        async def act(work: PassContext, known: Facts, names: Names) -> None:
            done.append(number)
            await may_end.wait()

        return Once(ConditionType.APPLIED, act)

    known = facts.begin(api.Release.model_validate(body), shared.now())
    names = tuple(entry.name for entry in known.entries)
    running = asyncio.ensure_future(
        run_action(PassContext(shared, shared.reader()), known, RollOut(names), [step(1), step(2)])
    )
    await settle()
    with shared.right_of_way.going_back():
        may_end.set()
        await settle()
        assert done == [1]
    await asyncio.wait_for(running, LONG)
    assert done == [1, 2]


OTHERS, STEPS_EACH = 50, 20


async def roll_out_in_steps(shared: Context, body: JSON, taken: list[int]) -> None:
    """A rollout of many steps, each of which waits for several answers."""

    async def act(work: PassContext, known: Facts, names: Names) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        taken.append(len(taken))

    known = facts.begin(api.Release.model_validate(body), shared.now())
    names = tuple(entry.name for entry in known.entries)
    steps = [Once(ConditionType.APPLIED, act)] * STEPS_EACH
    await run_action(PassContext(shared, shared.reader()), known, RollOut(names), steps)


class CountingAPI(ScriptedAPI):
    """Takes a few turns of the event loop to answer, and notes how many steps others took before the first apply."""

    def __init__(self, taken: list[int], *objects: JSON) -> None:
        super().__init__(*objects)
        self.taken = taken
        self.taken_at_apply: int | None = None

    async def _ask(self, verb: str, plural: str) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        await super()._ask(verb, plural)
        if verb == "APPLY" and self.taken_at_apply is None:
            self.taken_at_apply = len(self.taken)


async def test_a_way_back_overtakes_rollouts() -> None:
    """Among 50 rollouts a crash is put back before any of them takes more than the step that it has begun."""
    body, taken = failed("GatewayCrashed"), list[int]()
    cluster = CountingAPI(taken, body, carrier(body), kept(body), POD)
    shared: Context = context(cluster, ScriptedRegistry())
    others = [asyncio.ensure_future(roll_out_in_steps(shared, rolling_out(), taken)) for _ in range(OTHERS)]
    await settle()
    before = len(taken)
    await reconcile.reconcile(shared, api.Release.model_validate(body), attempt=0)
    assert cluster.taken_at_apply is not None
    assert cluster.taken_at_apply - before <= OTHERS
    await asyncio.gather(*others)
    assert len(taken) == OTHERS * STEPS_EACH
