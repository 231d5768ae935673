"""Compare wanted objects with observed ones, and plan what to write and why.

An empty plan means that all is in place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import sources
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.rollout import foreign_fields

JSON = dict[str, Any]

# seconds until an object or a namespace of another owner is read again
RECHECK = 30.0


@dataclass(frozen=True)
class Write:
    """One server-side apply.

    ``uid`` and ``version`` are those of the observed object. An object that was created again since then is not ours to
    change. None: there was no object of that name, and the apply must not take a field from another manager. ``first``
    are metadata fields that are changed before, which no gateway sees. ``takes_spec``: the release takes ownership of
    the whole spec before, so that the apply removes what it does not contain. ``secrets``: texts in it that no error
    may quote.
    """

    manifest: JSON = field(repr=False)
    uid: str | None
    why: str
    # False: only metadata changes, and no gateway loads anything because of it
    reaches_gateways: bool = True
    version: str | None = None
    first: JSON | None = None
    takes_spec: bool = False
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Plan:
    """The writes, in order. An object comes before the objects that name it."""

    writes: tuple[Write, ...] = ()

    @property
    def converged(self) -> bool:
        return not self.writes

    @property
    def reaches_gateways(self) -> bool:
        return any(write.reaches_gateways for write in self.writes)


def draft(placement: Placement, wanted: Iterable[tuple[JSON, JSON | None]]) -> Plan:
    """Return the plan for pairs of wanted manifest and observed object (None: it does not exist).

    Raises `Refused` (``ObjectNotOurs``) if an object of a wanted name does not have the release's uid, unless the entry
    has ``adopt: true`` and the object has no other release's uid.
    """
    writes = (find_write(placement, manifest, observed) for manifest, observed in wanted)
    return Plan(tuple(write for write in writes if write is not None))


def find_write(placement: Placement, manifest: JSON, observed: JSON | None) -> Write | None:
    """Return the write that one object needs; None if none."""
    if observed is None:
        return Write(manifest, uid=None, why="it does not exist yet", secrets=placement.secrets)
    check_owner(placement, observed)
    difference = find_difference(strip_owners(placement, manifest), strip_owners(placement, observed))
    foreign = find_removable(placement, manifest, observed)
    if difference is None and not foreign:
        return None
    reaches = find_difference(strip_unseen(manifest), strip_unseen(observed)) is not None or bool(foreign)
    own, first = observed["metadata"], find_first(placement.release, observed)
    shown = foreign_fields.shorten_path(difference, manifest, observed) if difference is not None else None
    why = f"{shown} differs" if shown is not None else f"{', '.join(foreign)} is not the release's"
    version, secrets = own.get("resourceVersion"), placement.secrets
    return Write(manifest, own["uid"], why, reaches, version, first, takes_spec=bool(foreign), secrets=secrets)


def find_removable(placement: Placement, manifest: JSON, observed: JSON) -> list[str]:
    """Return the foreign fields of an object that the release asks to remove."""
    return foreign_fields.find(manifest, observed) if foreign_fields.is_removal_asked(placement) else []


def find_first(release: api.Release, observed: JSON) -> JSON | None:
    """Return metadata that is changed before an object is written; None for nothing.

    An object has one controller, so the release's uid from before a restore is removed from its owners.
    """
    owners = find_owners_left(release, observed)
    return {"ownerReferences": list(owners)} if owners is not None else None


def find_owners_left(release: api.Release, observed: JSON) -> tuple[JSON, ...] | None:
    """Return an object's owners without the release from before a restore; None if it is not among them."""
    owners = observed["metadata"].get("ownerReferences") or []
    left = tuple(owner for owner in owners if not is_former_self(release, owner))
    return left if len(left) < len(owners) else None


def is_former_self(release: api.Release, owner: JSON) -> bool:
    """Return True if an owner is an earlier release of the same name. Two releases never have one name at a time."""
    own = release.metadata
    return (owner.get("kind"), owner.get("name")) == (api.KIND, own.name) and owner.get("uid") != own.uid


def strip_owners(placement: Placement, thing: JSON) -> JSON:
    """Return the object with the release's owner reference only, if any. Other owners are not ours to change."""
    metadata = thing["metadata"]
    own = [owner for owner in metadata.get("ownerReferences") or [] if owner["uid"] == placement.metadata.uid]
    return {**thing, "metadata": {**metadata, "ownerReferences": own}}


def strip_unseen(thing: JSON) -> JSON:
    """Return what a gateway can notice: the spec or the data, and the revision, which also shows removed fields.

    A nudge reaches gateways, but gives them nothing new to load.
    """
    revision = (thing["metadata"].get("annotations") or {}).get(api.REVISION_ANNOTATION)
    return {"revision": revision, "spec": target.without_nudge(thing.get("spec")), "data": thing.get("data")}


def check_owner(placement: Placement, observed: JSON) -> None:
    """Raise `Refused` if the object is not the release's."""
    if is_ours(placement.release, observed):
        return
    kind, name = observed.get("kind", "object"), observed["metadata"]["name"]
    namespace = observed["metadata"]["namespace"]
    owner = labels(observed).get(api.UID_LABEL)
    if owner is not None:
        whose = (observed["metadata"].get("annotations") or {}).get(api.RELEASE_ANNOTATION, f"uid {owner}")
        raise Refused(
            Reason.OBJECT_NOT_OURS,
            f"{kind} {namespace}/{name} belongs to another PluginRelease ({whose})",
            f"Replace gateways[{placement.name}] by an entry with another name, or with an unused objectName, or "
            f"delete that release. If it is gone already, delete the object, or remove its label {api.UID_LABEL}",
            recheck=RECHECK,
        )
    if not placement.gateway.adopt:
        raise Refused(
            Reason.OBJECT_NOT_OURS,
            f"{kind} {namespace}/{name} exists and was not made by this PluginRelease",
            f"Delete it, or set adopt: true in gateways[{placement.name}] to take it over, or replace that entry "
            "by one with another name, or with an unused objectName",
            recheck=RECHECK,
        )


def check_whole(placement: Placement, manifest: JSON, observed: JSON | None) -> None:
    """Raise `Refused` (``ForeignFields``) if an object to adopt has fields that the release does not set.

    An apply keeps the fields of other owners. They would stay in effect beside the revision, and no user would notice.
    """
    if observed is None or is_ours(placement.release, observed):
        return
    found = foreign_fields.find(manifest, observed)
    if found and not foreign_fields.is_removal_asked(placement):
        own, annotation = observed["metadata"], api.REMOVE_FOREIGN_FIELDS_ANNOTATION
        raise Refused(
            Reason.FOREIGN_FIELDS,
            f"{observed.get('kind', 'object')} {own['namespace']}/{own['name']} has fields that this PluginRelease "
            f"does not set: {', '.join(found)}"[: api.MESSAGE_MAX],
            "Set them in the PluginRelease, or remove them from the object; then it is adopted. Or let the operator "
            f"remove them: annotate the PluginRelease with {annotation}: {placement.name}",
            recheck=RECHECK,
        )


def render_taken_back(placement: Placement, kept: JSON) -> JSON:
    """Return an adopted object as it was stored, with ownership: the release still owns what it wrote over it."""
    metadata = kept["metadata"]
    own = target.render_metadata(placement, metadata["name"])
    merged = {
        **own,
        "labels": {**(metadata.get("labels") or {}), **own["labels"]},
        "annotations": {**strip_own_annotations(metadata), **target.provenance(placement)},
    }
    return {**kept, "metadata": merged}


def render_given_back(kept: JSON) -> JSON:
    """Return an adopted object as it was stored, without owner. Applying it removes the annotations of ownership."""
    metadata = kept["metadata"]
    annotations = strip_own_annotations(metadata)
    more = {"labels": metadata.get("labels"), "annotations": annotations}
    named = {key: metadata[key] for key in ("name", "namespace")}
    return {**kept, "metadata": {**named, **{key: value for key, value in more.items() if value}}}


def strip_own_annotations(metadata: JSON) -> dict[str, str]:
    """Return an object's annotations without those of ownership, and without kubectl's last-applied one."""
    return {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        # what an earlier release wrote there would look like ours
        if key != "kubectl.kubernetes.io/last-applied-configuration" and not key.startswith(f"{api.GROUP}/")
    }


def needs_taking_back(wanted: JSON, observed: JSON) -> bool:
    """Return True if an object's spec differs from the one that must be restored, or if it still has a revision."""
    return read_revision(observed) is not None or find_difference(wanted["spec"], observed.get("spec")) is not None


def check_allowed(placement: Placement, namespace: JSON) -> None:
    """Raise `Refused` (``NamespaceNotAllowed``) unless the gateway's Namespace admits the release's namespace."""
    annotations = namespace["metadata"].get("annotations") or {}
    allowed = [name.strip() for name in annotations.get(api.ALLOWED_NAMESPACES_ANNOTATION, "").split(",")]
    release, theirs = placement.release, placement.gateway.namespace
    if "*" in allowed or release.metadata.namespace in allowed:
        return
    raise Refused(
        Reason.NAMESPACE_NOT_ALLOWED,
        f"Namespace {theirs} does not allow PluginReleases of namespace {release.metadata.namespace}",
        f"The owner of {theirs} can allow it: kubectl annotate namespace {theirs} "
        f"{api.ALLOWED_NAMESPACES_ANNOTATION}={release.metadata.namespace}",
        recheck=RECHECK,
    )


def check_durations(spec: api.Spec) -> None:
    """Raise `Refused` (``InvalidDuration``) if the spec has a duration beyond the limits."""
    durations = {
        "rollout.progressDeadline": spec.rollout.progress_deadline,
        "rollout.watchFor": spec.rollout.watch_for,
        "checks.load.timeout": spec.checks.load.timeout,
        "artifact.image.interval": sources.find_image(spec.artifact).interval,
    }
    for path, duration in durations.items():
        if duration is not None and duration.is_too_long:
            raise Refused(
                Reason.INVALID_DURATION, f"{path}: {duration} is longer than a year", "Write a time such as 90s or 2m"
            )


def read_revision(observed: JSON | None) -> str | None:
    """Return the revision that an object's annotation names; None for no object, and for one that we never wrote."""
    annotations = (observed or {}).get("metadata", {}).get("annotations") or {}
    found: str | None = annotations.get(api.REVISION_ANNOTATION)
    return found


def read_write_time(observed: JSON | None) -> datetime | None:
    """Return when we wrote the object last (`metadata.managedFields`), one second rounded down; None if we did not."""
    fields = (observed or {}).get("metadata", {}).get("managedFields") or []
    times = [managed.get("time") for managed in fields if managed.get("manager") == api.FIELD_MANAGER]
    return max((datetime.fromisoformat(time) for time in times if time), default=None)


def is_ours(release: api.Release, observed: JSON) -> bool:
    """Return True if the object is the release's."""
    own = release.metadata
    return belongs_to(observed, own.uid, f"{own.namespace}/{own.name}")


def is_restored(release: api.Release, observed: JSON) -> bool:
    """Return True if the object is the release's by its name but has another uid: a backup was restored."""
    return is_ours(release, observed) and labels(observed).get(api.UID_LABEL) != release.metadata.uid


def belongs_to(observed: JSON, uid: str, title: str) -> bool:
    """Return True if the object has a release's uid, or any uid and the release's name as ``namespace/name``.

    After a restore from a backup the release has another uid than its objects record. Two releases never have one name.
    """
    owner = labels(observed).get(api.UID_LABEL)
    named = (observed["metadata"].get("annotations") or {}).get(api.RELEASE_ANNOTATION)
    return owner == uid or (owner is not None and named == title)


def labels(observed: JSON) -> dict[str, str]:
    """Return the object's labels; an empty map if it has none."""
    found: dict[str, str] = observed["metadata"].get("labels") or {}
    return found


def find_difference(wanted: Any, observed: Any, path: str = "") -> str | None:
    """Return the first path, such as ``spec.url``, where an object differs from the wanted one; None if there is none.

    Fields that others added belong to them. A field that we no longer want shows in the revision's annotation. The
    apply that follows removes it, because no other manager owns it.
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
    ours, theirs = foreign_fields.by_name(wanted), foreign_fields.by_name(observed)
    if ours and theirs:  # the API server merges such a list by the names
        return find_difference(ours, theirs, path)
    return None if wanted == observed else path
