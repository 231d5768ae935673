"""The other releases on the same gateways: which one wrote last before something failed there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from pluginrelease import api
from pluginrelease.core.gateway.outage import Neighbour
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import placements
from pluginrelease.core.rollout import decisions, watch
from pluginrelease.core.rollout.conflict import pods_of


def find_neighbours(release: api.Release, others: Iterable[api.Release], now: datetime) -> Iterator[api.Release]:
    """Yield the releases that have written something that has not run everywhere since, or is watched.

    A suspended release is left out: it is not checked, so blaming it would change nothing.
    """
    for other in others:
        decided, noted = other.status.rollout, other.status.checkpoint
        is_watched = watch.is_any_running(other.status.gateways, other.spec.rollout, now)
        is_proved = decisions.has_succeeded(decided) and not is_watched
        may_go_back = noted is not None and bool(noted.gateways) and not is_proved and not other.spec.suspend
        if other.metadata.uid != release.metadata.uid and may_go_back:
            yield other


def make_neighbour(other: api.Release, name: str, uids: Iterable[str]) -> Neighbour | None:
    """Return when its entry of this name wrote last, and if that is being undone; None if it never wrote.

    ``uids`` are the pods that the entry selects.
    """
    known, decided = other.status.observation(name), other.status.rollout
    if known is None:
        return None
    failed = decided.failure if decided and decided.failure and name in decided.failure.gateways else None
    undone = [moment.at for moment in (failed, other.status.switched_off) if moment is not None]
    title = f"{other.metadata.namespace}/{other.metadata.name}"
    return Neighbour(title, frozenset(uids), known.since, min(undone, default=None))


def find_neighbour_entries(
    release: api.Release, others: Iterable[api.Release], mesh: target.MeshSettings, now: datetime
) -> Iterator[tuple[api.Release, str, target.Pods]]:
    """Yield each entry of `others`: the release, the entry's name, and where its pods are."""
    for other in find_neighbours(release, others, now):
        for entry in placements(other):
            yield other, entry.name, pods_of(entry, mesh)
