"""When to make istiod send a plugin again; `target.pull_policy` is how.

Istio's agent fetches a module only when the control plane sends the plugin; after a failed fetch it does not soon try
again (pkg/wasm/convert.go). A gateway whose listener update was refused gets the next one in the same way.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pluginrelease import api
from pluginrelease.core import timestamps
from pluginrelease.core.gateway.verdict.values import Verdict

PATIENCE = timedelta(seconds=5)
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=10)
# how long a gateway may take to fetch and load after a push: the agent gives up after 30 s
FRESH = timedelta(seconds=35)


def is_due(verdict: Verdict, last: api.Refetch | None, now: datetime, since: datetime | None = None) -> bool:
    """Whether some gateway needs a push, and the last one is long enough ago.

    ``since``: when the plugin was written.
    """
    waited = since is not None and now >= since + PATIENCE
    stuck = any(row.reason.is_healed_by_refetch or (waited and row.reason.may_be_left_behind) for row in verdict.pods)
    return stuck and (
        last is None or is_ahead(last, now) or now >= timestamps.parse_time(last.at) + compute_pause(last.attempts)
    )


def compute_pause(attempts: int) -> timedelta:
    """How long to wait after so many pushes in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(attempts, 10), LONGEST_PAUSE) if attempts else timedelta()


def make_next(last: api.Refetch | None, now: datetime) -> api.Refetch:
    """The push after this one."""
    return api.Refetch(
        count=last.count + 1 if last else 1,
        attempts=last.attempts + 1 if last else 1,
        at=timestamps.metav1_micro_time(now),
    )


def reset_attempts(last: api.Refetch) -> api.Refetch:
    """Everything runs: the next trouble is answered at once."""
    return last.model_copy(update={"attempts": 0})


def is_fresh(last: api.Refetch, now: datetime) -> bool:
    """Whether the gateways may still be at work on it."""
    return last.attempts > 0 and not is_ahead(last, now) and now < timestamps.parse_time(last.at) + FRESH


def is_ahead(last: api.Refetch, now: datetime) -> bool:
    """Whether it was taken by a clock that has been set back since: then it says nothing of how long ago it was."""
    return timestamps.parse_time(last.at) > now
