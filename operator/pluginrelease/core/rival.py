"""Two releases that put the same plugin on the same pods: every request would go through it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pluginrelease.core import api, rollout
from pluginrelease.core.api import ConditionType
from pluginrelease.core.artifact import parse
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.plan import RECHECK
from pluginrelease.core.verdict import same


def elders(release: api.Release, others: Iterable[api.Release], root_namespace: str) -> Iterator[api.Release]:
    """The releases of the same plugin that were there first, and whose selectors may find the same pods."""
    for other in others:
        first = other.metadata.deletion_timestamp is None and is_first(other, release)
        alike = first and same_plugin(release.spec, other.spec)
        if alike and may_meet(release.spec, other.spec, root_namespace):
            yield other


def is_first(other: api.Release, mine: api.Release) -> bool:
    """Whether the other one has the pods: it is on them and mine is not; or it is the older, of one age that of the
    lesser uid, and has not ended before it got there."""
    if holds(other) != holds(mine):
        return holds(other)
    return age(other) < age(mine) and (holds(other) or not has_ended(other))


def holds(release: api.Release) -> bool:
    """Whether it has written its object, and not taken it off again."""
    decided = release.status.rollout
    taken_off = decided is not None and rollout.intent(decided).goal is rollout.Goal.TAKEN_OFF
    return release.status.target is not None and not taken_off


def has_ended(release: api.Release) -> bool:
    """Whether a pass over it ended before a write: it was refused, or awaits something."""
    conditions = {one.type: one for one in release.status.conditions}
    return ConditionType.READY in conditions


def refused(elder: api.Release) -> Refused:
    """What the younger one is told."""
    whose = f"{elder.metadata.namespace}/{elder.metadata.name}"
    return Refused(
        "DuplicatePlugin",
        f"PluginRelease {whose} puts the same plugin with the same configuration on the same gateway pods",
        "Delete one of the two, or give them different selectors, configurations or phases",
        recheck=RECHECK,
    )


def age(release: api.Release) -> tuple[str, str]:
    """What the older one has less of."""
    return release.metadata.creation_timestamp, release.metadata.uid


def same_plugin(one: api.Spec, other: api.Spec) -> bool:
    """Whether both run one repository's plugin, of whatever version, in the same way."""
    mine, theirs = ((repository(spec), spec.plugin.name, spec.plugin.phase) for spec in (one, other))
    return mine == theirs and same(one.plugin.config or {}, other.plugin.config or {})


def repository(spec: api.Spec) -> str:
    """The image without tag and digest; a reference that is none is only like itself."""
    try:
        return parse(spec.artifact.image.ref).name
    except ReleaseError:
        return spec.artifact.image.ref


def may_meet(one: api.Spec, other: api.Spec, root_namespace: str) -> bool:
    """Whether a pod could carry the labels of both, in a namespace that both reach."""
    namespaces = {one.gateway.namespace, other.gateway.namespace}
    mine, theirs = one.gateway.selector.match_labels, other.gateway.selector.match_labels
    return (len(namespaces) == 1 or root_namespace in namespaces) and all(
        theirs.get(key, value) == value for key, value in mine.items()
    )


def common_ground(one: api.Spec, other: api.Spec, root_namespace: str) -> tuple[str | None, dict[str, str]]:
    """Where the pods of both would be: the namespace (None: every one) and the labels of both."""
    narrower = next((it for it in (one, other) if it.gateway.namespace != root_namespace), None)
    namespace = narrower.gateway.namespace if narrower else None
    return namespace, {**one.gateway.selector.match_labels, **other.gateway.selector.match_labels}
