"""What must hold of every pass, whatever came before it: drawn sequences of changes, commands and faults.

`make passes` tries 100,000 sequences, `make test` the first thousand of them (`PASSES`).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pluginrelease import api
from pluginrelease.core.rollout import actions, decisions, facts, plan
from pluginrelease.core.rollout.decisions import BACK
from tests.core.drawn_events import Event, draw, happen, shorten
from tests.core.simulated_passes import WRITES, DonePass, World, later, reconcile

BATCH = 100
SEQUENCES = int(os.environ.get("PASSES", "1000"))


@pytest.mark.parametrize("batch", range(0, SEQUENCES, BATCH))
def test_every_pass_keeps_the_rules(batch: int) -> None:
    """Passes end, the way back is first, and nothing is written, tried again or called Ready that must not be."""
    for number in range(batch, min(batch + BATCH, SEQUENCES)):
        world, events = draw(number)
        try:
            check(world, events)
        except Exception as error:
            error.add_note(f"sequence {number}, of which this is enough: {shorten(events, fails(number))}")
            raise


def fails(number: int) -> Callable[[list[Event]], bool]:
    """Return whether other events fail in the world that a number begins with."""

    def breaks_a_rule(events: list[Event]) -> bool:
        try:
            check(draw(number)[0], events)
        except Exception:
            return True
        return False

    return breaks_a_rule


def check(world: World, events: list[Event]) -> None:
    """Run the passes after each event, and check each of them."""
    for event in events:
        world.now = later(world, seconds=1).now
        happen(world, event)
        for place, done in enumerate(reconcile(world)):
            check_way_back(done, is_first=place == 0)
            check_stillness(done)
            check_failed_is_not_tried(done)
            check_ready(done)
            check_off(world, done)
            check_concerned(done)


def check_way_back(done: DonePass, *, is_first: bool) -> None:
    """The way back is never behind anything else."""
    kinds, begun = [type(action) for action in done.trace], done.begun
    assert {actions.RollBack, actions.SwitchOff}.isdisjoint(kinds[1:]), kinds
    if not is_first or begun.is_deleted or begun.release.spec.suspend:
        return
    due = {entry.name for entry in begun.of_spec() if entry.goal in BACK}
    if due:
        assert kinds[0] is actions.RollBack, kinds
        assert due <= set(done.trace[0].names), done.trace


def check_stillness(done: DonePass) -> None:
    """Of a release that is deleted nothing is written, and of a suspended one only a way back that was not begun."""
    if done.begun.is_deleted:
        assert done.trace == []
    elif done.begun.release.spec.suspend:
        firsts = (actions.RollBack, actions.SwitchOff)
        assert [type(action) for action in done.trace if type(action) not in firsts] == [actions.Suspend]


def check_failed_is_not_tried(done: DonePass) -> None:
    """A revision that failed is not written again to an entry that it failed on, unless somebody asks."""
    found, known = done.facts, done.facts.known.rollout
    failure = known.failure if known is not None else None
    if known is None or failure is None or failure.held or found.rollout is None:
        return
    is_asked = found.retry or found.report.handled != (found.known.handled or found.report.handled)
    if is_asked or found.rollout.started_at != known.started_at:
        return
    for action in done.trace:
        tried = set(action.names) & set(failure.gateways) if isinstance(action, actions.RollOut) else set()
        assert not tried, (action, failure)


def check_off(world: World, done: DonePass) -> None:
    """From `off` to `on` nothing is written but what takes the plugin off, and the status says nothing else."""
    found, now = done.facts, done.ending.status.switched_off
    if found.is_deleted:
        return
    told, handled = found.release.metadata.annotations, found.known.handled or api.Handled()
    is_on = told.get(api.ON_ANNOTATION) not in (None, handled.on) and found.known.observed_generation >= 0
    assert now is not None or found.known.switched_off is None or is_on, "nothing but on ends off"
    if now is None:
        return
    forward = (actions.RollOut, actions.RollBack, actions.CorrectDrift)
    assert isinstance(done.trace[0], actions.SwitchOff), done.trace
    assert not any(isinstance(action, forward) for action in done.trace), done.trace
    ready = next(condition for condition in done.ending.status.conditions if condition.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "SwitchedOff")
    assert all(entry.has_failed or world.of(entry.name).carrier is None for entry in found.of_spec())


def check_ready(done: DonePass) -> None:
    """Ready is never True without a look after the last write; one that is suspended was seen running before."""
    if not is_ready(done.ending.status):
        return
    if done.trace and all(isinstance(action, actions.Suspend) for action in done.trace):
        rows = [done.begun.known.gateway(entry.name) for entry in done.facts.of_spec()]
        assert all(row is not None and row.state is api.GatewayState.LOADED for row in rows), rows
        return
    for entry in done.facts.of_spec():
        acts = [action for action in done.trace if entry.name in facts.concerned_by(action)]
        last = max((place for place, action in enumerate(acts) if isinstance(action, WRITES)), default=-1)
        assert any(isinstance(action, actions.Observe) for action in acts[last + 1 :]), done.trace
        assert plan.read_revision(entry.carrier) is not None


def is_ready(status: api.Status) -> bool:
    """Whether Ready is True."""
    return any((found.type, found.status) == ("Ready", "True") for found in status.conditions)


def check_concerned(done: DonePass) -> None:
    """An entry that carries what it should is not written by a rollout; what is rolled out is no way back."""
    for action in done.trace:
        for name in action.names if isinstance(action, actions.RollOut) else ():
            view = done.facts.view(name)
            assert actions.Accept not in view.entry.done, (name, done.trace)
            assert view.intent.goal not in BACK or decisions.goes_back(done.facts.rollout), (name, done.trace)
