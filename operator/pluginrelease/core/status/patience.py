"""Limit the time that clients wait for a release.

Tools that follow kstatus wait while Reconciling is True, and give up at once when Stalled is. So a state that may last
becomes Stalled when its time is over, and is no longer Reconciling. The operator continues.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from pluginrelease import api
from pluginrelease.api import ConditionType, GatewayState
from pluginrelease.api.reasons import AnyReason, Reason, StoredReason
from pluginrelease.core import revision
from pluginrelease.core.findings import TriState
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.report import Report
from pluginrelease.core.status.summaries import Summary, is_waiting_for_pods


class PatienceText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    SUSPENDED = (
        "spec.suspend is true: the operator writes nothing and checks nothing, and plugins that run keep running. "
        "Set it to false to continue"
    )
    SUSPENDED_UNMET = (
        "spec.suspend is true, and the spec asks for something that does not run. Set it to false to continue"
    )
    OVERDUE = "{message}. This has lasted longer than {field} ({length})"


_AT_REST: dict[GatewayState, TriState] = {GatewayState.LOADED: "True", GatewayState.UNKNOWN: "Unknown"}


def summarize_suspended(release: api.Release) -> Summary:
    """Return the summary of a suspended release.

    Ready stays as it was while the spec wants what runs. Otherwise nothing will make it run, so the release is Stalled.
    """
    if not wants_what_runs(release):
        return Summary("Suspended", "False", Reason.SUSPENDED, str(PatienceText.SUSPENDED_UNMET), stalled=True)
    ready = recall_ready(release)
    return Summary("Suspended", ready, Reason.SUSPENDED, str(PatienceText.SUSPENDED), stalled=ready != "True")


def wants_what_runs(release: api.Release) -> bool:
    """Return True if the spec wants the revision that every entry was seen running last, and no command replaces it."""
    known, wanted = release.status.rollout, release.status.target_revision
    if known is None or wanted is None or known.rollback_to is not None or known.failure is not None:
        return False
    if known.completed_at is None or known.spec_hash != revision.spec_hash(release.spec):
        return False
    return all(decisions.is_stable(release, gateway, wanted) for gateway in release.spec.gateways)


def recall_ready(release: api.Release) -> TriState:
    """Return Ready from what the last check saw of each entry."""
    rows = (release.status.gateway(gateway.name) for gateway in release.spec.gateways)
    seen = {_AT_REST.get(row.state, "False") if row is not None else "Unknown" for row in rows}
    statuses: tuple[TriState, ...] = ("False", "Unknown", "True")
    return next(status for status in statuses if status in seen)


def find_end(release: api.Release, report: Report, summary: Summary, now: datetime) -> datetime | None:
    """Return until when clients may wait; None if there is nothing to wait for."""
    rollout = report.rollout
    if summary.stalled or summary.ready == "True":
        return None
    if report.switched_off is not None:
        return report.switched_off.at + release.spec.rollout.progress_deadline
    if rollout is None:
        return None
    if summary.ready == "Unknown":
        return find_unknown_start(release, report, now) + release.spec.checks.load.timeout
    return find_start(release, rollout, now) + release.spec.rollout.progress_deadline


def find_start(release: api.Release, rollout: api.RolloutStatus, now: datetime) -> datetime:
    """Return since when the release makes no progress: the start of its rollout, its failure, or the end of Ready."""
    if rollout.failure is not None:
        return rollout.failure.at
    return rollout.started_at if rollout.completed_at is None else find_turn(release, now)


def find_unknown_start(release: api.Release, report: Report, now: datetime) -> datetime:
    """Return since when nothing is known: the last write of the present rollout, or the end of Ready."""
    written = [entry.observation.since for entry in report.entries if entry.observation is not None]
    if report.rollout is not None and report.rollout.completed_at is None and written:
        return max(written)
    return find_turn(release, now)


def find_turn(release: api.Release, now: datetime) -> datetime:
    """Return since when Ready is not True; now if that is news."""
    ready = release.status.condition(ConditionType.READY)
    return now if ready is None or ready.status == "True" else ready.last_transition_time


def limit(release: api.Release, report: Report, summary: Summary, now: datetime) -> Summary:
    """Return the summary, Stalled if its time limit is over."""
    end = find_end(release, report, summary, now)
    if end is None:
        return summary
    if now <= end:
        return replace(summary, reconciling=True)
    field, length = name_limit(release, summary)
    message = PatienceText.OVERDUE.format(message=summary.message.rstrip("."), field=field, length=length)
    because = explain(report, summary)
    return replace(summary, message=message, reconciling=False, stalled=True, stalled_because=because)


def name_limit(release: api.Release, summary: Summary) -> tuple[str, object]:
    """Return the field with the limit, and its value."""
    if summary.ready == "Unknown":
        return "checks.load.timeout", release.spec.checks.load.timeout
    return "rollout.progressDeadline", release.spec.rollout.progress_deadline


def explain(report: Report, summary: Summary) -> AnyReason:
    """Return the reason of Stalled: the summary's own if it is sufficient, else that it takes too long."""
    failure = report.rollout.failure if report.rollout is not None else None
    if failure is not None and report.switched_off is None:
        return StoredReason(failure.reason)
    is_told = summary.ready == "Unknown" or is_waiting_for_pods(report)
    return summary.reason if is_told else Reason.PROGRESS_DEADLINE_EXCEEDED
