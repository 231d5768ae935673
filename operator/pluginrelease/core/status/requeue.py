"""When to look at a release again, in seconds."""

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
from pluginrelease.core.status.report import Report
from pluginrelease.core.status.summaries import Summary

BACKOFF_FIRST = 1.0
BACKOFF_MAX = 60.0
PENDING_FIRST = 0.3
PENDING_MAX = 5.0
UNHEALTHY_LOOK = 15.0  # and of what could not be told: both can heal by themselves
SOON = 2.0  # a probe has begun to fail, or a gateway was just made to fetch anew
JUST_AFTER = 0.1  # a deadline has to be over when it is looked at
LOGGER_LOOK = 5.0  # a gateway whose log level could not be put back is not left waiting for the resync


def until_tag_poll(release: api.Release, status: api.Status, now: datetime) -> float:
    """Seconds until a tag that is followed is to be asked for again."""
    try:
        due = tags.find_next_poll(release.model_copy(update={"status": status}))
    except Refused:
        return math.inf
    return max((due - now).total_seconds(), SOON) if due is not None else math.inf


def until_overdue(release: api.Release, report: Report, summary: Summary, now: datetime) -> float:
    """Return the seconds until a rollout that goes on takes longer than it may: that must be said in time."""
    if report.rollout is None or not summary.reconciling or summaries.is_waiting_for_pods(report):
        return math.inf
    try:
        deadline = duration.parse(release.spec.rollout.progress_deadline)
    except Refused:
        return math.inf
    left = decisions.until_overdue(report.rollout, now, deadline)
    return left.total_seconds() + JUST_AFTER if left is not None else math.inf


def until_next_step(report: Report, now: datetime) -> float:
    """Return the seconds until the next step of healing gateways that refuse what is put back."""
    pause = detour.compute_pause(report.rollout, now) if report.rollout is not None else None
    return math.inf if pause is None else pause


def until_next_look(before: api.Status, report: Report, attempt: int, resync: float, now: datetime) -> float:
    """Seconds until the next look: at once after a decision, soon while something moves, at the resync otherwise."""
    if decisions.goes_back(before.rollout, report.rollout):
        return 0.0
    if report.failure is not None:
        waits = until_retry(report.failure.error, report, attempt, resync)
        return min(waits, PENDING_MAX) if awaits_pods(report) else waits
    if has_raised_loggers(report) and not is_pending(report):
        return min(LOGGER_LOOK, resync)
    if report.verdict is None:
        return resync
    if needs_early_recheck(report, now):
        return min(SOON, resync)
    return until_next_observation(report.verdict, attempt, resync)


def until_retry(error: ReleaseError, report: Report, attempt: int, resync: float) -> float:
    """Seconds until another try."""
    if isinstance(error, Waiting):
        return min(error.retry_after, resync)
    if isinstance(error, Refused) and error.recheck is not None:
        return min(error.recheck, resync)
    if isinstance(error, Transient):
        longest = PENDING_MAX if decisions.is_going_back(report.rollout) else BACKOFF_MAX
        return max(error.retry_after or 0.0, min(BACKOFF_FIRST * 2.0 ** min(attempt, 10), longest))
    return min(LOGGER_LOOK, resync) if has_raised_loggers(report) else resync


def until_next_observation(verdict: Verdict, attempt: int, resync: float) -> float:
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


def has_raised_loggers(report: Report) -> bool:
    """Whether some log level is still to be put back."""
    return report.observation is not None and bool(report.observation.raised_loggers)


def needs_early_recheck(report: Report, now: datetime) -> bool:
    """Whether a probe has begun to fail, a gateway may still be fetching anew, or another one is coming up."""
    observation, verdict = report.observation, report.verdict
    if observation is None or verdict is None:
        return False
    nudged = observation.nudge is not None and refetch.is_fresh(observation.nudge, now)
    if verdict.state is not State.LOADED:
        return nudged
    return observation.probes_failing_since is not None or any(row.state is not State.LOADED for row in verdict.pods)


def awaits_pods(report: Report) -> bool:
    """Whether what runs meanwhile is still coming up, or going wrong, in some gateway."""
    return report.verdict is not None and report.verdict.state is State.PENDING and bool(report.verdict.pods)


def is_pending(report: Report) -> bool:
    """Whether the gateways are still being waited for."""
    return report.verdict is not None and report.verdict.state is State.PENDING
