"""The look at the gateways, and what it means: the verdict, the probes, the rollout's next turn, a nudge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

import structlog

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import detours, revisions
from pluginrelease.controller.scope import Candidate, EntryScope, LastLook, ReconcileScope, each
from pluginrelease.core import timestamps
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import checkpoint, notes, refetch
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.gateway.outage import Neighbour
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import decisions, plan, probe_verdict
from pluginrelease.core.rollout.decisions import Goal
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


async def observe(
    work: ReconcileScope,
    candidates: Mapping[str, Candidate],
    watched: Mapping[str, Candidate],
    awaited: Collection[str],
) -> None:
    """Look at every pod of these entries; decide together what that means for the rollout.

    ``watched`` are revisions of entries that cannot go on now: of the rollout they decide nothing but that it fails.
    ``awaited`` are entries that are tried again: the rollout is not complete without them.
    """
    looks = {**candidates, **watched}
    entries = [work.entries[name] for name in looks]
    judged = await each(entries, lambda entry: look_at(entry, looks[entry.name]))
    work.step = ConditionType.LOADED
    await decide(work, looks, counted({*candidates, *awaited}, judged))
    nudged = [entry for entry in entries if entry.name in candidates and entry.name in judged]
    await each(nudged, lambda entry: nudge(entry, looks[entry.name], judged[entry.name]))
    done = [
        entry
        for entry in entries
        if entry.name in judged
        and not is_watched_closely(entry, judged[entry.name])
        and not is_about_to_go_back(entry, looks[entry.name])
    ]
    await asyncio.gather(*(entry.put_loggers_back() for entry in done))


def counted(candidates: Collection[str], judged: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Return the verdicts that the rollout is decided by: an entry that could not be looked at is awaited, and one that
    is only watched can fail."""
    unseen = Verdict(State.UNKNOWN, Reason.NOT_LOOKED_AT, "")
    own = {name: judged.get(name, unseen) for name in candidates}
    others = {name: found for name, found in judged.items() if name not in own and not decisions.is_loaded(found)}
    return {**own, **others}


async def look_at(entry: EntryScope, candidate: Candidate) -> Verdict:
    """Look at every pod of one entry, probe them, and note what was seen."""
    entry.step = ConditionType.LOADED
    seen, judged = await judge(entry, candidate)
    entry.last_look = LastLook(seen)
    judged = await blame(entry, await probe(entry, seen, judged))
    entry.step = ConditionType.LOADED
    entry.learn(verdict=judged)
    keep_verified(entry, candidate, judged)
    return judged


async def observe_fallbacks(work: ReconcileScope, put_back: Mapping[str, Candidate]) -> None:
    """Look at the gateways of what was put back, and heal those that refuse it, whatever becomes of the pull secret."""
    entries = [work.entries[name] for name in put_back]

    async def look(entry: EntryScope) -> None:
        candidate, blocked = put_back[entry.name], None
        try:
            await entry.keep_secret_in_step(candidate)
        except ReleaseError as error:
            blocked = error
        judged = await look_at(entry, candidate)
        await decide_fallback(entry, judged)
        await detours.take(entry, candidate, judged)
        await nudge(entry, candidate, judged)
        if not is_watched_closely(entry, judged):
            await entry.put_loggers_back()
        if blocked is not None:
            entry.step = ConditionType.APPLIED
            raise blocked

    await each(entries, look)


def is_about_to_go_back(entry: EntryScope, candidate: Candidate) -> bool:
    """Whether this look ends with the decision to go back, which waits for no log level and may need a raised one."""
    failure = entry.work.known_rollout().failure
    return failure is not None and not failure.held and failure.revision == candidate.revision


async def observe_quietly(entry: EntryScope, candidate: Candidate) -> Verdict:
    """Look at a revision that is not the one that is wanted; nothing is decided by it."""
    entry.step = ConditionType.LOADED
    _, judged = await judge(entry, candidate)
    entry.learn(verdict=judged)
    keep_verified(entry, candidate, judged)
    if judged.state is not State.PENDING:
        await entry.put_loggers_back()
    return judged


async def watch(entry: EntryScope, candidate: Candidate) -> None:
    """Look at a revision whose rollout cannot go on now; of the rollout nothing is decided but that it fails."""
    entry.step = ConditionType.LOADED
    seen, judged = await judge(entry, candidate)
    entry.last_look = LastLook(seen)
    entry.learn(verdict=judged)
    keep_verified(entry, candidate, judged)
    await decide(entry.work, {entry.name: candidate}, counted((), {entry.name: judged}))


async def judge(entry: EntryScope, candidate: Candidate) -> tuple[tuple[PodObservation, ...], Verdict]:
    """What the gateways show, and what that says."""
    seen, judged = await see(entry, candidate)
    if is_settled(entry, candidate) or not any(row.reason.means_gateway_down for row in judged.pods):
        return seen, judged
    return seen, weigh(entry, candidate, seen, await neighbours_in_time(entry, candidate))


async def neighbours_in_time(entry: EntryScope, candidate: Candidate) -> list[Neighbour]:
    """The releases that may be to blame; an answer that is late does not keep a gateway down."""
    try:
        async with asyncio.timeout(NEIGHBOURS_DEADLINE):
            return await entry.neighbours(candidate)
    except (ReleaseError, TimeoutError) as error:
        log.warning("the other releases on these gateways are not known", error=str(error))
        return []


def weigh(
    entry: EntryScope, candidate: Candidate, seen: Sequence[PodObservation], neighbours: Collection[Neighbour] = ()
) -> Verdict:
    """What these sightings say about the candidate."""
    known = entry.known_observation()
    noted, where = notes.read(known), candidate.pods(entry.world.mesh)
    return judging.judge(
        candidate.wanted(),
        seen,
        write_at=timestamps.parse_time(known.since),
        baselines=noted.baselines,
        verified=noted.loaded,
        load_timeout=entry.work.load_timeout(),
        settled=is_settled(entry, candidate),
        silent=noted.silent,
        neighbours=neighbours,
        looked_for=str(where),
        hint=where.hint,
    )


async def see(entry: EntryScope, candidate: Candidate) -> tuple[tuple[PodObservation, ...], Verdict]:
    """The look. Where a rollout is under way, what the pods' status shows of a crash ends it: a gateway that hangs
    beside one that crashes would hold it up for its whole deadline."""
    known = entry.known_observation()
    since = timestamps.parse_time(known.since)
    practice = habit(entry, notes.read(known).loaded)
    selected = await entry.gateway_pods(candidate)
    looking = asyncio.ensure_future(entry.sightings(candidate, selected, since, practice))
    try:
        pause = STATUS_PAUSE
        while not is_settled(entry, candidate):
            at_once = await entry.statuses(candidate, selected, since, practice)
            judged = weigh(entry, candidate, at_once)
            if judged.reason is Reason.GATEWAY_CRASHED:
                return at_once, judged
            if (await asyncio.wait({looking}, timeout=pause))[0]:
                break
            pause *= 1.5
            with contextlib.suppress(ReleaseError):  # the look goes on, and says what is wrong
                selected = await entry.gateway_pods(candidate)
        seen = await looking
        return seen, weigh(entry, candidate, seen)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def blame(entry: EntryScope, judged: Verdict) -> Verdict:
    """The same, or that one object keeps the control plane from reading all others; looked for where nothing arrives
    anywhere some time after the write."""
    written = timestamps.parse_time(entry.known_observation().since)
    if not entry.provider.STOPPED_BY_ONE or not judging.nothing_arrived(judged):
        return judged
    if entry.world.now() < written + BLAME_AFTER:
        return judged
    try:
        async with asyncio.timeout(BLAME_DEADLINE):
            listed = await entry.world.cluster.list(resources.resource_for(entry.provider.TARGET), None, {})
    except (ReleaseError, TimeoutError) as error:
        log.warning("what stops the control plane is not known", error=str(error))
        return judged
    found = entry.provider.unreadable(listed)
    return judging.report_stuck(judged, found) if found else judged


def is_settled(entry: EntryScope, candidate: Candidate) -> bool:
    """Whether the candidate was seen running everywhere before: a pod that comes up then is no news."""
    decided, release = entry.work.known_rollout(), entry.release
    if entry.report.intent.goal is Goal.ROLLBACK:
        return decisions.fallback_of(decided, entry.name).loaded_at is not None
    if not decisions.is_stable(release, entry.gateway, candidate.revision):
        return False
    others = (gateway for gateway in release.spec.gateways if gateway.name != entry.name)
    is_about_others = any(not decisions.is_stable(release, other, candidate.revision) for other in others)
    return decided.completed_at is not None or is_about_others


def habit(entry: EntryScope, proved: Collection[Incarnation]) -> ReadOptions:
    """Of gateways that were seen running this very revision only what is new is read; all of it after a start, as
    nobody has looked while no operator ran."""
    now, key = entry.world.now(), (entry.release.metadata.uid, entry.name)
    last = entry.world.looks.get(key)
    recent = min(last, now - timedelta(seconds=2 * entry.world.settings.resync)) if last else None
    entry.world.looks[key] = now
    return ReadOptions(verified=proved, recent=recent, cache=entry.world.memory)


async def probe(entry: EntryScope, seen: Collection[PodObservation], judged: Verdict) -> Verdict:
    """The condition Probed: asked once all gateways have the plugin, and for as long as they do."""
    asked = entry.release.spec.checks.probes
    if not asked or not probe_verdict.is_due(judged):
        return judged
    entry.step = ConditionType.PROBED
    known = entry.known_observation()
    about = {row.pod.uid for row in judged.pods if probe_verdict.is_asked(row)}
    reached = [sighting for sighting in seen if sighting.pod.uid in about and sighting.unreachable is None]
    answers = await entry.ask_probes(reached)
    entry.last_look = LastLook(tuple(seen), frozenset(find_refuted(answers)))
    weighed = probe_verdict.weigh(
        judged,
        answers,
        seen=reached,
        probes_failed_before=known.probes_failed_before,
        failing_since=known.probes_failing_since,
        settled=entry.stable == known.revision,
        now=entry.world.now(),
        patience=entry.work.load_timeout(),
    )
    entry.learn(
        findings=(*entry.report.findings, weighed.finding),
        observation=known.model_copy(update={"probes_failing_since": weighed.failing_since}),
    )
    return weighed.verdict


def keep_verified(entry: EntryScope, candidate: Candidate, judged: Verdict) -> None:
    """Note which pods need no new proof at the next look, and which have been silent since when."""
    known, at_rest = entry.known_observation(), is_settled(entry, candidate)
    entry.learn(observation=checkpoint.keep(known, judged, at_rest=at_rest))


async def decide(work: ReconcileScope, looks: Mapping[str, Candidate], verdicts: Mapping[str, Verdict]) -> None:
    """Decide what the look means for the rollout; prune what is no longer needed before Ready is reported."""
    now, known = work.world.now(), work.known_rollout()
    revision = next((candidate.revision for candidate in looks.values()), None)
    if revision is None:
        return
    advanced = decisions.advance(work.release, known, revision, verdicts, now, work.progress_deadline())
    work.learn(rollout=advanced)
    needed = {entry.stable for entry in work.all_entries() if entry.name not in verdicts}
    if advanced.failure is not None:
        if advanced.failure.held and known.failure is None:
            stable = {entry.stable for entry in work.all_entries()}
            await prune_after_failure(work, {advanced.failure.revision, *stable})
        return
    if advanced.completed_at is not None and any(entry.stable != revision for entry in work.all_entries()):
        await revisions.prune(work.world.cluster, work.release, {revision, *needed})


async def decide_fallback(entry: EntryScope, judged: Verdict) -> None:
    """Note when what was put back runs again; then prune what nothing needs."""
    work, known = entry.work, entry.work.known_rollout()
    advanced = decisions.advance_fallback(known, entry.name, judged, work.world.now())
    work.learn(rollout=advanced)
    if advanced != known and advanced.failure is not None and not decisions.is_going_back(advanced):
        needed = {other.stable for other in work.all_entries()}
        await prune_after_failure(work, {advanced.failure.revision, *needed})


async def prune_after_failure(work: ReconcileScope, needed: Collection[str | None]) -> None:
    """Delete the revisions that nothing needs; one that stays is pruned with the next rollout."""
    try:
        await revisions.prune(work.world.cluster, work.release, needed)
    except ReleaseError as error:
        log.warning("revisions not pruned", reason=error.reason, message=error.message)


async def nudge(entry: EntryScope, candidate: Candidate, judged: Verdict) -> None:
    """Makes istiod send the plugin again, because an agent that could not fetch it never tries again by itself.

    Only once the image can be fetched again, and less and less often. Not while a rollback is about to come.
    """
    known = entry.known_observation()
    if judged.state is State.LOADED and known.refetch is not None and known.refetch.attempts:
        entry.learn(observation=known.model_copy(update={"refetch": refetch.reset_attempts(known.refetch)}))
    if is_about_to_go_back(entry, candidate) or not refetch.is_due(
        judged, known.refetch, entry.world.now(), timestamps.parse_time(known.since)
    ):
        return
    if not await can_be_fetched(entry, candidate):
        return
    await entry.note(known.model_copy(update={"refetch": refetch.make_next(known.refetch, entry.world.now())}))
    stuck = [row.pod for row in judged.pods if row.reason.is_healed_by_refetch or row.reason.may_be_left_behind]
    await entry.raise_loggers(stuck)
    observed = await entry.observe()
    await entry.apply_all(plan.draft(candidate.placement, [(entry.rendered(candidate), observed)]).writes)


def rest_nudges(entry: EntryScope) -> None:
    """Whoever asks for another try does not wait for the next turn of a back-off."""
    known = entry.noted_observation()
    if known is not None and known.refetch is not None:
        entry.learn(observation=known.model_copy(update={"refetch": refetch.reset_attempts(known.refetch)}))


async def can_be_fetched(entry: EntryScope, candidate: Candidate) -> bool:
    """Whether the registry gives out the candidate's image now."""
    try:
        await entry.work.ask_registry(candidate, NUDGE_DEADLINE)
    except ReleaseError as error:
        log.info("gateways are not nudged", reason=error.reason, message=error.message)
        return False
    return True


def is_watched_closely(entry: EntryScope, judged: Verdict) -> bool:
    """Whether the gateways' own word for "loaded" is still awaited."""
    nudge = entry.known_observation().refetch
    nudged = nudge is not None and refetch.is_fresh(nudge, entry.world.now())
    return judged.state is State.PENDING or (nudged and judged.state is not State.LOADED)
