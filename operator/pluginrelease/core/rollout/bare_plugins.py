"""Find a second object without a release that runs the same plugin on the same pods: requests would pass it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import find_repository
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import providers, target, traffic
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.placeholders import is_same
from pluginrelease.core.rollout import conflict, placements
from pluginrelease.core.rollout.plan import RECHECK

JSON = dict[str, Any]

USES = ("pluginName", "phase", "pluginConfig", "defaultConfig", "defaultConfigDisable", "matchRules")
UNSPECIFIED_PHASE = "UNSPECIFIED_PHASE"


def is_bare(thing: JSON) -> bool:
    """Return True if no release owns an object."""
    return api.UID_LABEL not in (thing["metadata"].get("labels") or {})


def find_twins(
    placement: Placement, bare: Iterable[JSON], mesh: target.MeshSettings
) -> Iterator[tuple[JSON, target.Pods]]:
    """Yield other objects that put the entry's plugin on its pods, each with where the common pods are.

    The repository identifies the plugin, whatever the version and the configuration. The object that the entry has, or
    will adopt, does not count.
    """
    repository, own = conflict.repository(placement.spec), placements.object_place(placement)
    mine = conflict.pods_of(placement, mesh)
    for thing in bare:
        if placements.place_of(thing) != own and read_repository(thing) == repository:
            for theirs in find_pods(placement, thing, mesh):
                shared = mine.shared_with(theirs)
                if shared is not None:
                    yield thing, shared


def is_used_alike(wanted: JSON, thing: JSON) -> bool:
    """Return True if an object uses the plugin exactly like the wanted one: same name, phase and configuration."""
    mine, theirs = wanted.get("spec") or {}, thing.get("spec") or {}
    is_alike = all(is_same(read_use(mine, field), read_use(theirs, field)) for field in USES)
    return is_alike and traffic.may_meet(mine.get("match"), theirs.get("match"))


def read_use(spec: JSON, field: str) -> Any:
    """Return a field of a plugin's use. Unset, empty and unspecified are the same."""
    value = spec.get(field)
    return None if not value or value == UNSPECIFIED_PHASE else value


def read_repository(thing: JSON) -> str | None:
    """Return the repository of an object's image, in the form of a release's, or its URL; None if it names none."""
    url = str((thing.get("spec") or {}).get("url", ""))
    scheme, separator, rest = url.partition("://")
    if scheme in ("http", "https"):
        return url
    if separator and scheme != "oci":
        return None
    return find_repository(rest if separator else url)


def find_pods(placement: Placement, thing: JSON, mesh: target.MeshSettings) -> Iterator[target.Pods]:
    """Yield where an object's pods are: by its selector, by each Gateway that it names, or in its whole namespace."""
    for named in read_attachments(thing.get("spec") or {}):
        namespace = thing["metadata"]["namespace"]
        gateway = api.Gateway.model_construct(name="bare", namespace=namespace, **named._asdict())
        yield providers.mesh_of(placement.spec).pods(gateway, mesh)


def read_attachments(spec: JSON) -> list[api.Attachment]:
    """Return how an object names its pods: each Gateway of its targetRefs, else its selector."""
    named = [ref.get("name") for ref in spec.get("targetRefs") or [] if ref.get("kind") == "Gateway"]
    if any(named):
        return [api.Attachment(target_refs=[make_target(name)]) for name in named if name]
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return [api.Attachment(api.Selector.model_construct(match_labels=labels))]


def make_target(name: str) -> api.TargetReference:
    """Return the target of a Gateway, whose name need not be one that a release could have."""
    return api.TargetReference.model_construct(group="gateway.networking.k8s.io", kind="Gateway", name=name)


def describe_twin(thing: JSON) -> str:
    """Return a description of such an object."""
    title = f"{thing['kind']} {'/'.join(placements.place_of(thing))}"
    return f"{title}, which no PluginRelease made, puts the same plugin on the same gateway pods"


def refuse_twin(thing: JSON, entry: str) -> Refused:
    """Return the error of an entry whose first write would make every request pass the plugin twice."""
    return Refused(
        Reason.DUPLICATE_PLUGIN,
        f"{describe_twin(thing)} in the same way: every request would run it twice",
        f"Delete it, give one of the two another selector, or take it over: replace {entry} by an "
        "entry with its name as objectName, and with adopt: true",
        recheck=RECHECK,
    )
