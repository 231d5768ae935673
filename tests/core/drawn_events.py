"""Sequences of what can happen to a release, drawn by a number: the same number draws the same sequence.

Not drawn by hypothesis, whose own work took as long as the passes. What it does for a failure is done by `shorten`.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused, ReleaseError
from tests.core.simulated_passes import BUSY, SAID, World, gateways, later, new_world, reconcile
from tests.harness.releases import DIGEST

JSON = dict[str, Any]
Event = tuple[Any, ...]

MOST = 6  # events of one sequence
NAMES = ("public", "internal")
PLUGINS: list[JSON] = [{"config": {"number": number}} for number in range(3)]
DIGESTS = (DIGEST, "sha256:" + "cd" * 32)
SPEC = api.Release.model_validate(new_world(*NAMES).body).spec
REVISIONS = [
    revision.compute_identity(SPEC.model_copy(update={"plugin": api.Plugin.model_validate(plugin)}), digest)
    for digest in DIGESTS
    for plugin in PLUGINS
]
REFUSED = Refused(Reason.NAMESPACE_NOT_ALLOWED, "no")
ERRORS: tuple[ReleaseError | None, ...] = (None, None, BUSY, REFUSED)
WRITTEN, TOKENS, MINUTES = range(len(REVISIONS)), range(1, 10), (1, 6, 11, 30)

# what can happen, and of each argument what it may be
EVENTS: dict[str, tuple[Sequence[Any], ...]] = {
    "spec": (range(len(PLUGINS)),),
    "shows": (NAMES, WRITTEN, sorted(SAID)),
    "retry": (TOKENS,),
    "rollback-to": (WRITTEN, TOKENS),
    "off": (TOKENS,),
    "on": (TOKENS,),
    "annotations go": (),
    "suspend": ((True, False),),
    "hold": ((True, False),),
    "consent": (NAMES, ERRORS),
    "read": (NAMES, ERRORS),
    "write": (NAMES, ERRORS),
    "check": (ERRORS,),
    "lost": (NAMES,),
    "entries": ((NAMES, NAMES[:1], NAMES[1:]),),
    "image": (NAMES, (True, False)),
    "tag": (DIGESTS,),
    "later": (MINUTES,),
    "status lost": (),
    "delete": (),
}
KINDS = sorted(EVENTS)


def draw(number: int) -> tuple[World, list[Event]]:
    """Return the world that a number begins with, and what happens in it: before the first pass, or after it."""
    source = random.Random(number)
    world = pickle.loads(settled_world() if source.random() < 0.5 else unseen_world())  # noqa: S301  own bytes
    return world, [draw_event(source) for _ in range(source.randint(1, MOST))]


def draw_event(source: random.Random) -> Event:
    """Return one thing that happens."""
    kind = source.choice(KINDS)
    return (kind, *(source.choice(options) for options in EVENTS[kind]))


@cache
def unseen_world() -> bytes:
    """A release that nobody has looked at."""
    return pickle.dumps(new_world(*NAMES, spec__plugin=PLUGINS[0], spec__artifact__image__interval="5m"))


@cache
def settled_world() -> bytes:
    """A release that runs in all its gateways."""
    world: World = pickle.loads(unseen_world())  # noqa: S301  own bytes
    reconcile(world)
    return pickle.dumps(world)


def shorten(events: list[Event], fails: Callable[[list[Event]], bool]) -> list[Event]:
    """Return the events without those that a failure does not need."""
    for place in reversed(range(len(events))):
        fewer = events[:place] + events[place + 1 :]
        events = fewer if fewer and fails(fewer) else events
    return events


def happen(world: World, event: Event) -> None:
    """Let one thing change of the release."""
    spec, metadata = world.body["spec"], world.body["metadata"]
    notes = metadata.setdefault("annotations", {})
    match event:
        case ("spec", number):
            spec["plugin"] = PLUGINS[number]
        case ("retry" | "off" | "on" as command, token):
            notes[f"{api.GROUP}/{command}"] = str(token)
        case ("annotations go",):
            notes.clear()
        case ("rollback-to", number, token):
            notes[api.ROLLBACK_ANNOTATION] = f"{REVISIONS[number]}:{token}"
        case ("suspend", value):
            spec["suspend"] = value
        case ("hold", value):
            spec["rollout"] = {"onFailure": "Hold" if value else "Rollback"}
        case ("entries", wanted):
            spec["gateways"] = gateways(*wanted)
        case ("status lost",):
            world.body.pop("status", None)
        case ("delete",):
            metadata["deletionTimestamp"] = "2026-01-01T12:00:00Z"
        case _:
            happen_around(world, event)


def happen_around(world: World, event: Event) -> None:
    """Let one thing change that is not the release's."""
    match event:
        case ("check", error):
            world.check = error
        case ("shows", name, number, said):
            world.of(name).shows[REVISIONS[number]] = said
        case ("consent" | "read" | "write" as field, name, error):
            setattr(world.of(name), field, error)
        case ("lost", name):
            world.of(name).carrier = None
        case ("image", name, value):
            world.of(name).is_fetchable = value
        case ("tag", digest):
            world.digest = digest
        case ("later", minutes):
            world.now = later(world, minutes=minutes).now
