"""When to make istiod send a plugin again; `target.pull_policy` says how.

Istio's agent fetches a module only when the control plane sends the plugin. After a failed fetch it does not soon try
again (pkg/wasm/convert.go). A gateway whose listener update was refused gets the next one in the same way.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.core.gateway.verdict.values import Verdict

PATIENCE = timedelta(seconds=5)
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=10)
# time for a gateway to fetch and load after a push: the agent gives up after 30 s
FRESH = timedelta(seconds=35)


def is_due(verdict: Verdict, last: api.Refetch | None, now: datetime, since: datetime | None = None) -> bool:
    """Return True if some gateway needs a push, and the last one is long enough ago.

    ``since``: when the plugin was written.
    """
    waited = since is not None and now >= since + PATIENCE
    stuck = any(row.reason.is_healed_by_refetch or (waited and row.reason.may_be_left_behind) for row in verdict.pods)
    return stuck and (last is None or is_ahead(last, now) or now >= last.at + compute_pause(last.attempts))


def compute_pause(attempts: int) -> timedelta:
    """Return how long to wait after so many pushes in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(attempts, 10), LONGEST_PAUSE) if attempts else timedelta()


def make_next(last: api.Refetch | None, now: datetime) -> api.Refetch:
    """Return the record of the push after this one."""
    return api.Refetch(
        count=last.count + 1 if last else 1,
        attempts=last.attempts + 1 if last else 1,
        at=times.to_microseconds(now),
    )


def reset_attempts(last: api.Refetch) -> api.Refetch:
    """Return the record after everything runs: the next failure gets a push without a pause."""
    return last.model_copy(update={"attempts": 0})


def is_fresh(last: api.Refetch, now: datetime) -> bool:
    """Return True if the gateways may still be fetching because of it."""
    return last.attempts > 0 and not is_ahead(last, now) and now < last.at + FRESH


def is_ahead(last: api.Refetch, now: datetime) -> bool:
    """Return True if its time is in the future: the clock was set back since, so its age is not known."""
    return last.at > now
