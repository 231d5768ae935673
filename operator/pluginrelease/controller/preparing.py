"""Prepare a write, and write: the pull secret's copy, the adopted object, the counters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import adoption, looking, writing
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.secrets import pull_secrets
from pluginrelease.core.gateway import checkpoint
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.rollout import plan, probe
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.rollout.results import Prepared, Written

JSON = dict[str, Any]


async def prepare(
    work: PassContext, entry: EntryView, candidate: Candidate, observed: JSON | None, before: Sequence[PodObservation]
) -> Prepared:
    """Copy the pull secret, keep an adopted object, and read the counters; return what to note and to write.

    Raises `Refused` (ForeignFields) if the object to adopt has fields that the release would not set.
    """
    plan.check_whole(candidate.placement, entry.rendered(candidate), observed)
    adopted = await adoption.keep_adopted(work, entry, observed)
    copies = plan.Plan(await pull_secrets.writes(work.reader, candidate.placement))
    await writing.apply_all(work, entry.release, copies)
    drafted = entry.drafted(candidate, observed)
    noted = await begin_observation(work, entry, candidate, plan.read_revision(observed), before, drafted)
    reached = tuple(seen.pod for seen in before if seen.unreachable is None)
    return Prepared(
        drafted,
        noted,
        to_raise=reached if drafted.reaches_gateways else (),
        adopted=adopted,
        events=(*describe_taken_back(entry, observed), *describe_drift(entry, candidate, observed, drafted)),
    )


def describe_taken_back(entry: EntryView, observed: JSON | None) -> tuple[Event, ...]:
    """Return an event if the object belongs to the release only by its name, as after a restore from a backup."""
    if observed is None or not plan.is_restored(entry.release, observed):
        return ()
    text = f"{entry.target_name()} is of a PluginRelease of this name that is gone, and is taken back"
    return (Event("Normal", Reason.TAKEN_BACK, text),)


def describe_drift(
    entry: EntryView, candidate: Candidate, observed: JSON | None, drafted: plan.Plan
) -> tuple[Event, ...]:
    """Return an event if another client changed or deleted what this revision had written."""
    known, row = entry.noted, entry.row
    was_written = known is not None and known.revision == candidate.revision and row is not None and row.object
    if not was_written or not drafted.reaches_gateways:
        return ()
    if plan.read_revision(observed) not in (None, candidate.revision):
        return ()
    [write] = drafted.writes
    return (Event("Warning", Reason.DRIFT_CORRECTED, f"{entry.target_name()} was restored: {write.why}"),)


async def begin_observation(
    work: PassContext,
    entry: EntryView,
    candidate: Candidate,
    carried: str | None,
    before: Sequence[PodObservation],
    drafted: plan.Plan,
) -> api.Observation | None:
    """Return the observation to begin; None if an earlier pass wrote this revision and was interrupted after that."""
    known = entry.noted
    if known is not None and known.revision == candidate.revision and not drafted.reaches_gateways:
        return None
    return checkpoint.begin(
        known,
        name=entry.name,
        revision=candidate.revision,
        load=candidate.load,
        carried=carried,
        stable=entry.stable,
        before=before,
        probes_failed_before=await probes_refuted_before(work, entry, before),
        now=work.now(),
    )


async def probes_refuted_before(
    work: PassContext, entry: EntryView, before: Collection[PodObservation]
) -> Collection[str]:
    """Return the probes that fail in every pod before the write. If they pass later, the write is the cause."""
    reached = reachable(before)
    if not entry.release.spec.checks.probes or not reached:
        return ()
    return probe.find_refuted(await looking.ask_probes(work, entry, reached, written=False))


def reachable(before: Collection[PodObservation]) -> list[PodObservation]:
    """Return the gateways that answer requests and can be asked."""
    return [seen for seen in before if seen.unreachable is None and seen.pod.ready]


async def write_again(work: PassContext, entry: EntryView) -> Written | None:
    """Write the draft."""
    applied = await writing.apply_all(work, entry.release, entry.entry.draft)
    return Written(applied) if applied is not None else None


async def keep_secret_of_aimed(work: PassContext, entry: EntryView) -> None:
    """Copy a rotated pull secret to the gateways, even if the registry is down; delete a copy no longer named."""
    await keep_secret(work, entry, entry.aimed)


async def keep_secret_of_carried(work: PassContext, entry: EntryView) -> None:
    """Do the same for the revision that the entry's object carries."""
    await keep_secret(work, entry, entry.carried)


async def keep_secret(work: PassContext, entry: EntryView, candidate: Candidate) -> None:
    """Copy a rotated pull secret to the gateways; delete a copy that is no longer named."""
    drafted = plan.Plan(await pull_secrets.writes(work.reader, candidate.placement))
    await writing.apply_all(work, entry.release, drafted)
    copy = await pull_secrets.superfluous(work.reader, candidate.placement)
    if copy is not None:
        await writing.delete(work, entry.release, copy)
