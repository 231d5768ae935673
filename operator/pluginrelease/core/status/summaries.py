"""Ready, Reconciling, Stalled and the phase: one summary of what a pass ended with, in the words of kstatus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pluginrelease import api
from pluginrelease.core import duration
from pluginrelease.core.errors import Refused, ReleaseError, Waiting
from pluginrelease.core.findings import TriState
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import decisions, detour
from pluginrelease.core.status.report import Report

SUSPENDED = "Suspended"


@dataclass(frozen=True)
class Summary:
    """Ready, with what goes with it."""

    phase: str
    ready: TriState
    reason: str
    message: str
    reconciling: bool = False
    stalled: bool = False
    stalled_because: str | None = None


def summarize(report: Report) -> Summary:
    """Ready from what the pass ended with: an earlier failure of the rollout first, then the error, then the look."""
    if report.suspended:
        text = "spec.suspend is true: what runs goes on running, and is not looked at. Set it to false to go on"
        return Summary("Suspended", "Unknown", SUSPENDED, text)
    if report.rollout is not None and report.rollout.failure is not None:
        return summarize_failure(report, report.rollout, report.rollout.failure)
    if report.failure is not None:
        return summarize_error(report.failure.error)
    if report.verdict is not None:
        return summarize_verdict(report, report.verdict)
    return Summary("Pending", "False", "Pending", "the first look has not ended yet", reconciling=True)


def summarize_failure(report: Report, decided: api.RolloutStatus, failure: api.RolloutFailure) -> Summary:
    """Ready's reason stays that of the failure, whatever is put back; the phase tells how far that has come."""
    phase, outcome, moving = describe_fallback(report, decided, failure)
    message = f"Revision {failure.revision} failed: {failure.message.rstrip('.')}. {outcome}"
    return Summary(phase, "False", failure.reason, message, reconciling=moving, stalled=not moving)


def describe_fallback(report: Report, decided: api.RolloutStatus, failure: api.RolloutFailure) -> tuple[str, str, bool]:
    """The phase after a failure, what it means, and whether the operator is still at it."""
    kept = decided.puts_back
    if kept is None:
        return "Held", "It stays, as rollout.onFailure is Hold or nothing of this release ran before", False
    if report.failure is not None:
        error = report.failure.error
        blocked = isinstance(error, Refused) or error.reason == "RollbackBlocked"
        return "RollbackBlocked" if blocked else "RollingBack", error.sentence(), not blocked
    if kept == "":
        done = report.running != failure.revision
        text = "Nothing ran before, so the plugin is taken off the gateways"
        return "Removed" if done else "RollingBack", text, not done
    if detour.is_under_way(decided):
        return "RollingBack", detour.describe(decided), True
    if report.running == failure.revision or report.verdict is None or report.verdict.state is State.PENDING:
        return "RollingBack", f"Revision {kept} is being put back", True
    if report.verdict.state is State.UNHEALTHY:
        why = f"{detour.describe(decided)}. " if decided.detour is not None else ""
        return "RollbackFailed", f"Revision {kept} was put back, and: {why}{report.verdict.message}", False
    return "RolledBack", f"Revision {kept} was put back: {report.verdict.message}", False


def apply_deadline(release: api.Release, report: Report, summary: Summary, now: datetime) -> Summary:
    """A rollout that takes longer than it may is Stalled beside going on: whoever waits for it may stop waiting."""
    known = report.rollout
    if known is None or summary.stalled or not summary.reconciling or is_waiting_for_pods(report):
        return summary
    text = release.spec.rollout.progress_deadline
    try:
        overdue = decisions.is_overdue(known, now, duration.parse(text))
    except Refused:
        return summary
    if not overdue or known.failure is not None:
        return summary
    message = f"{summary.message.rstrip('.')}. It has taken longer than rollout.progressDeadline ({text})"
    return replace(summary, message=message, stalled=True, stalled_because=decisions.OVERDUE)


def is_waiting_for_pods(report: Report) -> bool:
    """Whether there is nothing to load the plugin: that may last."""
    return report.failure is None and report.verdict is not None and not report.verdict.pods


def summarize_error(error: ReleaseError) -> Summary:
    """Stalled when a person must act, Reconciling when the operator goes on by itself."""
    if isinstance(error, Refused):
        return Summary("Refused", "False", error.reason, error.sentence(), stalled=True)
    phase = "Waiting" if isinstance(error, Waiting) else "Retrying"
    return Summary(phase, "False", error.reason, error.sentence(), reconciling=True)


def mention_rollback(report: Report) -> str:
    """Said where something else runs than the spec says, because somebody asked for it."""
    asked = report.rollout is not None and report.rollout.rollback_to is not None
    text = f" Revision {report.running} was asked for by {api.ROLLBACK_ANNOTATION}, in place of what the spec says."
    return text if asked else ""


def summarize_verdict(report: Report, verdict: Verdict) -> Summary:
    """A verdict in kstatus's words."""
    match verdict.state:
        case State.LOADED:
            return Summary("Ready", "True", verdict.reason, verdict.message + mention_rollback(report))
        case State.PENDING:
            return Summary("Loading", "False", verdict.reason, verdict.message, reconciling=True)
        case State.UNHEALTHY:
            return Summary("Unhealthy", "False", verdict.reason, verdict.message, stalled=True)
        case State.UNKNOWN:
            return Summary("Unknown", "Unknown", verdict.reason, verdict.message)
