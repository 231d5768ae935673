"""One revision of a release: its identity, and the ControllerRevision that keeps it to be rolled back to.

A revision is all that makes one rollout differ from another: the artifact's digest, the plugin and the names of the
pull secrets. The entries of ``spec.gateways`` are no part of it. It is kept whole, so that rolling back needs neither
the old spec nor the registry's tags.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

JSON = dict[str, Any]

API_VERSION = "apps/v1"
KIND = "ControllerRevision"
# of an artifact, what may change without another revision
VOLATILE = ("ref", "semver", "askedAt", "signer", "policy")
PLURAL = "controllerrevisions"
# of the data that a ControllerRevision keeps; another number is another version's and is not read
SCHEMA = 2


@dataclass(frozen=True)
class Recorded:
    """A revision as its ControllerRevision keeps it. ``number`` counts up with every rollout."""

    revision: str
    number: int
    artifact: api.ArtifactStatus
    source: api.ArtifactSource
    plugin: api.Plugin


def compute_identity(spec: api.Spec, digest: str) -> str:
    """Return ten hex digits over what makes one rollout differ from another: artifact, plugin and pull secrets.

    The pull secret's name belongs to it, its content does not: a rotated password is no new revision.
    """
    return identity_of(spec.artifact, spec.plugin, digest)


def identity_of(source: api.ArtifactSource, plugin: api.Plugin, digest: str) -> str:
    """Return the same of a revision's parts."""
    return compute_digest({"artifact": digest, "plugin": plugin.wire(), **pull_secrets(source)})


def spec_hash(spec: api.Spec) -> str:
    """Return ten hex digits over what in a spec makes a revision, before the registry is asked for the digest."""
    image = spec.artifact.image
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
    secret, there = source.image.pull_secret_ref, source.image.gateway_pull_secret_ref
    return {"pullSecret": secret.name if secret else None, "gatewayPullSecret": there.name if there else None}


def compute_load(spec: api.Spec, digest: str) -> str:
    """Ten hex digits over the part of a revision that Envoy loads.

    Phase, priority and selector only move a loaded plugin within a listener or between pods: Envoy gets the same
    extension configuration and says nothing new about it.
    """
    plugin = spec.plugin
    whole = plugin.wire()
    further = {key: whole[key] for key in ("configDisabled", "matchRules", "env") if key in whole}
    return compute_digest([digest, plugin.name, plugin.config, plugin.fail_strategy, *([further] if further else [])])


def compute_digest(value: Any) -> str:
    """Ten hex digits of a value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def is_identity(text: str) -> bool:
    """Whether a text that somebody wrote can be a revision: only then may it become part of an object's name."""
    return re.fullmatch("[0-9a-f]{10}", text) is not None


def name(release: api.Release, revision: str) -> str:
    """Name of the ControllerRevision, in the release's own namespace."""
    return f"{release.metadata.name}-{revision}"


def manifest(release: api.Release, artifact: api.ArtifactStatus, number: int) -> JSON:
    """The ControllerRevision of what the release's spec says now; the garbage collector takes it with the release.

    Its data never change; the reference that people wrote may, and is an annotation.
    """
    own, image = release.metadata, release.spec.artifact.image
    source = {"ref": artifact.image, "insecure": image.insecure}
    if image.pull_secret_ref:
        source["pullSecretRef"] = image.pull_secret_ref.wire()
    if image.gateway_pull_secret_ref:
        source["gatewayPullSecretRef"] = image.gateway_pull_secret_ref.wire()
    if image.ca_secret_ref:
        source["caSecretRef"] = image.ca_secret_ref.wire()
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name(release, compute_identity(release.spec, artifact.digest)),
            "namespace": own.namespace,
            "labels": {api.MANAGED_BY_LABEL: api.MANAGED_BY, api.UID_LABEL: own.uid},
            "annotations": {api.REF_ANNOTATION: artifact.ref},
            "ownerReferences": [release.as_owner()],
        },
        "revision": number,
        "data": {
            "schema": SCHEMA,
            "artifact": {key: value for key, value in artifact.wire().items() if key not in VOLATILE},
            "source": {"image": source},
            "plugin": release.spec.plugin.wire(),
        },
    }


def read(found: JSON) -> Recorded:
    """What a ControllerRevision keeps; raises `Refused` (RevisionUnreadable) when it is not one of ours."""
    metadata = found["metadata"]
    try:
        ref = metadata["annotations"][api.REF_ANNOTATION]
        artifact = api.ArtifactStatus.model_validate({**found["data"]["artifact"], "ref": ref})
        if found["data"]["schema"] != SCHEMA:
            raise KeyError("schema")
        source = api.ArtifactSource.model_validate(found["data"]["source"])
        plugin = api.Plugin.model_validate(found["data"]["plugin"])
        kept = identity_of(source, plugin, artifact.digest)
        return Recorded(kept, int(found["revision"]), artifact, source, plugin)
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
    """Return the release with a revision's artifact and plugin; all else stays as its spec says."""
    spec = release.spec.model_copy(update={"artifact": recorded.source, "plugin": recorded.plugin})
    return release.model_copy(update={"spec": spec})


def same_data(found: JSON, wanted: JSON) -> bool:
    """Whether a ControllerRevision keeps just this; the API server refuses any change of it."""
    return bool(found.get("data") == wanted["data"])


def find_superfluous(release: api.Release, found: Collection[JSON], needed: Collection[str | None]) -> list[JSON]:
    """The ControllerRevisions that may go: of those that nothing needs the oldest, so that the limit of them stays."""
    kept = {name(release, revision) for revision in needed if revision is not None}
    old = [one for one in found if one["metadata"]["name"] not in kept and "object" not in (one.get("data") or {})]
    old.sort(key=lambda one: int(one["revision"]), reverse=True)
    return old[release.spec.revision_history_limit :]


def adopted_manifest(release: api.Release, observed: JSON) -> JSON:
    """Return the ControllerRevision that keeps an object as it was before the release took it over."""
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


def read_adopted(found: JSON) -> JSON:
    """Return the object that `adopted_manifest` kept; raises `Refused` (RevisionUnreadable)."""
    data = found.get("data") or {}
    if data.get("schema") != SCHEMA or not isinstance(data.get("object"), dict):
        raise unreadable(found)
    kept: JSON = data["object"]
    return kept
