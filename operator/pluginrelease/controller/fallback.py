"""The way back: after a failure each entry gets what it ran before. The object comes first.

No look, no note, no log level, no consent and no valid spec is waited for. Of what is put back it is only asked
whether it can still be fetched, and that only where gateways might lose code that they still run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import adoption, delivery, detours, preflight
from pluginrelease.controller.scope import Candidate, EntryScope, LastLook
from pluginrelease.core import timestamps
from pluginrelease.core.errors import ReleaseError, Waiting
from pluginrelease.core.gateway import checkpoint, notes
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.rollout import decisions, detour, plan
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.edges.envoy.dump_cache import READ_ALL

log = structlog.get_logger(__name__)

# seconds: a rollback does not wait longer for a registry, as traffic may be wrong meanwhile
FETCHABLE_DEADLINE = 3.0


async def go_back(entry: EntryScope) -> Candidate | None:
    """Change the entry's object to what it ran before the failure; return the revision that is to be looked for."""
    entry.step = ConditionType.APPLIED
    match entry.report.intent:
        case Intent(Goal.ROLLBACK, str(kept)):
            return None if await detours.stay_off(entry) else await put_back_or_pass_over(entry, kept)
        case Intent(Goal.ADOPTED, str(name)):
            await adoption.restore_adopted(entry, name)
        case _:
            await delivery.uninstall(entry)
    return None


async def put_back_or_pass_over(entry: EntryScope, kept: str) -> Candidate:
    """Put a revision back; one of other bytes, that comes first and is not to be had any more, is passed over."""
    try:
        return await roll_back(entry, kept)
    except ReleaseError as error:
        cause = error.__cause__
        reasons = {error.reason, *([cause.reason] if isinstance(cause, ReleaseError) else [])}
        way = entry.way_back()
        passed = detour.skip_unfetchable(way, reasons)
        if passed == way or passed.puts_back is None:
            raise
        log.warning("a revision of other bytes is passed over", revision=kept, reason=error.reason)
        entry.learn_way_back(passed)
        entry.decide_intent()
        return await roll_back(entry, passed.puts_back)


async def roll_back(entry: EntryScope, kept: str) -> Candidate:
    """Write the stable revision after a failure, then note since when it is looked for, and raise the loggers."""
    observed = await entry.observe()
    candidate = await delivery.find_converged(entry, observed)
    if candidate is not None:
        return candidate
    if observed is not None:
        plan.check_owner(entry.placement(), observed)
    candidate = await delivery.recall_revision(entry, kept)
    entry.aim(candidate)
    drafted = plan.draft(candidate.placement, [(entry.rendered(candidate), observed)])
    shown = await check_nothing_is_lost(entry, candidate) if drafted.reaches_gateways else LastLook()
    now = entry.world.now()
    since = now if drafted.writes else plan.read_write_time(observed) or now
    applied = await entry.apply_all(drafted.writes)
    delivery.record_object(entry, applied or observed or entry.rendered(candidate))
    delivery.mark_applied(entry, candidate)
    await observe_fallback(entry, candidate, shown, plan.read_revision(observed), since)
    return candidate


async def check_nothing_is_lost(entry: EntryScope, candidate: Candidate) -> LastLook:
    """Return what the gateways showed before the write; raise `Waiting` (RollbackBlocked) when they would lose code.

    A gateway that refused the new revision still runs the old code. If it had to load that from a registry that has it
    no longer, it would answer 403 to everyone. Gateways that are down are asked nothing.
    """
    failure = entry.work.known_rollout().failure
    shown = entry.last_look or LastLook()
    if failure is None or not decisions.may_lose_code(failure, shown.sightings):
        return shown
    if entry.last_look is not None:
        await check_fetchable(entry, candidate)
        return shown
    # after a restart of the operator: the look costs no time beside the question to the registry
    seen, blocked = await asyncio.gather(look_briefly(entry, candidate), fetch_error(entry, candidate))
    if blocked is not None and decisions.may_lose_code(failure, seen) and not has_crashed_of(entry, failure, seen):
        raise blocked
    return LastLook(seen)


def has_crashed_of(entry: EntryScope, failure: api.RolloutFailure, seen: Collection[PodObservation]) -> bool:
    """Whether a gateway has crashed of the revision that failed: then there is something to win."""
    known = entry.noted_observation()
    if known is None or known.revision != failure.revision:
        return False
    return judging.has_crashed(seen, timestamps.parse_time(known.since), notes.read(known).baselines)


async def look_briefly(entry: EntryScope, candidate: Candidate) -> tuple[PodObservation, ...]:
    """Return what every gateway pod shows within `FETCHABLE_DEADLINE`, or else its status alone."""
    selected, since = list[PodRef](), entry.world.now()
    try:
        async with asyncio.timeout(FETCHABLE_DEADLINE):
            selected = await entry.gateway_pods(candidate)
            return await entry.sightings(candidate, selected, since)
    except (ReleaseError, TimeoutError):
        return await entry.statuses(candidate, selected, since, READ_ALL)


async def fetch_error(entry: EntryScope, candidate: Candidate) -> Waiting | None:
    """Return what `check_fetchable` raises."""
    try:
        await check_fetchable(entry, candidate)
    except Waiting as error:
        return error
    return None


async def observe_fallback(
    entry: EntryScope, candidate: Candidate, shown: LastLook, carried: str | None, since: datetime
) -> None:
    """Note the observation of what was put back, and raise the loggers that will show it."""
    begun = checkpoint.begin(
        entry.noted_observation(),
        name=entry.name,
        revision=candidate.revision,
        load=candidate.load,
        carried=carried,
        stable=entry.stable,
        before=shown.sightings,
        probes_failed_before=shown.refuted_probes,
        now=since,
    )
    await entry.note(begun)
    await entry.raise_loggers([sighting.pod for sighting in shown.sightings if sighting.unreachable is None])


async def correct_drift(entry: EntryScope, stable: str) -> Candidate:
    """Write the stable revision again where somebody changed or deleted it, or where a revision that was superseded
    before it ran everywhere has its place."""
    candidate = await delivery.recall_revision(entry, stable)
    entry.learn(running=candidate.revision)
    observed = await entry.observe()
    if not plan.draft(candidate.placement, [(entry.rendered(candidate), observed)]).converged:
        before = await preflight.look_before(entry, candidate)
        if plan.read_revision(observed) not in (None, stable) and not decisions.has_stand_in(before):
            await check_fetchable(entry, candidate)
        await delivery.write_one(entry, candidate, observed, before)
    elif observed is not None:
        delivery.record_object(entry, observed)
    await entry.keep_secret_in_step(candidate)
    return candidate


async def check_fetchable(entry: EntryScope, candidate: Candidate) -> None:
    """Raise `Waiting` (RollbackBlocked) when gateways could not fetch what is to be put back."""
    try:
        async with asyncio.timeout(FETCHABLE_DEADLINE):
            await entry.work.ask_registry(candidate, FETCHABLE_DEADLINE)
    except TimeoutError as error:
        raise rollback_blocked(candidate, f"no answer within {FETCHABLE_DEADLINE:g} s") from error
    except ReleaseError as error:
        raise rollback_blocked(candidate, f"{error.reason}: {error.message}") from error


def rollback_blocked(candidate: Candidate, why: str) -> Waiting:
    """Return the error of a rollback that would take code away from gateways that still run it."""
    return Waiting(
        Reason.ROLLBACK_BLOCKED,
        f"revision {candidate.revision} is not put back, as {candidate.artifact.image} could not be fetched: {why}",
        "What the gateways run is left alone. Push the image again, or correct the spec",
        retry_after=plan.RECHECK,
    )
