"""FetchAgain: make the control plane send the plugin again, because an agent does not retry a failed fetch.

It does so only after the image can be fetched again, with growing pauses, and not before a rollback.
"""

from __future__ import annotations

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import pulling, writing
from pluginrelease.controller.actions import notes
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Each, Once, Step
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import refetch
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import plan
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.core.rollout.results import EntryResult, Kept, Prepared, Written

log = structlog.get_logger(__name__)

REFETCH_DEADLINE = 5.0  # seconds for the registry; the next pass asks again


async def plan_refetch(work: PassContext, entry: EntryView) -> EntryResult | None:
    """Return the notes to write before gateways are made to fetch again; None if none should."""
    judged, known = entry.report.verdict, entry.observation
    if judged is None:
        return None
    if judged.state is State.LOADED and known.refetch is not None and known.refetch.attempts:
        known = known.model_copy(update={"refetch": refetch.reset_attempts(known.refetch)})
    if is_due(work, entry, judged, known) and await can_be_fetched(work, entry.carried):
        stuck = (row for row in judged.pods if row.reason.is_healed_by_refetch or row.reason.may_be_left_behind)
        pushed = known.model_copy(update={"refetch": refetch.make_next(known.refetch, work.now())})
        return Prepared(plan.Plan(), pushed, to_raise=tuple(row.pod for row in stuck), is_refetch=True)
    return Kept(known) if known != entry.observation else None


def is_due(work: PassContext, entry: EntryView, judged: Verdict, known: api.Observation) -> bool:
    """Return whether a gateway needs a push now."""
    since = known.since
    return not entry.is_about_to_go_back() and refetch.is_due(judged, known.refetch, work.now(), since)


async def can_be_fetched(work: PassContext, candidate: Candidate) -> bool:
    """Return whether the registry offers the candidate's image now."""
    try:
        await pulling.ask_registry(work, candidate, REFETCH_DEADLINE)
    except ReleaseError as error:
        log.info("could not make gateways fetch again", reason=error.reason, message=error.message)
        return False
    return True


async def push(work: PassContext, entry: EntryView) -> Written | None:
    """Write the object with a new number, which makes the control plane send it."""
    if not entry.entry.is_refetched:
        return None
    observed = await work.reader.carrier(entry.placement())
    applied = await writing.apply_all(work, entry.release, entry.drafted(entry.carried, observed))
    return Written(applied) if applied is not None else None


STEPS: tuple[Step, ...] = (
    Each(ConditionType.LOADED, plan_refetch),
    Once(ConditionType.LOADED, notes.find_levels),
    Once(ConditionType.LOADED, notes.checkpoint),
    Each(ConditionType.LOADED, notes.raise_levels),
    Each(ConditionType.LOADED, push),
)
