"""RollBack: after a failure give each entry what it ran before. The object is written first.

It waits for no observation, note, log level, consent or valid spec. It only asks whether the image can still be
fetched, and only if gateways might lose code that they still run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import adoption, looking, pulling, revisions, writing
from pluginrelease.controller.actions import notes
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import read_own_carrier
from pluginrelease.controller.steps import Each, Once, Step
from pluginrelease.core.errors import ReleaseError, Waiting
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway import checkpoint
from pluginrelease.core.gateway import notes as pod_notes
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.rollout import decisions, detour, plan
from pluginrelease.core.rollout.candidate import Candidate, LastLook
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.facts import EntryView, PutBack
from pluginrelease.core.rollout.results import EntryResult, Prepared, Returned, RolledBack, TakenOff
from pluginrelease.edges.envoy.dump_cache import READ_ALL

log = structlog.get_logger(__name__)

# seconds: a rollback does not wait longer for a registry, because requests may fail meanwhile
FETCHABLE_DEADLINE = 3.0


async def put_back(work: PassContext, entry: EntryView) -> EntryResult:
    """Write to the entry's object what it ran before the failure; repeat this if another client changes it."""
    return await writing.persist(lambda: put_back_once(work, entry))


async def put_back_once(work: PassContext, entry: EntryView) -> EntryResult:
    """Read the object, decide, and write."""
    match entry.intent:
        case Intent(Goal.ROLLBACK, str(kept)):
            way = detour.end_off(entry.way_back(), work.now())
            rollout = with_way_back(entry, way)
            return await stay_off(work, entry, way) or await put_back_or_pass_over(work, entry, kept, rollout)
        case Intent(Goal.REVISION, str(kept)):  # a user asked for the stable revision
            return await roll_back(work, entry, kept, entry.rollout)
        case Intent(Goal.ADOPTED, str(name)):
            return await adoption.restore_adopted(work, entry, name)
        case _:
            return await uninstall(work, entry)


def with_way_back(entry: EntryView, way: detour.WayBack) -> api.RolloutStatus:
    """Return the rollout with the entry's progress on its way back, if this changed."""
    if way == entry.way_back():
        return entry.rollout
    return decisions.with_fallback(entry.rollout, way.fallback)


async def stay_off(work: PassContext, entry: EntryView, way: detour.WayBack) -> TakenOff | None:
    """Keep the plugin removed while old listeners drain; None if this is over or not needed."""
    if not detour.is_off(way):
        return None
    await delete_own(work, entry)
    text = detour.describe(way)
    finding = Finding(ConditionType.APPLIED, "False", Reason.ROLLBACK_REFUSED_BY_ENVOY, text)
    return TakenOff(finding, running=None, rollout=with_way_back(entry, way))


async def uninstall(work: PassContext, entry: EntryView) -> TakenOff:
    """Remove the plugin: the gateways run what they ran before it."""
    await delete_own(work, entry)
    text = "the plugin was removed from the gateways, because nothing ran before"
    return TakenOff(Finding(ConditionType.APPLIED, "False", Reason.REMOVED, text), running="")


async def delete_own(work: PassContext, entry: EntryView) -> None:
    """Delete the entry's object if it is ours."""
    observed = await work.reader.carrier(entry.placement())
    if observed is not None and plan.is_ours(entry.release, observed):
        await writing.delete(work, entry.release, observed)


async def put_back_or_pass_over(
    work: PassContext, entry: EntryView, kept: str, rollout: api.RolloutStatus
) -> RolledBack:
    """Write a revision back. If it has other bytes and cannot be fetched, write the next one instead."""
    try:
        return await roll_back(work, entry, kept, rollout)
    except ReleaseError as error:
        cause = error.__cause__
        reasons = {error.reason, *([cause.reason] if isinstance(cause, ReleaseError) else [])}
        passed = detour.skip_unfetchable(entry.way_back(), reasons)
        if passed == entry.way_back() or passed.puts_back is None:
            raise
        log.warning("a kept revision with other bytes cannot be used", revision=kept, reason=error.reason)
        return await roll_back(work, entry, passed.puts_back, decisions.with_fallback(rollout, passed.fallback))


async def roll_back(work: PassContext, entry: EntryView, kept: str, rollout: api.RolloutStatus) -> RolledBack:
    """Write the stable revision, unless it is already written."""
    observed = await read_own_carrier(work.reader, entry.placement())
    candidate = await revisions.recall_for(work.reader, entry, kept)
    drafted = entry.drafted(candidate, observed)
    if drafted.converged and observed is not None and is_noted(entry, candidate):
        return RolledBack(candidate, observed, None, rollout)
    shown = await look_before(work, entry, candidate) if drafted.reaches_gateways else LastLook()
    now = work.now()
    since = now if drafted.writes else plan.read_write_time(observed) or now
    applied = await writing.apply_all(work, entry.release, drafted)
    carrier = applied or observed or entry.rendered(candidate)
    return RolledBack(candidate, carrier, PutBack(shown, plan.read_revision(observed), since), rollout)


async def return_to_stable(work: PassContext, entry: EntryView) -> Returned | None:
    """Write the stable revision if a revision that is no longer wanted crashes. No gateway can lose code by this."""
    return await writing.persist(lambda: return_once(work, entry))


async def return_once(work: PassContext, entry: EntryView) -> Returned | None:
    """Read the object, and write the stable revision."""
    if entry.stable is None:
        return None
    observed = await read_own_carrier(work.reader, entry.placement())
    candidate = await revisions.recall_for(work.reader, entry, entry.stable)
    applied = await writing.apply_all(work, entry.release, entry.drafted(candidate, observed))
    carried = PutBack(entry.entry.last_look or LastLook(), plan.read_revision(observed), work.now())
    carrier = applied or observed or entry.rendered(candidate)
    return Returned(candidate, carrier, begin_again(entry, candidate, carried))


def is_noted(entry: EntryView, candidate: Candidate) -> bool:
    """Return whether the observation of the fallback has begun."""
    return entry.noted is not None and entry.noted.revision == candidate.revision


async def look_before(work: PassContext, entry: EntryView, candidate: Candidate) -> LastLook:
    """Return what is known of the gateways before the write. Raises as `check_nothing_is_lost`.

    On a detour it observes them: only their counters prove that they load it, and without proof it would not end.
    """
    shown = await check_nothing_is_lost(work, entry, candidate)
    if shown.sightings or not detour.was_needed(entry.way_back()):
        return shown
    return LastLook(await look_briefly(work, candidate))


async def check_nothing_is_lost(work: PassContext, entry: EntryView, candidate: Candidate) -> LastLook:
    """Return what the gateways showed before the write. Raises `Waiting` (RollbackBlocked) if they would lose code.

    A gateway that refused the new revision still runs the old code. If it had to load that code again from a registry
    that has lost it, it would answer 403 to all requests. Gateways that are down are not asked.
    """
    failure, looked = find_failure(entry), entry.entry.last_look
    shown = looked or LastLook()
    if failure is None:  # it is not known whether gateways refused what is written
        await check_fetchable(work, candidate)
        return shown
    if not decisions.may_lose_code(failure, shown.sightings):
        return shown
    if looked is not None:
        await check_fetchable(work, candidate)
        return shown
    blocked = await fetch_error(work, candidate)
    if blocked is None:
        return shown
    seen = await look_briefly(work, candidate)
    if decisions.may_lose_code(failure, seen) and not has_crashed_of(entry, failure, seen):
        raise blocked
    return LastLook(seen)


def find_failure(entry: EntryView) -> api.RolloutFailure | None:
    """Return why the entry goes back; for a command, the failure before it."""
    before = entry.facts.known.rollout
    return entry.rollout.failure or (before.failure if before is not None else None)


def has_crashed_of(entry: EntryView, failure: api.RolloutFailure, seen: Collection[PodObservation]) -> bool:
    """Return whether a gateway crashed of the failed revision: then a rollback can only improve it."""
    known = entry.noted
    if known is None or known.revision != failure.revision:
        return False
    return judging.has_crashed(seen, known.since, pod_notes.read(known).baselines)


async def look_briefly(work: PassContext, candidate: Candidate) -> tuple[PodObservation, ...]:
    """Return what every gateway pod shows within `FETCHABLE_DEADLINE`, or else only its status."""
    selected, since = list[PodRef](), work.now()
    try:
        async with asyncio.timeout(FETCHABLE_DEADLINE):
            selected = await looking.gateway_pods(work, candidate)
            return await looking.observe_pods(work, candidate, selected, since)
    except (ReleaseError, TimeoutError):
        return await looking.observe_statuses(work, candidate, selected, since, READ_ALL)


async def fetch_error(work: PassContext, candidate: Candidate) -> Waiting | None:
    """Return the error of `check_fetchable`."""
    try:
        await check_fetchable(work, candidate)
    except Waiting as error:
        return error
    return None


async def check_fetchable(work: PassContext, candidate: Candidate) -> None:
    """Raise `Waiting` (RollbackBlocked) if gateways could not fetch the fallback."""
    try:
        async with asyncio.timeout(FETCHABLE_DEADLINE):
            await pulling.ask_registry(work, candidate, FETCHABLE_DEADLINE)
    except TimeoutError as error:
        raise rollback_blocked(candidate, f"no answer within {FETCHABLE_DEADLINE:g} s") from error
    except ReleaseError as error:
        raise rollback_blocked(candidate, f"{error.reason}: {error.message}") from error


def rollback_blocked(candidate: Candidate, why: str) -> Waiting:
    """Return the error of a rollback that would make gateways lose code that they still run."""
    return Waiting(
        Reason.ROLLBACK_BLOCKED,
        f"revision {candidate.revision} is not put back, as {candidate.artifact.image} could not be fetched: {why}",
        "The operator does not change the gateways. Push the image again, or correct the spec",
        retry_after=plan.RECHECK,
    )


async def begin_observation(work: PassContext, entry: EntryView) -> EntryResult | None:
    """Note when the observation of the fallback began, and the pods whose log levels to raise for it."""
    known, candidate = entry.entry.put_back, entry.entry.carried
    if known is None or candidate is None:
        return None
    begun = begin_again(entry, candidate, known)
    reached = tuple(seen.pod for seen in known.shown.sightings if seen.unreachable is None)
    return Prepared(plan.Plan(), begun, to_raise=reached)


def begin_again(entry: EntryView, candidate: Candidate, known: PutBack) -> api.Observation:
    """Return the observation of the fallback."""
    return checkpoint.begin(
        entry.noted,
        name=entry.name,
        revision=candidate.revision,
        load=candidate.load,
        carried=known.carried,
        stable=entry.stable,
        before=known.shown.sightings,
        probes_failed_before=known.shown.refuted_probes,
        now=known.since,
    )


RETURN: tuple[Step, ...] = (Each(ConditionType.APPLIED, return_to_stable),)
STEPS: tuple[Step, ...] = (
    Each(ConditionType.APPLIED, put_back),
    # the rollback is done; these steps note it, and may fail
    Each(ConditionType.APPLIED, begin_observation),
    Once(ConditionType.APPLIED, notes.find_levels, quiet=True),
    Once(ConditionType.APPLIED, notes.checkpoint, quiet=True),
    Each(ConditionType.APPLIED, notes.raise_levels, quiet=True),
)
