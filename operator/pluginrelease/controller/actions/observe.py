"""Observe: observe every pod, probe, and decide what this means for the rollout.

Glance and Decide end a rollout at once after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import looking, revisions
from pluginrelease.controller.actions.check_images import check_images
from pluginrelease.controller.actions.find_twins import report_twin
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Each, Names, Once, Step
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.gateway import checkpoint
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import Verdict
from pluginrelease.core.rollout import looks, probe_verdict, recognizing, watch
from pluginrelease.core.rollout.candidate import Candidate, LastLook
from pluginrelease.core.rollout.facts import EntryView, Facts
from pluginrelease.core.rollout.probe import find_refuted
from pluginrelease.core.rollout.release_results import Decided
from pluginrelease.core.rollout.results import Crashed, Looked
from pluginrelease.edges.kubernetes import resources

log = structlog.get_logger(__name__)

# a push of Higress takes less than a second
BLAME_AFTER = timedelta(seconds=10)
BLAME_DEADLINE = 3.0  # seconds for the list; a rollback waits no longer


async def look(work: PassContext, entry: EntryView) -> Looked:
    """Observe every pod of the entry."""
    seen, judged = await looking.judge(work, entry, entry.carried)
    return Looked(judged, LastLook(seen))


async def probe(work: PassContext, entry: EntryView) -> Looked | None:
    """Set the condition Probed. The probes run while all gateways have the plugin."""
    judged, shown = entry.report.verdict, entry.entry.last_look
    asked = entry.release.spec.checks.probes
    if judged is None or shown is None or not asked or not probe_verdict.is_due(judged):
        return None
    known = entry.observation
    about = {row.pod.uid for row in judged.pods if probe_verdict.is_asked(row)}
    reached = [seen for seen in shown.sightings if seen.pod.uid in about and seen.unreachable is None]
    answers = await looking.ask_probes(work, entry, reached)
    weighed = probe_verdict.weigh(
        judged,
        answers,
        seen=reached,
        probes_failed_before=known.probes_failed_before,
        failing_since=known.probes_failing_since,
        settled=entry.stable == known.revision,
        now=work.now(),
        patience=entry.load_timeout,
        watched=entry.is_watched(known.revision, work.now()),
    )
    noted = known.model_copy(update={"probes_failing_since": weighed.failing_since})
    return Looked(weighed.verdict, LastLook(shown.sightings, frozenset(find_refuted(answers))), noted, weighed.finding)


async def conclude(work: PassContext, entry: EntryView) -> Looked | None:
    """Note which pods need no new proof next time; report an object that stops the control plane."""
    if entry.report.verdict is None:
        return None
    seen = entry.entry.last_look.sightings if entry.entry.last_look is not None else ()
    judged, noted = await weigh_delivery(work, entry, entry.carried, (seen, entry.report.verdict))
    return Looked(judged, observation=noted)


async def weigh_delivery(
    work: PassContext, entry: EntryView, candidate: Candidate, look: looking.Look
) -> tuple[Verdict, api.Observation]:
    """Return the verdict, and what is noted for the next check: proofs, silent pods, and since when gateways can load.

    If an object keeps the control plane from sending anything, the verdict says so. After that, gateways have the time
    to load from this check on.
    """
    known = entry.observation
    judged = await blame(work, entry, look[1])
    written_at = looking.read_write_time(entry.entry.carrier, candidate)
    kept = checkpoint.keep(known, judged, at_rest=entry.is_settled(candidate), written_at=written_at)
    noted = checkpoint.note_deliverable(kept, entry.row.reason if entry.row is not None else None, judged, work.now())
    if noted.deliverable_since != known.deliverable_since and judging.nothing_arrived(judged):
        judged = looking.weigh(work, with_observation(entry, noted), candidate, look[0])
    return judged, noted


def with_observation(entry: EntryView, noted: api.Observation) -> EntryView:
    """Return the entry with another observation."""
    return replace(entry, entry=replace(entry.entry, report=replace(entry.report, observation=noted)))


async def blame(work: PassContext, entry: EntryView, judged: Verdict) -> Verdict:
    """Return the verdict, or another one if one broken object keeps the control plane from reading all others.

    The operator looks for such an object if no gateway has received anything some time after the write.
    """
    written = entry.observation.since
    if not entry.mesh.STOPPED_BY_ONE or not judging.nothing_arrived(judged):
        return judged
    if work.now() < written + BLAME_AFTER:
        return judged
    try:
        async with asyncio.timeout(BLAME_DEADLINE):
            listed = await work.cluster.list(resources.resource_for(entry.plugin_api.TARGET), None, {})
    except (ReleaseError, TimeoutError) as error:
        log.warning("could not find out what stops the control plane", error=str(error))
        return judging.leave_open(judged)
    found = entry.plugin_api.unreadable(listed)
    return judging.report_stuck(judged, found) if found else judged


async def decide(work: PassContext, facts: Facts, names: Names) -> Decided | None:
    """Decide from all observations together what they mean for the rollout."""
    return looks.decide(facts, names, work.now())


async def decide_crash(work: PassContext, facts: Facts, names: Names) -> Decided | None:
    """Decide that the revision that crashed a gateway has failed."""
    return looks.decide_crash(facts, names, work.now())


async def prune(work: PassContext, facts: Facts, names: Names) -> None:
    """Delete the revisions that nothing needs, before Ready is reported."""
    decided, before = facts.rollout, facts.known.rollout
    looked_at = [entry for entry in facts.views(names) if entry.report.verdict is not None]
    if decided is None or not looked_at:
        return
    revision = looked_at[0].carried.revision
    entries = facts.views(entry.name for entry in facts.of_spec())
    if decided.failure is not None:
        if decided.failure.held and (before is None or before.failure is None):
            needed = {decided.failure.revision, *(entry.stable for entry in entries)}
            await prune_after_failure(work, facts, needed | watch.list_needed(facts.release.status.gateways))
        return
    if decided.completed_at is not None and any(entry.stable != revision for entry in entries):
        is_watched = facts.release.spec.rollout.watch_for > timedelta()
        needed = {entry.stable for entry in entries if is_watched or entry.name not in names}
        await revisions.prune(work, facts.release, {revision, *needed})


async def prune_after_failure(work: PassContext, facts: Facts, needed: Collection[str | None]) -> None:
    """Delete the revisions that nothing needs. If one cannot be deleted, the next rollout tries again."""
    try:
        await revisions.prune(work, facts.release, needed)
    except ReleaseError as error:
        log.warning("could not delete old revisions", reason=error.reason, message=error.message)


async def glance(work: PassContext, entry: EntryView) -> Crashed | None:
    """Read only the pods' status, to find a crash of a written revision that has not run everywhere."""
    candidate = await find_under_way(work, entry)
    found = await looking.glance(work, entry, candidate)
    is_watched = entry.is_watched(candidate.revision, work.now())
    return Crashed(candidate, found[1], LastLook(found[0]), is_watched) if found is not None else None


async def find_under_way(work: PassContext, entry: EntryView) -> Candidate:
    """Return the revision that was last noted for the entry."""
    noted = entry.observation.revision
    pinned = recognizing.find_pinned_as(entry, noted)
    if pinned is not None:
        return pinned
    try:
        return await revisions.recall_for(work.reader, entry, noted)
    except Refused as error:
        if error.reason is not Reason.CONFIG_NOT_KEPT:
            raise
        # the status of pods shows a crash without the values
        return entry.recalled(await revisions.recall(work.reader, entry.release, noted))


LOOK: tuple[Step, ...] = (
    Each(ConditionType.LOADED, look),
    Each(ConditionType.PROBED, probe),
    Each(ConditionType.LOADED, conclude),
)
STEPS: tuple[Step, ...] = (
    Each(ConditionType.APPLIED, report_twin, quiet=True, goes_on=True),
    *LOOK,
    Once(ConditionType.LOADED, decide),
    Once(ConditionType.LOADED, prune),
    Once(ConditionType.ARTIFACT_READY, check_images, quiet=True),
)
GLANCE: tuple[Step, ...] = (Each(ConditionType.LOADED, glance, quiet=True),)
DECIDE: tuple[Step, ...] = (Once(ConditionType.LOADED, decide_crash),)
