"""Two releases that put the same plugin on the same pods: every request would go through it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pluginrelease.core import api
from pluginrelease.core.artifact import parse
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.plan import RECHECK
from pluginrelease.core.verdict import same


def elders(release: api.Release, others: Iterable[api.Release], root_namespace: str) -> Iterator[api.Release]:
    """The older releases of the same plugin whose selectors may find the same pods; of one age, the lesser uid."""
    for other in others:
        is_elder = other.metadata.deletion_timestamp is None and age(other) < age(release)
        alike = is_elder and same_plugin(release.spec, other.spec)
        if alike and may_meet(release.spec, other.spec, root_namespace):
            yield other


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
