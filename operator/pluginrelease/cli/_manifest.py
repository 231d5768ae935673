"""Render what a release would write as text, and compare it with the cluster."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import config_values, sources
from pluginrelease.core.apiserver import stored
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.config_values import ConfigValues
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import Placement, placements
from pluginrelease.core.registry import tags

JSON = dict[str, Any]

# etcd's limit for an object
MAX_FILE_BYTES = 1_500_000
# replaces values that only the API server knows; valid as a label
UNKNOWN_UID = "not-known-yet"
UNRESOLVED = "unresolved"
FIELDS = "Its fields: kubectl explain prel.spec --recursive"


@dataclass(frozen=True)
class Rendered:
    """The WasmPlugin of one entry of spec.gateways, and remarks about it."""

    gateway: str
    manifest: JSON
    notes: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------ reading


def load(file: Path, name: str | None, namespace: str) -> api.Release:
    """Return the one PluginRelease of a YAML or JSON file (``-``: stdin), or the one called ``name``.

    ``namespace`` is used if it names none. Raises `Refused` (InvalidManifest).
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
    """Return all YAML documents of a file."""
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise Refused(Reason.INVALID_MANIFEST, f"{file} is larger than {MAX_FILE_BYTES} characters", FIELDS)
        return list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(Reason.INVALID_MANIFEST, f"{file} cannot be read: {error}", FIELDS) from None


def with_identity(local: api.Release, live: api.Release | None) -> api.Release:
    """Return a local manifest with the identity and status of the release in the cluster, if there is one."""
    if live is None:
        return local
    own = local.metadata.model_copy(update={"uid": live.metadata.uid})
    return local.model_copy(update={"metadata": own, "status": live.status})


# ---------------------------------------------------------------------------------------------------- rendering


def choose_placements(release: api.Release, gateway: str | None = None) -> tuple[Placement, ...]:
    """Return every entry of spec.gateways, or the one of this name. Raises `Refused` (GatewayNotFound)."""
    known = describe_config(release)
    found = tuple(
        replace(placement, config=known) for placement in placements(release) if gateway in (None, placement.name)
    )
    if not found:
        there = ", ".join(entry.name for entry in release.spec.gateways)
        own = f"{release.metadata.namespace}/{release.metadata.name}"
        raise Refused(Reason.GATEWAY_NOT_FOUND, f"{own} has no gateway {gateway!r}", f"Its gateways: {there}")
    return found


def describe_config(release: api.Release) -> ConfigValues | None:
    """Return the values of ``configFrom`` without the values: this command reads no Secret."""
    if not config_values.list_places(release.spec.plugin):
        return None
    rollout = release.status.rollout
    return ConfigValues((rollout.config_digest if rollout is not None else None) or UNRESOLVED)


def render(release: api.Release, digest: str | None = None, gateway: str | None = None) -> list[Rendered]:
    """Return the WasmPlugins that the spec wants, one for each entry.

    Raises `Refused` (DigestUnknown) if the digest is not known.
    """
    found = find_artifact(release, digest)
    if found is None:
        wanted = tags.describe_wanted(sources.find_image(release.spec.artifact))
        raise Refused(
            Reason.DIGEST_UNKNOWN,
            f"{wanted} is not resolved to a digest, and the operator writes only digests to gateways",
            "Set --digest sha256:…, or use a reference with a digest",
        )
    return [write_plugin(placement, found) for placement in choose_placements(release, gateway)]


def render_unresolved(placement: Placement) -> Rendered:
    """Return the WasmPlugin of one entry, with the reference as it is if it is not resolved."""
    found = find_artifact(placement.release, None)
    if found is not None:
        return write_plugin(placement, found)
    image = sources.find_image(placement.spec.artifact)
    note = f"{tags.describe_wanted(image)} is not resolved to a digest yet; the tag is shown instead"
    rendered = write_plugin(placement, make_artifact(image.ref, image.ref, UNRESOLVED))
    rendered.manifest["metadata"]["annotations"][api.REVISION_ANNOTATION] = UNRESOLVED
    return Rendered(rendered.gateway, rendered.manifest, (note, *rendered.notes))


def find_artifact(release: api.Release, digest: str | None) -> api.ArtifactStatus | None:
    """Return the artifact by the given digest; else by a status of the same reference; else by the reference."""
    image, known = sources.find_image(release.spec.artifact), release.status.artifact
    download = sources.split_download(image.ref)
    if download is not None:
        return make_artifact(image.ref, image.ref, f"sha256:{download[1]}")
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
    """Return an artifact of which only the digest is known."""
    return make_artifact(ref, str(reference.pinned(digest)), str(digest))


def make_artifact(ref: str, image: str, digest: str) -> api.ArtifactStatus:
    """Return as much of an artifact as a WasmPlugin needs."""
    return api.ArtifactStatus(ref=ref, image=image, digest=digest, wasm_sha256="", size=0, layout="")


def write_plugin(placement: Placement, found: api.ArtifactStatus) -> Rendered:
    """Return the WasmPlugin of one entry, and the name of its Secret, never its content."""
    image, theirs = sources.find_image(placement.spec.artifact), placement.gateway.namespace
    notes: tuple[str, ...] = ()
    if image.gateway_pull_secret_ref is not None:
        notes = (f"the gateways pull with Secret {theirs}/{image.gateway_pull_secret_ref.name}, which must be there",)
    elif image.pull_secret_ref is not None and not placement.is_local:
        copied, original = target.copied_secret_name(placement), image.pull_secret_ref.name
        own = placement.metadata.namespace
        notes = (f"the gateways pull with Secret {theirs}/{copied}, a copy of {own}/{original}",)
    manifest = providers.plugin_api_of(placement.spec).wasm_plugin(placement, found)
    if placement.config_digest == UNRESOLVED:
        manifest["metadata"]["annotations"][api.REVISION_ANNOTATION] = UNRESOLVED
    return Rendered(placement.name, manifest, (*notes, *describe_values(placement)))


def describe_values(placement: Placement) -> Iterator[str]:
    """Yield where the values come from that are not shown."""
    for place in config_values.list_places(placement.spec.plugin):
        source, where = place.source, "the whole configuration" if place.source.path is None else place.source.path
        yield f"{place.field}: the key {source.key} of {source.kind} {source.name} goes to {where}, and is not shown"


def hide_values(manifest: JSON, *others: JSON) -> JSON:
    """Return a WasmPlugin without the values of ``configFrom``, in the places that it or the others name."""
    pointers = [pointer for thing in (manifest, *others) for pointer in read_pointers(thing)]
    return {**manifest, "spec": config_values.mask(manifest.get("spec"), pointers)} if pointers else manifest


def read_pointers(thing: JSON) -> list[str]:
    """Return the places of values that an object's annotation names; none for an unreadable annotation."""
    text = (thing.get("metadata", {}).get("annotations") or {}).get(api.CONFIG_FROM_ANNOTATION)
    try:
        found = json.loads(text) if text is not None else []
    except ValueError:
        found = ["/pluginConfig", "/defaultConfig", "/matchRules"]
    return [pointer for pointer in found if isinstance(pointer, str)]


def as_yaml(manifest: JSON) -> str:
    """Return YAML for people."""
    return yaml.safe_dump(manifest, sort_keys=False, width=110, allow_unicode=True)


# --------------------------------------------------------------------------------------------------- differences


def strip_metadata(observed: JSON, wanted: JSON) -> JSON:
    """Return an object without the metadata that the API server or other clients have added."""
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
    """Return a unified diff of two objects as YAML with sorted keys; empty if they are equal.

    None means no object: all lines of the other one are added or removed.
    """
    old, new = (
        [] if version is None else sorted_yaml(version).splitlines(keepends=True) for version in (before, after)
    )
    return "".join(difflib.unified_diff(old, new, *titles))


def sorted_yaml(manifest: JSON) -> str:
    """Return YAML with sorted keys, so that the order does not depend on the writer."""
    return yaml.safe_dump(manifest, sort_keys=True, width=110, allow_unicode=True)
