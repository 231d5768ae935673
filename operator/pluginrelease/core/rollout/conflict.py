"""Find two releases that put the same plugin on the same pods: every request would pass it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core import config_values, sources
from pluginrelease.core.apiserver import stored
from pluginrelease.core.artifact.image_manifests import find_repository
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import providers, target, traffic
from pluginrelease.core.mesh.placement import Placement, placements
from pluginrelease.core.placeholders import is_same
from pluginrelease.core.rollout.plan import RECHECK


def find_older_duplicates(
    placement: Placement, others: Iterable[api.Release], mesh: target.MeshSettings
) -> Iterator[tuple[api.Release, target.Pods]]:
    """Yield older releases of the same plugin, each with where pods of this entry would have both."""
    for other in others:
        if other.metadata.uid == placement.metadata.uid:
            continue  # its own entries: preflight.check_own_entries
        first = other.metadata.deletion_timestamp is None and is_first(other, placement)
        if first and same_plugin(placement.spec, other.spec):
            for shared in find_shared_pods(placement, other, mesh):
                yield other, shared


def is_first(other: api.Release, mine: Placement) -> bool:
    """Return True if the other release takes precedence.

    It does if it has written an object and this entry has not, or if it is older. If both have one age, the lower uid
    counts as older. A release that was refused before it wrote has no precedence by age.
    """
    if has_written(other) != is_written(mine.release, mine.name):
        return has_written(other)
    return sort_key(other) < sort_key(mine.release) and (has_written(other) or not has_ended(other))


def has_written(release: api.Release) -> bool:
    """Return True if some entry of it has written its object, and has not removed it again."""
    return any(is_written(release, row.name) for row in release.status.gateways)


def is_written(release: api.Release, name: str) -> bool:
    """Return True if the entry of this name has written its object, and has not removed it again."""
    row = release.status.gateway(name)
    return row is not None and row.object is not None and row.revision is not None


def has_ended(release: api.Release) -> bool:
    """Return True if a pass over it ended before a write: it was refused, or waits."""
    conditions = {condition.type: condition for condition in release.status.conditions}
    return ConditionType.READY in conditions


def refuse_duplicate(elder: api.Release) -> Refused:
    """Return the error of the younger release."""
    whose = f"{elder.metadata.namespace}/{elder.metadata.name}"
    return Refused(
        Reason.DUPLICATE_PLUGIN,
        f"PluginRelease {whose} puts the same plugin with the same configuration on the same gateway pods",
        "Delete one of the two, or give them different selectors, configurations or phases",
        recheck=RECHECK,
    )


def refuse_overlap(first: str, second: str, pod: str) -> Refused:
    """Return the error of an entry that selects a pod (namespace/name) which an earlier entry of its release has."""
    return Refused(
        Reason.PODS_OVERLAP,
        f"entries {first} and {second} of gateways both select pod {pod}: every request there would run the plugin "
        "twice",
        "Give one of them a narrower selector, or remove it",
        recheck=RECHECK,
    )


def sort_key(release: api.Release) -> tuple[datetime, str]:
    """Return the creation time and the uid: the older release comes first."""
    return release.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC), release.metadata.uid


def same_plugin(one: api.Spec, other: api.Spec) -> bool:
    """Return True if both run the plugin of one repository, of any version, in the same way."""
    mine, theirs = ((repository(spec), spec.plugin.name, spec.plugin.phase) for spec in (one, other))
    return mine == theirs and is_same(configuration(one), configuration(other)) and may_meet(one, other)


def may_meet(one: api.Spec, other: api.Spec) -> bool:
    """Return whether a listener may get the plugins of both specs."""
    mine, theirs = ([item.wire() for item in spec.plugin.match or []] for spec in (one, other))
    return traffic.may_meet(mine, theirs)


def configuration(spec: api.Spec) -> dict[str, Any]:
    """Return the whole configuration of its gateways, rules and the names of its values included."""
    plugin = spec.plugin
    named = {place.field: place.source.wire() for place in config_values.list_places(plugin)}
    return {**(providers.plugin_api_of(spec).configuration(plugin) or {}), **named}


def repository(spec: api.Spec) -> str:
    """Return the image without tag and digest, or a file's URL. An invalid reference equals only itself."""
    ref = sources.find_image(spec.artifact).ref
    download = sources.split_download(ref)
    return download[0] if download is not None else find_repository(ref) or ref


def read_repository(release: dict[str, Any]) -> str | None:
    """Return the repository of a release as the API server stores it, which may not fit the models."""
    ref = stored.read_path(release, "spec", "artifact", "image", "ref")
    url = stored.read_path(release, "spec", "artifact", "http", "url")
    if url is not None:
        return str(url)
    return find_repository(str(ref)) if ref is not None else None


def find_shared_pods(placement: Placement, other: api.Release, mesh: target.MeshSettings) -> list[target.Pods]:
    """Return where pods would be that this entry and an entry of the other release both select."""
    mine = pods_of(placement, mesh)
    theirs = (pods_of(entry, mesh) for entry in placements(other))
    return [shared for shared in (mine.shared_with(pods) for pods in theirs) if shared is not None]


def pods_of(placement: Placement, mesh: target.MeshSettings) -> target.Pods:
    """Return where the entry's gateway pods are."""
    return providers.mesh_of(placement.spec).pods(placement.gateway, mesh)
