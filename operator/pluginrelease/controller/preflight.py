"""What is asked about a revision before anything of it is written: artifact, signature, gateways, place.

Nothing is written before all that can be known is known, and what no gateway could load is refused here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import artifacts
from pluginrelease.controller.artifacts import PulledArtifact
from pluginrelease.controller.scope import Candidate, EntryScope, ReconcileScope
from pluginrelease.controller.secrets import placeholder_secrets, verification_keys
from pluginrelease.core import compat, timestamps
from pluginrelease.core.apiserver import stored
from pluginrelease.core.artifact.image_manifests import Artifact, Digest
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.gateway import pods
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import providers
from pluginrelease.core.mesh.placement import Placement, placements
from pluginrelease.core.registry import challenge, transport
from pluginrelease.core.rollout import conflict, plan, probe
from pluginrelease.core.signing import signature
from pluginrelease.core.status import compatible, folding
from pluginrelease.core.status.report import Event, Failure
from pluginrelease.edges.envoy.dump_cache import ReadOptions
from pluginrelease.edges.kubernetes import resources

log = structlog.get_logger(__name__)

MAX_NAMES = 3


Checked = tuple[Candidate, tuple[PodObservation, ...]]


async def check(
    work: ReconcileScope,
    entries: Sequence[EntryScope],
    effective: api.Release,
    known: api.ArtifactStatus | None,
    index: str | None,
) -> dict[str, Checked]:
    """Check artifact → signature → gateways → place; return candidate and pods of each entry that may be written.

    ``known`` is what the reference was settled on before, ``index`` the one that led to an old revision's image. An
    entry that cannot be placed ends with its error. Raises `ReleaseError` for a revision that some gateway refuses.
    """
    work.step = ConditionType.ARTIFACT_READY
    ref, found = await obtain_artifact(work, entries, effective, known)
    reached = [entry for entry in entries if entry.report.failure is None]
    asked_at = known.asked_at if known else timestamps.metav1_time(work.world.now())
    image = with_index(found.artifact, known.index if known else index)
    artifact = describe_artifact(ref, effective.spec.artifact.image.semver, image, asked_at)
    aim(reached, effective, artifact)
    mark_artifact_ready(work, artifact)
    artifact = await verify(work, reached[0].place(effective), artifact, image)
    aim(reached, effective, artifact)
    return await check_entries(work, reached, effective, artifact, found)


def aim(entries: Iterable[EntryScope], effective: api.Release, artifact: api.ArtifactStatus) -> None:
    """Note what the entries are to run."""
    for entry in entries:
        entry.aim(Candidate(entry.place(effective), artifact))


async def obtain_artifact(
    work: ReconcileScope, entries: Sequence[EntryScope], effective: api.Release, known: api.ArtifactStatus | None
) -> tuple[str, PulledArtifact]:
    """Resolve, fetch and check the image; ``known`` is what the reference was settled on, and is not resolved again.

    Where gateways pull with a secret of their own namespace, each of these is tried: an entry whose secret does not do
    ends with that error.
    """
    if effective.spec.artifact.image.gateway_pull_secret_ref is None:
        return await obtain_for(work, entries[0], effective, known)
    results = await asyncio.gather(
        *(obtain_for(work, entry, effective, known) for entry in entries), return_exceptions=True
    )
    obtained = [result for result in results if not isinstance(result, BaseException)]
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, BaseException) and not (obtained and isinstance(result, ReleaseError)):
            raise result
        if isinstance(result, ReleaseError):
            entry.fail(result, ConditionType.ARTIFACT_READY)
    return obtained[0]


async def obtain_for(
    work: ReconcileScope, entry: EntryScope, effective: api.Release, known: api.ArtifactStatus | None
) -> tuple[str, PulledArtifact]:
    """Do the same with the secret of one entry's gateways."""
    spec, access = effective.spec.artifact, await work.access(entry.place(effective))
    ref = known.ref if known else await work.resolve_name(spec.image, access)
    reference = artifacts.reference_of(ref, known.digest if known else None)
    found = await work.world.shelf.obtain(reference, access)
    artifacts.check_bytes(found.artifact, spec.wasm_sha256)
    return ref, found


async def check_entries(
    work: ReconcileScope,
    entries: Sequence[EntryScope],
    effective: api.Release,
    artifact: api.ArtifactStatus,
    found: PulledArtifact,
) -> dict[str, Checked]:
    """Check every entry; raise the error of one whose gateways refuse the revision: it is written to none then."""
    work.step = ConditionType.COMPATIBLE
    candidates = [Candidate(entry.place(effective), artifact) for entry in entries]
    results = await asyncio.gather(
        *(
            check_entry(entry, candidate, found, is_first=entry is entries[0])
            for entry, candidate in zip(entries, candidates, strict=True)
        ),
        return_exceptions=True,
    )
    checked, refusals = dict[str, Checked](), list[tuple[str, Failure]]()
    for entry, candidate, result in zip(entries, candidates, results, strict=True):
        if not isinstance(result, BaseException):
            checked[entry.name] = (candidate, result)
        elif not isinstance(result, ReleaseError):
            raise result
        elif entry.step is ConditionType.COMPATIBLE:
            refusals.append((entry.name, Failure(entry.step, result)))
        else:
            entry.fail(result)
    if refusals:
        raise folding.name_failure(refusals, len(work.release.spec.gateways)).error
    work.step = ConditionType.APPLIED
    check_pod_count(work, checked)
    return checked


async def check_entry(
    entry: EntryScope, candidate: Candidate, found: PulledArtifact, *, is_first: bool
) -> tuple[PodObservation, ...]:
    """Check gateways and place of one entry; return its gateway pods before the write."""
    before = await look_before(entry, candidate)
    placement, cluster = candidate.placement, entry.world.cluster
    providers.check(placement, entry.provider.hosts(before))
    await placeholder_secrets.check(cluster, placement)
    check_compatibility(entry, found, before, await find_doubts(entry, placement, found.artifact, before))
    check_probe_ports(entry, before)
    entry.step = ConditionType.APPLIED
    await check_place(entry)
    if is_first:
        await report_unreached(entry.work)
    await check_own_entries(entry, candidate)
    await check_rivals(entry, candidate)
    return before


def check_pod_count(work: ReconcileScope, checked: Mapping[str, Checked]) -> None:
    """Raise `Refused` (TooManyPods) when the entries select more pods than a status has room for."""
    others = [entry.row for entry in work.all_entries() if entry.name not in checked]
    count = sum(len(before) for _, before in checked.values()) + sum(row.desired for row in others if row is not None)
    if count > api.MAX_PODS:
        raise Refused(
            Reason.TOO_MANY_PODS,
            f"the entries of gateways select {count} pods, and one release may have {api.MAX_PODS}",
            "Split it: make a second PluginRelease for some of the entries",
            recheck=plan.RECHECK,
        )


def with_index(image: Artifact, index: str | None) -> Artifact:
    """The image with the index that led to it, which does not show where it was fetched by its own digest."""
    return image if image.index or not index else replace(image, index=Digest.parse(index))


async def verify(
    work: ReconcileScope, placement: Placement, artifact: api.ArtifactStatus, image: Artifact
) -> api.ArtifactStatus:
    """Set the condition Verified; return the artifact with its signer. Raises `Refused` when no signature counts.

    By the policy that the release has now, for an old revision that somebody asked for, too.
    """
    policy = work.release.spec.artifact.verify
    if policy is None:
        return artifact
    work.step = ConditionType.VERIFIED
    trust = await verification_keys.trust(work.world.cluster, work.release, policy, work.world.settings.trusted_root)
    verified = await work.world.shelf.verify(image, await work.access(placement), trust)
    about = "" if verified.digest == image.digest else f", as part of {verified.digest}"
    work.find(ConditionType.VERIFIED, "True", Reason.VERIFIED, f"{image.digest} was signed by {verified.signer}{about}")
    return artifact.model_copy(update={"signer": verified.signer, "policy": signature.compute_policy(policy)})


def mark_artifact_ready(work: ReconcileScope, known: api.ArtifactStatus) -> None:
    """The condition ArtifactReady."""
    picked = f", the highest tag within {known.semver}," if known.semver else ""
    work.find(
        ConditionType.ARTIFACT_READY,
        "True",
        Reason.ARTIFACT_READY,
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


async def look_before(entry: EntryScope, candidate: Candidate) -> tuple[PodObservation, ...]:
    """Return every gateway pod before the write: its Envoy's version and its counters."""
    entry.step = ConditionType.COMPATIBLE
    habit = ReadOptions(cache=entry.world.memory)
    return await entry.sightings(candidate, await entry.gateway_pods(candidate), entry.world.now(), habit)


async def find_doubts(
    entry: EntryScope, placement: Placement, found: Artifact, before: Collection[PodObservation]
) -> str:
    """Return what cannot be known of whether the gateways accept the registry as the operator does.

    Raises `Refused` when some surely does not.
    """
    door = await entry.world.shelf.door(found.reference, await entry.work.access(placement))
    trusts = [(f"{sighting.pod.namespace}/{sighting.pod.name}", sighting.pod.trust) for sighting in before]
    return transport.check_trust(found.reference, door, trusts)


def check_compatibility(
    entry: EntryScope, found: PulledArtifact, before: Collection[PodObservation], untold: str
) -> None:
    """Set the condition Compatible: True, or Unknown with a warning. Raises `Refused` when a gateway cannot load it."""
    provider, allowed = entry.release.spec.provider, entry.world.settings.allow_native_code
    module, hosts = found.artifact.module, entry.provider.hosts(before)
    answer = compat.judge_strictest(module, hosts, provider, allow_native=allowed)
    if answer.state is compat.CompatibilityState.INCOMPATIBLE:
        raise Refused(answer.reason, answer.message, answer.remedy)
    meshes = {sighting.istio_version for sighting in before if sighting.istio_version}
    challenge.check_gateways(found.artifact.reference.registry, found.challenges, meshes)
    odd = compat.find_warnings(module, hosts, provider, allow_native=allowed)
    entry.learn(findings=(*entry.report.findings, compatible.describe_compatible(answer, odd, untold)))


def check_probe_ports(entry: EntryScope, before: Collection[PodObservation]) -> None:
    """Raise `Refused` when a probe could not be sent to some gateway: it would only fail after the write."""
    for sighting in reachable(before):
        for asked in entry.release.spec.checks.probes:
            probe.find_port(asked, sighting.listeners, written=False)


def reachable(before: Collection[PodObservation]) -> list[PodObservation]:
    """Return the gateways that answer requests and can be asked."""
    return [sighting for sighting in before if sighting.unreachable is None and sighting.pod.ready]


async def check_place(entry: EntryScope) -> None:
    """Raise `Refused` where no control plane would read what is written."""
    gateway = entry.gateway
    known = entry.provider.landmarks(gateway, entry.world.mesh)
    if known is None:
        return
    for labels in known.any_of:
        found = await entry.world.cluster.list(resources.PODS, gateway.namespace, labels)
        known.check(found)
        if found:
            return
    raise known.missing


async def report_unreached(work: ReconcileScope) -> None:
    """Post an event that names gateways of the mesh that what is written does not reach."""
    where = work.provider.unreached()
    if where is None:
        return
    try:
        listed = await work.world.cluster.list(resources.PODS, where.namespace, where.labels)
    except ReleaseError as error:
        log.warning("unreached gateways were not looked for", reason=error.reason, message=error.message)
        return
    found = [f"{pod.namespace}/{pod.name}" for pod in pods.select(listed, where.container)]
    if found:
        more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
        names = ", ".join(sorted(found)[:MAX_NAMES])
        message = f"No WasmPlugin reaches the gateway pods {names}{more}, so they run without this one. {where.hint}"
        work.tell(Event("Warning", Reason.GATEWAYS_NOT_REACHED, message))


async def check_own_entries(entry: EntryScope, candidate: Candidate) -> None:
    """Raise `Refused` (PodsOverlap) when an earlier entry of the release selects some of the same pods."""
    mine = candidate.pods(entry.world.mesh)
    for other in placements(entry.release):
        if other.name == entry.name:
            return
        shared = mine.shared_with(conflict.pods_of(other, entry.world.mesh))
        both = await entry.list_pods(shared) if shared is not None else []
        if both:
            raise Refused(
                Reason.PODS_OVERLAP,
                f"entries {other.name} and {entry.name} of gateways both select pod "
                f"{both[0].namespace}/{both[0].name}: every request there would run the plugin twice",
                "Give one of them a narrower selector, or remove it",
                recheck=plan.RECHECK,
            )


async def check_rivals(entry: EntryScope, candidate: Candidate) -> None:
    """Raise `Refused` (DuplicatePlugin) when an older release puts the same plugin on the same pods.

    A release that cannot be read is nobody's rival: it must not hold up the others.
    """
    listed = await entry.world.cluster.list(resources.RELEASES, None, {})
    others, unreadable = stored.sort_out(listed)
    for refused in unreadable:
        log.warning("not looked at as a rival", reason=refused.reason, message=refused.message)
    placement = Placement(entry.release, candidate.gateway)
    for elder, where in conflict.find_older_duplicates(placement, others, entry.world.mesh):
        if await entry.list_pods(where):
            raise conflict.refuse_duplicate(elder)
