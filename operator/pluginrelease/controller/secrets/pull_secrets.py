"""The pull secret: read in the release's namespace and copied to the gateways', or read in the gateways'."""

from __future__ import annotations

from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.reading import ObjectReader
from pluginrelease.controller.secrets.secret_field import Named
from pluginrelease.core import sources
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.registry import credentials
from pluginrelease.core.rollout import plan
from pluginrelease.edges.kubernetes import resources

JSON = dict[str, Any]

KEY = ".dockerconfigjson"
TYPES = ("kubernetes.io/dockerconfigjson",)


async def content(reader: ObjectReader, placement: Placement) -> bytes | None:
    """Return the release's pull secret in the form that gateways use; None without one.

    Raises `Waiting` if it is missing, `Refused` if it is invalid, also if only for gateways.
    """
    one = named(placement)
    if one is None:
        return None
    raw = one.value(await one.read(reader, TYPES), KEY)
    image = sources.find_image(placement.spec.artifact)
    return credentials.render_for_agent(raw, image_manifests.parse_repository(image.ref))


def named(placement: Placement) -> Named | None:
    """Return the Secret that the operator pulls with; None without one.

    One in the gateway's namespace may be read only after that namespace has allowed the release.
    """
    image = sources.find_image(placement.spec.artifact)
    if image.gateway_pull_secret_ref is not None:
        place = ("gatewayPullSecretRef", placement.gateway.namespace, image.gateway_pull_secret_ref.name)
    elif image.pull_secret_ref is not None:
        place = ("pullSecretRef", placement.metadata.namespace, image.pull_secret_ref.name)
    else:
        return None
    field, namespace, name = place
    return Named(
        f"artifact.image.{field}",
        namespace,
        name,
        kind="docker-registry",
        content="--docker-server=… --docker-username=… --docker-password=…",
        missing=Reason.PULL_SECRET_NOT_FOUND,
        unfit=Reason.INVALID_PULL_SECRET,
    )


async def copied(reader: ObjectReader, placement: Placement) -> JSON | None:
    """Return the copy in the gateway's namespace; None if that is the release's own."""
    if placement.is_local:
        return None
    return await reader.get(resources.SECRETS, placement.gateway.namespace, target.copied_secret_name(placement))


async def writes(reader: ObjectReader, placement: Placement) -> tuple[plan.Write, ...]:
    """Return the writes that create or renew the copy; none if it is up to date."""
    if placement.is_local or sources.find_image(placement.spec.artifact).pull_secret_ref is None:
        return ()
    source = named(placement)
    if source is None:
        return ()
    manifest = target.render_pull_secret(placement, (await source.read(reader, TYPES))["data"][KEY])
    return plan.draft(placement, [(manifest, await copied(reader, placement))]).writes


async def superfluous(reader: ObjectReader, placement: Placement) -> JSON | None:
    """Return the copy of a Secret that the release no longer names."""
    copy = None if sources.find_image(placement.spec.artifact).pull_secret_ref else await copied(reader, placement)
    return copy if copy is not None and plan.is_ours(placement.release, copy) else None
