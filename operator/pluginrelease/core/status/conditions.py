"""The conditions of a release: those of the steps, and the three of kstatus.

Ready is always there; Reconciling and Stalled only while True. The table of every state is in ``docs/states.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.core import timestamps
from pluginrelease.core.findings import Finding, TriState
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.signing import signature
from pluginrelease.core.status.report import STEPS, Report
from pluginrelease.core.status.summaries import Summary

NOT_REACHED = "NotReached"


def describe_steps(release: api.Release, report: Report) -> Iterable[Finding]:
    """The findings of the pass; a step after the failed one was not reached, and says so."""
    yield from report.findings
    if report.verdict is not None:
        yield describe_loaded(report)
    if report.failure is None:
        return
    step, error = report.failure.step, report.failure.error
    yield Finding(step, "False", error.reason, error.sentence())
    for later in STEPS[STEPS.index(step) + 1 :]:
        if is_asked(later, release):
            yield Finding(later, "Unknown", NOT_REACHED, f"{step} comes first")


def describe_loaded(report: Report) -> Finding:
    """The condition Loaded: whether the wanted revision was seen in the gateways."""
    verdict, decided = report.verdict, report.rollout
    assert verdict is not None  # noqa: S101  asked for only with one
    if decided is not None and decided.failure is not None and decided.failure.revision != report.running:
        text = f"Revision {report.running} is to run in place of {decided.failure.revision}. {verdict.message}"
        return Finding(ConditionType.LOADED, "False", decided.failure.reason, text)
    status: dict[State, TriState] = {State.LOADED: "True", State.UNKNOWN: "Unknown"}
    return Finding(ConditionType.LOADED, status.get(verdict.state, "False"), verdict.reason, verdict.message)


def describe_kstatus(summary: Summary) -> Iterable[Finding]:
    """Ready always; Reconciling and Stalled while they are True."""
    yield Finding(ConditionType.READY, summary.ready, summary.reason, summary.message)
    if summary.reconciling:
        yield Finding(ConditionType.RECONCILING, "True", summary.reason, summary.message)
    if summary.stalled:
        reason = summary.stalled_because or summary.reason
        yield Finding(ConditionType.STALLED, "True", reason, summary.message)


def merge(release: api.Release, findings: Iterable[Finding], now: datetime) -> list[api.Condition]:
    """New findings over the old conditions; a transition time moves only when the status does."""
    before = {condition.type: condition for condition in release.status.conditions}
    found = {finding.type: finding for finding in findings}
    return [
        update_condition(found[kind], before.get(kind), release, now) if kind in found else before[kind]
        for kind in ConditionType
        if kind in found or (kind in before and is_kept(kind, release))
    ]


def merge_so_far(release: api.Release, report: Report, now: datetime) -> list[api.Condition]:
    """The conditions in the middle of a pass: what it has found is told, all others are as they were."""
    known = {condition.type: condition for condition in release.status.conditions}
    known |= {condition.type: condition for condition in merge(release, report.findings, now)}
    return [known[kind] for kind in ConditionType if kind in known]


def is_kept(kind: ConditionType, release: api.Release) -> bool:
    """Whether a condition that this pass says nothing about stays as it was."""
    return kind not in (ConditionType.RECONCILING, ConditionType.STALLED) and is_asked(kind, release)


def is_asked(kind: ConditionType, release: api.Release) -> bool:
    """Whether a release has this condition at all: two are there only where the spec asks for what they tell."""
    if kind is ConditionType.PROBED:
        return bool(release.spec.checks.probes)
    return kind is not ConditionType.VERIFIED or release.spec.artifact.verify is not None


def update_condition(
    finding: Finding, before: api.Condition | None, release: api.Release, now: datetime
) -> api.Condition:
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
    """Whether the steps before the look need no second thought: all were reached, and none failed.

    A release that was checked before any gateway pod told its version is checked again when there is one, and one
    that was verified by another policy than it has now is verified again.
    """
    status = release.status
    found = {condition.type: condition for condition in status.conditions}
    later = (ConditionType.LOADED, ConditionType.PROBED)
    steps_before = [found.get(kind) for kind in STEPS if kind not in later and is_asked(kind, release)]
    if not signature.is_done(release.spec.artifact, status.artifact):
        return False
    if any(step is None or step.status == "False" or step.reason == NOT_REACHED for step in steps_before):
        return False
    unchecked = found[ConditionType.COMPATIBLE].status == "Unknown"
    return not (unchecked and (status.gateways is None or status.gateways.desired == 0))
