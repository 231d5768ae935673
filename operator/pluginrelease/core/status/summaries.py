"""What a pass came to, in one word, Ready, and a message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pluginrelease import api
from pluginrelease.api.reasons import AnyReason, Reason, StoredReason
from pluginrelease.core import duration
from pluginrelease.core.errors import Refused, ReleaseError, Waiting
from pluginrelease.core.findings import TriState
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import decisions, detour
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.status import folding
from pluginrelease.core.status.report import EntryReport, Report

# the phases that a failed rollout ends in, each the reason of an event
OUTCOMES = (Reason.ROLLED_BACK, Reason.REMOVED, Reason.HELD, Reason.ROLLBACK_BLOCKED, Reason.ROLLBACK_FAILED)
# verdicts that an entry which is left out is told in place of
_AT_REST = (State.LOADED, State.UNKNOWN)
# of several entries the one that has come least far says how far the release has come
_PROGRESS = ("RollbackBlocked", "RollingBack", "RollbackFailed", "RolledBack", "Removed")


@dataclass(frozen=True)
class Summary:
    """Ready, with what goes with it."""

    phase: str
    ready: TriState
    reason: AnyReason
    message: str
    reconciling: bool = False
    stalled: bool = False
    stalled_because: AnyReason | None = None


def summarize(report: Report) -> Summary:
    """Return Ready from what the pass ended with: an earlier failure of the rollout, then the error, then the look."""
    if report.suspended:
        text = "spec.suspend is true: what runs goes on running, and is not looked at. Set it to false to go on"
        return Summary("Suspended", "Unknown", Reason.SUSPENDED, text)
    if report.rollout is not None and report.rollout.failure is not None:
        return after_failure(report, report.rollout, report.rollout.failure)
    failure, verdict = folding.fold_failures(report), folding.fold_verdicts(report.entries)
    if failure is not None:
        return summarize_error(failure.error)
    missing = folding.left_out(report)
    if missing is not None and (verdict is None or verdict.state in _AT_REST or not verdict.pods):
        return summarize_error(missing.error)
    if verdict is not None:
        return asked_for(report, summarize_verdict(verdict))
    return Summary("Pending", "False", Reason.PENDING, "the first look has not ended yet", reconciling=True)


def after_failure(report: Report, decided: api.RolloutStatus, failure: api.RolloutFailure) -> Summary:
    """Keep the failure as Ready's reason, whatever is put back; the phase says how far that has come."""
    phase, outcome, moving = describe_fallback(report, decided, failure)
    message = f"Revision {failure.revision} failed: {failure.message.rstrip('.')}. {outcome}"
    return Summary(phase, "False", StoredReason(failure.reason), message, reconciling=moving, stalled=not moving)


def describe_fallback(report: Report, decided: api.RolloutStatus, failure: api.RolloutFailure) -> tuple[str, str, bool]:
    """Return the phase after a failure, what it means, and whether the operator is still at it."""
    if failure.held:
        return "Held", "It stays, as rollout.onFailure is Hold", False
    back = [entry for entry in report.entries if entry.intent.goal in decisions.BACK and not entry.is_removed]
    is_whole = bool(back) and all(entry.running is not None or entry.failure is not None for entry in back)
    if report.failure is not None and not is_whole:
        return describe_error(report.failure.error)
    ways = [(entry.name, *describe_entry(entry, decided, failure)) for entry in back]
    if not ways:
        return "RollingBack", "What ran before is being put back", True
    _, phase, text, _ = min(ways, key=lambda way: _PROGRESS.index(way[1]))
    moving = any(way[3] for way in ways)
    alike = [name for name, found, said, _ in ways if (found, said) == (phase, text)]
    named = f"gateway{'s' if len(alike) > 1 else ''} {', '.join(alike)}"
    return phase, text if len(ways) == 1 else f"{named}: {text}", moving


def describe_error(error: ReleaseError) -> tuple[str, str, bool]:
    """Return the same for an error that the way back ended with."""
    blocked = isinstance(error, Refused) or error.reason == Reason.ROLLBACK_BLOCKED
    return "RollbackBlocked" if blocked else "RollingBack", error.sentence(), not blocked


def describe_entry(
    entry: EntryReport, decided: api.RolloutStatus, failure: api.RolloutFailure
) -> tuple[str, str, bool]:
    """Return the same for one entry that goes back."""
    if entry.failure is not None:
        return describe_error(entry.failure.error)
    done = entry.running is not None
    if entry.intent.goal is Goal.NOTHING:
        text = "Nothing ran before, so the plugin is taken off the gateways"
        return "Removed" if done else "RollingBack", text, not done
    if entry.intent.goal is Goal.ADOPTED:
        text = "The object is written back as it was before it was adopted; whether gateways run it is not proven"
        return "RolledBack" if done else "RollingBack", text, not done
    return describe_rollback(entry, way_back(decided, failure, entry), done)


def describe_rollback(entry: EntryReport, way: detour.WayBack, done: bool) -> tuple[str, str, bool]:
    """Return the same for one whose stable revision is put back."""
    kept, verdict = way.puts_back, entry.verdict
    if detour.is_under_way(way):
        return "RollingBack", detour.describe(way), True
    if not done or verdict is None or verdict.state is State.PENDING:
        return "RollingBack", f"Revision {kept} is being put back", True
    if verdict.state is State.UNHEALTHY:
        why = f"{detour.describe(way)}. " if way.fallback.detour is not None else ""
        return "RollbackFailed", f"Revision {kept} was put back, and: {why}{verdict.message}", False
    return "RolledBack", f"Revision {kept} was put back: {verdict.message}", False


def way_back(decided: api.RolloutStatus, failure: api.RolloutFailure | None, entry: EntryReport) -> detour.WayBack:
    """Return the way back of an entry, as its report has it."""
    fallback = decisions.fallback_of(decided, entry.name)
    return detour.WayBack(failure, fallback, entry.puts_back if entry.intent.goal is Goal.ROLLBACK else None)


def apply_deadline(release: api.Release, report: Report, summary: Summary, now: datetime) -> Summary:
    """Make a rollout Stalled that takes longer than it may, beside going on: whoever waits for it may stop waiting."""
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
    return replace(summary, message=message, stalled=True, stalled_because=Reason.PROGRESS_DEADLINE_EXCEEDED)


def is_waiting_for_pods(report: Report) -> bool:
    """Whether there is nothing to load the plugin: that may last."""
    verdict = folding.fold_verdicts(report.entries)
    return folding.fold_failures(report) is None and verdict is not None and not verdict.pods


def summarize_error(error: ReleaseError) -> Summary:
    """Stalled when a person must act, Reconciling when the operator goes on by itself."""
    if isinstance(error, Refused):
        return Summary("Refused", "False", error.reason, error.sentence(), stalled=True)
    phase = "Waiting" if isinstance(error, Waiting) else "Retrying"
    return Summary(phase, "False", error.reason, error.sentence(), reconciling=True)


def asked_for(report: Report, summary: Summary) -> Summary:
    """Make a release Stalled in which something else runs than the spec says, because somebody asked for it."""
    wish = report.rollout.rollback_to if report.rollout is not None else None
    if wish is None or summary.ready != "True":
        return summary
    text = (
        f"{summary.message.rstrip('.')}. Revision {wish} was asked for by {api.ROLLBACK_ANNOTATION}, in place of what "
        "the spec says, until the spec wants another revision or somebody asks for a retry"
    )
    return Summary("RolledBack", "False", Reason.ROLLBACK_TO, text, stalled=True)


def summarize_verdict(verdict: Verdict) -> Summary:
    """Return a verdict in kstatus's words."""
    match verdict.state:
        case State.LOADED:
            return Summary("Ready", "True", verdict.reason, verdict.message)
        case State.PENDING:
            return Summary("Loading", "False", verdict.reason, verdict.message, reconciling=True)
        case State.UNHEALTHY:
            return Summary("Unhealthy", "False", verdict.reason, verdict.message, stalled=True)
        case State.UNKNOWN:
            return Summary("Unknown", "Unknown", verdict.reason, verdict.message)
