"""Check a revision before anything of it is written: artifact, signature, gateways, place.

Nothing is written before all checks have ended. What no gateway could load is refused here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import artifacts, looking, pulling
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.preparing import reachable
from pluginrelease.controller.pulling import NamedReference
from pluginrelease.controller.secrets import placeholder_secrets, verification_keys
from pluginrelease.controller.steps import Names
from pluginrelease.core import compat, sources
from pluginrelease.core.artifact.image_manifests import Artifact, Digest
from pluginrelease.core.artifact.pulled import PulledArtifact
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway import pods
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import providers
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.registry import challenge, transport
from pluginrelease.core.rollout import conflict, plan, probe
from pluginrelease.core.rollout.facts import EntryView, Facts, Obtained
from pluginrelease.core.rollout.release_results import ArtifactObtained, LeftOut, SignatureVerified, Told
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.rollout.results import Checked
from pluginrelease.core.signing import signature
from pluginrelease.core.status import artifact_ready, compatible
from pluginrelease.edges.kubernetes import resources

log = structlog.get_logger(__name__)

MAX_NAMES = 3

Found = tuple[NamedReference, PulledArtifact]


# ----------------------------------------------------------------------------------------------------- the image


async def obtain_artifact(
    work: PassContext,
    facts: Facts,
    names: Names,
    effective: api.Release,
    known: api.ArtifactStatus | None,
    index: str | None,
) -> ArtifactObtained:
    """Resolve, fetch and check the image.

    ``known`` is what the reference resolved to before, and is not resolved again. ``index`` led to an old revision's
    image. If gateways pull with Secrets of their own namespaces, each Secret is tried. Entries whose Secret fails are
    left out.
    """
    entries = facts.views(names)
    is_theirs = sources.find_image(effective.spec.artifact).gateway_pull_secret_ref is not None
    tried = entries if is_theirs else entries[:1]
    results = await asyncio.gather(
        *(obtain_for(work, entry, effective, known) for entry in tried), return_exceptions=True
    )
    resolved, pulled = first_obtained(results)
    left_out = {
        entry.name: result for entry, result in zip(tried, results, strict=True) if isinstance(result, ReleaseError)
    }
    asked_at = known.asked_at if known else times.to_seconds(work.now())
    pulled = replace(pulled, artifact=with_index(pulled.artifact, known.index if known else index))
    semver = sources.find_image(effective.spec.artifact).semver
    artifact = artifact_ready.describe_artifact(resolved.ref, semver, pulled.artifact, asked_at)
    finding = artifact_ready.describe_ready(artifact)
    reached = tuple(entry.name for entry in entries if entry.name not in left_out)
    return ArtifactObtained(effective, artifact, pulled, finding, reached, left_out, resolved.events)


def first_obtained(results: Sequence[Found | BaseException]) -> Found:
    """Return the first image that was obtained. Raise the error that stopped all entries, and every internal error."""
    faults = [result for result in results if isinstance(result, BaseException)]
    obtained = [result for result in results if not isinstance(result, BaseException)]
    for fault in faults:
        if not obtained or not isinstance(fault, ReleaseError):
            raise fault
    return obtained[0]


async def obtain_for(
    work: PassContext, entry: EntryView, effective: api.Release, known: api.ArtifactStatus | None
) -> Found:
    """Resolve, fetch and check the image with the Secret of one entry's gateways."""
    spec, shelf = effective.spec.artifact, work.context.shelf
    access, since = await pulling.find_access(work, entry.place(effective)), work.wished_at(effective.metadata.uid)
    if known is not None:
        named = NamedReference(known.ref)
    else:
        image, settled_on = sources.find_image(spec), entry.release.status.artifact
        named = await pulling.resolve_name(shelf, image, settled_on, access, since)
    found = await shelf.obtain(artifacts.reference_of(named.ref, known.digest if known else None), access, since)
    artifacts.check_bytes(found.artifact, spec.wasm_sha256)
    return named, found


def with_index(image: Artifact, index: str | None) -> Artifact:
    """Return the image with the index that led to it. An image that was fetched by its own digest does not show it."""
    return image if image.index or not index else replace(image, index=Digest.parse(index))


async def verify(work: PassContext, facts: Facts, names: Names) -> SignatureVerified | None:
    """Set the condition Verified. Raises `Refused` if no signature counts.

    The release's current policy counts, also for an old revision that a user asked for.
    """
    policy, obtained = facts.release.spec.artifact.verify, facts.obtained
    if policy is None or obtained is None:
        return None
    image, first = obtained.pulled.artifact, facts.views(names)[0]
    trust = await verification_keys.trust(work.reader, facts.release, policy, work.settings.trusted_root)
    access = await pulling.find_access(work, first.place(obtained.effective))
    verified = await work.context.shelf.verify(image, access, trust)
    about = "" if verified.digest == image.digest else f", as part of {verified.digest}"
    text = f"{image.digest} was signed by {verified.signer}{about}"
    finding = Finding(ConditionType.VERIFIED, "True", Reason.VERIFIED, text)
    signed = {"signer": verified.signer, "policy": signature.compute_policy(policy)}
    artifact = obtained.artifact.model_copy(update=signed)
    return SignatureVerified(Obtained(obtained.effective, artifact, obtained.pulled), finding, tuple(names))


# --------------------------------------------------------------------------------------------------- the gateways


async def check_gateways(work: PassContext, entry: EntryView) -> Checked:
    """Check the module against the entry's gateways; return what they showed. Raises `Refused` if one cannot."""
    obtained, candidate = entry.facts.obtained, entry.aimed
    assert obtained is not None  # noqa: S101  the image comes before the gateways
    before = await looking.look_before(work, candidate)
    placement = candidate.placement
    providers.check(placement, entry.mesh.hosts(before))
    await placeholder_secrets.check(work.reader, placement)
    doubts = await find_doubts(work, placement, obtained.pulled.artifact, before)
    finding = judge_compatibility(entry, obtained.pulled, before, doubts, allowed=work.settings.allow_native_code)
    check_probe_ports(entry, before)
    return Checked(before, finding)


async def find_doubts(
    work: PassContext, placement: Placement, found: Artifact, before: Collection[PodObservation]
) -> str:
    """Return which of the registry's properties the operator cannot check for the gateways.

    Raises `Refused` if some gateway certainly rejects the registry.
    """
    door = await work.context.shelf.door(found.reference, await pulling.find_access(work, placement))
    trusts = [(f"{seen.pod.namespace}/{seen.pod.name}", seen.pod.trust) for seen in before]
    return transport.check_trust(found.reference, door, trusts)


def judge_compatibility(
    entry: EntryView, found: PulledArtifact, before: Collection[PodObservation], untold: str, *, allowed: bool
) -> Finding:
    """Return the condition Compatible: True, or Unknown with a warning.

    Raises `Refused` if a gateway cannot load the module.
    """
    provider = entry.release.spec.provider
    module, hosts = found.artifact.module, entry.mesh.hosts(before)
    answer = compat.judge_strictest(module, hosts, provider, allow_native=allowed)
    if answer.state is compat.CompatibilityState.INCOMPATIBLE:
        raise Refused(answer.reason, answer.message, answer.remedy)
    meshes = {seen.istio_version for seen in before if seen.istio_version}
    challenge.check_gateways(found.artifact.reference.registry, found.challenges, meshes)
    odd = (
        *compat.find_warnings(module, hosts, provider, allow_native=allowed),
        *entry.mesh.find_warnings(entry.aimed.placement, before),
    )
    return compatible.describe_compatible(answer, odd, untold)


def check_probe_ports(entry: EntryView, before: Collection[PodObservation]) -> None:
    """Raise `Refused` if a probe could not be sent to some gateway, because it would only fail after the write."""
    for seen in reachable(before):
        for asked in entry.release.spec.checks.probes:
            probe.find_port(asked, seen.listeners, written=False)


# ------------------------------------------------------------------------------------------------------ the place


async def check_place(work: PassContext, entry: EntryView) -> None:
    """Raise `Refused` if no control plane would read what is written, or give it to all of the pods."""
    entry.mesh.check_pods(entry.aimed.placement, entry.entry.before)
    gateway = entry.gateway
    known = entry.mesh.find_install_marker(gateway, work.mesh)
    if known is None:
        return
    for labels in known.any_of:
        found = await work.cluster.list(resources.PODS, gateway.namespace, labels)
        known.check(found)
        if found:
            return
    raise known.missing


async def report_unreached(work: PassContext, facts: Facts, names: Names) -> Told | None:
    """Return an event that names gateways of the mesh that the written object does not reach."""
    where = facts.mesh.select_unreached()
    if where is None:
        return None
    try:
        listed = await work.reader.pods(where)
    except ReleaseError as error:
        log.warning(
            "could not look for gateways that no WasmPlugin reaches", reason=error.reason, message=error.message
        )
        return None
    found = [f"{pod.namespace}/{pod.name}" for pod in pods.select(listed, where.container)]
    if not found:
        return None
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    shown = ", ".join(sorted(found)[:MAX_NAMES])
    message = f"No WasmPlugin reaches the gateway pods {shown}{more}, so they run without this one. {where.hint}"
    return Told((Event("Warning", Reason.GATEWAYS_NOT_REACHED, message),))


async def check_own_entries(work: PassContext, entry: EntryView) -> None:
    """Raise `Refused` (PodsOverlap) if an earlier entry of the release selects some of the same pods.

    Each entry's pods are listed once in a pass, for any number of pairs.
    """
    for other in entry.facts.views(other.name for other in entry.facts.of_spec()):
        if other.name == entry.name:
            return
        if conflict.pods_of(entry.placement(), work.mesh).shared_with(conflict.pods_of(other.placement(), work.mesh)):
            both = sorted(await list_names(work, entry) & await list_names(work, other))
            if both:
                raise conflict.refuse_overlap(other.name, entry.name, both[0])


async def list_names(work: PassContext, entry: EntryView) -> frozenset[str]:
    """Return namespace/name of each gateway pod that the entry selects."""
    where = conflict.pods_of(entry.placement(), work.mesh)
    found = await looking.list_pods(work, where, fresh=False)
    return frozenset(f"{pod.namespace}/{pod.name}" for pod in found)


async def check_rivals(work: PassContext, facts: Facts, names: Names) -> LeftOut:
    """Find the entries whose plugin an older release puts on the same pods (DuplicatePlugin).

    A release that cannot be read is skipped: it must not block the others.
    """
    wanted = {entry.name: Placement(entry.release, entry.aimed.gateway) for entry in facts.views(names)}
    near = dict[str, dict[str, Any]]()
    for placement in wanted.values():
        listed = await work.reader.releases_on(conflict.pods_of(placement, work.mesh))
        near |= {release["metadata"]["uid"]: release for release in listed}
    others, unreadable = work.context.readings.sort_out(near.values())
    for refused in unreadable:
        log.warning(
            "a release was left out of the check for duplicates", reason=refused.reason, message=refused.message
        )
    found = {name: await find_rival(work, placement, others) for name, placement in wanted.items()}
    return LeftOut({name: conflict.refuse_duplicate(elder) for name, elder in found.items() if elder is not None})


async def find_rival(work: PassContext, placement: Placement, others: Iterable[api.Release]) -> api.Release | None:
    """Return the older release that puts the same plugin on some of the entry's pods."""
    for elder, where in conflict.find_older_duplicates(placement, others, work.mesh):
        if await looking.list_pods(work, where, fresh=False):
            return elder
    return None


async def check_pod_count(work: PassContext, facts: Facts, names: Names) -> None:
    """Raise `Refused` (TooManyPods) if the entries select more pods than a status has room for."""
    others = [entry.row for entry in facts.views(entry.name for entry in facts.of_spec()) if entry.name not in names]
    count = sum(len(entry.entry.before) for entry in facts.views(names))
    count += sum(row.desired for row in others if row is not None)
    if count > api.MAX_PODS:
        raise Refused(
            Reason.TOO_MANY_PODS,
            f"the entries of gateways select {count} pods, and one release may have {api.MAX_PODS}",
            "Split it: make a second PluginRelease for some of the entries",
            recheck=plan.RECHECK,
        )
