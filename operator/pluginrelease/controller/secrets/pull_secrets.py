"""The pull secret: read where the release is, and copied to where the gateways are, or read there."""

from __future__ import annotations

from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.secrets.secret_field import Named
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.registry import credentials
from pluginrelease.core.rollout import plan
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster

JSON = dict[str, Any]

KEY = ".dockerconfigjson"
TYPES = ("kubernetes.io/dockerconfigjson",)


async def content(cluster: Cluster, placement: Placement) -> bytes | None:
    """Content of the release's pull secret, as gateways use it; raises `Waiting` when it is missing, `Refused` when it
    is none, or none for gateways."""
    one = named(placement)
    if one is None:
        return None
    raw = one.value(await one.read(cluster, TYPES), KEY)
    return credentials.render_for_agent(raw, image_manifests.parse_repository(placement.spec.artifact.image.ref))


def named(placement: Placement) -> Named | None:
    """The Secret that the operator pulls with; one in the gateway's namespace only after that has consented."""
    image = placement.spec.artifact.image
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


async def copied(cluster: Cluster, placement: Placement) -> JSON | None:
    """The copy in the gateway's namespace; in the release's own there is none."""
    if placement.is_local:
        return None
    return await cluster.get(resources.SECRETS, placement.gateway.namespace, target.copied_secret_name(placement))


async def writes(cluster: Cluster, placement: Placement) -> tuple[plan.Write, ...]:
    """What makes the copy, or renews it; what is there already is left alone."""
    if placement.is_local or placement.spec.artifact.image.pull_secret_ref is None:
        return ()
    source = named(placement)
    if source is None:
        return ()
    manifest = target.render_pull_secret(placement, (await source.read(cluster, TYPES))["data"][KEY])
    return plan.draft(placement, [(manifest, await copied(cluster, placement))]).writes


async def superfluous(cluster: Cluster, placement: Placement) -> JSON | None:
    """The copy of a secret that the release names no longer."""
    copy = None if placement.spec.artifact.image.pull_secret_ref else await copied(cluster, placement)
    return copy if copy is not None and plan.is_ours(placement.release, copy) else None
