"""When to look again after a pass, unless an event comes first. All in seconds."""

from __future__ import annotations

import math
from datetime import datetime

from pluginrelease import api
from pluginrelease.core import duration
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.gateway import refetch
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import decisions, detour
from pluginrelease.core.status import summaries
from pluginrelease.core.status.report import EntryReport, Report
from pluginrelease.core.status.summaries import Summary, is_waiting_for_pods

BACKOFF_FIRST = 1.0
BACKOFF_MAX = 60.0
PENDING_FIRST = 0.3
PENDING_MAX = 5.0
UNHEALTHY_LOOK = 15.0  # and of what could not be told: both can heal by themselves
SOON = 2.0  # a probe has begun to fail, or a gateway was just made to fetch anew
JUST_AFTER = 0.1  # a deadline has to be over when it is looked at
LOGGER_LOOK = 5.0  # a gateway whose log level could not be put back is not left waiting for the resync


def look_again(
    release: api.Release,
    report: Report,
    status: api.Status,
    summary: Summary,
    attempt: int,
    resync: float,
    now: datetime,
) -> float:
    """Return the seconds until the next pass: the earliest of what the release and each of its entries need."""
    if decisions.has_turned_back(release.status.rollout, report.rollout):
        return 0.0
    if report.failure is not None:
        own = after_error(report.failure.error, report, attempt, resync)
        own = min(own, PENDING_MAX) if any(map(awaits_pods, report.entries)) else own
    else:
        own = min((until_entry(entry, report, attempt, resync, now) for entry in report.entries), default=resync)
    return min(
        own,
        until_tag_poll(release, status, now),
        until_overdue(release, report, summary, now),
        *(until_next_step(entry, report, now) for entry in report.entries),
    )


def until_entry(entry: EntryReport, report: Report, attempt: int, resync: float, now: datetime) -> float:
    """Return the seconds until the next look for the sake of one entry: soon while something moves there."""
    if entry.failure is not None:
        waits = after_error(entry.failure.error, report, attempt, resync)
        return min(waits, PENDING_MAX) if awaits_pods(entry) else waits
    if has_raised_loggers(entry) and not is_pending(entry):
        return min(LOGGER_LOOK, resync)
    if entry.verdict is None:
        return resync
    if needs_early_recheck(entry, now):
        return min(SOON, resync)
    return after_verdict(entry.verdict, attempt, resync)


def after_error(error: ReleaseError, report: Report, attempt: int, resync: float) -> float:
    """Return the seconds until another try."""
    if isinstance(error, Waiting):
        return min(error.retry_after, resync)
    if isinstance(error, Refused) and error.recheck is not None:
        return min(error.recheck, resync)
    if isinstance(error, Transient):
        longest = PENDING_MAX if decisions.is_going_back(report.rollout) else BACKOFF_MAX
        return max(error.retry_after or 0.0, min(BACKOFF_FIRST * 2.0 ** min(attempt, 10), longest))
    return min(LOGGER_LOOK, resync) if any(map(has_raised_loggers, report.entries)) else resync


def until_tag_poll(release: api.Release, status: api.Status, now: datetime) -> float:
    """Seconds until a tag that is followed is to be asked for again."""
    try:
        due = tags.find_next_poll(release.model_copy(update={"status": status}))
    except Refused:
        return math.inf
    return max((due - now).total_seconds(), SOON) if due is not None else math.inf


def until_overdue(release: api.Release, report: Report, summary: Summary, now: datetime) -> float:
    """Return the seconds until a rollout that goes on takes longer than it may: that must be said in time."""
    if report.rollout is None or not summary.reconciling or is_waiting_for_pods(report):
        return math.inf
    try:
        deadline = duration.parse(release.spec.rollout.progress_deadline)
    except Refused:
        return math.inf
    left = decisions.until_overdue(report.rollout, now, deadline)
    return left.total_seconds() + JUST_AFTER if left is not None else math.inf


def until_next_step(entry: EntryReport, report: Report, now: datetime) -> float:
    """Return the seconds until the next step of healing gateways that refuse what is put back."""
    if report.rollout is None:
        return math.inf
    pause = detour.compute_pause(summaries.way_back(report.rollout, report.rollout.failure, entry), now)
    return math.inf if pause is None else pause


def after_verdict(verdict: Verdict, attempt: int, resync: float) -> float:
    """Seconds until the next look at the gateways."""
    match verdict.state:
        case State.PENDING if not verdict.pods:
            return resync
        case State.PENDING:
            return min(PENDING_FIRST * 1.3 ** min(attempt, 20), PENDING_MAX)
        case State.UNHEALTHY | State.UNKNOWN:
            return min(UNHEALTHY_LOOK, resync)
        case State.LOADED:
            return resync


def has_raised_loggers(entry: EntryReport) -> bool:
    """Whether some log level is still to be put back."""
    return entry.observation is not None and bool(entry.observation.raised_loggers)


def needs_early_recheck(entry: EntryReport, now: datetime) -> bool:
    """Whether a probe has begun to fail, a gateway may still be fetching anew, or another one is coming up."""
    observation, verdict = entry.observation, entry.verdict
    if observation is None or verdict is None:
        return False
    nudged = observation.refetch is not None and refetch.is_fresh(observation.refetch, now)
    if verdict.state is not State.LOADED:
        return nudged
    return observation.probes_failing_since is not None or any(row.state is not State.LOADED for row in verdict.pods)


def awaits_pods(entry: EntryReport) -> bool:
    """Whether what runs meanwhile is still coming up, or going wrong, in some gateway."""
    return entry.verdict is not None and entry.verdict.state is State.PENDING and bool(entry.verdict.pods)


def is_pending(entry: EntryReport) -> bool:
    """Whether the gateways are still being waited for."""
    return entry.verdict is not None and entry.verdict.state is State.PENDING
