"""Two releases that put the same plugin on the same pods: every request would go through it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import parse_repository
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import Placement, placements
from pluginrelease.core.placeholders import is_same
from pluginrelease.core.rollout.plan import RECHECK


def find_older_duplicates(
    placement: Placement, others: Iterable[api.Release], mesh: target.MeshSettings
) -> Iterator[tuple[api.Release, target.Pods]]:
    """Yield releases of the same plugin that were there first, each with where pods of this entry would have both."""
    for other in others:
        if other.metadata.uid == placement.metadata.uid:
            continue  # its own entries: preflight.check_own_entries
        first = other.metadata.deletion_timestamp is None and is_first(other, placement)
        if first and same_plugin(placement.spec, other.spec):
            for shared in find_shared_pods(placement, other, mesh):
                yield other, shared


def is_first(other: api.Release, mine: Placement) -> bool:
    """Whether the other release has precedence: it has written an object and this entry has not; or it is older.

    Of one age the lesser uid is older. One that was refused before it wrote has no precedence by age.
    """
    if has_written(other) != is_written(mine.release, mine.name):
        return has_written(other)
    return sort_key(other) < sort_key(mine.release) and (has_written(other) or not has_ended(other))


def has_written(release: api.Release) -> bool:
    """Whether some entry of it has written its object, and not taken it off again."""
    return any(is_written(release, row.name) for row in release.status.gateways)


def is_written(release: api.Release, name: str) -> bool:
    """Whether the entry of this name has written its object, and not taken it off again."""
    row = release.status.gateway(name)
    return row is not None and row.object is not None and row.revision is not None


def has_ended(release: api.Release) -> bool:
    """Whether a pass over it ended before a write: it was refused, or awaits something."""
    conditions = {one.type: one for one in release.status.conditions}
    return ConditionType.READY in conditions


def refuse_duplicate(elder: api.Release) -> Refused:
    """What the younger one is told."""
    whose = f"{elder.metadata.namespace}/{elder.metadata.name}"
    return Refused(
        Reason.DUPLICATE_PLUGIN,
        f"PluginRelease {whose} puts the same plugin with the same configuration on the same gateway pods",
        "Delete one of the two, or give them different selectors, configurations or phases",
        recheck=RECHECK,
    )


def sort_key(release: api.Release) -> tuple[str, str]:
    """What the older one has less of."""
    return release.metadata.creation_timestamp, release.metadata.uid


def same_plugin(one: api.Spec, other: api.Spec) -> bool:
    """Whether both run one repository's plugin, of whatever version, in the same way."""
    mine, theirs = ((repository(spec), spec.plugin.name, spec.plugin.phase) for spec in (one, other))
    return mine == theirs and is_same(configuration(one), configuration(other))


def configuration(spec: api.Spec) -> dict[str, Any]:
    """What its gateways are given, rules and all."""
    return dict(providers.of(spec).configuration(spec.plugin) or {})


def repository(spec: api.Spec) -> str:
    """The image without tag and digest; a reference that is none is only like itself."""
    try:
        return parse_repository(spec.artifact.image.ref).name
    except ReleaseError:
        return spec.artifact.image.ref


def find_shared_pods(placement: Placement, other: api.Release, mesh: target.MeshSettings) -> list[target.Pods]:
    """Return where pods would be that this entry and an entry of the other release both select."""
    mine = pods_of(placement, mesh)
    theirs = (pods_of(entry, mesh) for entry in placements(other))
    return [shared for shared in (mine.shared_with(pods) for pods in theirs) if shared is not None]


def pods_of(placement: Placement, mesh: target.MeshSettings) -> target.Pods:
    """Return where the entry's gateway pods are."""
    return providers.of(placement.spec).pods(placement.gateway, mesh)
