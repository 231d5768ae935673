"""Run one pass over one release: choose the next action, run it, add its results; when none is left, settle.

A pass starts only from what is in the API server. What must survive a crash of the operator is noted in the status
before the action that needs it. So a pass that was interrupted anywhere simply runs again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import revisions
from pluginrelease.controller.context import Context
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import DirectReader
from pluginrelease.controller.step_table import STEPS
from pluginrelease.controller.steps import describe_fault, fail, run_action
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.rollout import decisions, facts, placements
from pluginrelease.core.rollout.actions import (
    Action,
    Decide,
    Glance,
    Remove,
    RemoveSuperseded,
    ReturnToStable,
    RollBack,
    SwitchOff,
    Wait,
)
from pluginrelease.core.rollout.facts import Facts
from pluginrelease.core.rollout.next_action import next_action
from pluginrelease.core.rollout.report import Event, Failure
from pluginrelease.core.status import settlement
from pluginrelease.edges.kubernetes.limiter import way_back

log = structlog.get_logger(__name__)

# seconds that a rollback waits until its decision is written, so that after a crash the operator does not try the
# failed revision again; the write continues meanwhile
STATUS_SECONDS = 0.5
# other passes wait while one of these runs
WAYS_BACK = (SwitchOff, RollBack, ReturnToStable, Remove, RemoveSuperseded)
# requests of these do not wait for those of other releases; other passes continue, as most of these find nothing
SIGNS_OF_ONE = (Glance, Decide)

Tell = Callable[[Event], None]


def tell_nobody(event: Event) -> None:
    """Post no Event."""


async def reconcile(
    context: Context, release: api.Release, *, attempt: int, tell: Tell = tell_nobody
) -> settlement.Ending:
    """Run one pass to its end. If it decides to roll back, the pass that does so follows at once.

    ``attempt`` counts the passes in a row that did not settle. The callback posts an Event and does not wait. Raises
    `Transient` only if the status cannot be written; a decision to roll back is carried out even then.
    """
    begun = facts.begin(placements.carry_over(context.with_unwritten(release)), context.now())
    known = await run_pass(context, begun)
    ending = settle(context, known, attempt)
    if not decisions.has_turned_back(begun.known.rollout, ending.status.rollout):
        await write_ending(context, known, ending, tell)
        return ending
    return await turn_back(context, known, ending, attempt, tell)


async def turn_back(
    context: Context, known: Facts, ending: settlement.Ending, attempt: int, tell: Tell
) -> settlement.Ending:
    """Carry out a decision to roll back, once it is noted or `STATUS_SECONDS` are over; return both passes' ending."""
    decided = known.release.model_copy(update={"status": ending.status})
    looks = {entry.name: entry.last_look for entry in known.entries if entry.last_look is not None}
    begun, reader = facts.begin(decided, context.now(), looks), context.reader()
    with context.right_of_way.going_back():
        writing = asyncio.ensure_future(write_decision(context, known, ending, tell))
        reading = asyncio.ensure_future(read_ahead(reader, begun))
    try:
        in_time, _ = await asyncio.wait({writing}, timeout=STATUS_SECONDS)
        with context.right_of_way.going_back():
            back = await run_pass(context, begun, reader)
        done = settle(context, back, attempt)
        await writing
    finally:
        writing.cancel()
        reading.cancel()
    if not in_time:  # the API server may have written the older status after this pass's notes
        context.unwritten[known.release.metadata.uid] = done.status
    await write_ending(context, back, done, tell)
    return replace(done, events=(*ending.events, *done.events))


async def read_ahead(reader: DirectReader, known: Facts) -> None:
    """Read the revisions that are put back while the decision is written: the pass finds them, or waits for them."""
    entries = [view for view in map(known.view, (entry.name for entry in known.of_spec())) if view.intent.revision]
    asked = (revisions.recall(reader, known.release, str(view.intent.revision)) for view in entries)
    await asyncio.gather(*asked, return_exceptions=True)


async def run_pass(context: Context, known: Facts, reader: DirectReader | None = None) -> Facts:
    """Run actions until none is left; return the facts. Raises only if it is cancelled."""
    reader = reader or context.reader()
    work = PassContext(context, reader)
    try:
        while not isinstance(action := next_action(known, context.now()), Wait):
            with precedence_of(context, action):
                known = await run_action(work, known, action, STEPS[type(action)])
    except Exception as error:
        log.exception("internal error")
        known = fail(known, Failure(ConditionType.APPLIED, describe_fault(error)))
    finally:
        reader.close()
    return known


def precedence_of(context: Context, action: Action) -> AbstractContextManager[None]:
    """Return what an action runs in."""
    if isinstance(action, WAYS_BACK):
        return context.right_of_way.going_back()
    return way_back() if isinstance(action, SIGNS_OF_ONE) else nullcontext()


def settle(context: Context, known: Facts, attempt: int) -> settlement.Ending:
    """Return the ending of a pass, also of one that failed."""
    return settlement.settle(
        known.release,
        known.whole_report(),
        now=context.now(),
        attempt=attempt,
        resync=context.settings.resync,
        known=known.known,
    )


async def write_decision(context: Context, known: Facts, ending: settlement.Ending, tell: Tell) -> None:
    """Write the status with the decision to roll back. Never raises `ReleaseError`: the rollback must not wait."""
    try:
        await write_ending(context, known, ending, tell)
    except ReleaseError as error:
        log.warning(
            "the rollback continues, although the status could not be written",
            reason=error.reason,
            message=error.message,
        )


async def write_ending(context: Context, known: Facts, ending: settlement.Ending, tell: Tell) -> None:
    """Write the status if it has changed. Raises `ReleaseError`.

    Its Events are posted before the write. If the pass is interrupted or the write fails, the next pass already knows
    this status and would not post them.
    """
    unwritten, uid = context.unwritten, known.release.metadata.uid
    is_written = ending.status == known.release.status and uid not in unwritten
    if not is_written:
        unwritten[uid] = ending.status
    for event in ending.events:
        tell(event)
    if not is_written:
        await context.right_of_way.give_way()
        await context.writer.write_status(known.release, ending.status)
        del unwritten[uid]
