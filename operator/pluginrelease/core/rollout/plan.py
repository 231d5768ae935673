"""Wanted objects × observed objects → what to write and delete, and why. An empty plan means converged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import timestamps
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import Placement

JSON = dict[str, Any]

# seconds until an object or a namespace of somebody else is looked at again
RECHECK = 30.0


@dataclass(frozen=True)
class Write:
    """One server-side apply.

    ``uid`` is that of the object as it was observed: an object that was made anew meanwhile is not ours to change.
    None: nothing of that name was there, and the apply must not take a field from anybody.
    """

    manifest: JSON
    uid: str | None
    why: str
    # False: only metadata changes, and no gateway will load anything anew because of it
    reaches_gateways: bool = True


@dataclass(frozen=True)
class Plan:
    """The writes, in order: what another object names comes before it."""

    writes: tuple[Write, ...] = ()

    @property
    def converged(self) -> bool:
        return not self.writes

    @property
    def reaches_gateways(self) -> bool:
        return any(write.reaches_gateways for write in self.writes)


def draft(placement: Placement, wanted: Iterable[tuple[JSON, JSON | None]]) -> Plan:
    """Pairs of wanted manifest and observed object (None: not there) → the plan.

    Raises `Refused` (ObjectNotOurs) for an object of a wanted name that does not carry the release's uid, unless the
    entry says ``adopt: true`` and no other release's uid is on it.
    """
    writes = (find_write(placement, manifest, observed) for manifest, observed in wanted)
    return Plan(tuple(write for write in writes if write is not None))


def find_write(placement: Placement, manifest: JSON, observed: JSON | None) -> Write | None:
    """The write that one object needs, if any."""
    if observed is None:
        return Write(manifest, uid=None, why="it does not exist yet")
    check_owner(placement, observed)
    difference = find_difference(strip_owners(placement, manifest), strip_owners(placement, observed))
    if difference is None:
        return None
    reaches = find_difference(strip_unseen(manifest), strip_unseen(observed)) is not None
    return Write(manifest, uid=observed["metadata"]["uid"], why=f"{difference} differs", reaches_gateways=reaches)


def strip_owners(placement: Placement, thing: JSON) -> JSON:
    """The object with the release's own owner reference or none: others may own it too, and that is theirs."""
    metadata = thing["metadata"]
    own = [one for one in metadata.get("ownerReferences") or [] if one["uid"] == placement.metadata.uid]
    return {**thing, "metadata": {**metadata, "ownerReferences": own}}


def strip_unseen(thing: JSON) -> JSON:
    """What a gateway can notice: the spec or the data, and the revision, which also tells of fields taken away.

    A nudge is sent to gateways and gives them nothing new to load.
    """
    revision = (thing["metadata"].get("annotations") or {}).get(api.REVISION_ANNOTATION)
    return {"revision": revision, "spec": target.without_nudge(thing.get("spec")), "data": thing.get("data")}


def check_owner(placement: Placement, observed: JSON) -> None:
    """Raises `Refused` when the object is not the release's."""
    if is_ours(placement.release, observed):
        return
    kind, name = observed.get("kind", "object"), observed["metadata"]["name"]
    namespace = observed["metadata"]["namespace"]
    owner = labels(observed).get(api.UID_LABEL)
    if owner is not None:
        whose = observed["metadata"].get("annotations", {}).get(api.RELEASE_ANNOTATION, f"uid {owner}")
        raise Refused(
            Reason.OBJECT_NOT_OURS,
            f"{kind} {namespace}/{name} belongs to another PluginRelease ({whose})",
            "Delete that release, or rename the entry. If that release is gone already, delete the object, "
            f"or take its label {api.UID_LABEL} off",
            recheck=RECHECK,
        )
    if not placement.gateway.adopt:
        raise Refused(
            Reason.OBJECT_NOT_OURS,
            f"{kind} {namespace}/{name} exists and was not made by this PluginRelease",
            f"Delete it, rename the entry, or set adopt: true in gateways[{placement.name}] to take it over",
            recheck=RECHECK,
        )


def check_whole(placement: Placement, manifest: JSON, observed: JSON | None) -> None:
    """Raise `Refused` (ForeignFields) for an object to be adopted that says more than the release would.

    An apply leaves fields that others own: they would go on acting beside the revision, and nobody would know.
    """
    if observed is None or is_ours(placement.release, observed):
        return
    foreign = sorted(find_foreign(manifest.get("spec") or {}, observed.get("spec") or {}, "spec"))
    if foreign:
        own = observed["metadata"]
        raise Refused(
            Reason.FOREIGN_FIELDS,
            f"{observed.get('kind', 'object')} {own['namespace']}/{own['name']} has fields that this PluginRelease "
            f"does not set: {', '.join(foreign)}"[: api.MESSAGE_MAX],
            "Set them in the PluginRelease, or remove them from the object; then it is adopted",
            recheck=RECHECK,
        )


def find_foreign(wanted: JSON, observed: JSON, path: str) -> Iterator[str]:
    """Yield the paths of what is observed and not wanted; lists are compared as a whole elsewhere."""
    for key, value in observed.items():
        below = f"{path}.{key}"
        if key not in wanted:
            yield below
        elif isinstance(value, dict) and isinstance(wanted[key], dict):
            yield from find_foreign(wanted[key], value, below)


def render_taken_back(placement: Placement, kept: JSON) -> JSON:
    """Return an adopted object as it was kept, with whose it is: the release goes on owning what it wrote over it."""
    metadata = kept["metadata"]
    own = target.render_metadata(placement, metadata["name"])
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        # what a release before this one wrote there would read as ours
        if key != "kubectl.kubernetes.io/last-applied-configuration" and not key.startswith(f"{api.GROUP}/")
    }
    merged = {
        **own,
        "labels": {**(metadata.get("labels") or {}), **own["labels"]},
        "annotations": {**annotations, **target.provenance(placement)},
    }
    return {**kept, "metadata": merged}


def needs_taking_back(wanted: JSON, observed: JSON) -> bool:
    """Whether an object has another spec than the one that is to be written back, or still carries a revision."""
    return read_revision(observed) is not None or find_difference(wanted["spec"], observed.get("spec")) is not None


def check_allowed(placement: Placement, namespace: JSON) -> None:
    """Raises `Refused` (NamespaceNotAllowed) unless the gateway's Namespace allows releases of the release's own."""
    annotations = namespace["metadata"].get("annotations") or {}
    allowed = [name.strip() for name in annotations.get(api.ALLOWED_NAMESPACES_ANNOTATION, "").split(",")]
    release, theirs = placement.release, placement.gateway.namespace
    if "*" in allowed or release.metadata.namespace in allowed:
        return
    raise Refused(
        Reason.NAMESPACE_NOT_ALLOWED,
        f"Namespace {theirs} does not allow PluginReleases of namespace {release.metadata.namespace}",
        f"Who owns {theirs} can allow it: kubectl annotate namespace {theirs} "
        f"{api.ALLOWED_NAMESPACES_ANNOTATION}={release.metadata.namespace}",
        recheck=RECHECK,
    )


def read_revision(observed: JSON | None) -> str | None:
    """The revision that an object says it carries; None for no object, and for one that was never written by us."""
    annotations = (observed or {}).get("metadata", {}).get("annotations") or {}
    found: str | None = annotations.get(api.REVISION_ANNOTATION)
    return found


def read_write_time(observed: JSON | None) -> datetime | None:
    """Return when we wrote the object last (`metadata.managedFields`), to the second before; None when we did not."""
    fields = (observed or {}).get("metadata", {}).get("managedFields") or []
    times = [one.get("time") for one in fields if one.get("manager") == api.FIELD_MANAGER]
    return max((timestamps.parse_time(time) for time in times if time), default=None)


def is_ours(release: api.Release, observed: JSON) -> bool:
    """Whether the object carries the release's uid."""
    return labels(observed).get(api.UID_LABEL) == release.metadata.uid


def labels(observed: JSON) -> dict[str, str]:
    """The object's labels; an object without any has an empty map."""
    found: dict[str, str] = observed["metadata"].get("labels") or {}
    return found


def find_difference(wanted: Any, observed: Any, path: str = "") -> str | None:
    """Where the observed object is not what is wanted: a path such as ``spec.url``, or None.

    What others added beside our fields is theirs. A field that we no longer want shows in the revision's annotation,
    and the apply that follows takes it away, because nobody else owns it.
    """
    if isinstance(wanted, dict) and isinstance(observed, dict):
        for key, value in wanted.items():
            below = f"{path}.{key}" if path else key
            if key not in observed:
                return below
            found = find_difference(value, observed[key], below)
            if found is not None:
                return found
        return None
    return None if wanted == observed else path
