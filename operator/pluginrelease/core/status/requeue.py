"""When the next pass begins unless an event comes first. All times are in seconds."""

from __future__ import annotations

import math
import zlib
from datetime import datetime

from pluginrelease import api
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.gateway import notes, refetch
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import decisions, detour, watch
from pluginrelease.core.rollout.report import EntryReport, Report, way_back
from pluginrelease.core.status import patience
from pluginrelease.core.status.summaries import Summary

BACKOFF_FIRST = 1.0
BACKOFF_MAX = 60.0
PENDING_FIRST = 0.3
PENDING_MAX = 5.0
UNHEALTHY_LOOK = 15.0  # also for what could not be determined: both can recover without a change
SOON = 2.0  # a probe has begun to fail, or a gateway was just made to fetch again
JUST_AFTER = 0.1  # a deadline must be over when it is checked
WATCH_LOOK = 15.0  # what ran everywhere a moment ago: a hanging gateway or a failing probe causes no event
LOGGER_LOOK = 5.0  # a log level that could not be restored does not wait for the resync


def look_again(
    release: api.Release,
    report: Report,
    status: api.Status,
    summary: Summary,
    attempt: int,
    resync: float,
    now: datetime,
) -> float:
    """Return the seconds until the next pass: the shortest time that the release or one of its entries needs."""
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
        until_watched(release, status, now),
        until_silence_counts(release, status, now),
    )


def until_silence_counts(release: api.Release, status: api.Status, now: datetime) -> float:
    """Return the seconds until a gateway counts as hung that did not answer when its release was switched off.

    That is also until gateways are asked that had not shown by then that they run the plugin.

    After that, it is checked again at the resync.
    """
    if status.switched_off is None or status.checkpoint is None:
        return math.inf
    patience = release.spec.checks.load.timeout
    noted = [notes.read(known) for known in status.checkpoint.gateways]
    since = [silence.since for known in noted for silence in known.silent]
    since += [status.switched_off.at for known in noted if notes.list_unproven(known)]
    left = ((moment + patience - now).total_seconds() for moment in since)
    return min((seconds + JUST_AFTER for seconds in left if seconds > 0), default=math.inf)


def until_watched(release: api.Release, status: api.Status, now: datetime) -> float:
    """Return the seconds until the next check of what can still fail after Ready."""
    is_watched = watch.is_any_running(status.gateways, release.spec.rollout, now)
    is_moot = release.spec.suspend or status.switched_off is not None
    return WATCH_LOOK if is_watched and not is_moot else math.inf


def until_slot(seconds: float, pods: str, now: float) -> float:
    """Return the seconds until the next check, at most ``seconds``, when nothing is in progress.

    Releases on the same ``pods`` are checked at the same time; others are spread over the interval. ``now``: seconds of
    a clock that does not restart with the process.
    """
    period = seconds * 0.9
    phase = zlib.crc32(pods.encode()) / 2**32 * period
    left = period - (now - phase) % period
    return left if left >= seconds * 0.1 else left + period


def until_entry(entry: EntryReport, report: Report, attempt: int, resync: float, now: datetime) -> float:
    """Return the seconds until the next check because of one entry: soon while something changes there."""
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
        return max(error.retry_after or 0.0, back_off(attempt, longest))
    return min(LOGGER_LOOK, resync) if any(map(has_raised_loggers, report.entries)) else resync


def back_off(attempt: int, longest: float = BACKOFF_MAX) -> float:
    """Return the seconds until another try: doubled after each one. ``attempt`` is the number of tries before."""
    return min(BACKOFF_FIRST * 2.0 ** min(attempt, 10), longest)


def until_tag_poll(release: api.Release, status: api.Status, now: datetime) -> float:
    """Return the seconds until a followed tag must be asked for again."""
    due = tags.find_next_poll(release.model_copy(update={"status": status}))
    return max((due - now).total_seconds(), SOON) if due is not None else math.inf


def until_overdue(release: api.Release, report: Report, summary: Summary, now: datetime) -> float:
    """Return the seconds until a wait exceeds its limit: that must be reported in time."""
    end = patience.find_end(release, report, summary, now)
    return max((end - now).total_seconds(), 0.0) + JUST_AFTER if end is not None else math.inf


def until_next_step(entry: EntryReport, report: Report, now: datetime) -> float:
    """Return the seconds until the next step of repairing gateways that refuse what is restored."""
    if report.rollout is None:
        return math.inf
    pause = detour.compute_pause(way_back(report.rollout, report.rollout.failure, entry), now)
    return math.inf if pause is None else pause


def after_verdict(verdict: Verdict, attempt: int, resync: float) -> float:
    """Return the seconds until the next check of the gateways."""
    match verdict.state:
        case State.PENDING if not verdict.pods:
            return resync
        case State.PENDING:
            return min(PENDING_FIRST * 1.6 ** min(attempt, 20), PENDING_MAX)
        case State.UNHEALTHY | State.UNKNOWN:
            return min(UNHEALTHY_LOOK, resync)
        case State.LOADED:
            return resync


def has_raised_loggers(entry: EntryReport) -> bool:
    """Return True if some log level must still be restored."""
    return entry.observation is not None and bool(entry.observation.raised_loggers)


def needs_early_recheck(entry: EntryReport, now: datetime) -> bool:
    """Return True if a probe has begun to fail, a gateway may still be fetching again, or another one is starting."""
    observation, verdict = entry.observation, entry.verdict
    if observation is None or verdict is None:
        return False
    nudged = observation.refetch is not None and refetch.is_fresh(observation.refetch, now)
    if verdict.state is not State.LOADED:
        return nudged
    return observation.probes_failing_since is not None or any(row.state is not State.LOADED for row in verdict.pods)


def awaits_pods(entry: EntryReport) -> bool:
    """Return True if what runs in the meantime is still starting, or failing, in some gateway."""
    return entry.verdict is not None and entry.verdict.state is State.PENDING and bool(entry.verdict.pods)


def is_pending(entry: EntryReport) -> bool:
    """Return True if gateways are still awaited."""
    return entry.verdict is not None and entry.verdict.state is State.PENDING
