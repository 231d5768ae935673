"""How a revision comes to the gateways: what is there already, the checks, the notes, the writes.

Of a revision that the spec names all that can be known is asked first (`preflight`). The way back is in `fallback`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import adoption, artifacts, preflight, revisions
from pluginrelease.controller.scope import JSON, Candidate, EntryScope, ReconcileScope, each
from pluginrelease.controller.secrets import pull_secrets
from pluginrelease.core import revision, timestamps
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import checkpoint
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import decisions, history, placements, plan, probe
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.status import conditions
from pluginrelease.core.status.report import Event

log = structlog.get_logger(__name__)

# steps whose refusal is about the artifact that a tag was settled on
LET_GO = {ConditionType.ARTIFACT_READY, ConditionType.VERIFIED, ConditionType.COMPATIBLE}


@dataclass(frozen=True)
class Delivery:
    """An entry that is to be written: its candidate, the object as it is, and its gateways before the write."""

    entry: EntryScope
    candidate: Candidate
    observed: JSON | None
    before: tuple[PodObservation, ...]


async def deliver(work: ReconcileScope, entries: Iterable[EntryScope]) -> dict[str, Candidate]:
    """Bring the revision to these entries; return the candidate of each that carries it now, by name.

    An entry that cannot be placed ends with its own error. Raises `ReleaseError` when the revision is refused or
    awaited: then it is written to none.
    """
    observed = await observe_objects(entries)
    converged = await find_all_converged(work, observed)
    missing = [entry for entry in observed if entry.name not in converged]
    written = await roll_out(work, missing, {entry.name: observed[entry] for entry in missing}) if missing else {}
    return {**converged, **written}


async def observe_objects(entries: Iterable[EntryScope]) -> dict[EntryScope, JSON | None]:
    """Return the object of each entry; one whose object is not ours, or cannot be read, ends with its error."""
    listed = list(entries)

    async def read(entry: EntryScope) -> JSON | None:
        entry.step = ConditionType.APPLIED
        observed = await entry.observe()
        if observed is not None:
            plan.check_owner(entry.placement(), observed)
        return observed

    found = await each(listed, read)
    return {entry: found[entry.name] for entry in listed if entry.name in found}


async def find_all_converged(work: ReconcileScope, observed: Mapping[EntryScope, JSON | None]) -> dict[str, Candidate]:
    """Return the candidates of the entries whose objects are what they should be already."""
    found = {}
    for entry, carrier in observed.items():
        candidate = await find_converged(entry, carrier)
        if candidate is not None:
            found[entry.name] = candidate
            await note_deployed(work, entry, candidate)
    return found


async def follow_tag(entry: EntryScope, under_way: decisions.RolloutStart) -> decisions.RolloutStart:
    """Ask for a tag that is followed again when its time has come; what it names then begins another rollout.

    It is asked for with the secret of this entry, whose namespace has consented. A registry that does not answer is
    reported, and changes nothing: what runs goes on running.
    """
    work = entry.work
    now, known = work.world.now(), work.release.status.artifact
    if known is None or under_way.rollout.rollback_to is not None or not tags.is_due(work.release, now):
        return under_way
    try:
        access = await work.access(entry.placement())
        ref = await work.resolve_name(work.release.spec.artifact.image, access)
        digest = str((await work.world.shelf.ask(artifacts.reference_of(ref, None), access)).digest)
    except ReleaseError as error:
        message = f"{known.ref} was {known.digest} and could not be asked for again: {error.reason}: {error.message}"
        work.find(ConditionType.ARTIFACT_READY, "True", Reason.TAG_NOT_FOLLOWED, message)
        work.learn(artifact=known.model_copy(update={"asked_at": timestamps.metav1_time(now)}))
        return under_way
    if tags.is_news(work.release, digest):
        log.info("the tag has moved", ref=ref, was=known.digest, now=digest)
        return decisions.begin_again(work.release, under_way, now)
    known = tags.update_artifact(known, ref, digest, timestamps.metav1_time(now))
    preflight.mark_artifact_ready(work, known)
    work.learn(artifact=known)
    return under_way


async def find_converged(entry: EntryScope, observed: JSON | None) -> Candidate | None:
    """Return the candidate when the object in the cluster is what it wants: nothing needs to be fetched or checked."""
    known = entry.noted_observation()
    if observed is None or known is None:
        return None
    candidate = await recall_candidate(entry)
    if candidate is None or candidate.revision != known.revision:
        return None
    if not plan.draft(candidate.placement, [(entry.rendered(candidate), observed)]).converged:
        return None
    entry.aim(candidate)
    record_object(entry, observed)
    mark_applied(entry, candidate)
    return candidate


async def recall_candidate(entry: EntryScope) -> Candidate | None:
    """Return the candidate without asking any registry, where that can be."""
    intent = entry.report.intent
    if intent.goal is not Goal.SPEC and intent.revision is not None:
        return await recall_revision(entry, intent.revision)
    known = pinned(entry.work)
    if known is None or not conditions.checks_still_valid(entry.release):
        return None
    if entry.release.spec.artifact.verify is None:  # whose signature it was is reported only while somebody asks
        known = known.model_copy(update={"signer": None, "policy": None})
    return Candidate(entry.placement(), known)


async def recall_revision(entry: EntryScope, kept: str) -> Candidate:
    """Return a revision as it was kept, for this entry."""
    recorded = await revisions.recall(entry.world.cluster, entry.release, kept)
    return Candidate(entry.place(revision.effective(entry.release, recorded)), recorded.artifact)


def pinned(work: ReconcileScope) -> api.ArtifactStatus | None:
    """Return the digest that this reference was settled on: a tag is not asked again while the release holds it."""
    if work.start is not None and work.start.retry:
        return None
    known, image = work.release.status.artifact, work.release.spec.artifact
    failed = {condition.type for condition in work.release.status.conditions if condition.status == "False"}
    stalled = any(condition.type == ConditionType.STALLED for condition in work.release.status.conditions)
    # only a refusal lets the pin go: a registry that did not answer says nothing about the artifact
    passed = not (stalled and failed & LET_GO)
    matches = known is not None and tags.is_about(known, image.image)
    right = known is not None and image.wasm_sha256 in (None, known.wasm_sha256)
    return known if passed and matches and right else None


async def roll_out(
    work: ReconcileScope, entries: list[EntryScope], observed: Mapping[str, JSON | None]
) -> dict[str, Candidate]:
    """Check → keep → note → write, all entries at once; return the candidates of those that were written."""
    effective, known, index = await what_to_deliver(work, entries[0])
    checked = await preflight.check(work, entries, effective, known, index)
    deliveries = [
        Delivery(entry, checked[entry.name][0], observed[entry.name], checked[entry.name][1])
        for entry in entries
        if entry.name in checked
    ]
    if not deliveries:
        return {}
    first = deliveries[0].candidate
    work.step = ConditionType.APPLIED
    recorded = await revisions.keep(work.world.cluster, first.release, first.artifact)
    work.learn(deployed=describe_deployed(recorded))
    return await write_all(work, deliveries)


async def what_to_deliver(
    work: ReconcileScope, entry: EntryScope
) -> tuple[api.Release, api.ArtifactStatus | None, str | None]:
    """Return the release with the revision that is wanted, what its reference is settled on, and the index that led to
    an old revision's image."""
    intent = entry.report.intent
    if intent.goal is not Goal.REVISION or intent.revision is None:
        return work.release, pinned(work), None
    recorded = await revisions.recall(work.world.cluster, work.release, intent.revision)
    return revision.effective(work.release, recorded), None, recorded.artifact.index


async def write_all(work: ReconcileScope, deliveries: list[Delivery]) -> dict[str, Candidate]:
    """Note first what a look will need, for all entries in one write of the status; then write their objects."""
    by_name = {delivery.entry.name: delivery for delivery in deliveries}
    entries = [delivery.entry for delivery in deliveries]
    drafts = await each(entries, lambda entry: prepare(by_name[entry.name]))
    await work.checkpoint()
    await asyncio.gather(
        *(raise_loggers_before(by_name[name]) for name, drafted in drafts.items() if drafted.reaches_gateways)
    )

    async def write(entry: EntryScope) -> Candidate:
        delivery = by_name[entry.name]
        applied = await entry.apply_all(drafts[entry.name].writes)
        record_object(entry, applied or delivery.observed or entry.rendered(delivery.candidate))
        mark_applied(entry, delivery.candidate)
        return delivery.candidate

    return await each([entry for entry in entries if entry.name in drafts], write)


async def prepare(delivery: Delivery) -> plan.Plan:
    """Copy the pull secret, keep what is adopted, and note the counters; return what is to be written."""
    entry, candidate, observed = delivery.entry, delivery.candidate, delivery.observed
    entry.step = ConditionType.APPLIED
    plan.check_whole(candidate.placement, entry.rendered(candidate), observed)
    await adoption.keep_adopted(entry, observed)
    await entry.apply_all(await pull_secrets.writes(entry.world.cluster, candidate.placement))
    drafted = plan.draft(candidate.placement, [(entry.rendered(candidate), observed)])
    report_drift(entry, candidate, observed, drafted)
    await begin_observation(delivery, plan.read_revision(observed), writing=drafted.reaches_gateways)
    return drafted


async def write_one(
    entry: EntryScope, candidate: Candidate, observed: JSON | None, before: Collection[PodObservation]
) -> None:
    """Note and write one entry's object. Raises `ReleaseError`."""
    delivery = Delivery(entry, candidate, observed, tuple(before))
    drafted = await prepare(delivery)
    await entry.work.checkpoint()
    if drafted.reaches_gateways:
        await raise_loggers_before(delivery)
    applied = await entry.apply_all(drafted.writes)
    record_object(entry, applied or observed or entry.rendered(candidate))


async def raise_loggers_before(delivery: Delivery) -> None:
    """Raise the log level of the gateways that can be reached."""
    reached = [sighting.pod for sighting in delivery.before if sighting.unreachable is None]
    await delivery.entry.raise_loggers(reached)


def report_drift(entry: EntryScope, candidate: Candidate, observed: JSON | None, drafted: plan.Plan) -> None:
    """Post an event when somebody else changed or deleted what this revision had written."""
    known, row = entry.noted_observation(), entry.row
    was_written = known is not None and known.revision == candidate.revision and row is not None and row.object
    if was_written and drafted.reaches_gateways and plan.read_revision(observed) in (None, candidate.revision):
        [write] = drafted.writes
        message = f"{entry.target_name()} was put right: {write.why}"
        entry.work.tell(Event("Warning", Reason.DRIFT_CORRECTED, message))


async def begin_observation(delivery: Delivery, carried: str | None, *, writing: bool) -> None:
    """Start the observation of a revision, unless an earlier pass wrote it and was cut short after that."""
    entry, candidate = delivery.entry, delivery.candidate
    known = entry.noted_observation()
    if known is not None and known.revision == candidate.revision and not writing:
        return
    begun = checkpoint.begin(
        known,
        name=entry.name,
        revision=candidate.revision,
        load=candidate.load,
        carried=carried,
        stable=entry.stable,
        before=delivery.before,
        probes_failed_before=await probes_refuted_before(entry, delivery.before),
        now=entry.world.now(),
    )
    entry.learn(observation=begun)


async def probes_refuted_before(entry: EntryScope, before: Collection[PodObservation]) -> Collection[str]:
    """Return the probes that fail in every pod before the write: when they pass, it is by what was written."""
    reached = preflight.reachable(before)
    if not entry.release.spec.checks.probes or not reached:
        return ()
    return probe.find_refuted(await entry.ask_probes(reached, written=False))


def mark_applied(entry: EntryScope, candidate: Candidate) -> None:
    """Set the condition Applied: the object in the cluster is what the candidate wants."""
    again = entry.report.intent.goal is Goal.ROLLBACK
    text = f"{entry.target_name()} carries revision {candidate.revision}{' again' if again else ''}"
    entry.find(ConditionType.APPLIED, "True", Reason.ROLLED_BACK if again else Reason.APPLIED, text)


async def note_deployed(work: ReconcileScope, entry: EntryScope, candidate: Candidate) -> None:
    """Note the revision for the history, where a pass was cut short before it could; read nothing when it is known."""
    if entry.report.intent.goal not in (Goal.SPEC, Goal.REVISION) or work.report.deployed is not None:
        return
    if history.is_noted(work.release.status.history, candidate.revision):
        return
    recorded = await revisions.keep(work.world.cluster, candidate.release, candidate.artifact)
    work.learn(deployed=describe_deployed(recorded))


def record_object(entry: EntryScope, found: JSON) -> None:
    """Note what is now in the API server."""
    entry.learn(object=placements.describe_object(found))


async def uninstall(entry: EntryScope) -> None:
    """Take the plugin off: the gateways are as they were before it."""
    entry.step = ConditionType.APPLIED
    observed = await entry.observe()
    if observed is not None and plan.is_ours(entry.release, observed):
        cluster, uid = entry.world.cluster, entry.release.metadata.uid
        await entry.world.gates.write(uid, lambda: cluster.delete(observed))
        log.info("deleted", name=observed["metadata"]["name"])
    await entry.put_loggers_back()
    entry.learn(running="")
    text = "nothing ran before, so the plugin was taken off the gateways"
    entry.find(ConditionType.APPLIED, "False", Reason.REMOVED, text)


def describe_deployed(recorded: revision.Recorded) -> history.Deployed:
    """Return what the history tells of a kept revision."""
    return history.Deployed(
        recorded.revision, recorded.number, ref=recorded.artifact.ref, digest=recorded.artifact.digest
    )
