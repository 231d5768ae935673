"""One revision of a release: its identity, and the ControllerRevision that keeps it to be rolled back to.

A revision is all that makes one rollout differ from another: the artifact's digest, plugin, gateway and the pull
secret's name. It is kept whole, so that rolling back needs neither the old spec nor the registry's tags.
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
from pluginrelease.core.errors import Refused

JSON = dict[str, Any]

API_VERSION = "apps/v1"
KIND = "ControllerRevision"
# of an artifact, what may change without another revision
VOLATILE = ("ref", "semver", "askedAt", "signer", "policy")
PLURAL = "controllerrevisions"


@dataclass(frozen=True)
class Recorded:
    """A revision as its ControllerRevision keeps it. ``number`` counts up with every rollout."""

    revision: str
    number: int
    artifact: api.ArtifactStatus
    spec: api.Spec


def compute_identity(spec: api.Spec, digest: str) -> str:
    """Ten hex digits over what makes one rollout differ from another: artifact, plugin and gateway.

    The pull secret's name belongs to it, its content does not: a rotated password is no new revision.
    """
    secret, there = spec.artifact.image.pull_secret_ref, spec.artifact.image.gateway_pull_secret_ref
    return compute_digest(
        {
            "artifact": digest,
            "plugin": spec.plugin.wire(),
            "gateway": spec.gateway.wire(),
            "pullSecret": secret.name if secret else None,
            **({"gatewayPullSecret": there.name} if there else {}),  # the revisions from before the field stay theirs
        }
    )


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
            "artifact": {key: value for key, value in artifact.wire().items() if key not in VOLATILE},
            "spec": {
                "artifact": {"image": source},
                "gateway": release.spec.gateway.wire(),
                "plugin": release.spec.plugin.wire(),
            },
        },
    }


def read(found: JSON) -> Recorded:
    """What a ControllerRevision keeps; raises `Refused` (RevisionUnreadable) when it is not one of ours."""
    metadata = found["metadata"]
    try:
        ref = metadata["annotations"][api.REF_ANNOTATION]
        artifact = api.ArtifactStatus.model_validate({**found["data"]["artifact"], "ref": ref})
        spec = api.Spec.model_validate(found["data"]["spec"])
        return Recorded(compute_identity(spec, artifact.digest), int(found["revision"]), artifact, spec)
    except (KeyError, TypeError, ValidationError) as error:
        raise Refused(
            "RevisionUnreadable",
            f"ControllerRevision {metadata['namespace']}/{metadata['name']} does not hold what the operator wrote",
            "Correct the spec, or roll back to another revision: kubectl pluginrelease history",
        ) from error


def effective(release: api.Release, recorded: Recorded) -> api.Release:
    """The release as it would be with a revision's artifact, gateway and plugin; all else stays as its spec says."""
    kept = recorded.spec
    spec = release.spec.model_copy(
        update={"artifact": kept.artifact, "gateway": kept.gateway, "plugin": kept.plugin},
    )
    return release.model_copy(update={"spec": spec})


def same_data(found: JSON, wanted: JSON) -> bool:
    """Whether a ControllerRevision keeps just this; the API server refuses any change of it."""
    return bool(found.get("data") == wanted["data"])


def find_superfluous(release: api.Release, found: Collection[JSON], needed: Collection[str | None]) -> list[JSON]:
    """The ControllerRevisions that may go: of those that nothing needs the oldest, so that the limit of them stays."""
    kept = {name(release, revision) for revision in needed if revision is not None}
    old = [item for item in found if item["metadata"]["name"] not in kept]
    old.sort(key=lambda item: int(item["revision"]), reverse=True)
    return old[release.spec.revision_history_limit :]
