"""Findings of a pass → ``status.conditions``.

Ready, Reconciling and Stalled follow kstatus: Ready is always there; Reconciling and Stalled only while True.
The table of every state is in ``docs/states.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason, StoredReason
from pluginrelease.core import timestamps
from pluginrelease.core.findings import Finding, TriState
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout.decisions import BACK
from pluginrelease.core.signing import signature
from pluginrelease.core.status import folding
from pluginrelease.core.status.report import EntryReport, Failure, Report

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
    """Yield the findings of the pass, one a step; a step after the failed one was not reached, and says so."""
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
    """Return what an entry's part of the pass came to, a step each."""
    found = {finding.type: finding for finding in entry.findings}
    if entry.verdict is not None:
        found[ConditionType.LOADED] = loaded(report, entry, entry.verdict)
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


def loaded(report: Report, entry: EntryReport, verdict: Verdict) -> Finding:
    """Return the condition Loaded: whether the wanted revision was seen in the gateways."""
    failure = report.rollout.failure if report.rollout is not None else None
    if failure is not None and entry.intent.goal in BACK:
        text = f"Revision {entry.running} is to run in place of {failure.revision}. {verdict.message}"
        return Finding(ConditionType.LOADED, "False", StoredReason(failure.reason), text)
    status: dict[State, TriState] = {State.LOADED: "True", State.UNKNOWN: "Unknown"}
    return Finding(ConditionType.LOADED, status.get(verdict.state, "False"), verdict.reason, verdict.message)


def merge(release: api.Release, findings: Iterable[Finding], now: datetime) -> list[api.Condition]:
    """New findings over the old conditions; a transition time moves only when the status does."""
    before = {condition.type: condition for condition in release.status.conditions}
    found = {finding.type: finding for finding in findings}
    return [
        renewed(found[kind], before.get(kind), release, now) if kind in found else before[kind]
        for kind in ConditionType
        if kind in found or (kind in before and is_kept(kind, release))
    ]


def found_so_far(release: api.Release, report: Report, now: datetime) -> list[api.Condition]:
    """The conditions in the middle of a pass: what it has found is told, all others are as they were."""
    known = {one.type: one for one in release.status.conditions}
    known |= {one.type: one for one in merge(release, steps(release, report), now)}
    return [known[kind] for kind in ConditionType if kind in known]


def is_kept(kind: ConditionType, release: api.Release) -> bool:
    """Whether a condition that this pass says nothing about stays as it was."""
    return kind not in (ConditionType.RECONCILING, ConditionType.STALLED) and is_asked(kind, release)


def is_asked(kind: ConditionType, release: api.Release) -> bool:
    """Whether a release has this condition at all: two are there only where the spec asks for what they tell."""
    if kind is ConditionType.PROBED:
        return bool(release.spec.checks.probes)
    return kind is not ConditionType.VERIFIED or release.spec.artifact.verify is not None


def renewed(finding: Finding, before: api.Condition | None, release: api.Release, now: datetime) -> api.Condition:
    """One condition after this pass."""
    unchanged = before is not None and before.status == finding.status
    return api.Condition(
        type=finding.type,
        status=finding.status,
        reason=finding.reason,
        message=finding.message[: api.MESSAGE_MAX],
        last_transition_time=before.last_transition_time if before and unchanged else timestamps.metav1_time(now),
        observed_generation=release.metadata.generation,
    )


def checks_still_valid(release: api.Release) -> bool:
    """Whether artifact, signature and gateways need no second check: all were reached, and none failed.

    Whether the objects could be written is another matter, and each entry's own.

    A release that was checked before any gateway pod told its version is checked again when there is one, and one
    that was verified by another policy than it has now is verified again.
    """
    status = release.status
    found = {condition.type: condition for condition in status.conditions}
    about_artifact = (ConditionType.ARTIFACT_READY, ConditionType.VERIFIED, ConditionType.COMPATIBLE)
    steps_before = [found.get(kind) for kind in about_artifact if is_asked(kind, release)]
    if not signature.is_done(release.spec.artifact, status.artifact):
        return False
    if any(step is None or step.status == "False" or step.reason == Reason.NOT_REACHED for step in steps_before):
        return False
    unchecked = found[ConditionType.COMPATIBLE].status == "Unknown"
    return not (unchecked and (status.summary is None or status.summary.desired == 0))
