"""The time after Ready in which a revision can still fail: during ``rollout.watchFor`` the previous revision is stored.

Many plugins fail only under traffic. After that time it is not known whether the plugin is to blame, and the previous
revision may be long out of date. Then failures are reported, and nothing is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.verdict.values import State, Verdict


def is_open(release: api.Release, gateway: api.Gateway, revision: str, now: datetime) -> bool:
    """Return True if an entry's stable revision is this one, and is still watched."""
    row = release.status.gateway(gateway.name)
    stable = row.stable if row is not None else None
    if row is None or stable is None or (stable.revision, stable.attachment) != (revision, gateway.attachment):
        return False
    return row.watch is not None and is_running(row.watch, release.spec.rollout, now)


def is_running(known: api.Watch, rollout: api.Rollout, now: datetime) -> bool:
    """Return True if the time of a watch is not over."""
    return now < known.since + rollout.watch_for


def is_any_running(rows: Iterable[api.GatewayStatus], rollout: api.Rollout, now: datetime) -> bool:
    """Return True if some entry is watched."""
    return any(row.watch is not None and is_running(row.watch, rollout, now) for row in rows)


def begin(before: api.StableRevision | None, rollout: api.Rollout, now: datetime) -> api.Watch | None:
    """Return the watch of an entry's new stable revision. ``before`` is what was stable until then."""
    pods = before.attachment if before is not None else api.Attachment()
    begun = api.Watch(
        since=times.to_seconds(now), revision=before.revision if before is not None else None, **pods._asdict()
    )
    return begun if is_running(begun, rollout, now) else None


def find_before(known: api.Watch) -> api.StableRevision | None:
    """Return what was stable before the watched revision; None: nothing, or the adopted object."""
    if known.revision is None:
        return None
    return api.StableRevision(revision=known.revision, selector=known.selector, target_refs=known.target_refs)


def is_trouble(verdict: Verdict) -> bool:
    """Return True if gateways or the plugin crash, gateways hang, or probes fail.

    A new pod that cannot fetch the plugin does not count, because the revision is not to blame for that.
    """
    if verdict.state is not State.UNHEALTHY:
        return False
    rows = (row for row in verdict.pods if row.state is State.UNHEALTHY)
    is_probe = verdict.reason in (Reason.PROBE_FAILED, Reason.PROBE_UNANSWERED)
    return is_probe or any(row.is_crash or row.reason.means_gateway_down for row in rows)


def list_needed(rows: Iterable[api.GatewayStatus]) -> set[str]:
    """Return the revisions that a failure would restore."""
    return {row.watch.revision for row in rows if row.watch is not None and row.watch.revision is not None}
