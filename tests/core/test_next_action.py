"""What a pass does next: every state of a release, every command, and what can be true of an entry, a row each."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from itertools import product
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused, Waiting
from tests.core import simulated_passes
from tests.core.pass_cases import CASES, PassCase
from tests.core.simulated_passes import BUSY, EntryWorld, World, new_world, reconcile
from tests.harness.releases import DIGEST

JSON = dict[str, Any]

NAME = "public"
OLD_PLUGIN, NEW_PLUGIN = {"config": {"old": True}}, {"config": {"new": True}}


def revision_of(world: World, plugin: JSON) -> str:
    """The revision that a plugin makes."""
    spec = api.Spec.model_validate({**world.body["spec"], "plugin": plugin})
    return revision.compute_identity(spec, DIGEST)


def old_of(world: World) -> str:
    return revision_of(world, OLD_PLUGIN)


def new_of(world: World) -> str:
    return revision_of(world, NEW_PLUGIN)


def annotate(world: World, key: str, value: str) -> None:
    world.body["metadata"].setdefault("annotations", {})[key] = value


# ------------------------------------------------------------------------------------------------------- the states


def new() -> World:
    """Nobody has looked at the release yet; it wants the new revision."""
    return new_world(NAME, spec__plugin=NEW_PLUGIN)


def runs_old() -> World:
    """The old revision ran everywhere long ago, and is still what is wanted."""
    world = new_world(NAME, spec__plugin=OLD_PLUGIN)
    reconcile(world)
    world.now += timedelta(hours=1)
    reconcile(world)
    return world


def begins() -> World:
    """The old revision ran everywhere; the spec wants the new one since a moment ago."""
    world = runs_old()
    world.body["spec"]["plugin"] = NEW_PLUGIN
    return world


def under_way() -> World:
    """The new revision is written, and the gateways have not shown it yet."""
    world = begins()
    world.of(NAME).shows = {new_of(world): "coming"}
    reconcile(world)
    return world


def watched() -> World:
    """The new revision ran everywhere a moment ago, and the old one before it."""
    world = begins()
    reconcile(world)
    return world


def first_watched() -> World:
    """The first revision ran everywhere a moment ago."""
    world = new()
    reconcile(world)
    return world


def first_under_way() -> World:
    """The first revision is written, and the gateways have not shown it yet."""
    world = new()
    world.of(NAME).shows = {new_of(world): "coming"}
    reconcile(world)
    return world


def decided() -> World:
    """The new revision failed, and nothing was put back yet."""
    world = under_way()
    world.of(NAME).shows = {new_of(world): "crashes"}
    world.of(NAME).write = BUSY
    reconcile(world)
    world.of(NAME).write = None
    return world


def back() -> World:
    """The new revision failed, and the old one runs again."""
    world = under_way()
    world.of(NAME).shows = {new_of(world): "refuses"}
    reconcile(world)
    reconcile(world)
    return world


def gone() -> World:
    """The first revision failed, and the plugin was taken off."""
    world = first_under_way()
    world.of(NAME).shows = {new_of(world): "refuses"}
    reconcile(world)
    return world


def held() -> World:
    """The new revision failed, and stays as `onFailure: Hold` says."""
    world = under_way()
    world.body["spec"]["rollout"] = {"onFailure": "Hold"}
    world.of(NAME).shows = {new_of(world): "refuses"}
    reconcile(world)
    return world


def off() -> World:
    """The old revision ran everywhere; then somebody switched the release off."""
    world = runs_old()
    annotate(world, api.OFF_ANNOTATION, "1")
    reconcile(world)
    return world


STATES: dict[str, Callable[[], World]] = {
    state.__name__: state
    for state in (
        new,
        runs_old,
        begins,
        under_way,
        first_under_way,
        decided,
        back,
        gone,
        held,
        off,
        watched,
        first_watched,
    )
}


# ------------------------------------------------------------------------------------------------------ the commands


def delete(world: World) -> None:
    world.body["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"


COMMANDS: dict[str, Callable[[World], None]] = {
    "none": lambda world: None,
    "retry": lambda world: annotate(world, api.RETRY_ANNOTATION, "1"),
    "rollback-to": lambda world: annotate(world, api.ROLLBACK_ANNOTATION, f"{old_of(world)}:1"),
    "off": lambda world: annotate(world, api.OFF_ANNOTATION, "2"),
    "on": lambda world: annotate(world, api.ON_ANNOTATION, "1"),
    "suspend": lambda world: world.body["spec"].update(suspend=True),
    "delete": delete,
}


# -------------------------------------------------------------------------------------------- what is true of an entry


def drift(entry: EntryWorld, world: World) -> None:
    if entry.carrier is not None:
        entry.carrier = copy.deepcopy(entry.carrier)
        entry.carrier["spec"]["url"] = "oci://elsewhere"


def lose(entry: EntryWorld, world: World) -> None:
    entry.carrier = None


def disown(entry: EntryWorld, world: World) -> None:
    if entry.carrier is None:
        entry.carrier = {"kind": "WasmPlugin", "metadata": {"name": "auth-public", "namespace": "istio-ingress"}}
    entry.carrier = copy.deepcopy(entry.carrier)
    entry.carrier["metadata"]["labels"] = {}


def remove_from_spec(entry: EntryWorld, world: World) -> None:
    world.body["spec"]["gateways"] = simulated_passes.gateways("internal")
    world.entries["internal"] = EntryWorld()


def add_to_spec(entry: EntryWorld, world: World) -> None:
    world.body["spec"]["gateways"] = simulated_passes.gateways(NAME, "internal")
    world.entries["internal"] = EntryWorld()


def shown(said: str) -> Callable[[EntryWorld, World], None]:
    """Its gateways show this of the new revision."""

    def show(entry: EntryWorld, world: World) -> None:
        entry.shows = {new_of(world): said}

    return show


def setting(**changes: Any) -> Callable[[EntryWorld, World], None]:
    def change(entry: EntryWorld, world: World) -> None:
        for name, value in changes.items():
            setattr(entry, name, value)

    return change


def refuse(error: Exception) -> Callable[[EntryWorld, World], None]:
    """The revision that is wanted is refused, or not to be had, before anything is written."""

    def check(entry: EntryWorld, world: World) -> None:
        world.check = error  # type: ignore[assignment]

    return check


TRUTHS: dict[str, Callable[[EntryWorld, World], None]] = {
    "well": lambda entry, world: None,
    "drifted": drift,
    "absent": lose,
    "foreign": disown,
    "unreadable": setting(read=BUSY),
    "no consent": setting(consent=Refused(Reason.NAMESPACE_NOT_ALLOWED, "no")),
    "no namespace": setting(consent=Waiting(Reason.NAMESPACE_NOT_FOUND, "no")),
    "not writable": setting(write=BUSY),
    "removed": remove_from_spec,
    "another is new": add_to_spec,
    "crashes": shown("crashes"),
    "refuses": shown("refuses"),
    "silent": shown("silent"),
    "no pods": shown("no pods"),
    "image gone": setting(is_fetchable=False),
    "revision refused": refuse(Refused(Reason.IMPORT_TYPE_MISMATCH, "no")),
    "registry down": refuse(BUSY),
}


@cache
def world_in(state: str) -> World:
    """The world in a state, made once."""
    return STATES[state]()


def trace(state: str, command: str, truth: str) -> str:
    """What the passes do: their actions, in order; a bar where a pass ends and the one that goes back begins."""
    world = copy.deepcopy(world_in(state))
    COMMANDS[command](world)
    TRUTHS[truth](world.of(NAME), world)
    return " | ".join(" ".join(type(action).__name__ for action in done.trace) for done in reconcile(world))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state}, {case.command}: {case.reason}")
def test_what_a_pass_does(case: PassCase) -> None:
    """The actions of a pass, in order, are those of the row, whatever of these is true of the entry."""
    for truth in truths_of(case):
        assert trace(case.state, case.command, truth) == case.does, (truth, case.reason)


def truths_of(case: PassCase) -> tuple[str, ...]:
    """What the row is about: a star stands for everything."""
    return tuple(TRUTHS) if case.truths == ("*",) else case.truths


def test_every_combination_has_a_row() -> None:
    """Each state with each command and each truth stands in one row and in no other."""
    counted = Counter((case.state, case.command, truth) for case in CASES for truth in truths_of(case))
    assert set(counted) == set(product(STATES, COMMANDS, TRUTHS))
    assert max(counted.values()) == 1
