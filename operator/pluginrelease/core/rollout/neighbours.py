"""The other releases on the same gateways: whose write came last before something went wrong there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pluginrelease import api
from pluginrelease.core import timestamps
from pluginrelease.core.apiserver import stored
from pluginrelease.core.gateway.outage import Neighbour


def find_neighbours(release: api.Release, listed: Iterable[dict[str, Any]]) -> Iterator[api.Release]:
    """The releases that have written something that has not run everywhere since.

    One that cannot be read is its own trouble. One that is suspended is not looked at, and would be blamed in vain.
    """
    for other in stored.sort_out(listed)[0]:
        decided = other.status.rollout
        is_proved = decided is not None and decided.completed_at is not None and decided.failure is None
        may_go_back = other.status.observation is not None and not is_proved and not other.spec.suspend
        if other.metadata.uid != release.metadata.uid and may_go_back:
            yield other


def make_neighbour(other: api.Release, uids: Iterable[str]) -> Neighbour:
    """When it wrote last, and whether that is being undone; ``uids`` are the pods that it selects."""
    known, decided = other.status.observation, other.status.rollout
    assert known is not None  # noqa: S101  only those that have one are asked for
    failed = decided.failure if decided else None
    name = f"{other.metadata.namespace}/{other.metadata.name}"
    return Neighbour(
        name, frozenset(uids), timestamps.parse_time(known.since), timestamps.parse_time(failed.at) if failed else None
    )
