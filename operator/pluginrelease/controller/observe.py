"""The look at the gateways, and what it means: the verdict, the probes, the rollout's next turn, a nudge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from datetime import timedelta

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import detours, revisions
from pluginrelease.controller.scope import Candidate, LastLook, ReconcileScope
from pluginrelease.core import timestamps
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import checkpoint, outage, refetch
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.gateway.outage import Neighbour
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import decisions, plan, probe_verdict
from pluginrelease.core.rollout.probe import find_refuted
from pluginrelease.edges.envoy.dump_cache import ReadOptions
from pluginrelease.edges.kubernetes import resources

log = structlog.get_logger(__name__)

STATUS_PAUSE = 1.0  # seconds between two looks at the pods' status while the gateways answer; then longer and longer
NEIGHBOURS_DEADLINE = 3.0  # seconds for the lists that tell whose write came last before a crash
# a push of Higress takes less than a second
BLAME_AFTER = timedelta(seconds=10)
BLAME_DEADLINE = 3.0  # seconds for the list; the way back waits no longer
NUDGE_DEADLINE = 5.0  # seconds for the registry, once more at the next look


async def observe(work: ReconcileScope, candidate: Candidate) -> None:
    """Every selected pod, and what may be said about them together; then what that means for the rollout."""
    work.step = ConditionType.LOADED
    seen, judged = await judge(work, candidate)
    work.last_look = LastLook(seen)
    judged = await blame(work, await probe(work, seen, judged))
    work.step = ConditionType.LOADED
    work.learn(verdict=judged)
    keep_verified(work, judged)
    await decide(work, candidate, judged)
    await detours.take(work, candidate, judged)
    await nudge(work, candidate, judged)
    if not is_watched_closely(work, judged) and not is_about_to_go_back(work, candidate):
        await work.put_loggers_back()


def is_about_to_go_back(work: ReconcileScope, candidate: Candidate) -> bool:
    """Whether this look ends with the decision to go back, which waits for no log level and may need a raised one."""
    decided = work.known_rollout()
    is_failed = decided.failure is not None and decided.failure.revision == candidate.revision
    return is_failed and decisions.is_fallback(decided)


async def observe_quietly(work: ReconcileScope, candidate: Candidate) -> Verdict:
    """What the gateways show of a revision that is not the one that is wanted; nothing is decided by it."""
    work.step = ConditionType.LOADED
    _, judged = await judge(work, candidate)
    work.learn(verdict=judged)
    keep_verified(work, judged)
    if judged.state is not State.PENDING:
        await work.put_loggers_back()
    return judged


async def watch(work: ReconcileScope, candidate: Candidate) -> None:
    """Look at a revision whose rollout cannot go on now; of the rollout nothing is decided but that it fails."""
    work.step = ConditionType.LOADED
    seen, judged = await judge(work, candidate)
    work.last_look = LastLook(seen)
    work.learn(verdict=judged)
    keep_verified(work, judged)
    if judged.state is not State.LOADED:
        await decide(work, candidate, judged)


async def judge(work: ReconcileScope, candidate: Candidate) -> tuple[tuple[PodObservation, ...], Verdict]:
    """What the gateways show, and what that says."""
    seen, judged = await see(work, candidate)
    if outage.REASONS.isdisjoint(row.reason for row in judged.pods) or is_settled(work, candidate):
        return seen, judged
    return seen, weigh(work, candidate, seen, await neighbours_in_time(work, candidate))


async def neighbours_in_time(work: ReconcileScope, candidate: Candidate) -> list[Neighbour]:
    """The releases that may be to blame; an answer that is late does not keep a gateway down."""
    try:
        async with asyncio.timeout(NEIGHBOURS_DEADLINE):
            return await work.neighbours(candidate)
    except (ReleaseError, TimeoutError) as error:
        log.warning("the other releases on these gateways are not known", error=str(error))
        return []


def weigh(
    work: ReconcileScope, candidate: Candidate, seen: Sequence[PodObservation], neighbours: Collection[Neighbour] = ()
) -> Verdict:
    """What these sightings say about the candidate."""
    known = work.known_observation()
    where = candidate.pods(work.world.mesh)
    return judging.judge(
        candidate.wanted(),
        seen,
        write_at=timestamps.parse_time(known.since),
        baselines=[checkpoint.from_pod_baseline(one) for one in known.baselines],
        verified=checkpoint.from_verified_pods(known.verified),
        load_timeout=work.load_timeout(),
        settled=is_settled(work, candidate),
        silent=checkpoint.from_silent_pods(known.silent),
        neighbours=neighbours,
        looked_for=str(where),
        hint=where.hint,
    )


async def see(work: ReconcileScope, candidate: Candidate) -> tuple[tuple[PodObservation, ...], Verdict]:
    """The look. Where a rollout is under way, what the pods' status shows of a crash ends it: a gateway that hangs
    beside one that crashes would hold it up for its whole deadline."""
    known = work.known_observation()
    since, proved = timestamps.parse_time(known.since), checkpoint.from_verified_pods(known.verified)
    practice = habit(work, proved)
    selected = await work.gateway_pods(candidate)
    looking = asyncio.ensure_future(work.sightings(candidate, selected, since, practice))
    try:
        pause = STATUS_PAUSE
        while not is_settled(work, candidate):
            at_once = await work.statuses(candidate, selected, since, practice)
            judged = weigh(work, candidate, at_once)
            if judged.reason == outage.CRASHED:
                return at_once, judged
            if (await asyncio.wait({looking}, timeout=pause))[0]:
                break
            pause *= 1.5
            with contextlib.suppress(ReleaseError):  # the look goes on, and says what is wrong
                selected = await work.gateway_pods(candidate)
        seen = await looking
        return seen, weigh(work, candidate, seen)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def blame(work: ReconcileScope, judged: Verdict) -> Verdict:
    """The same, or that one object keeps the control plane from reading all others; looked for where nothing arrives
    anywhere some time after the write."""
    written = timestamps.parse_time(work.known_observation().since)
    if not work.provider.STOPPED_BY_ONE or not judging.nothing_arrived(judged):
        return judged
    if work.world.now() < written + BLAME_AFTER:
        return judged
    try:
        async with asyncio.timeout(BLAME_DEADLINE):
            listed = await work.world.cluster.list(resources.resource_for(work.provider.TARGET), None, {})
    except (ReleaseError, TimeoutError) as error:
        log.warning("what stops the control plane is not known", error=str(error))
        return judged
    found = work.provider.unreadable(listed)
    return judging.report_stuck(judged, found) if found else judged


def is_settled(work: ReconcileScope, candidate: Candidate) -> bool:
    """Whether the candidate was seen running everywhere before: a pod that comes up then is no news."""
    if decisions.is_fallback(work.known_rollout()):
        return work.known_rollout().put_back_at is not None
    completed = work.known_rollout().completed_at is not None
    return completed and candidate.revision == work.release.status.stable_revision


def habit(work: ReconcileScope, proved: Collection[Incarnation]) -> ReadOptions:
    """Of gateways that were seen running this very revision only what is new is read; all of it after a start, as
    nobody has looked while no operator ran."""
    now, uid = work.world.now(), work.release.metadata.uid
    last = work.world.looks.get(uid)
    recent = min(last, now - timedelta(seconds=2 * work.world.settings.resync)) if last else None
    work.world.looks[uid] = now
    return ReadOptions(verified=proved, recent=recent, cache=work.world.memory)


async def probe(work: ReconcileScope, seen: Collection[PodObservation], judged: Verdict) -> Verdict:
    """The condition Probed: asked once all gateways have the plugin, and for as long as they do."""
    asked = work.release.spec.checks.probes
    if not asked or not probe_verdict.is_due(judged):
        return judged
    work.step = ConditionType.PROBED
    known = work.known_observation()
    about = {row.pod.uid for row in judged.pods if probe_verdict.is_asked(row)}
    reached = [sighting for sighting in seen if sighting.pod.uid in about and sighting.unreachable is None]
    answers = await work.ask_probes(reached)
    work.last_look = LastLook(tuple(seen), frozenset(find_refuted(answers)))
    weighed = probe_verdict.weigh(
        judged,
        answers,
        seen=reached,
        failed_before=known.failed_before,
        failing_since=known.probes_failing_since,
        settled=work.release.status.stable_revision == known.revision,
        now=work.world.now(),
        patience=work.load_timeout(),
    )
    work.learn(
        findings=(*work.report.findings, weighed.finding),
        observation=known.model_copy(update={"probes_failing_since": weighed.failing_since}),
    )
    return weighed.verdict


def keep_verified(work: ReconcileScope, judged: Verdict) -> None:
    """Which pods need no new proof at the next look, and which have been silent since when."""
    known = work.known_observation()
    kept = {
        "verified": checkpoint.to_verified_pods(judged.verified),
        "silent": checkpoint.to_silent_pods(judged.silent),
    }
    work.learn(observation=checkpoint.forgive_crash(known.model_copy(update=kept), judged))


async def decide(work: ReconcileScope, candidate: Candidate, judged: Verdict) -> None:
    """What the look means for the rollout; what is no longer needed to roll back to goes before Ready is told."""
    now, known = work.world.now(), work.known_rollout()
    advanced = decisions.advance(work.release, known, candidate.revision, judged, now, work.progress_deadline())
    stable = work.release.status.stable_revision
    if advanced.failure is not None:
        work.learn(rollout=advanced)
        if has_come_to_rest(known, advanced):
            await prune_after_failure(work, {advanced.failure.revision, stable})
        return
    completed = advanced.completed_at is not None and not decisions.is_fallback(advanced)
    if completed and candidate.revision != stable:
        await revisions.prune(work.world.cluster, work.release, {candidate.revision})
    work.learn(rollout=advanced)


def has_come_to_rest(before: api.RolloutStatus, after: api.RolloutStatus) -> bool:
    """Whether a failed rollout is held as it is, or what was put back runs again: the way back waits for no list."""
    if decisions.is_fallback(after):
        return after.put_back_at is not None and before.put_back_at is None
    return before.failure is None


async def prune_after_failure(work: ReconcileScope, needed: Collection[str | None]) -> None:
    """Delete the revisions that nothing needs; one that stays is pruned with the next rollout."""
    try:
        await revisions.prune(work.world.cluster, work.release, needed)
    except ReleaseError as error:
        log.warning("revisions not pruned", reason=error.reason, message=error.message)


async def nudge(work: ReconcileScope, candidate: Candidate, judged: Verdict) -> None:
    """Makes istiod send the plugin again, because an agent that could not fetch it never tries again by itself.

    Only once the image can be fetched again, and less and less often. Not while a rollback is about to come.
    """
    known = work.known_observation()
    if judged.state is State.LOADED and known.nudge is not None and known.nudge.tries:
        work.learn(observation=known.model_copy(update={"nudge": refetch.reset_tries(known.nudge)}))
    if is_about_to_go_back(work, candidate) or not refetch.is_due(
        judged, known.nudge, work.world.now(), timestamps.parse_time(known.since)
    ):
        return
    if not await can_be_fetched(work, candidate):
        return
    await work.note(known.model_copy(update={"nudge": refetch.make_next(known.nudge, work.world.now())}))
    stuck = [row.pod for row in judged.pods if row.reason in refetch.HEALED_BY_A_PUSH | refetch.LEFT_BEHIND]
    await work.raise_loggers(stuck)
    observed = await work.observe()
    await work.apply_all(plan.draft(work.release, [(work.rendered(candidate), observed)]).writes)


def rest_nudges(work: ReconcileScope) -> None:
    """Whoever asks for another try does not wait for the next turn of a back-off."""
    known = work.release.status.observation
    if known is not None and known.nudge is not None:
        work.learn(observation=known.model_copy(update={"nudge": refetch.reset_tries(known.nudge)}))


async def can_be_fetched(work: ReconcileScope, candidate: Candidate) -> bool:
    """Whether the registry gives out the candidate's image now."""
    try:
        await work.ask_registry(candidate, NUDGE_DEADLINE)
    except ReleaseError as error:
        log.info("gateways are not nudged", reason=error.reason, message=error.message)
        return False
    return True


def is_watched_closely(work: ReconcileScope, judged: Verdict) -> bool:
    """Whether the gateways' own word for "loaded" is still awaited."""
    nudge = work.known_observation().nudge
    nudged = nudge is not None and refetch.is_fresh(nudge, work.world.now())
    return judged.state is State.PENDING or (nudged and judged.state is not State.LOADED)
