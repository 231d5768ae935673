"""What a change of the status says about a rollout: how it ended, how long it took, when gateways had loaded it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.status.census import name_reason
from pluginrelease.core.status.summaries import OUTCOMES

ENDINGS = (Reason.LOADED, *OUTCOMES)
# of docs/reasons.md: for what gateways show a revision fails
FAILURES = (
    Reason.CONFIG_NOT_DELIVERED,
    Reason.CONFIG_MISMATCH,
    Reason.PLACEHOLDER_NOT_REPLACED,
    Reason.FETCH_FAILED,
    Reason.RUNNING_UNPROTECTED,
    Reason.PLUGIN_REJECTED,
    Reason.PLUGIN_REFUSED_BY_WORKERS,
    Reason.GATEWAY_CRASHED,
    Reason.GATEWAY_UNRESPONSIVE,
    Reason.PLUGIN_CRASHED,
    Reason.LISTENER_REJECTED,
    Reason.LISTENER_STUCK,
    Reason.NOT_REFERENCED,
    Reason.PROBE_FAILED,
    Reason.PROBE_UNANSWERED,
    Reason.PROBE_PORT_REFUSED,
    Reason.PROBE_PORT_UNKNOWN,
    Reason.PROBE_PORT_AMBIGUOUS,
)


@dataclass(frozen=True)
class Measurements:
    """What one change of the status measures.

    ``ended``: the outcome of a rollout, as the Event's reason, and the seconds since its start; None: it did not end.
    ``loaded``: seconds from each write to the check that saw it in all pods of its entry. ``failed``: why a revision
    was found to have failed; None: it was not.
    """

    ended: tuple[str, float] | None = None
    loaded: tuple[float, ...] = ()
    failed: str | None = None


def measure(before: api.Status, after: api.Status, now: datetime) -> Measurements:
    """Compare two statuses of one release, one written after the other."""
    rollout = after.rollout
    if rollout is None:
        return Measurements()
    outcome = find_outcome(before, after)
    ended = (outcome, seconds_between(rollout.started_at, now)) if outcome else None
    return Measurements(ended, tuple(find_loads(before, after, rollout, now)), find_failure(before, after))


def find_outcome(before: api.Status, after: api.Status) -> str | None:
    """Return Loaded, or the phase in which a failed rollout ended; None if none ended now."""
    known, rollout = before.rollout, after.rollout
    if rollout is not None and rollout.failure is None:
        is_same = known is not None and known.started_at == rollout.started_at and known.failure is None
        is_news = not is_same or known is None or known.completed_at is None
        return Reason.LOADED.value if rollout.completed_at is not None and is_news else None
    is_news = after.phase != before.phase or find_failure(before, after) is not None
    return after.phase if after.phase in OUTCOMES and is_news else None


def find_loads(before: api.Status, after: api.Status, rollout: api.RolloutStatus, now: datetime) -> Iterable[float]:
    """Yield the seconds from write to load of each entry with a new stable revision, if it was written for that."""
    for row in after.gateways:
        known, noted = before.gateway(row.name), after.observation(row.name)
        is_news = row.stable is not None and (known is None or known.stable != row.stable)
        if is_news and noted is not None and noted.since >= rollout.started_at:
            yield seconds_between(noted.since, now)


def find_failure(before: api.Status, after: api.Status) -> str | None:
    """Return the reason of a failure that was decided now."""
    failure = after.rollout.failure if after.rollout else None
    known = before.rollout.failure if before.rollout else None
    return None if failure is None or failure == known else name_reason(failure.reason)


def seconds_between(began: datetime, now: datetime) -> float:
    """Return the seconds between two times; 0 if the clock was set back."""
    return max(0.0, (now - began).total_seconds())
