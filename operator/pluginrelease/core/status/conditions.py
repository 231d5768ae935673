"""Turn the findings of a pass into ``status.conditions``.

Ready, Reconciling and Stalled follow kstatus: Ready always exists; Reconciling and Stalled only while they are True.
The table of every state is in ``docs/states.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason, StoredReason
from pluginrelease.core.findings import Finding, TriState
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout.decisions import BACK
from pluginrelease.core.rollout.report import EntryReport, Failure, Report
from pluginrelease.core.rollout.settled import is_asked
from pluginrelease.core.status import folding

# in the order in which a pass reaches them
STEPS = (
    ConditionType.ARTIFACT_READY,
    ConditionType.VERIFIED,
    ConditionType.COMPATIBLE,
    ConditionType.APPLIED,
    ConditionType.LOADED,
    ConditionType.PROBED,
)


def steps(release: api.Release, report: Report) -> Iterable[Finding]:
    """Yield the findings of the pass, one for each step.

    A step after the failed one reports that it was not reached.
    """
    own = {finding.type: finding for finding in report.findings}
    per_entry = [(entry.name, entry_findings(release, report, entry)) for entry in report.entries]
    failed = dict(after(release, report.failure)) if report.failure is not None else {}
    for kind in STEPS:
        found = [(name, findings[kind]) for name, findings in per_entry if kind in findings]
        if kind in failed:
            yield failed[kind]
        elif found:
            yield folding.fold_findings(kind, found, len(report.entries))
        elif kind in own:
            yield own[kind]


def entry_findings(release: api.Release, report: Report, entry: EntryReport) -> dict[ConditionType, Finding]:
    """Return the findings of an entry's part of the pass, one for each step."""
    found = {finding.type: finding for finding in entry.findings}
    if entry.verdict is not None:
        found[ConditionType.LOADED] = report_loaded(report, entry, entry.verdict)
    if entry.failure is not None:
        found |= dict(after(release, entry.failure))
    return found


def after(release: api.Release, failure: Failure) -> Iterable[tuple[ConditionType, Finding]]:
    """Yield the step that failed, and those that were not reached because of it."""
    step, error = failure.step, failure.error
    yield step, Finding(step, "False", error.reason, error.sentence())
    for later in STEPS[STEPS.index(step) + 1 :]:
        if is_asked(later, release):
            yield later, Finding(later, "Unknown", Reason.NOT_REACHED, f"{step} comes first")


def report_loaded(report: Report, entry: EntryReport, verdict: Verdict) -> Finding:
    """Return the condition Loaded: whether the wanted revision was seen in the gateways."""
    failure = report.rollout.failure if report.rollout is not None else None
    if failure is not None and entry.intent.goal in BACK:
        text = f"Revision {entry.running} should run instead of {failure.revision}. {verdict.message}"
        return Finding(ConditionType.LOADED, "False", StoredReason(failure.reason), text)
    status: dict[State, TriState] = {State.LOADED: "True", State.UNKNOWN: "Unknown"}
    return Finding(ConditionType.LOADED, status.get(verdict.state, "False"), verdict.reason, verdict.message)


def merge(release: api.Release, findings: Iterable[Finding], now: datetime) -> list[api.Condition]:
    """Merge new findings into the old conditions. A transition time changes only when the status does."""
    before = {condition.type: condition for condition in release.status.conditions}
    found = {finding.type: finding for finding in findings}
    return [
        renew(found[kind], before.get(kind), release, now) if kind in found else before[kind]
        for kind in ConditionType
        if kind in found or (kind in before and is_kept(kind, release))
    ]


def found_so_far(release: api.Release, report: Report, now: datetime) -> list[api.Condition]:
    """Return the conditions during the pass: with what it has found so far, and all others as they were."""
    known = {condition.type: condition for condition in release.status.conditions}
    known |= {condition.type: condition for condition in merge(release, steps(release, report), now)}
    return [known[kind] for kind in ConditionType if kind in known]


def is_kept(kind: ConditionType, release: api.Release) -> bool:
    """Return True if a condition that this pass did not reach stays as it was."""
    return kind not in (ConditionType.RECONCILING, ConditionType.STALLED) and is_asked(kind, release)


def renew(finding: Finding, before: api.Condition | None, release: api.Release, now: datetime) -> api.Condition:
    """Return one condition after this pass."""
    unchanged = before is not None and before.status == finding.status
    return api.Condition(
        type=finding.type,
        status=finding.status,
        reason=finding.reason,
        message=finding.message[: api.MESSAGE_MAX],
        last_transition_time=before.last_transition_time if before and unchanged else times.to_seconds(now),
        observed_generation=release.metadata.generation,
    )
