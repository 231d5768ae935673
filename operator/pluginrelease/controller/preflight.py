"""What is asked about a revision before anything of it is written: artifact, signature, gateways, place.

Nothing is written before all that can be known is known, and what no gateway could load is refused here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import artifacts
from pluginrelease.controller.artifacts import PulledArtifact
from pluginrelease.controller.scope import Candidate, ReconcileScope
from pluginrelease.controller.secrets import placeholder_secrets, verification_keys
from pluginrelease.core import compat, timestamps
from pluginrelease.core.apiserver import stored
from pluginrelease.core.artifact.image_manifests import Artifact, Digest
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.gateway import pods
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import providers
from pluginrelease.core.registry import challenge, transport
from pluginrelease.core.rollout import conflict, probe
from pluginrelease.core.signing import signature
from pluginrelease.core.status import compatible
from pluginrelease.core.status.report import Event
from pluginrelease.edges.envoy.dump_cache import ReadOptions
from pluginrelease.edges.kubernetes.resources import PODS, RELEASES

log = structlog.get_logger(__name__)

MAX_NAMES = 3


async def check(
    work: ReconcileScope, effective: api.Release, known: api.ArtifactStatus | None, index: str | None
) -> tuple[Candidate, tuple[PodObservation, ...]]:
    """Artifact → signature → gateways → place: the candidate that may be written, and the gateway pods before it is.

    ``known`` is what the reference was settled on before, ``index`` the one that led to an old revision's image. Raises
    `Refused`, `Waiting` or `Transient` at the first that does not hold.
    """
    ref, found = await obtain_artifact(work, effective, known)
    asked_at = known.asked_at if known else timestamps.metav1_time(work.world.now())
    image = with_index(found.artifact, known.index if known else index)
    candidate = Candidate(effective, describe_artifact(ref, effective.spec.artifact.image.semver, image, asked_at))
    work.aim(work.intent(), candidate)
    mark_artifact_ready(work, candidate.artifact)
    candidate = await verify(work, candidate, image)
    before = await look_before(work, candidate)
    providers.check(effective, work.provider.hosts(before))
    await placeholder_secrets.check(work.world.cluster, effective)
    check_compatibility(work, found, before, await find_doubts(work, effective, found.artifact, before))
    check_probe_ports(work, before)
    work.step = ConditionType.APPLIED
    await check_place(work)
    await tell_unreached(work)
    await check_rivals(work)
    return candidate, before


async def obtain_artifact(
    work: ReconcileScope, effective: api.Release, known: api.ArtifactStatus | None
) -> tuple[str, PulledArtifact]:
    """Resolve, fetch, check; ``known`` is what the reference was settled on, and is not resolved again."""
    work.step = ConditionType.ARTIFACT_READY
    spec, access = effective.spec.artifact, await work.access(effective)
    ref = known.ref if known else await work.named(spec.image, access)
    reference = artifacts.reference_of(ref, known.digest if known else None)
    found = await work.world.shelf.obtain(reference, access)
    artifacts.check_bytes(found.artifact, spec.wasm_sha256)
    return ref, found


def with_index(image: Artifact, index: str | None) -> Artifact:
    """The image with the index that led to it, which does not show where it was fetched by its own digest."""
    return image if image.index or not index else replace(image, index=Digest.parse(index))


async def verify(work: ReconcileScope, candidate: Candidate, image: Artifact) -> Candidate:
    """The condition Verified: the candidate with its signer; raises `Refused` when no signature counts.

    By the policy that the release has now, for an old revision that somebody asked for, too.
    """
    policy = work.release.spec.artifact.verify
    if policy is None:
        return candidate
    work.step = ConditionType.VERIFIED
    trust = await verification_keys.trust(work.world.cluster, work.release, policy, work.world.settings.trusted_root)
    verified = await work.world.shelf.verify(image, await work.access(candidate.release), trust)
    signed = {"signer": verified.signer, "policy": signature.compute_policy(policy)}
    candidate = replace(candidate, artifact=candidate.artifact.model_copy(update=signed))
    work.aim(work.intent(), candidate)
    about = "" if verified.digest == image.digest else f", as part of {verified.digest}"
    work.find(ConditionType.VERIFIED, "True", "Verified", f"{image.digest} was signed by {verified.signer}{about}")
    return candidate


def mark_artifact_ready(work: ReconcileScope, known: api.ArtifactStatus) -> None:
    """The condition ArtifactReady."""
    picked = f", the highest tag within {known.semver}," if known.semver else ""
    work.find(
        ConditionType.ARTIFACT_READY,
        "True",
        "ArtifactReady",
        f"{known.ref}{picked} is {known.digest}, {known.layout}, {known.size} bytes of Wasm, built with "
        f"{known.toolchain or 'an unknown toolchain'}",
    )


def describe_artifact(ref: str, semver: str | None, found: Artifact, asked_at: str | None) -> api.ArtifactStatus:
    """What status tells of an artifact, and when the registry was asked what the spec names."""
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


async def look_before(work: ReconcileScope, candidate: Candidate) -> tuple[PodObservation, ...]:
    """Every gateway pod before the write: its Envoy's version and its counters."""
    work.step = ConditionType.COMPATIBLE
    habit = ReadOptions(cache=work.world.memory)
    return await work.sightings(candidate, await work.gateway_pods(candidate), work.world.now(), habit)


async def find_doubts(
    work: ReconcileScope, effective: api.Release, found: Artifact, before: Collection[PodObservation]
) -> str:
    """What cannot be told of whether the gateways accept the registry as the operator does; raises `Refused` when some
    surely does not."""
    door = await work.world.shelf.door(found.reference, await work.access(effective))
    pods = [(f"{one.pod.namespace}/{one.pod.name}", one.pod.trust) for one in before]
    return transport.check_trust(found.reference, door, pods)


def check_compatibility(
    work: ReconcileScope, found: PulledArtifact, before: Collection[PodObservation], untold: str
) -> None:
    """The condition Compatible: True, or Unknown with a warning; raises `Refused` when a gateway cannot load it."""
    provider, allowed = work.release.spec.gateway.provider, work.world.settings.allow_native_code
    module, hosts = found.artifact.module, work.provider.hosts(before)
    answer = compat.judge_strictest(module, hosts, provider, allow_native=allowed)
    if answer.state is compat.CompatibilityState.INCOMPATIBLE:
        raise Refused(answer.reason, answer.message, answer.remedy)
    meshes = {sighting.istio_version for sighting in before if sighting.istio_version}
    challenge.check_gateways(found.artifact.reference.registry, found.challenges, meshes)
    odd = compat.find_warnings(module, hosts, provider, allow_native=allowed)
    work.learn(findings=(*work.report.findings, compatible.describe_compatible(answer, odd, untold)))


def check_probe_ports(work: ReconcileScope, before: Collection[PodObservation]) -> None:
    """Raises `Refused` when a probe could not be sent to some gateway: it would only fail after the write."""
    for sighting in reachable(before):
        for asked in work.release.spec.checks.probes:
            probe.find_port(asked, sighting.listeners, written=False)


def reachable(before: Collection[PodObservation]) -> list[PodObservation]:
    """The gateways that answer requests and can be asked."""
    return [sighting for sighting in before if sighting.unreachable is None and sighting.pod.ready]


async def check_place(work: ReconcileScope) -> None:
    """Raises `Refused` where no control plane would read what is written."""
    gateway = work.release.spec.gateway
    known = work.provider.landmarks(gateway, work.world.mesh)
    if known is None:
        return
    for labels in known.any_of:
        found = await work.world.cluster.list(PODS, gateway.namespace, labels)
        known.check(found)
        if found:
            return
    raise known.missing


async def tell_unreached(work: ReconcileScope) -> None:
    """An event names gateways of the mesh that what is written does not reach, whatever the release says."""
    where = work.provider.unreached()
    if where is None:
        return
    try:
        listed = await work.world.cluster.list(PODS, where.namespace, where.labels)
    except ReleaseError as error:
        log.warning("unreached gateways were not looked for", reason=error.reason, message=error.message)
        return
    found = [f"{pod.namespace}/{pod.name}" for pod in pods.select(listed, where.container)]
    if found:
        more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
        names = ", ".join(sorted(found)[:MAX_NAMES])
        message = f"No WasmPlugin reaches the gateway pods {names}{more}, so they run without this one. {where.hint}"
        work.learn(events=(*work.report.events, Event("Warning", "GatewaysNotReached", message)))


async def check_rivals(work: ReconcileScope) -> None:
    """Raises `Refused` (DuplicatePlugin) when an older release puts the same plugin on the same pods.

    A release that cannot be read is nobody's rival: it must not hold up the others.
    """
    listed = await work.world.cluster.list(RELEASES, None, {})
    others, unreadable = stored.sort_out(listed)
    for refused in unreadable:
        log.warning("not looked at as a rival", reason=refused.reason, message=refused.message)
    for elder, where in conflict.find_older_duplicates(work.release, others, work.world.mesh):
        shared = await work.world.cluster.list(PODS, where.namespace, where.labels)
        if pods.select(shared, where.container):
            raise conflict.refuse_duplicate(elder)
