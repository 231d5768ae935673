"""The condition ArtifactReady, and what the status says of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import Artifact
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout.images import KeptImage
from pluginrelease.core.rollout.report import Event


def describe_ready(known: api.ArtifactStatus) -> Finding:
    """Return the condition ArtifactReady of an image that was resolved, fetched and checked."""
    picked = f", the highest tag within {known.semver}," if known.semver else ""
    return Finding(
        ConditionType.ARTIFACT_READY,
        "True",
        Reason.ARTIFACT_READY,
        f"{known.ref}{picked} is {known.digest}, {known.layout}, {known.size} bytes of Wasm, built with "
        f"{known.toolchain or 'an unknown toolchain'}",
    )


def is_gone(status: api.Status) -> bool:
    """Return True if the status says that an image was deleted since it was written."""
    known = status.condition(ConditionType.ARTIFACT_READY)
    return known is not None and known.reason == Reason.MANIFEST_GONE


def conclude(status: api.Status, gone: Sequence[KeptImage]) -> Finding | None:
    """Return the condition from what the registries said of images at rest; None if it stays as it is."""
    if gone:
        return describe_gone(gone)
    return describe_ready(status.artifact) if is_gone(status) and status.artifact is not None else None


def describe_gone(gone: Sequence[KeptImage]) -> Finding:
    """Return the condition of images that their registries no longer have."""
    text = "; ".join(f"{image.image}, {describe_use(image)}" for image in gone)
    remedy = "Push the same bytes again, keep the registry from deleting them, or release another image"
    message = f"The registry no longer has a manifest for {text}. {remedy}"
    return Finding(ConditionType.ARTIFACT_READY, "False", Reason.MANIFEST_GONE, message)


def describe_use(image: KeptImage) -> str:
    """Return what an image is used for."""
    if image.runs:
        return f"which runs as revision {image.revision}: gateways keep running it, but a new pod cannot fetch it"
    return f"which a rollback would restore as revision {image.revision}"


def tell(status: api.Status, finding: Finding) -> tuple[Event, ...]:
    """Return the event of a deleted image, if that is news."""
    if finding.reason is not Reason.MANIFEST_GONE or is_gone(status):
        return ()
    return (Event("Warning", Reason.MANIFEST_GONE, finding.message[:1024]),)


def describe_artifact(ref: str, semver: str | None, found: Artifact, asked_at: datetime | None) -> api.ArtifactStatus:
    """Return an artifact's status, with the time when the registry was asked what the spec names."""
    module = found.module
    return api.ArtifactStatus(
        ref=ref,
        semver=semver,
        asked_at=asked_at,
        image=str(found.pinned),
        digest=str(found.digest),
        wasm_sha256=found.wasm_sha256,
        size=found.size,
        layout=str(found.layout),
        abi=module.abi.replace("_", ".") or None,
        toolchain=f"{module.toolchain} {module.toolchain_version}".strip() or None,
        index=str(found.index) if found.index else None,
    )
