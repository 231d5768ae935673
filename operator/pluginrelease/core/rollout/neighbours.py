"""The other releases on the same gateways: whose write came last before something went wrong there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pluginrelease import api
from pluginrelease.core import timestamps
from pluginrelease.core.apiserver import stored
from pluginrelease.core.gateway.outage import Neighbour
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import placements
from pluginrelease.core.rollout.conflict import pods_of


def find_neighbours(release: api.Release, listed: Iterable[dict[str, Any]]) -> Iterator[api.Release]:
    """Yield the releases that have written something that has not run everywhere since.

    One that cannot be read is its own trouble. One that is suspended is not looked at, and would be blamed in vain.
    """
    for other in stored.sort_out(listed)[0]:
        decided, noted = other.status.rollout, other.status.checkpoint
        is_proved = decided is not None and decided.completed_at is not None and decided.failure is None
        may_go_back = noted is not None and bool(noted.gateways) and not is_proved and not other.spec.suspend
        if other.metadata.uid != release.metadata.uid and may_go_back:
            yield other


def make_neighbour(other: api.Release, name: str, uids: Iterable[str]) -> Neighbour | None:
    """Return when its entry of this name wrote last, and whether that is being undone; None where it never wrote.

    ``uids`` are the pods that the entry selects.
    """
    known, decided = other.status.observation(name), other.status.rollout
    if known is None:
        return None
    failed = decided.failure if decided and decided.failure and name in decided.failure.gateways else None
    title = f"{other.metadata.namespace}/{other.metadata.name}"
    return Neighbour(
        title, frozenset(uids), timestamps.parse_time(known.since), timestamps.parse_time(failed.at) if failed else None
    )


def find_neighbour_entries(
    release: api.Release, listed: Iterable[dict[str, Any]], mesh: target.MeshSettings
) -> Iterator[tuple[api.Release, str, target.Pods]]:
    """Yield each entry of `others`: the release, the entry's name, and where its pods are."""
    for other in find_neighbours(release, listed):
        for entry in placements(other):
            yield other, entry.name, pods_of(entry, mesh)
