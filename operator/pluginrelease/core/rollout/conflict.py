"""Two releases that put the same plugin on the same pods: every request would go through it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.core.artifact.image_manifests import parse_repository
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.placeholders import is_same
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.plan import RECHECK


def find_older_duplicates(
    release: api.Release, others: Iterable[api.Release], mesh: target.MeshSettings
) -> Iterator[tuple[api.Release, target.Pods]]:
    """The releases of the same plugin that were there first, and where the pods are that would have both."""
    for other in others:
        first = other.metadata.deletion_timestamp is None and is_first(other, release)
        alike = first and same_plugin(release.spec, other.spec)
        shared = find_shared_pods(release.spec, other.spec, mesh) if alike else None
        if shared is not None:
            yield other, shared


def is_first(other: api.Release, mine: api.Release) -> bool:
    """Whether the other one has the pods: it is on them and mine is not; or it is the older, of one age that of the
    lesser uid, and has not ended before it got there."""
    if has_written(other) != has_written(mine):
        return has_written(other)
    return sort_key(other) < sort_key(mine) and (has_written(other) or not has_ended(other))


def has_written(release: api.Release) -> bool:
    """Whether it has written its object, and not taken it off again."""
    decided = release.status.rollout
    taken_off = decided is not None and decisions.decide_intent(decided).goal is decisions.Goal.TAKEN_OFF
    return release.status.target is not None and not taken_off


def has_ended(release: api.Release) -> bool:
    """Whether a pass over it ended before a write: it was refused, or awaits something."""
    conditions = {condition.type: condition for condition in release.status.conditions}
    return ConditionType.READY in conditions


def refuse_duplicate(elder: api.Release) -> Refused:
    """What the younger one is told."""
    whose = f"{elder.metadata.namespace}/{elder.metadata.name}"
    return Refused(
        "DuplicatePlugin",
        f"PluginRelease {whose} puts the same plugin with the same configuration on the same gateway pods",
        "Delete one of the two, or give them different selectors, configurations or phases",
        recheck=RECHECK,
    )


def sort_key(release: api.Release) -> tuple[str, str]:
    """What the older one has less of."""
    return release.metadata.creation_timestamp, release.metadata.uid


def same_plugin(first: api.Spec, second: api.Spec) -> bool:
    """Whether both run one repository's plugin, of whatever version, in the same way."""
    mine, theirs = ((repository(spec), spec.plugin.name, spec.plugin.phase) for spec in (first, second))
    return mine == theirs and is_same(configuration(first), configuration(second))


def configuration(spec: api.Spec) -> dict[str, Any]:
    """What its gateways are given, rules and all."""
    return dict(providers.of(spec.gateway).configuration(spec.plugin) or {})


def repository(spec: api.Spec) -> str:
    """The image without tag and digest; a reference that is none is only like itself."""
    try:
        return parse_repository(spec.artifact.image.ref).name
    except ReleaseError:
        return spec.artifact.image.ref


def find_shared_pods(first: api.Spec, second: api.Spec, mesh: target.MeshSettings) -> target.Pods | None:
    """Where the pods of both would be; None where no pod can be among both."""
    mine, theirs = (providers.of(spec.gateway).pods(spec.gateway, mesh) for spec in (first, second))
    return mine.shared_with(theirs)
