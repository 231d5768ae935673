"""One pass over one release: look at the world, decide in `core`, act, and end in `settlement.settle`.

A pass starts from what is in the API server and nothing else. What must survive the operator's death is noted in the
status before the act that needs it, so a pass that was cut short anywhere is simply run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import delivery, detours, fallback, observe, removal
from pluginrelease.controller.context import Context
from pluginrelease.controller.scope import Candidate, EntryScope, ReconcileScope, each
from pluginrelease.core.errors import ReleaseError, Transient, Waiting
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.rollout import decisions, placements, plan
from pluginrelease.core.rollout.decisions import BACK, Goal
from pluginrelease.core.status import settlement
from pluginrelease.core.status.report import Event, Failure
from pluginrelease.edges.kubernetes import resources

log = structlog.get_logger(__name__)

# seconds that the way back waits for its decision to be written; the write goes on beside it
STATUS_SECONDS = 3.0


async def reconcile(world: Context, release: api.Release, *, attempt: int) -> settlement.Ending:
    """One pass and its one ending; when it decides to go back, the pass that does so follows at once.

    ``attempt`` counts the passes in a row that did not settle. Raises `Transient` only when the status itself cannot
    be written; a decision to go back is carried out all the same.
    """
    work = ReconcileScope(world, placements.carry_over(with_unwritten(world, release)))
    before = work.release.status.rollout
    ending = await settle_pass(work, attempt)
    if not decisions.has_turned_back(before, ending.status.rollout):
        await write_status(work, ending)
        return ending
    writing = asyncio.ensure_future(write_decision(work, ending))
    try:
        in_time, _ = await asyncio.wait({writing}, timeout=STATUS_SECONDS)
        decided = work.release.model_copy(update={"status": ending.status})
        looks = {name: entry.last_look for name, entry in work.entries.items() if entry.last_look is not None}
        back = ReconcileScope(world, decided, last_looks=looks)
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
    if failure is not None:
        work.learn(failure=failure)
    looked = (ConditionType.LOADED, ConditionType.PROBED)
    ended = [entry for entry in work.entries.values() if entry.report.failure and entry.step not in looked]
    unfinished = work.all_entries() if failure is not None and failure.step not in looked else ended
    await asyncio.gather(*(entry.put_loggers_back() for entry in unfinished))
    return settlement.settle(
        work.release,
        work.whole_report(),
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
    """Run the pass; return an error as a value. A fault of ours is reported as one and tried again."""
    try:
        await run(work)
    except ReleaseError as error:
        log.info("pass ended early", step=str(work.step), reason=error.reason, message=error.message)
        return Failure(work.step, error)
    except Exception as error:
        log.exception("internal error", step=str(work.step))
        text = f"the operator failed with {type(error).__name__}; its log has the details"
        return Failure(work.step, Transient(Reason.INTERNAL_ERROR, text, "Please report it"))
    return None


async def run(work: ReconcileScope) -> None:
    """Do what an earlier pass decided: go back after a failure, else bring what the spec says."""
    refuse_deleted(work)
    if work.release.spec.suspend:
        work.learn(suspended=True)
        await asyncio.gather(*(entry.put_loggers_back() for entry in work.all_entries()))
        return
    begun = decisions.start(work.release, work.world.now())
    work.learn(rollout=begun.rollout, handled=begun.handled)
    entries = work.all_entries()
    for entry in entries:
        entry.decide_intent()
    back = [entry for entry in entries if entry.report.intent.goal in BACK]
    if decisions.goes_back(begun.rollout):
        begun = await stay_back(work, back, begun)
    await removal.remove_entries(work)
    if begun.retry or not decisions.goes_back(begun.rollout):
        await go_forward(work, entries, begun)
        return
    kept = [entry for entry in entries if entry.report.intent.goal is Goal.STAY]
    await asyncio.gather(*(maintain_kept(entry) for entry in kept))
    tried = [entry for entry in entries if entry not in back and entry not in kept]
    if tried:
        await go_forward(work, tried, begun)


async def stay_back(
    work: ReconcileScope, back: list[EntryScope], under_way: decisions.RolloutStart
) -> decisions.RolloutStart:
    """Put back what ran before, ahead of everything else; return the rollout that goes on.

    A tag that moved since begins another rollout after that.
    """
    put_back = await each(back, fallback.go_back)
    followed = await follow_tag_if_allowed(work, under_way)
    if followed.retry:
        return followed
    await observe.observe_fallbacks(work, {name: found for name, found in put_back.items() if found is not None})
    removed = [entry for entry in back if entry.report.intent.goal is Goal.NOTHING and entry.report.failure is None]
    await asyncio.gather(*(detours.end_hung(entry) for entry in removed))
    return replace(followed, rollout=work.known_rollout())


async def maintain_kept(entry: EntryScope) -> None:
    """Keep an entry as it is that runs the revision which failed elsewhere; say what its gateways show."""
    intent = entry.report.intent
    try:
        if intent.revision is not None:
            await observe.observe_quietly(entry, await fallback.correct_drift(entry, intent.revision))
    except ReleaseError as error:
        entry.fail(error)


async def follow_tag_if_allowed(work: ReconcileScope, under_way: decisions.RolloutStart) -> decisions.RolloutStart:
    """Ask for the tag, where some gateways' namespace still consents: nothing new is begun without that."""
    step = work.step
    for entry in work.all_entries():
        try:
            await check_permission(entry)
            return await delivery.follow_tag(entry, under_way)
        except ReleaseError as error:
            log.info("the tag is not followed", gateway=entry.name, reason=error.reason, message=error.message)
        finally:
            work.step = step
    return under_way


async def go_forward(work: ReconcileScope, entries: list[EntryScope], begun: decisions.RolloutStart) -> None:
    """Bring what the spec says, or the old revision that a person asked for, to these entries."""
    check_durations(work)
    work.start = begun
    work.learn(rollout=begun.rollout)
    for entry in entries:
        entry.begin_again()
    await each(entries, check_permission)
    allowed = [entry for entry in entries if entry.report.failure is None]
    if allowed and not begun.retry and not decisions.goes_back(begun.rollout):
        work.start = await delivery.follow_tag(allowed[0], begun)
        work.learn(rollout=work.start.rollout)
    for entry in entries:
        entry.decide_intent()
        if work.start.retry:
            observe.rest_nudges(entry)
    candidates = await deliver_or_maintain(work, allowed) if allowed else {}
    ready = [entry for entry in allowed if entry.name in candidates]
    await each(ready, lambda entry: entry.keep_secret_in_step(candidates[entry.name]))
    watched = await watch_what_is_written(entry for entry in entries if entry.report.failure is not None)
    looked_at = {entry.name: candidates[entry.name] for entry in ready if entry.report.failure is None}
    await observe.observe(work, looked_at, watched, [entry.name for entry in entries if is_tried_again(entry)])


def is_tried_again(entry: EntryScope) -> bool:
    """Whether the entry's part of the pass ended with an error that passes: it is not left out of the rollout."""
    return entry.report.failure is not None and isinstance(entry.report.failure.error, Transient)


async def deliver_or_maintain(work: ReconcileScope, entries: list[EntryScope]) -> dict[str, Candidate]:
    """Deliver to these entries. While the revision is refused or awaited, keep what runs as it was, and raise."""
    try:
        return await delivery.deliver(work, entries)
    except ReleaseError:
        await asyncio.gather(*(maintain_stable(entry) for entry in entries))
        raise


async def watch_what_is_written(entries: Iterable[EntryScope]) -> dict[str, Candidate]:
    """Return what is written already of entries that cannot go on: it still fails if the gateways cannot run it."""
    found = {}
    for entry in entries:
        step = entry.step
        try:
            observed = await entry.observe()
            candidate = await delivery.find_converged(entry, observed)
            if candidate is not None:
                found[entry.name] = candidate
            elif observed is not None and entry.stable and plan.read_revision(observed) == entry.stable:
                entry.learn(running=entry.stable)
                await observe.observe_quietly(entry, await delivery.recall_revision(entry, entry.stable))
        except ReleaseError as error:
            log.warning("what is written could not be watched", reason=error.reason, message=error.message)
        finally:
            entry.step = step
    return found


async def maintain_stable(entry: EntryScope) -> None:
    """Keep the revision before as it was, while another one is refused or awaited, and say what gateways show of it.

    Errors here are only logged: the pass already reports the original error.
    """
    known = entry.noted_observation()
    if known is None:
        return
    step = entry.step
    try:
        if known.revision == entry.work.report.target_revision != entry.stable:
            await mind_wanted(entry, known.revision)
        elif entry.stable is None:
            await remove_superseded(entry, known.revision)
        else:
            await observe.observe_quietly(entry, await fallback.correct_drift(entry, entry.stable))
    except ReleaseError as error:
        log.warning("what runs could not be maintained", reason=error.reason, message=error.message)
    finally:
        entry.step = step


async def mind_wanted(entry: EntryScope, revision: str) -> None:
    """Watch the wanted revision, refused after it was noted: if it is written, it fails by what the gateways show."""
    observed = await entry.observe()
    if observed is not None and plan.read_revision(observed) == revision and plan.is_ours(entry.release, observed):
        await observe.watch(entry, await delivery.recall_revision(entry, revision))


async def remove_superseded(entry: EntryScope, revision: str) -> None:
    """Take off a first revision whose successor is refused, when the gateways cannot run it: it would have failed."""
    observed = await entry.observe()
    if observed is None or plan.read_revision(observed) != revision or not plan.is_ours(entry.release, observed):
        return
    candidate = await delivery.recall_revision(entry, revision)
    entry.learn(running=candidate.revision)
    judged = await observe.observe_quietly(entry, candidate)
    holds = entry.release.spec.rollout.on_failure is api.OnFailure.HOLD
    is_adopted = entry.row is not None and entry.row.adopted is not None
    if judged.state is State.UNHEALTHY and not holds and not is_adopted:
        await delivery.uninstall(entry)
        text = f"Revision {revision}, which was written first, failed: {judged.message}"
        entry.work.tell(Event("Warning", Reason.REMOVED, text[:1024]))


def refuse_deleted(work: ReconcileScope) -> None:
    """Raise `Waiting` for a release that is being deleted: its clean-up may be under way."""
    if work.release.metadata.deletion_timestamp:
        raise Waiting(Reason.DELETING, "the PluginRelease is being deleted")


def check_durations(work: ReconcileScope) -> None:
    """Raise `Refused` (InvalidDuration) for a spec whose durations cannot be read."""
    work.load_timeout()
    work.progress_deadline()


async def check_permission(entry: EntryScope) -> None:
    """Raise `Refused` (NamespaceNotAllowed) where the gateway's namespace does not allow the release's."""
    entry.step = ConditionType.APPLIED
    placement = entry.placement()
    if placement.is_local:
        return
    theirs = entry.gateway.namespace
    found = await entry.world.cluster.get(resources.NAMESPACES, None, theirs)
    if found is None:
        raise Waiting(
            Reason.NAMESPACE_NOT_FOUND,
            f"gateways[{entry.name}].namespace names {theirs}, which does not exist",
            "Create it, or remove the entry and make one that names another",
        )
    plan.check_allowed(placement, found)
