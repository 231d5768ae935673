"""RollOut: check a revision, keep it, note what its observation will need, and write it, for all entries at once.

All checks of a revision run before anything is written (`preflight`). ReadCarriers and Accept handle what is there
already. FindWritten handles what is written of entries that cannot continue.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog

from pluginrelease.api import ConditionType
from pluginrelease.controller import looking, preflight, preparing, revisions, writing
from pluginrelease.controller.actions import notes
from pluginrelease.controller.actions.correct_drift import look_quietly
from pluginrelease.controller.actions.find_twins import refuse_twin
from pluginrelease.controller.actions.follow_config import require_config
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import read_own_carrier
from pluginrelease.controller.steps import Each, EachOrNone, Names, Once, Step
from pluginrelease.core import revision
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.rollout import history, plan, recognizing, settled
from pluginrelease.core.rollout.facts import EntryView, Facts
from pluginrelease.core.rollout.release_results import Recalled, Recognized, ReleaseResult, RevisionKept
from pluginrelease.core.rollout.results import CarrierRead, Carries, EntryResult, Looked, Prepared, Steady, Watched

JSON = dict[str, Any]

log = structlog.get_logger(__name__)


async def read_carrier(work: PassContext, entry: EntryView) -> CarrierRead:
    """Read the object that carries the plugin. Raises `Refused` (ObjectNotOurs)."""
    return CarrierRead(await read_own_carrier(work.reader, entry.placement()), await has_pods(work, entry))


async def has_pods(work: PassContext, entry: EntryView) -> bool:
    """Return False if a release that waits for its first gateway pod has none; True if this is not known."""
    if not settled.awaits_first_pod(entry.release):
        return True
    try:
        return bool(await looking.list_pods(work, entry.mesh.pods(entry.gateway, work.mesh), fresh=False))
    except ReleaseError as error:
        log.warning("could not list the gateway pods", reason=error.reason, message=error.message)
        return True


async def recall_wanted(work: PassContext, facts: Facts, names: Names) -> Recalled:
    """Read the old revision that a user asked for. Raises `Refused` (RevisionNotFound)."""
    wish = facts.rollout.rollback_to if facts.rollout is not None else None
    return Recalled(await revisions.recall_whole(work.reader, facts.release, wish) if wish is not None else None)


async def recognize(work: PassContext, facts: Facts, names: Names) -> Recognized:
    """Find the entries whose objects already match the spec."""
    return recognizing.recognize(facts, names)


async def note_deployed(work: PassContext, facts: Facts, names: Names) -> RevisionKept | None:
    """Note the revision for the history if an earlier pass was interrupted before that; read nothing if it is known."""
    candidate = facts.views(names)[0].carried
    if facts.report.deployed is not None or history.is_noted(facts.release.status.history, candidate.revision):
        return None
    return RevisionKept(describe_deployed(await revisions.keep(work, candidate.placement, candidate.artifact)))


async def obtain(work: PassContext, facts: Facts, names: Names) -> ReleaseResult:
    """Resolve, fetch and check the image of the target revision."""
    kept = facts.kept
    if kept is None:
        return await preflight.obtain_artifact(work, facts, names, facts.release, recognizing.find_pinned(facts), None)
    effective = revision.effective(facts.release, kept)
    return await preflight.obtain_artifact(work, facts, names, effective, None, kept.artifact.index)


async def keep_revision(work: PassContext, facts: Facts, names: Names) -> RevisionKept:
    """Keep the revision, so that it can be rolled back to."""
    first = facts.views(names)[0].aimed
    return RevisionKept(describe_deployed(await revisions.keep(work, first.placement, first.artifact)))


def describe_deployed(recorded: revision.Recorded) -> history.Deployed:
    """Return the history's entry for a kept revision."""
    return history.Deployed(
        recorded.revision, recorded.number, ref=recorded.artifact.ref, digest=recorded.artifact.digest
    )


async def prepare(work: PassContext, entry: EntryView) -> Prepared:
    """Return what to note and to write for the entry."""
    return await preparing.prepare(work, entry, entry.aimed, entry.entry.carrier, entry.entry.before)


async def write(work: PassContext, entry: EntryView) -> Carries:
    """Write the entry's object."""
    applied = await writing.apply_all(work, entry.release, entry.entry.draft)
    return Carries(entry.aimed, applied or entry.entry.carrier or entry.rendered(entry.aimed))


async def find_written(work: PassContext, entry: EntryView) -> EntryResult | None:
    """Find what is written of an entry that cannot continue:

    the target is observed, and the stable revision is kept.
    """
    known = entry.noted
    if known is None:  # nothing was ever written, and the operator may have no right to read
        return None
    observed = await work.reader.carrier(entry.placement())
    if observed is None or not plan.is_ours(entry.release, observed):
        return None
    candidate = recognizing.find_converged(with_carrier(entry, observed))
    if candidate is not None:
        return Carries(candidate, observed)
    carried = plan.read_revision(observed)
    if entry.facts.failure is not None:
        is_wanted = carried == known.revision
        return Watched(await revisions.recall_for(work.reader, entry, known.revision)) if is_wanted else None
    if carried is None or carried != entry.stable:
        return None
    return Steady(await revisions.recall_for(work.reader, entry, carried))


def with_carrier(entry: EntryView, observed: JSON) -> EntryView:
    """Return the entry with its object as it is now."""
    return replace(entry, entry=replace(entry.entry, carrier=observed))


async def look_at_stable(work: PassContext, entry: EntryView) -> Looked | None:
    """Report what the gateways show of the stable revision, if this is what is written."""
    aimed = entry.entry.aimed
    is_stable = entry.entry.carried is None and aimed is not None and aimed.revision == entry.stable
    return await look_quietly(work, entry) if is_stable else None


READ: tuple[Step, ...] = (
    Each(ConditionType.APPLIED, read_carrier),
    Once(ConditionType.APPLIED, recall_wanted),
    Once(ConditionType.APPLIED, require_config),
    Once(ConditionType.APPLIED, recognize),
)
ACCEPT: tuple[Step, ...] = (Once(ConditionType.APPLIED, note_deployed),)
CHECKS: tuple[Step, ...] = (
    Once(ConditionType.ARTIFACT_READY, obtain),
    Once(ConditionType.VERIFIED, preflight.verify),
    EachOrNone(ConditionType.COMPATIBLE, preflight.check_gateways),
    Each(ConditionType.APPLIED, preflight.check_place),
    Each(ConditionType.APPLIED, preflight.check_own_entries),
    Once(ConditionType.APPLIED, preflight.check_rivals),
    Each(ConditionType.APPLIED, refuse_twin),
    Once(ConditionType.APPLIED, preflight.check_pod_count),
    Once(ConditionType.APPLIED, preflight.report_unreached),
)
WRITES: tuple[Step, ...] = (
    Once(ConditionType.APPLIED, keep_revision),
    Each(ConditionType.APPLIED, prepare),
    *notes.BEFORE_A_WRITE,
    Each(ConditionType.APPLIED, write),
)
STEPS: tuple[Step, ...] = (*CHECKS, *WRITES)
FIND_WRITTEN: tuple[Step, ...] = (
    Each(ConditionType.APPLIED, find_written, quiet=True),
    Each(ConditionType.LOADED, look_at_stable, quiet=True),
)
