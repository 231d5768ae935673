"""Ask a registry for what a release wants, with the Secret that an entry's gateways will use."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import artifacts
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.secrets import ca_certificates, pull_secrets
from pluginrelease.core import sources
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.report import Event
from pluginrelease.edges.oci.access import Access


@dataclass(frozen=True)
class NamedReference:
    """The reference that the spec names now, and events about how it was found."""

    ref: str
    events: tuple[Event, ...] = ()


async def find_access(work: PassContext, placement: Placement) -> Access:
    """Return how the operator pulls: with the Secret that the entry's gateways will use."""
    settings, image = work.settings, sources.find_image(placement.spec.artifact)
    download = sources.split_download(image.ref)
    if download is not None:  # an agent follows redirects to http of a server without TLS
        plain = download[0].startswith("http://")
        return Access(
            insecure=plain, deadline_seconds=settings.pull_deadline, max_bytes=settings.pull_max_bytes, usual_only=True
        )
    return Access(
        insecure=image.insecure,
        dockerconfigjson=await pull_secrets.content(work.reader, placement),
        deadline_seconds=settings.pull_deadline,
        max_bytes=settings.pull_max_bytes,
        allow_private_realms=settings.private_realms_of(image_manifests.parse_repository(image.ref)),
        authorities=await ca_certificates.content(work.reader, placement.release),
        registry_ca=await ca_certificates.of_all_registries(settings.registry_ca_file),
    )


async def resolve_name(
    shelf: artifacts.ArtifactCache,
    image: api.ImageSource,
    known: api.ArtifactStatus | None,
    access: Access,
    since: float | None = None,
) -> NamedReference:
    """Return the reference that the spec names now. For a version range it has the highest matching tag.

    ``known`` is what the reference resolved to before. ``since``: a list of tags from after this time will do.
    """
    if image.semver is None:
        return NamedReference(image.ref)
    repository = image_manifests.parse_repository(image.ref)
    listed = await shelf.list_tags(repository, access, since)
    seen = tags.find_settled_tag(known, image)
    picked = tags.pick(repository.name, image.semver, listed.tags, whole=listed.whole, seen=seen)
    if listed.whole or picked == seen:
        return NamedReference(tags.with_tag(image, picked))
    doubt = Event("Warning", Reason.TAG_LIST_INCOMPLETE, tags.describe_doubt(repository.name, picked)[:1024])
    return NamedReference(tags.with_tag(image, picked), (doubt,))


async def ask_registry(work: PassContext, candidate: Candidate, deadline_seconds: float) -> None:
    """Return if the registry offers the candidate's image now; raise as `registry.resolve`."""
    reference = artifacts.reference_of(candidate.artifact.image, None)
    access = replace(await find_access(work, candidate.placement), deadline_seconds=deadline_seconds)
    await work.context.shelf.ask(reference, access)
