"""One pass over one release: look at the world, decide in `core`, act, and end in `settlement.settle`.

A pass starts from what is in the API server and nothing else. What must survive the operator's death is noted in the
status before the act that needs it, so a pass that was cut short anywhere is simply run again.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import delivery, detours, observe
from pluginrelease.controller.context import Context
from pluginrelease.controller.scope import Candidate, ReconcileScope
from pluginrelease.core.errors import ReleaseError, Transient, Waiting
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import decisions, plan
from pluginrelease.core.status import settlement
from pluginrelease.core.status.report import Event, Failure
from pluginrelease.edges.kubernetes.resources import NAMESPACES

log = structlog.get_logger(__name__)

# seconds that the way back waits for its decision to be written; the write goes on beside it
STATUS_SECONDS = 3.0


async def reconcile(world: Context, release: api.Release, *, attempt: int) -> settlement.Ending:
    """One pass and its one ending; when it decides to go back, the pass that does so follows at once.

    ``attempt`` counts the passes in a row that did not settle. Raises `Transient` only when the status itself cannot
    be written; a decision to go back is carried out all the same.
    """
    work = ReconcileScope(world, with_unwritten(world, release))
    before = work.release.status.rollout
    ending = await settle_pass(work, attempt)
    if not decisions.goes_back(before, ending.status.rollout):
        await write_status(work, ending)
        return ending
    writing = asyncio.ensure_future(write_decision(work, ending))
    try:
        in_time, _ = await asyncio.wait({writing}, timeout=STATUS_SECONDS)
        back = ReconcileScope(
            world, work.release.model_copy(update={"status": ending.status}), last_look=work.last_look
        )
        done = await settle_pass(back, attempt)
        await writing
    finally:
        writing.cancel()
    if not in_time:  # the older status may have come after what this pass noted
        world.unwritten[release.metadata.uid] = done.status
    await write_status(back, done)
    return replace(done, events=(*ending.events, *done.events))


async def write_decision(work: ReconcileScope, ending: settlement.Ending) -> None:
    """Write the status with the decision to go back; never raises `ReleaseError`, as that does not wait for it."""
    try:
        await write_status(work, ending)
    except ReleaseError as error:
        log.warning("the way back does not wait for the status", reason=error.reason, message=error.message)


def with_unwritten(world: Context, release: api.Release) -> api.Release:
    """Return the release with the status that the last pass could not write, so that nothing is lost of it.

    It counts for a changed spec too, as the one that the API server has is older.
    """
    unwritten = world.unwritten.get(release.metadata.uid)
    if unwritten is None:
        return release
    return release.model_copy(update={"status": unwritten})


async def settle_pass(work: ReconcileScope, attempt: int) -> settlement.Ending:
    """Run one pass and return its ending, whatever happened in it."""
    known = work.release.status
    failure = await attempt_pass(work)
    if failure is not None and failure.step not in (ConditionType.LOADED, ConditionType.PROBED):
        await work.put_loggers_back()
    return settlement.settle(
        work.release,
        replace(work.report, failure=failure),
        now=work.world.now(),
        attempt=attempt,
        resync=work.world.settings.resync,
        known=known,
    )


async def write_status(work: ReconcileScope, ending: settlement.Ending) -> None:
    """Write the status, if it says anything that is not written yet. Raises `ReleaseError`."""
    unwritten, uid = work.world.unwritten, work.release.metadata.uid
    if ending.status == work.release.status and uid not in unwritten:
        return
    unwritten[uid] = ending.status
    await work.world.cluster.apply_status(work.release, ending.status)
    del unwritten[uid]


async def attempt_pass(work: ReconcileScope) -> Failure | None:
    """Runs the pass; an error becomes a value. A fault of ours is told as one and tried again."""
    try:
        await run(work)
    except ReleaseError as error:
        log.info("pass ended early", step=str(work.step), reason=error.reason, message=error.message)
        return Failure(work.step, error)
    except Exception as error:
        log.exception("internal error", step=str(work.step))
        text = f"the operator failed with {type(error).__name__}; its log has the details"
        return Failure(work.step, Transient("InternalError", text, "Please report it"))
    return None


async def run(work: ReconcileScope) -> None:
    """Do what an earlier pass decided: go back after a failure, else bring what the spec says."""
    refuse_deleted(work)
    if work.release.spec.suspend:
        work.learn(suspended=True)
        await work.put_loggers_back()
        return
    begun = decisions.start(work.release, work.world.now())
    work.learn(rollout=begun.rollout, handled=begun.handled)
    if decisions.is_fallback(begun.rollout):
        await stay_back(work, begun)
    else:
        await go_forward(work, begun)


async def stay_back(work: ReconcileScope, under_way: decisions.RolloutStart) -> None:
    """Put back what ran before, ahead of everything else. A tag that moved since begins another rollout after that."""
    candidate, blocked = None, None
    try:
        is_off = await detours.stay_off(work)
        candidate = None if is_off else await delivery.go_back(work)
    except ReleaseError as error:
        blocked = error
    followed = await follow_tag_if_allowed(work, under_way)
    if followed.anew:
        await go_forward(work, followed)
        return
    if blocked is not None:
        raise blocked
    if candidate is not None:
        await look_at_what_is_back(work, candidate)
    elif not is_off:
        await detours.end_hung(work)


async def look_at_what_is_back(work: ReconcileScope, candidate: Candidate) -> None:
    """Look at the gateways, and heal those that refuse what was put back, whatever becomes of the pull secret."""
    blocked = None
    try:
        await delivery.keep_secret_in_step(work, candidate)
    except ReleaseError as error:
        blocked = error
    await observe.observe(work, candidate)
    if blocked is not None:
        work.step = ConditionType.APPLIED
        raise blocked


async def follow_tag_if_allowed(work: ReconcileScope, under_way: decisions.RolloutStart) -> decisions.RolloutStart:
    """Ask for the tag, where the gateways' namespace still consents: nothing new is begun without that."""
    step = work.step
    try:
        await check_permission(work)
        return await delivery.follow_tag(work, under_way)
    except ReleaseError as error:
        log.info("the tag is not followed", reason=error.reason, message=error.message)
        return under_way
    finally:
        work.step = step


async def go_forward(work: ReconcileScope, begun: decisions.RolloutStart) -> None:
    """Bring what the spec says, or the old revision that a person asked for."""
    check_durations(work)
    work.start = begun
    try:
        await check_permission(work)
    except ReleaseError:
        await watch_what_is_written(work)
        raise
    work.start = begun if begun.anew else await delivery.follow_tag(work, begun)
    work.learn(rollout=work.start.rollout)
    if work.start.anew:
        observe.rest_nudges(work)
    intent = decisions.decide_intent(work.start.rollout)
    try:
        candidate = await delivery.ensure(work, intent)
    except ReleaseError:
        await maintain_stable(work)
        raise
    try:
        await delivery.keep_secret_in_step(work, candidate)
    except ReleaseError:
        await watch_what_is_written(work)
        raise
    await observe.observe(work, candidate)


async def watch_what_is_written(work: ReconcileScope) -> None:
    """Where a pass cannot go on, a revision that is written already still fails if the gateways cannot run it."""
    step = work.step
    try:
        candidate = await delivery.find_converged(work, work.intent(), await work.observe())
        if candidate is not None:
            await observe.watch(work, candidate)
    except ReleaseError as error:
        log.warning("what is written could not be watched", reason=error.reason, message=error.message)
    finally:
        work.step = step


async def maintain_stable(work: ReconcileScope) -> None:
    """While a revision is refused or awaited before it is written, the one before it runs: it is kept as it was, and
    what the gateways show of it is told. Its own troubles end in the log, as the pass ends with the other's."""
    stable, known = work.release.status.stable_revision, work.release.status.observation
    if known is None:
        return
    step = work.step
    try:
        if known.revision == work.report.target_revision != stable:
            await mind_wanted(work, known.revision)
        elif stable is None:
            await remove_superseded(work, known.revision)
        else:
            await observe.observe_quietly(work, await delivery.correct_drift(work, stable))
    except ReleaseError as error:
        log.warning("what runs could not be looked after", reason=error.reason, message=error.message)
    finally:
        work.step = step


async def mind_wanted(work: ReconcileScope, revision: str) -> None:
    """The wanted revision, refused after it was noted: if it is written as well, it fails by what the gateways show."""
    observed = await work.observe()
    if observed is not None and plan.read_revision(observed) == revision and plan.is_ours(work.release, observed):
        await observe.watch(work, await delivery.recall_revision(work, revision))


async def remove_superseded(work: ReconcileScope, revision: str) -> None:
    """A first revision, whose successor came before it was seen to run and is itself refused: when the gateways cannot
    run it, it is taken off as it would have been."""
    observed = await work.observe()
    if observed is None or plan.read_revision(observed) != revision or not plan.is_ours(work.release, observed):
        return
    candidate = await delivery.recall_revision(work, revision)
    work.learn(running=candidate.revision)
    judged = await observe.observe_quietly(work, candidate)
    nothing_before = decisions.find_fallback(work.release, work.known_rollout()) == ""
    if judged.state is State.UNHEALTHY and nothing_before:
        await delivery.uninstall(work)
        text = f"Revision {revision}, which was written first, failed: {judged.message}"
        work.learn(events=(*work.report.events, Event("Warning", "Removed", text[:1024])))


def refuse_deleted(work: ReconcileScope) -> None:
    """Raise `Waiting` for a release that is being deleted: its clean-up may be under way."""
    if work.release.metadata.deletion_timestamp:
        raise Waiting("Deleting", "the PluginRelease is being deleted")


def check_durations(work: ReconcileScope) -> None:
    """Raise `Refused` (InvalidDuration) for a spec whose durations cannot be read."""
    work.load_timeout()
    work.progress_deadline()


async def check_permission(work: ReconcileScope) -> None:
    """The gateway's namespace must allow the release's; raises `Refused` (NamespaceNotAllowed)."""
    work.step = ConditionType.APPLIED
    if target.is_local(work.release):
        return
    theirs = work.release.spec.gateway.namespace
    found = await work.world.cluster.get(NAMESPACES, None, theirs)
    if found is None:
        raise Waiting(
            "NamespaceNotFound",
            f"gateway.namespace names {theirs}, which does not exist",
            "Create it, or make a new PluginRelease that names another",
        )
    plan.check_allowed(work.release, found)
