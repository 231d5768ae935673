"""A revision of a release: its identity, and the ControllerRevision that stores it for rollbacks.

A revision contains all that distinguishes one rollout from another: the artifact's digest, the plugin, the keyed hash
of the values of ``configFrom``, and the names of the pull secrets. The entries of ``spec.gateways`` are not part of it.
It is stored complete, but for those values, so that a rollback needs neither the old spec nor the registry's tags.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.config_values import ConfigValues
from pluginrelease.core.errors import Refused
from pluginrelease.core.sources import find_image

JSON = dict[str, Any]

API_VERSION = "apps/v1"
KIND = "ControllerRevision"
# of an artifact, what may change without another revision
VOLATILE = ("ref", "semver", "askedAt", "signer", "policy")
PLURAL = "controllerrevisions"
# format of a ControllerRevision's data; another number belongs to another version and is not read
SCHEMA = 2
# of one with values of configFrom or a file on an HTTP server: an operator that knows neither must not read it
NEWER_SCHEMA = 3


@dataclass(frozen=True)
class Recorded:
    """A revision as its ControllerRevision stores it. ``number`` increases with every rollout.

    ``config``: its values of ``configFrom``, which are in a Secret of their own; None if it has none.
    """

    revision: str
    number: int
    artifact: api.ArtifactStatus
    source: api.ArtifactSource
    plugin: api.Plugin
    config: ConfigValues | None = None


def compute_identity(spec: api.Spec, digest: str, config: str | None = None) -> str:
    """Return ten hex digits over what distinguishes one rollout from another: artifact, plugin and pull secrets.

    The pull secret's name is included, its content is not: a rotated password is no new revision. ``config`` is the
    keyed hash of the values of ``configFrom``.
    """
    return identity_of(spec.artifact, spec.plugin, digest, config)


def identity_of(source: api.ArtifactSource, plugin: api.Plugin, digest: str, config: str | None = None) -> str:
    """Return the identity from a revision's parts."""
    values = {"config": config} if config is not None else {}
    return compute_digest({"artifact": digest, "plugin": plugin.wire(), **pull_secrets(source), **values})


def spec_hash(spec: api.Spec) -> str:
    """Return ten hex digits over the parts of a spec that make a revision, before the digest is known."""
    image = find_image(spec.artifact)
    return compute_digest(
        {
            "ref": image.ref,
            "semver": image.semver,
            "wasmSha256": spec.artifact.wasm_sha256,
            "plugin": spec.plugin.wire(),
            **pull_secrets(spec.artifact),
        }
    )


def pull_secrets(source: api.ArtifactSource) -> JSON:
    """Return the names of the pull secrets, as revisions count them."""
    image = find_image(source)
    secret, there = image.pull_secret_ref, image.gateway_pull_secret_ref
    return {"pullSecret": secret.name if secret else None, "gatewayPullSecret": there.name if there else None}


def compute_load(spec: api.Spec, digest: str, config: str | None = None) -> str:
    """Return ten hex digits over the part of a revision that Envoy loads.

    Phase, priority and selector only move a loaded plugin within a listener or between pods: Envoy gets the same
    extension configuration and logs nothing new about it.
    """
    plugin = spec.plugin
    whole = plugin.wire()
    further: JSON = {key: whole[key] for key in ("configDisabled", "configFrom", "matchRules", "env") if key in whole}
    further |= {"configDigest": config} if config is not None else {}
    return compute_digest([digest, plugin.name, plugin.config, plugin.fail_strategy, *([further] if further else [])])


def compute_digest(value: Any) -> str:
    """Return ten hex digits of a value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def is_identity(text: str) -> bool:
    """Return True if a user's text has the form of a revision. Only such a text may become part of an object's name."""
    return re.fullmatch("[0-9a-f]{10}", text) is not None


def name(release: api.Release, revision: str) -> str:
    """Return the name of the ControllerRevision, in the release's own namespace."""
    return f"{release.metadata.name}-{revision}"


def manifest(release: api.Release, artifact: api.ArtifactStatus, number: int, config: str | None = None) -> JSON:
    """Return the ControllerRevision of what the release's spec says now.

    The garbage collector deletes it with the release.

    Its data never change. The reference that users wrote may change, and is an annotation. ``config`` is as in
    `compute_identity`.
    """
    own, image = release.metadata, find_image(release.spec.artifact)
    if release.spec.artifact.http is not None:
        stored = {"http": release.spec.artifact.http.wire()}
    else:
        stored = {"image": render_source(image, artifact)}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name(release, compute_identity(release.spec, artifact.digest, config)),
            "namespace": own.namespace,
            "labels": {api.MANAGED_BY_LABEL: api.MANAGED_BY, api.UID_LABEL: own.uid},
            "annotations": {api.REF_ANNOTATION: artifact.ref},
            "ownerReferences": [release.as_owner()],
        },
        "revision": number,
        "data": {
            "schema": SCHEMA if config is None and release.spec.artifact.http is None else NEWER_SCHEMA,
            "artifact": {key: value for key, value in artifact.wire().items() if key not in VOLATILE},
            "source": stored,
            "plugin": release.spec.plugin.wire(),
            **({"config": config} if config is not None else {}),
        },
    }


def render_source(image: api.ImageSource, artifact: api.ArtifactStatus) -> JSON:
    """Return the image of a revision, pinned, with the names of its Secrets."""
    source: JSON = {"ref": artifact.image, "insecure": image.insecure}
    if image.pull_secret_ref:
        source["pullSecretRef"] = image.pull_secret_ref.wire()
    if image.gateway_pull_secret_ref:
        source["gatewayPullSecretRef"] = image.gateway_pull_secret_ref.wire()
    if image.ca_secret_ref:
        source["caSecretRef"] = image.ca_secret_ref.wire()
    return source


def read(found: JSON) -> Recorded:
    """Return what a ControllerRevision stores, without its values of ``configFrom``.

    Raises `Refused` (``RevisionUnreadable``) if it is not one of ours.
    """
    metadata = found["metadata"]
    try:
        ref = metadata["annotations"][api.REF_ANNOTATION]
        artifact = api.ArtifactStatus.model_validate({**found["data"]["artifact"], "ref": ref})
        if found["data"]["schema"] not in (SCHEMA, NEWER_SCHEMA):
            raise KeyError("schema")
        source = api.ArtifactSource.model_validate(found["data"]["source"])
        plugin = api.Plugin.model_validate(found["data"]["plugin"])
        digest = found["data"].get("config")
        config = ConfigValues(str(digest)) if digest is not None else None
        kept = identity_of(source, plugin, artifact.digest, config.digest if config else None)
        return Recorded(kept, int(found["revision"]), artifact, source, plugin, config)
    except (KeyError, TypeError, ValidationError) as error:
        raise unreadable(found) from error


def unreadable(found: JSON) -> Refused:
    """Return the error of a ControllerRevision that this version of the operator cannot read."""
    metadata = found["metadata"]
    return Refused(
        Reason.REVISION_UNREADABLE,
        f"ControllerRevision {metadata['namespace']}/{metadata['name']} does not hold what this operator writes",
        "Correct the spec, or roll back to another revision: kubectl pluginrelease history",
    )


def effective(release: api.Release, recorded: Recorded) -> api.Release:
    """Return the release with a revision's artifact and plugin; other fields stay as in its spec."""
    spec = release.spec.model_copy(update={"artifact": recorded.source, "plugin": recorded.plugin})
    return release.model_copy(update={"spec": spec})


def same_data(found: JSON, wanted: JSON) -> bool:
    """Return True if a ControllerRevision stores exactly this. The API server refuses any change of its data."""
    return bool(found.get("data") == wanted["data"])


def find_superfluous(release: api.Release, found: Collection[JSON], needed: Collection[str | None]) -> list[JSON]:
    """Return the ControllerRevisions to delete: the oldest of those that are not needed, beyond the history limit."""
    kept = {name(release, revision) for revision in needed if revision is not None}
    old = [
        kept_revision
        for kept_revision in found
        if kept_revision["metadata"]["name"] not in kept and "object" not in (kept_revision.get("data") or {})
    ]
    old.sort(key=lambda kept_revision: int(kept_revision["revision"]), reverse=True)
    return old[release.spec.revision_history_limit :]


def adopted_manifest(release: api.Release, observed: JSON) -> JSON:
    """Return the ControllerRevision that stores an object as it was before the release adopted it."""
    own, theirs = release.metadata, observed["metadata"]
    kept = {
        "apiVersion": observed["apiVersion"],
        "kind": observed["kind"],
        "metadata": {
            "name": theirs["name"],
            "namespace": theirs["namespace"],
            **{key: theirs[key] for key in ("labels", "annotations") if theirs.get(key)},
        },
        "spec": observed.get("spec") or {},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": f"{own.name}-adopted-{compute_digest(kept)}",
            "namespace": own.namespace,
            "labels": {api.MANAGED_BY_LABEL: api.MANAGED_BY, api.UID_LABEL: own.uid},
            "ownerReferences": [release.as_owner()],
        },
        "revision": 0,
        "data": {"schema": SCHEMA, "object": kept},
    }


def find_adopted(listed: Iterable[JSON], place: tuple[str, str]) -> JSON | None:
    """Return the ControllerRevision that stores the object of this namespace and name.

    If there are several, it is the newest.
    """
    about = [found for found in listed if read_adopted_place(found) == place]
    return max(about, key=lambda found: str(found["metadata"].get("creationTimestamp", "")), default=None)


def read_adopted_place(found: JSON) -> tuple[str, str] | None:
    """Return namespace and name of the object that a ControllerRevision stores; None if it stores none."""
    try:
        own = read_adopted(found)["metadata"]
        return str(own["namespace"]), str(own["name"])
    except (Refused, KeyError, TypeError):
        return None


def read_adopted(found: JSON) -> JSON:
    """Return the object that `adopted_manifest` stored. Raises `Refused` (``RevisionUnreadable``)."""
    data = found.get("data") or {}
    if data.get("schema") != SCHEMA or not isinstance(data.get("object"), dict):
        raise unreadable(found)
    kept: JSON = data["object"]
    return kept
