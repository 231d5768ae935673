"""CorrectDrift: keep the object of the running revision, and report what its gateways show.

The running revision is the stable one while another is refused or awaited, or a revision that failed on other gateways.
RemoveSuperseded: remove a first revision that was replaced before it ran, if the gateways cannot run it.
"""

from __future__ import annotations

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import looking, preparing, revisions
from pluginrelease.controller.actions import notes
from pluginrelease.controller.actions.observe import weigh_delivery
from pluginrelease.controller.actions.roll_back import check_fetchable, delete_own
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Each, Step
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.rollout import decisions, plan
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.rollout.results import EntryResult, Looked, Steady, Superseded


def find_steady(entry: EntryView) -> str | None:
    """Return the revision that the entry keeps."""
    return entry.intent.revision if entry.intent.goal is Goal.STAY else entry.stable


async def recall_steady(work: PassContext, entry: EntryView) -> Steady | None:
    """Read the revision that the entry keeps, and its object."""
    kept = find_steady(entry)
    if kept is None:
        return None
    candidate = await revisions.recall_for(work.reader, entry, kept)
    return Steady(candidate, await work.reader.carrier(entry.placement()))


async def draft_again(work: PassContext, entry: EntryView) -> EntryResult | None:
    """Draft a write if a client changed or deleted the object, or if it carries a superseded revision."""
    candidate, observed = entry.aimed, entry.entry.carrier
    if entry.drafted(candidate, observed).converged:
        return None
    before = await looking.look_before(work, candidate)
    if plan.read_revision(observed) not in (None, candidate.revision) and not decisions.has_stand_in(before):
        await check_fetchable(work, candidate)
    return await preparing.prepare(work, entry, candidate, observed, before)


async def look_quietly(work: PassContext, entry: EntryView) -> Looked | None:
    """Observe what the entry keeps. This changes no decision."""
    if entry.noted is None:
        return None
    candidate = entry.aimed
    judged, noted = await weigh_delivery(work, entry, candidate, await looking.judge(work, entry, candidate))
    return Looked(judged, observation=noted)


async def remove_superseded(work: PassContext, entry: EntryView) -> Superseded | None:
    """Remove a first revision whose successor is refused, if the gateways cannot run it: it would have failed."""
    known, observed = entry.noted, await work.reader.carrier(entry.placement())
    if known is None or observed is None or not plan.is_ours(entry.release, observed):
        return None
    if plan.read_revision(observed) != known.revision:
        return None
    candidate = await revisions.recall_for(work.reader, entry, known.revision)
    judged, noted = await weigh_delivery(work, entry, candidate, await looking.judge(work, entry, candidate))
    holds = entry.release.spec.rollout.on_failure is api.OnFailure.HOLD
    is_adopted = entry.row is not None and entry.row.adopted is not None
    if judged.state is not State.UNHEALTHY or holds or is_adopted:
        return Superseded(candidate.revision, judged, noted)
    await delete_own(work, entry)
    text = "the plugin was removed from the gateways, because nothing ran before"
    finding = Finding(ConditionType.APPLIED, "False", Reason.REMOVED, text)
    told = f"Revision {known.revision}, which was written first, failed: {judged.message}"
    return Superseded("", judged, noted, finding, (Event("Warning", Reason.REMOVED, told[:1024]),))


STEPS: tuple[Step, ...] = (
    Each(ConditionType.APPLIED, recall_steady),
    Each(ConditionType.APPLIED, draft_again),
    *notes.BEFORE_A_WRITE,
    Each(ConditionType.APPLIED, preparing.write_again),
    Each(ConditionType.APPLIED, preparing.keep_secret_of_aimed),
    Each(ConditionType.LOADED, look_quietly),
)
REMOVE_SUPERSEDED: tuple[Step, ...] = (Each(ConditionType.LOADED, remove_superseded, quiet=True),)
