"""Interrupt a running pass for a deletion, ``off``, ``rollback-to``, a spec that returns to what ran, or a crash.

A rollback waits for no pass that asks a registry or observes gateways. Such a pass is cancelled at its next await, as a
kill would end it. Only a write that has begun is awaited. The next pass begins at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import structlog

from pluginrelease import api
from pluginrelease.controller.actions import observe
from pluginrelease.controller.context import Context
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.store import Store
from pluginrelease.controller.turns import Stake
from pluginrelease.core.apiserver import stored, watching
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway.verdict.values import Verdict
from pluginrelease.core.rollout import facts, history, placements
from pluginrelease.core.rollout.next_action import list_under_way
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.limiter import way_back

log = structlog.get_logger(__name__)

JSON = dict[str, Any]
Made = TypeVar("Made")

# seconds for the reads that find out whether a wake-up is urgent
READ_SECONDS = 2.0

CrashMark = frozenset[tuple[str, int]]


@dataclass
class SeenRelease:
    """What the running pass knows, and the next one: so that one event interrupts only one pass.

    ``has_begun``: False while the pass waits for its turn, True once it has read the release. ``heard``: the release as
    kopf has it.
    """

    heard: JSON | None = None
    has_begun: bool = True
    commands: tuple[str | None, ...] = (None, None)
    is_deleted: bool = False
    returned_at: int = 0
    crashes: set[CrashMark] = field(default_factory=set)

    def note(self, found: JSON) -> bool:
        """Note a release; return True if a user newly deletes it, switches it off, or rolls it back.

        ``returned_at``: the generation whose spec returns to what ran before.
        """
        before = self.commands, self.is_deleted, self.returned_at
        told = zip(read_urgent_commands(found), self.commands, strict=True)
        self.commands = tuple(value or known for value, known in told)
        self.is_deleted = self.is_deleted or "deletionTimestamp" in found["metadata"]
        self.returned_at = found["metadata"]["generation"] if returns(found) else self.returned_at
        return before != (self.commands, self.is_deleted, self.returned_at)


def read_urgent_commands(found: JSON) -> tuple[str | None, ...]:
    """Return the tokens of a release's commands that interrupt a running pass."""
    tokens = (
        stored.read_path(found, "metadata", "annotations", command)
        for command in (api.OFF_ANNOTATION, api.ROLLBACK_ANNOTATION)
    )
    return tuple(token if isinstance(token, str) else None for token in tokens)


async def run_until_urgent(
    context: Context, place: tuple[str, str], run: Callable[[], Awaitable[Made]], bell: asyncio.Event, seen: SeenRelease
) -> Made | None:
    """Run a pass; return None if it was interrupted. Also interrupt it if this call is cancelled.

    ``place`` is the release's namespace and name. Wake-ups during the pass count after it as well. Those from before it
    has read the release do not.
    """
    passing, has_rung = asyncio.ensure_future(run()), False
    try:
        while not await is_over_before(passing, bell):
            bell.clear()
            has_rung = has_rung or seen.has_begun
            if await is_urgent(context, place, seen):
                log.info("cancelled the pass in progress for a newer change")
                return None
        return passing.result()
    finally:
        if has_rung:
            bell.set()
        if not passing.done():
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)


async def is_over_before(passing: asyncio.Future[Any], bell: asyncio.Event) -> bool:
    """Wait for the pass or the bell; return whether the pass has ended."""
    ringing: asyncio.Future[Any] = asyncio.ensure_future(bell.wait())
    try:
        await asyncio.wait({passing, ringing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ringing.cancel()
    return passing.done()


async def is_urgent(context: Context, place: tuple[str, str], seen: SeenRelease) -> bool:
    """Return whether something urgent has come that the running pass does not know."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            found = await find_release(context, place, seen.heard)
            if found is None or seen.note(found):
                return True
            if not is_anything_noted(found):
                return False
            with way_back():
                crash = await find_crash(context, context.with_unwritten(stored.read(found)))
    except (ReleaseError, TimeoutError) as error:
        log.warning("could not find out whether a change is urgent", error=str(error))
        return False
    if not crash or crash in seen.crashes:
        return False
    seen.crashes.add(crash)
    return True


async def find_release(context: Context, place: tuple[str, str], heard: JSON | None = None) -> JSON | None:
    """Return the release in the newest version that is known.

    If the store lacks it, ask the API server, unless it is new.

    ``heard``: the release as kopf has it. kopf may have heard of a change before the store did.
    """
    store, found = context.store, heard
    if store is None:
        return await context.cluster.get(resources.RELEASES, *place)
    known = store.find_release(place)
    if known is not None and (heard is None or not is_newer_version(heard, known)):
        return known
    if known is None and (heard is None or not may_be_new(store, place, heard)):
        found = await context.cluster.get(resources.RELEASES, *place)
    store.learn(resources.RELEASES, place, found)  # so that the later event of the same version is no change
    return found


def find_known(context: Context, place: tuple[str, str], heard: JSON) -> JSON:
    """Return the release in the newest version that the operator has heard of, without a request.

    ``heard``: the release as kopf has it.
    """
    known = context.store.find_release(place) if context.store is not None else None
    return heard if known is None or is_newer_version(heard, known) else known


def has_new_command(found: JSON) -> bool:
    """Return whether a user set `off` or ``rollback-to``, and no pass has acted on that."""
    handled = stored.read_path(found, "status", "handled")
    done = (handled.get("off"), handled.get("rollbackTo")) if isinstance(handled, dict) else (None, None)
    wanted = read_urgent_commands(found)
    return is_anything_noted(found) and any(told and told != known for told, known in zip(wanted, done, strict=True))


def returns(found: JSON) -> bool:
    """Return whether the spec was changed back to a revision that has run everywhere, and no pass has seen that."""
    seen, now = (
        stored.read_path(found, *path) for path in (("status", "observedGeneration"), ("metadata", "generation"))
    )
    if not is_anything_noted(found) or seen == now:
        return False
    with contextlib.suppress(ReleaseError):
        return history.returns(stored.read(found))
    return False


def may_be_new(store: Store, place: tuple[str, str], heard: JSON) -> bool:
    """Return whether only kopf knows the release because it is new: it has no status yet."""
    return "status" not in heard and store.may_not_have_heard(place)


def is_newer_version(one: JSON, other: JSON) -> bool:
    """Return whether ``one`` is a newer version of the same object."""
    is_same = one["metadata"]["uid"] == other["metadata"]["uid"]
    return is_same and watching.is_newer(watching.version_of(one), watching.version_of(other))


def read_stake(found: JSON, now: datetime) -> Stake:
    """Return `find_stake` of a release as the API server has it; NOTHING if it cannot be read."""
    with contextlib.suppress(ReleaseError):
        return find_stake(stored.read(found), now) if is_anything_noted(found) else Stake.NOTHING
    return Stake.NOTHING


def is_anything_noted(found: JSON) -> bool:
    """Return whether a release has noted anything before a write. A new one has not, and need not be parsed."""
    return bool(stored.read_path(found, "status", "checkpoint"))


def find_stake(release: api.Release, now: datetime) -> Stake:
    """Return what is at stake in the next pass over a release, by the notes in its status."""
    known = facts.begin(placements.carry_over(release), now)
    return Stake.WRITTEN if list_under_way(known, now) else Stake.NOTHING


async def find_crash(context: Context, release: api.Release) -> CrashMark:
    """Return uid and restarts of each pod whose status shows a crash of what was written."""
    if release.spec.suspend or release.metadata.deletion_timestamp:
        return frozenset()
    reader = context.reader()
    now = context.now()
    known = facts.begin(placements.carry_over(release), now)
    views = known.views(entry.name for entry in list_under_way(known, now))
    try:
        crashes = await asyncio.gather(*(observe.glance(PassContext(context, reader), view) for view in views))
    finally:
        reader.close()
    return frozenset(pod for crash in crashes if crash is not None for pod in read_crashed(crash.verdict))


def read_crashed(verdict: Verdict) -> list[tuple[str, int]]:
    """Return uid and restarts of the pods that are down."""
    return [(row.pod.uid, row.pod.container.restarts or 0) for row in verdict.pods if row.reason.means_gateway_down]
