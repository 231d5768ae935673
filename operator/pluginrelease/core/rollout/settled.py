"""What an earlier pass has settled: the digest of a reference, and which checks need no repetition."""

from __future__ import annotations

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core import sources
from pluginrelease.core.registry import tags
from pluginrelease.core.signing import signature

# steps whose refusal is about the artifact that a tag was resolved to
LET_GO = {ConditionType.ARTIFACT_READY, ConditionType.VERIFIED, ConditionType.COMPATIBLE}
# reasons of Stalled that say nothing about the artifact
NO_REFUSAL = (Reason.PROGRESS_DEADLINE_EXCEEDED, Reason.SUSPENDED, Reason.NO_GATEWAY_PODS)


def find_pinned(release: api.Release) -> api.ArtifactStatus | None:
    """Return the stored digest of the reference: a tag is not resolved again while the release keeps it."""
    known, source = release.status.artifact, release.spec.artifact
    failed = {condition.type for condition in release.status.conditions if is_failed(condition)}
    # only a refusal drops the stored digest: a registry that did not answer says nothing about the artifact
    passed = not (is_refused(release) and failed & LET_GO)
    matches = known is not None and tags.is_about(known, sources.find_image(source))
    right = known is not None and source.wasm_sha256 in (None, known.wasm_sha256)
    return known if passed and matches and right else None


def is_failed(condition: api.Condition) -> bool:
    """Return True if a step was reached and failed.

    An image that was deleted after the write was valid when it was checked.
    """
    return condition.status == "False" and condition.reason != Reason.MANIFEST_GONE


def is_refused(release: api.Release) -> bool:
    """Return True if the last pass was refused. Waiting too long, or being suspended, is no refusal."""
    return any(
        condition.type == ConditionType.STALLED and condition.reason not in NO_REFUSAL
        for condition in release.status.conditions
    )


def is_asked(kind: ConditionType, release: api.Release) -> bool:
    """Return True if a release has this condition at all: two exist only if the spec asks for them."""
    if kind is ConditionType.PROBED:
        return bool(release.spec.checks.probes)
    return kind is not ConditionType.VERIFIED or release.spec.artifact.verify is not None


def checks_still_valid(release: api.Release, *, has_pods: bool = True) -> bool:
    """Return True if artifact, signature and gateways need no second check: all were reached, and none failed.

    The writing of objects does not matter here; each entry decides that alone. A release is checked again if its first
    gateway pod appears (``has_pods``: there is one, or it is not known). A release whose verification policy changed is
    verified again.
    """
    status = release.status
    about_artifact = (ConditionType.ARTIFACT_READY, ConditionType.VERIFIED, ConditionType.COMPATIBLE)
    steps_before = [status.condition(kind) for kind in about_artifact if is_asked(kind, release)]
    if not signature.is_done(release.spec.artifact, status.artifact):
        return False
    if any(step is None or is_failed(step) or step.reason == Reason.NOT_REACHED for step in steps_before):
        return False
    return not (has_pods and awaits_first_pod(release))


def awaits_first_pod(release: api.Release) -> bool:
    """Return True if there was no gateway pod yet whose version could be read."""
    compatible, summary = release.status.condition(ConditionType.COMPATIBLE), release.status.summary
    is_unchecked = compatible is not None and compatible.status == "Unknown"
    return is_unchecked and (summary is None or summary.desired == 0)
