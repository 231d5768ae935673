"""How a revision comes to the gateways: what is there already, the notes, the write, and the way back.

Of a revision that the spec names all that can be known is asked first (`preflight`). One that is put back ran before;
of it is only asked whether it can still be fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import artifacts, preflight, revisions
from pluginrelease.controller.scope import JSON, Candidate, LastLook, ReconcileScope
from pluginrelease.controller.secrets import pull_secrets
from pluginrelease.core import revision, timestamps
from pluginrelease.core.errors import ReleaseError, Waiting
from pluginrelease.core.gateway import checkpoint
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import decisions, detour, history, plan, probe
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.status import conditions
from pluginrelease.core.status.report import Event
from pluginrelease.edges.envoy.dump_cache import READ_ALL

log = structlog.get_logger(__name__)

# seconds: a rollback does not wait longer for a registry, as traffic may be wrong meanwhile
FETCHABLE_DEADLINE = 3.0

# steps whose refusal is about the artifact that a tag was settled on
LET_GO = {ConditionType.ARTIFACT_READY, ConditionType.VERIFIED, ConditionType.COMPATIBLE}


async def ensure(work: ReconcileScope, intent: Intent) -> Candidate:
    """Return the candidate if the cluster already matches it; otherwise run preflight and write it."""
    observed = await work.observe()
    candidate = await find_converged(work, intent, observed)
    if candidate is not None:
        return candidate
    if observed is not None:
        plan.check_owner(work.release, observed)
    match intent:
        case Intent(Goal.OLD, str(kept)):
            recorded = await revisions.recall(work.world.cluster, work.release, kept)
            old = revision.effective(work.release, recorded)
            return await roll_out(work, old, observed, index=recorded.artifact.index)
        case _:
            return await roll_out(work, work.release, observed)


async def go_back(work: ReconcileScope) -> Candidate | None:
    """Change the plugin's object to what ran before the failure; return None where nothing ran.

    The object comes first: no look, no note, no log level, no consent and no valid spec is waited for.
    """
    match work.intent():
        case Intent(Goal.PUT_BACK, str(kept)):
            return await put_back_or_pass_over(work, kept)
        case _:
            await uninstall(work)
            return None


async def follow_tag(work: ReconcileScope, under_way: decisions.RolloutStart) -> decisions.RolloutStart:
    """A tag that is followed is asked for again when its time has come; what it names then begins another rollout.

    A registry that does not answer is told, and changes nothing: what runs goes on running.
    """
    now, known = work.world.now(), work.release.status.artifact
    if known is None or under_way.rollout.rollback_to is not None or not tags.is_due(work.release, now):
        return under_way
    try:
        access = await work.access(work.release)
        ref = await work.named(work.release.spec.artifact.image, access)
        digest = str((await work.world.shelf.ask(artifacts.reference_of(ref, None), access)).digest)
    except ReleaseError as error:
        message = f"{known.ref} was {known.digest} and could not be asked for again: {error.reason}: {error.message}"
        work.find(ConditionType.ARTIFACT_READY, "True", "TagNotFollowed", message)
        work.learn(artifact=known.model_copy(update={"asked_at": timestamps.metav1_time(now)}))
        return under_way
    if tags.is_news(work.release, digest):
        log.info("the tag has moved", ref=ref, was=known.digest, now=digest)
        return decisions.begin_anew(work.release, under_way, now)
    known = tags.update_artifact(known, ref, digest, timestamps.metav1_time(now))
    preflight.mark_artifact_ready(work, known)
    work.learn(artifact=known)
    return under_way


async def find_converged(work: ReconcileScope, intent: Intent, observed: JSON | None) -> Candidate | None:
    """The candidate, when the object in the cluster is what it wants: nothing needs to be fetched or checked."""
    known = work.release.status.observation
    if observed is None or known is None:
        return None
    candidate = await recall_candidate(work, intent)
    if candidate is None or candidate.revision != known.revision:
        return None
    if not plan.draft(work.release, [(work.rendered(candidate), observed)]).converged:
        return None
    work.aim(intent, candidate)
    await note_deployed(work, intent, candidate)
    record_target(work, observed)
    mark_applied(work, candidate)
    return candidate


async def recall_candidate(work: ReconcileScope, intent: Intent) -> Candidate | None:
    """The candidate without asking any registry, where that can be."""
    if intent.goal is not Goal.SPEC and intent.revision is not None:
        return await recall_revision(work, intent.revision)
    known = pinned(work)
    if known is None or not conditions.checks_still_valid(work.release):
        return None
    if work.release.spec.artifact.verify is None:  # whose signature it was is told only while somebody asks
        known = known.model_copy(update={"signer": None, "policy": None})
    return Candidate(work.release, known)


async def recall_revision(work: ReconcileScope, kept: str) -> Candidate:
    """A revision as it was kept."""
    recorded = await revisions.recall(work.world.cluster, work.release, kept)
    return Candidate(revision.effective(work.release, recorded), recorded.artifact)


def pinned(work: ReconcileScope) -> api.ArtifactStatus | None:
    """The digest that this reference was settled on: a tag is not asked again while the release holds it."""
    if work.start is not None and work.start.anew:
        return None
    known, image = work.release.status.artifact, work.release.spec.artifact
    failed = {it.type for it in work.release.status.conditions if it.status == "False"}
    stalled = any(it.type == ConditionType.STALLED for it in work.release.status.conditions)
    # only a refusal lets the pin go: a registry that did not answer says nothing about the artifact
    passed = not (stalled and failed & LET_GO)
    matches = known is not None and tags.is_about(known, image.image)
    right = known is not None and image.wasm_sha256 in (None, known.wasm_sha256)
    return known if passed and matches and right else None


async def roll_out(
    work: ReconcileScope, effective: api.Release, observed: JSON | None, index: str | None = None
) -> Candidate:
    """All checks → notes → write; ``index`` is the one that led to an old revision's image."""
    known = pinned(work) if effective is work.release else None
    candidate, before = await preflight.check(work, effective, known, index)
    note_adoption(work, observed)
    recorded = await revisions.keep(work.world.cluster, effective, candidate.artifact)
    work.learn(deployed=describe_deployed(recorded))
    await write(work, candidate, observed, before)
    mark_applied(work, candidate)
    return candidate


async def put_back_or_pass_over(work: ReconcileScope, kept: str) -> Candidate:
    """Put a revision back; one of other bytes, that comes first and is not to be had any more, is passed over."""
    try:
        return await roll_back(work, kept)
    except ReleaseError as error:
        reasons = {error.reason, getattr(error.__cause__, "reason", "")}
        decided = work.known_rollout()
        passed = detour.skip_unfetchable(decided, reasons)
        if passed == decided or passed.puts_back is None:
            raise
        log.warning("a revision of other bytes is passed over", revision=kept, reason=error.reason)
        work.learn(rollout=passed)
        return await roll_back(work, passed.puts_back)


async def roll_back(work: ReconcileScope, kept: str) -> Candidate:
    """Write the stable revision after a failure, then note since when it is looked for, and raise the loggers."""
    work.step = ConditionType.APPLIED
    intent, observed = work.intent(), await work.observe()
    candidate = await find_converged(work, intent, observed)
    if candidate is not None:
        return candidate
    if observed is not None:
        plan.check_owner(work.release, observed)
    candidate = await recall_revision(work, kept)
    work.aim(intent, candidate)
    drafted = plan.draft(work.release, [(work.rendered(candidate), observed)])
    shown = await check_nothing_is_lost(work, candidate) if drafted.reaches_gateways else LastLook()
    since = work.world.now() if drafted.writes else plan.read_write_time(observed) or work.world.now()
    applied = await work.apply_all(drafted.writes)
    record_target(work, applied or observed or work.rendered(candidate))
    mark_applied(work, candidate)
    await observe_fallback(work, candidate, shown, plan.read_revision(observed), since)
    return candidate


async def check_nothing_is_lost(work: ReconcileScope, candidate: Candidate) -> LastLook:
    """Return what the gateways showed before the write; raise `Waiting` (RollbackBlocked) when they would lose code.

    A gateway that refused the new revision still runs the old code. If it had to load that from a registry that has it
    no longer, it would answer 403 to everyone. Gateways that are down are asked nothing.
    """
    failure = work.known_rollout().failure
    shown = work.last_look or LastLook()
    if failure is None or not decisions.may_lose_code(failure, shown.sightings):
        return shown
    if work.last_look is not None:
        await check_fetchable(work, candidate)
        return shown
    # after a restart of the operator: the look costs no time beside the question to the registry
    seen, blocked = await asyncio.gather(look_briefly(work, candidate), fetch_error(work, candidate))
    if blocked is not None and decisions.may_lose_code(failure, seen) and not has_crashed_of(work, failure, seen):
        raise blocked
    return LastLook(seen)


def has_crashed_of(work: ReconcileScope, failure: api.RolloutFailure, seen: Collection[PodObservation]) -> bool:
    """Whether a gateway has crashed of the revision that failed: then there is something to win."""
    known = work.release.status.observation
    if known is None or known.revision != failure.revision:
        return False
    baselines = [checkpoint.from_pod_baseline(one) for one in known.baselines]
    return judging.has_crashed(seen, timestamps.parse_time(known.since), baselines)


async def look_briefly(work: ReconcileScope, candidate: Candidate) -> tuple[PodObservation, ...]:
    """Return what every gateway pod shows within `FETCHABLE_DEADLINE`, or else its status alone."""
    selected, since = list[PodRef](), work.world.now()
    try:
        async with asyncio.timeout(FETCHABLE_DEADLINE):
            selected = await work.gateway_pods(candidate)
            return await work.sightings(candidate, selected, since)
    except (ReleaseError, TimeoutError):
        return await work.statuses(candidate, selected, since, READ_ALL)


async def fetch_error(work: ReconcileScope, candidate: Candidate) -> Waiting | None:
    """Return what `check_fetchable` raises."""
    try:
        await check_fetchable(work, candidate)
    except Waiting as error:
        return error
    return None


async def observe_fallback(
    work: ReconcileScope, candidate: Candidate, shown: LastLook, carried: str | None, since: datetime
) -> None:
    """Note the observation of what was put back, and raise the loggers that will show it."""
    begun = checkpoint.begin(
        work.release.status.observation,
        revision=candidate.revision,
        load=candidate.load,
        carried=carried,
        stable=work.release.status.stable_revision,
        before=shown.sightings,
        failed_before=shown.refuted_probes,
        now=since,
    )
    await work.note(begun)
    await work.raise_loggers([one.pod for one in shown.sightings if one.unreachable is None])


async def correct_drift(work: ReconcileScope, stable: str) -> Candidate:
    """The stable revision, written anew where another hand changed or deleted it, or where one that was overtaken
    before it ran everywhere has its place."""
    candidate = await recall_revision(work, stable)
    work.learn(running=candidate.revision)
    observed = await work.observe()
    if not plan.draft(work.release, [(work.rendered(candidate), observed)]).converged:
        before = await preflight.look_before(work, candidate)
        if plan.read_revision(observed) not in (None, stable) and not decisions.has_stand_in(before):
            await check_fetchable(work, candidate)
        await write(work, candidate, observed, before)
    await keep_secret_in_step(work, candidate)
    return candidate


async def check_fetchable(work: ReconcileScope, candidate: Candidate) -> None:
    """Raise `Waiting` (RollbackBlocked) when gateways could not fetch what is to be put back."""
    try:
        async with asyncio.timeout(FETCHABLE_DEADLINE):
            await work.ask_registry(candidate, FETCHABLE_DEADLINE)
    except TimeoutError as error:
        raise rollback_blocked(candidate, f"no answer within {FETCHABLE_DEADLINE:g} s") from error
    except ReleaseError as error:
        raise rollback_blocked(candidate, f"{error.reason}: {error.message}") from error


def rollback_blocked(candidate: Candidate, why: str) -> Waiting:
    """Return the error of a rollback that would take code away from gateways that still run it."""
    return Waiting(
        "RollbackBlocked",
        f"revision {candidate.revision} is not put back, as {candidate.artifact.image} could not be fetched: {why}",
        "What the gateways run is left alone. Push the image again, or correct the spec",
        retry_after=plan.RECHECK,
    )


def mark_applied(work: ReconcileScope, candidate: Candidate) -> None:
    """The condition Applied: the object in the cluster is what the candidate wants."""
    again = work.intent().goal is Goal.PUT_BACK
    text = f"{work.target_name()} carries revision {candidate.revision}{' again' * again}"
    work.find(ConditionType.APPLIED, "True", "RolledBack" if again else "Applied", text)


def note_adoption(work: ReconcileScope, observed: JSON | None) -> None:
    """An object that is taken over from somebody is remembered as such."""
    if observed is not None and not plan.is_ours(work.release, observed):
        work.learn(rollout=work.known_rollout().model_copy(update={"adopted": True}))


async def note_deployed(work: ReconcileScope, intent: Intent, candidate: Candidate) -> None:
    """For the history, where a pass was cut short before it could tell; nothing is read when it knows already."""
    if intent.goal is Goal.PUT_BACK or history.is_noted(work.release.status.history, candidate.revision):
        return
    recorded = await revisions.keep(work.world.cluster, candidate.release, candidate.artifact)
    work.learn(deployed=describe_deployed(recorded))


async def write(
    work: ReconcileScope, candidate: Candidate, observed: JSON | None, before: Collection[PodObservation]
) -> None:
    """Notes first what a look will need: since when to read logs, the counters, and the loggers to put back."""
    await work.apply_all(await pull_secrets.writes(work.world.cluster, candidate.release))
    drafted = plan.draft(work.release, [(work.rendered(candidate), observed)])
    report_drift(work, candidate, observed, drafted)
    await begin_observation(work, candidate, before, plan.read_revision(observed), writing=drafted.reaches_gateways)
    applied = await work.apply_all(drafted.writes)
    record_target(work, applied or observed or work.rendered(candidate))


def report_drift(work: ReconcileScope, candidate: Candidate, observed: JSON | None, drafted: plan.Plan) -> None:
    """Another hand changed or deleted what this revision had written."""
    known, target = work.release.status.observation, work.release.status.target
    was_written = known is not None and known.revision == candidate.revision and target is not None
    if was_written and drafted.reaches_gateways and plan.read_revision(observed) in (None, candidate.revision):
        [write] = drafted.writes
        message = f"{work.target_name()} was put right: {write.why}"
        work.learn(events=(*work.report.events, Event("Warning", "DriftCorrected", message)))


async def begin_observation(
    work: ReconcileScope,
    candidate: Candidate,
    before: Collection[PodObservation],
    carried: str | None,
    *,
    writing: bool,
) -> None:
    """Starts the observation of a revision, unless an earlier pass wrote it and was cut short after that."""
    known = work.release.status.observation
    if known is not None and known.revision == candidate.revision and not writing:
        return
    begun = checkpoint.begin(
        known,
        revision=candidate.revision,
        load=candidate.load,
        carried=carried,
        stable=work.release.status.stable_revision,
        before=before,
        failed_before=await probes_refuted_before(work, before),
        now=work.world.now(),
    )
    await work.note(begun)
    if writing:
        await work.raise_loggers([sighting.pod for sighting in before if sighting.unreachable is None])


async def probes_refuted_before(work: ReconcileScope, before: Collection[PodObservation]) -> Collection[str]:
    """Names of the probes that fail in every pod before the write: when they pass, it is by what was written."""
    reached = preflight.reachable(before)
    if not work.release.spec.checks.probes or not reached:
        return ()
    return probe.find_refuted(await work.ask_probes(reached, written=False))


async def uninstall(work: ReconcileScope) -> None:
    """A first release that failed: the gateways are as they were before it."""
    work.step = ConditionType.APPLIED
    observed = await work.observe()
    if observed is not None and plan.is_ours(work.release, observed):
        await work.world.gates.write(work.release.metadata.uid, lambda: work.world.cluster.delete(observed))
        log.info("taken off", name=observed["metadata"]["name"])
    await work.put_loggers_back()
    work.find(ConditionType.APPLIED, "False", "Removed", "nothing ran before, so the plugin was taken off the gateways")


def record_target(work: ReconcileScope, target: JSON) -> None:
    """What is now in the API server."""
    own = target["metadata"]
    known = api.TargetStatus(
        api_version=target["apiVersion"],
        kind=target["kind"],
        namespace=own["namespace"],
        name=own["name"],
        uid=own.get("uid"),
    )
    work.learn(target=known)


async def keep_secret_in_step(work: ReconcileScope, candidate: Candidate) -> None:
    """A rotated pull secret reaches the gateways, also while the registry is down; one no longer named goes."""
    work.step = ConditionType.APPLIED
    await work.apply_all(await pull_secrets.writes(work.world.cluster, candidate.release))
    copy = await pull_secrets.superfluous(work.world.cluster, candidate.release)
    if copy is not None:
        await work.world.cluster.delete(copy)


def describe_deployed(recorded: revision.Recorded) -> history.Deployed:
    """What the history tells of a kept revision."""
    return history.Deployed(
        recorded.revision, recorded.number, ref=recorded.artifact.ref, digest=recorded.artifact.digest
    )
