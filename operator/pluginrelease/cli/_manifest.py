"""What a release would write, as text, and how that differs from what is there."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import stored
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import Placement, placements
from pluginrelease.core.registry import tags

JSON = dict[str, Any]

# etcd keeps no larger object
MAX_FILE_BYTES = 1_500_000
# stands where only the API server knows better; a label takes it
UNKNOWN_UID = "not-known-yet"
UNRESOLVED = "unresolved"
FIELDS = "Its fields: kubectl explain prel.spec --recursive"


@dataclass(frozen=True)
class Rendered:
    """The WasmPlugin of one entry of spec.gateways, and what must be said beside it."""

    gateway: str
    manifest: JSON
    notes: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------ reading


def load(file: Path, name: str | None, namespace: str) -> api.Release:
    """The one PluginRelease in a YAML or JSON file (``-``: stdin), or the one called ``name``.

    ``namespace`` is for one that names none. Raises `Refused` (InvalidManifest).
    """
    found = [
        document for document in read_documents(file) if isinstance(document, dict) and document.get("kind") == api.KIND
    ]
    chosen = [manifest for manifest in found if name is None or (manifest.get("metadata") or {}).get("name") == name]
    if len(chosen) != 1:
        called = f" called {name}" if name else ""
        text = f"{file} has {len(chosen)} PluginReleases{called}"
        raise Refused(Reason.INVALID_MANIFEST, text, "Give NAME, or a file with just one")
    metadata = {"namespace": namespace, "uid": UNKNOWN_UID, **(chosen[0].get("metadata") or {})}
    try:
        return api.Release.model_validate({**chosen[0], "metadata": metadata, "status": {}})
    except ValidationError as error:
        text = f"{file} is no {api.API_VERSION} PluginRelease: {stored.find_first_fault(error)}"
        raise Refused(Reason.INVALID_MANIFEST, text, FIELDS) from None


def read_documents(file: Path) -> list[Any]:
    """All YAML documents of a file."""
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise Refused(Reason.INVALID_MANIFEST, f"{file} is larger than {MAX_FILE_BYTES} characters", FIELDS)
        return list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(Reason.INVALID_MANIFEST, f"{file} cannot be read: {error}", FIELDS) from None


def with_identity(local: api.Release, live: api.Release | None) -> api.Release:
    """A local manifest with the identity and the status of the release in the cluster, if there is one."""
    if live is None:
        return local
    own = local.metadata.model_copy(update={"uid": live.metadata.uid})
    return local.model_copy(update={"metadata": own, "status": live.status})


# ---------------------------------------------------------------------------------------------------- rendering


def choose_placements(release: api.Release, gateway: str | None = None) -> tuple[Placement, ...]:
    """Return every entry of spec.gateways, or the one of this name; raises `Refused` (GatewayNotFound)."""
    found = tuple(placement for placement in placements(release) if gateway in (None, placement.name))
    if not found:
        there = ", ".join(entry.name for entry in release.spec.gateways)
        own = f"{release.metadata.namespace}/{release.metadata.name}"
        raise Refused(Reason.GATEWAY_NOT_FOUND, f"{own} has no gateway {gateway!r}", f"Its gateways: {there}")
    return found


def render(release: api.Release, digest: str | None = None, gateway: str | None = None) -> list[Rendered]:
    """Return the WasmPlugins that the spec wants, one for each entry.

    Raises `Refused` (DigestUnknown) where the digest is not known.
    """
    found = find_artifact(release, digest)
    if found is None:
        raise Refused(
            Reason.DIGEST_UNKNOWN,
            f"{tags.describe_wanted(release.spec.artifact.image)} was not resolved to a digest, and only the digest is "
            "written to a gateway",
            "Give it with --digest sha256:…, or a reference that has it",
        )
    return [write_plugin(placement, found) for placement in choose_placements(release, gateway)]


def render_unresolved(placement: Placement) -> Rendered:
    """Return the same of one entry; a reference that nobody has resolved stands as it is."""
    found = find_artifact(placement.release, None)
    if found is not None:
        return write_plugin(placement, found)
    image = placement.spec.artifact.image
    note = f"{tags.describe_wanted(image)} was not resolved to a digest yet: it stands in place of what will be written"
    rendered = write_plugin(placement, make_artifact(image.ref, image.ref, UNRESOLVED))
    rendered.manifest["metadata"]["annotations"][api.REVISION_ANNOTATION] = UNRESOLVED
    return Rendered(rendered.gateway, rendered.manifest, (note, *rendered.notes))


def find_artifact(release: api.Release, digest: str | None) -> api.ArtifactStatus | None:
    """By the digest that was given, else by the status if it is about the same reference, else by the reference."""
    image, known = release.spec.artifact.image, release.status.artifact
    ref, reference = (
        image.ref,
        image_manifests.parse_repository(image.ref) if image.semver else image_manifests.parse(image.ref),
    )
    if digest is not None:
        return make_pinned(reference, image_manifests.Digest.parse(digest), ref)
    if known is not None and tags.is_about(known, image):
        return known
    return make_pinned(reference, reference.digest, ref) if reference.digest else None


def make_pinned(reference: image_manifests.Reference, digest: image_manifests.Digest, ref: str) -> api.ArtifactStatus:
    """An artifact of which nothing is known but its digest."""
    return make_artifact(ref, str(reference.pinned(digest)), str(digest))


def make_artifact(ref: str, image: str, digest: str) -> api.ArtifactStatus:
    """As much of an artifact as a WasmPlugin needs."""
    return api.ArtifactStatus(ref=ref, image=image, digest=digest, wasm_sha256="", size=0, layout="")


def write_plugin(placement: Placement, found: api.ArtifactStatus) -> Rendered:
    """Return the WasmPlugin of one entry, and which secret goes with it: its name, never its content."""
    image, theirs = placement.spec.artifact.image, placement.gateway.namespace
    notes: tuple[str, ...] = ()
    if image.gateway_pull_secret_ref is not None:
        notes = (f"the gateways pull with Secret {theirs}/{image.gateway_pull_secret_ref.name}, which must be there",)
    elif image.pull_secret_ref is not None and not placement.is_local:
        copied, original = target.copied_secret_name(placement), image.pull_secret_ref.name
        own = placement.metadata.namespace
        notes = (f"the gateways pull with Secret {theirs}/{copied}, a copy of {own}/{original}",)
    return Rendered(placement.name, providers.of(placement.spec).wasm_plugin(placement, found), notes)


def as_yaml(manifest: JSON) -> str:
    """YAML as people read it."""
    return yaml.safe_dump(manifest, sort_keys=False, width=110, allow_unicode=True)


# --------------------------------------------------------------------------------------------------- differences


def strip_metadata(observed: JSON, wanted: JSON) -> JSON:
    """The object of the API server without what only the API server, or somebody else, puts into its metadata."""
    metadata, ours = observed["metadata"], wanted["metadata"]
    kept: JSON = {"name": metadata["name"], "namespace": metadata["namespace"]}
    for part in ("labels", "annotations"):
        kept[part] = {key: value for key, value in (metadata.get(part) or {}).items() if key in ours[part]}
    own = {owner["uid"] for owner in ours.get("ownerReferences", [])}
    owners = [owner for owner in metadata.get("ownerReferences") or [] if owner["uid"] in own]
    head = {"apiVersion": observed.get("apiVersion", wanted["apiVersion"]), "kind": wanted["kind"]}
    spec = target.without_nudge(observed["spec"])
    return {**head, "metadata": {**kept, **({"ownerReferences": owners} if owners else {})}, "spec": spec}


def diff_objects(before: JSON | None, after: JSON | None, *, titles: tuple[str, str]) -> str:
    """Return a unified diff of two objects as YAML with sorted keys; empty when they are the same.

    None is no object: all lines of the other one are added, or taken away.
    """
    old, new = (
        [] if version is None else sorted_yaml(version).splitlines(keepends=True) for version in (before, after)
    )
    return "".join(difflib.unified_diff(old, new, *titles))


def sorted_yaml(manifest: JSON) -> str:
    """YAML in an order that does not depend on who wrote it."""
    return yaml.safe_dump(manifest, sort_keys=True, width=110, allow_unicode=True)
