"""Summarize a pass: the phase, the condition Ready, and its message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pluginrelease import api
from pluginrelease.api.reasons import AnyReason, Reason, StoredReason
from pluginrelease.core.errors import Refused, ReleaseError, Waiting
from pluginrelease.core.findings import TriState
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import decisions, detour, switch
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.report import EntryReport, Report, way_back
from pluginrelease.core.status import folding

# the phases that a failed rollout ends in, each the reason of an event
OUTCOMES = (Reason.ROLLED_BACK, Reason.REMOVED, Reason.HELD, Reason.ROLLBACK_BLOCKED, Reason.ROLLBACK_FAILED)
# verdicts that matter less than the error of an entry that was skipped
_AT_REST = (State.LOADED, State.UNKNOWN)
# the slowest of several entries decides the phase of the release
_PROGRESS = ("RollbackBlocked", "RollingBack", "RollbackFailed", "RolledBack", "Removed")


class SummaryText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    FIRST_CHECK = "The first check has not ended yet"
    TOO_MANY_PODS = (
        "The entries of gateways now select {pods} pods, and the status has room for {most}. Split the release: create "
        "a second PluginRelease for some of the entries"
    )
    FAILED = "Revision {revision} failed: {why}. {outcome}"
    HELD = "It stays on the gateways, because rollout.onFailure is Hold"
    ROLLING_BACK = "The operator is restoring what ran before"
    NOTHING_BEFORE = "The operator is removing the plugin from the gateways, because nothing ran before"
    REMOVED = "The operator removed the plugin from the gateways, because nothing ran before"
    ADOPTING_BACK = "The operator is restoring the object as it was before it was adopted"
    ADOPTED = "The operator restored the object as it was before it was adopted. Whether gateways run it is not proven"
    RESTORING = "The operator is restoring revision {revision}"
    RESTORE_FAILED = "The operator restored revision {revision}, but it does not run: {why}"
    RESTORED = "The operator restored revision {revision}: {verdict}"
    NONE_ADOPTED = "No entry of gateways has adopted an object, so there is none to restore"
    ADOPTED_AGAIN = (
        "The operator restored the objects that entries of gateways adopted ({names}), because of {annotation}. They "
        "stay until the spec wants another revision, or a user runs retry. Whether gateways run them is not proven"
    )
    ROLLED_BACK_TO = (
        "{message}. Revision {revision} runs because of {annotation}, instead of the spec's. It stays until "
        "the spec wants another revision, or a user runs retry"
    )


@dataclass(frozen=True)
class Summary:
    """Ready, with its phase and the other conditions of kstatus."""

    phase: str
    ready: TriState
    reason: AnyReason
    message: str
    reconciling: bool = False
    stalled: bool = False
    stalled_because: AnyReason | None = None


def summarize(report: Report) -> Summary:
    """Return Ready from the result of a pass: an earlier failure of the rollout, then its error, then the verdict."""
    if report.switched_off is not None:
        return switched_off(report, report.switched_off)
    if report.rollout is not None and report.rollout.failure is not None:
        return after_failure(report, report.rollout, report.rollout.failure)
    if decisions.wants_adopted(report.rollout):
        return summarize_adopted(report)
    failure, verdict = folding.fold_failures(report), folding.fold_verdicts(report.entries)
    if failure is not None:
        return summarize_error(failure.error)
    missing = folding.left_out(report)
    if missing is not None and (verdict is None or verdict.state in _AT_REST or not verdict.pods):
        return summarize_error(missing.error)
    if verdict is not None and verdict.state is not State.UNHEALTHY and len(verdict.pods) > api.MAX_PODS:
        return report_too_many(len(verdict.pods))
    if verdict is not None:
        return asked_for(report, summarize_verdict(verdict))
    return Summary("Pending", "False", Reason.PENDING, str(SummaryText.FIRST_CHECK), reconciling=True)


def switched_off(report: Report, off: api.SwitchedOff) -> Summary:
    """Return Stalled once the plugin is on no gateway. This counts before an error or a failure."""
    entries = [entry for entry in report.entries if not entry.is_removed]
    left = [entry for entry in entries if entry.running is None]
    failure = report.failure or next((entry.failure for entry in left if entry.failure is not None), None)
    said = switch.describe(off)
    if not left:
        text = f"{said}. The plugin is on no gateway, whatever the spec says, until `kubectl pluginrelease on`"
        return Summary("Off", "False", Reason.SWITCHED_OFF, text, stalled=True)
    names = ", ".join(entry.name for entry in left)
    why = f": {failure.error.sentence()}" if failure is not None else ""
    text = f"{said}. The operator has not removed it yet from gateway{'s' if len(left) > 1 else ''} {names}{why}"
    is_stuck = failure is not None and isinstance(failure.error, Refused)
    return Summary("SwitchingOff", "False", Reason.SWITCHED_OFF, text, reconciling=not is_stuck, stalled=is_stuck)


def summarize_adopted(report: Report) -> Summary:
    """Return the result of a `rollback-to: adopted`."""
    adopted = [entry for entry in report.entries if entry.intent.goal is Goal.ADOPTED]
    verdict, failure = folding.fold_verdicts(report.entries), report.failure or folding.find_worst(report)
    if failure is not None:
        return summarize_error(failure.error)
    if not adopted:
        missing = str(SummaryText.NONE_ADOPTED)
        remedy = "See which revisions are kept: kubectl pluginrelease history"
        return summarize_error(Refused(Reason.REVISION_NOT_FOUND, missing, remedy))
    if verdict is not None and verdict.state is State.UNHEALTHY:
        return summarize_verdict(verdict)
    names = ", ".join(entry.name for entry in adopted)
    text = SummaryText.ADOPTED_AGAIN.format(names=names, annotation=api.ROLLBACK_ANNOTATION)
    return Summary("RolledBack", "False", Reason.ROLLBACK_TO, text, stalled=True)


def report_too_many(pods: int) -> Summary:
    """Return Stalled: the status has no room for the observations of so many pods."""
    text = SummaryText.TOO_MANY_PODS.format(pods=pods, most=api.MAX_PODS)
    return Summary("Unknown", "Unknown", Reason.TOO_MANY_PODS, text, stalled=True)


def after_failure(report: Report, decided: api.RolloutStatus, failure: api.RolloutFailure) -> Summary:
    """Keep the failure as Ready's reason during the rollback; the phase shows the progress."""
    phase, outcome, moving = describe_fallback(report, decided, failure)
    why = failure.message.rstrip(".")
    message = SummaryText.FAILED.format(revision=failure.revision, why=why, outcome=outcome)
    return Summary(phase, "False", StoredReason(failure.reason), message, reconciling=moving, stalled=not moving)


def describe_fallback(report: Report, decided: api.RolloutStatus, failure: api.RolloutFailure) -> tuple[str, str, bool]:
    """Return the phase after a failure, its message, and whether the operator is still working on it."""
    if failure.held:
        return "Held", str(SummaryText.HELD), False
    back = [entry for entry in report.entries if entry.intent.goal in decisions.BACK and not entry.is_removed]
    is_whole = bool(back) and all(entry.running is not None or entry.failure is not None for entry in back)
    if report.failure is not None and not is_whole:
        return describe_error(report.failure.error)
    ways = [(entry.name, *describe_entry(entry, decided, failure)) for entry in back]
    if not ways:
        return "RollingBack", str(SummaryText.ROLLING_BACK), True
    _, phase, text, _ = min(ways, key=lambda way: _PROGRESS.index(way[1]))
    moving = any(way[3] for way in ways)
    alike = [name for name, found, said, _ in ways if (found, said) == (phase, text)]
    named = f"gateway{'s' if len(alike) > 1 else ''} {', '.join(alike)}"
    return phase, text if len(ways) == 1 else f"{named}: {text}", moving


def describe_error(error: ReleaseError) -> tuple[str, str, bool]:
    """Return phase, message and progress for an error of the rollback."""
    blocked = isinstance(error, Refused) or error.reason == Reason.ROLLBACK_BLOCKED
    return "RollbackBlocked" if blocked else "RollingBack", error.sentence(), not blocked


def describe_entry(
    entry: EntryReport, decided: api.RolloutStatus, failure: api.RolloutFailure
) -> tuple[str, str, bool]:
    """Return phase, message and progress for one entry of a rollback."""
    if entry.failure is not None:
        return describe_error(entry.failure.error)
    done = entry.running is not None
    if entry.intent.goal is Goal.NOTHING:
        text = SummaryText.REMOVED if done else SummaryText.NOTHING_BEFORE
        return "Removed" if done else "RollingBack", str(text), not done
    if entry.intent.goal is Goal.ADOPTED:
        text = SummaryText.ADOPTED if done else SummaryText.ADOPTING_BACK
        return "RolledBack" if done else "RollingBack", str(text), not done
    return describe_rollback(entry, way_back(decided, failure, entry), done)


def describe_rollback(entry: EntryReport, way: detour.WayBack, done: bool) -> tuple[str, str, bool]:
    """Return phase, message and progress for an entry whose stable revision is restored."""
    kept, verdict = way.puts_back, entry.verdict
    if detour.is_under_way(way):
        return "RollingBack", detour.describe(way), True
    if not done or verdict is None or verdict.state is State.PENDING:
        return "RollingBack", SummaryText.RESTORING.format(revision=kept), True
    if verdict.state is State.UNHEALTHY:
        why = f"{detour.describe(way)}. " if way.fallback.detour is not None else ""
        return "RollbackFailed", SummaryText.RESTORE_FAILED.format(revision=kept, why=f"{why}{verdict.message}"), False
    return "RolledBack", SummaryText.RESTORED.format(revision=kept, verdict=verdict.message), False


def is_waiting_for_pods(report: Report) -> bool:
    """Return True if there is no gateway pod: that may last."""
    verdict = folding.fold_verdicts(report.entries)
    return folding.fold_failures(report) is None and verdict is not None and not verdict.pods


def summarize_error(error: ReleaseError) -> Summary:
    """Return Stalled if a user must act, Reconciling if the operator continues."""
    if isinstance(error, Refused):
        return Summary("Refused", "False", error.reason, error.sentence(), stalled=True)
    phase = "Waiting" if isinstance(error, Waiting) else "Retrying"
    return Summary(phase, "False", error.reason, error.sentence(), reconciling=True)


def asked_for(report: Report, summary: Summary) -> Summary:
    """Mark a release as Stalled if a revision runs that a user requested instead of the spec's."""
    wish = report.rollout.rollback_to if report.rollout is not None else None
    if wish is None or summary.ready != "True":
        return summary
    text = SummaryText.ROLLED_BACK_TO.format(
        message=summary.message.rstrip("."), revision=wish, annotation=api.ROLLBACK_ANNOTATION
    )
    return Summary("RolledBack", "False", Reason.ROLLBACK_TO, text, stalled=True)


def summarize_verdict(verdict: Verdict) -> Summary:
    """Return a verdict as the conditions of kstatus."""
    match verdict.state:
        case State.LOADED:
            return Summary("Ready", "True", verdict.reason, verdict.message)
        case State.PENDING:
            return Summary("Loading", "False", verdict.reason, verdict.message, reconciling=True)
        case State.UNHEALTHY:
            return Summary("Unhealthy", "False", verdict.reason, verdict.message, stalled=True)
        case State.UNKNOWN:
            return Summary("Unknown", "Unknown", verdict.reason, verdict.message)
