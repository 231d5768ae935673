"""The pull secret: read where the release is, and copied to where the gateways are, or read there."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from pluginrelease.core import api, artifact, plan, pullsecret, target
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.edges import cluster as clusters
from pluginrelease.edges.cluster import Cluster

JSON = dict[str, Any]


async def content(cluster: Cluster, release: api.Release) -> bytes | None:
    """Content of the release's pull secret, as gateways use it; raises `Waiting` when it is missing, `Refused` when it
    is none, or none for gateways."""
    at, secret = place(release), await named(cluster, release)
    if at is None or secret is None:
        return None
    try:
        raw = base64.b64decode(secret["data"][".dockerconfigjson"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise wrong(at, "has no readable key .dockerconfigjson") from error
    return pullsecret.as_agent(raw, artifact.place(release.spec.artifact.image.ref))


@dataclass(frozen=True)
class Place:
    """Which Secret a release names, and in which field."""

    field: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name} (artifact.image.{self.field})"


def place(release: api.Release) -> Place | None:
    """The Secret that the operator pulls with; one in the gateway's namespace only after that has consented."""
    image = release.spec.artifact.image
    if image.gateway_pull_secret_ref is not None:
        return Place("gatewayPullSecretRef", release.spec.gateway.namespace, image.gateway_pull_secret_ref.name)
    if image.pull_secret_ref is not None:
        return Place("pullSecretRef", release.metadata.namespace, image.pull_secret_ref.name)
    return None


async def named(cluster: Cluster, release: api.Release) -> JSON | None:
    """The Secret that the release names, of the right type."""
    at = place(release)
    if at is None:
        return None
    secret = await cluster.get(clusters.SECRETS, at.namespace, at.name)
    if secret is None:
        raise Waiting(
            "PullSecretNotFound",
            f"artifact.image.{at.field} names Secret {at.namespace}/{at.name}, which does not exist",
            f"Create it: kubectl -n {at.namespace} create secret docker-registry {at.name} …",
            retry_after=15.0,
        )
    if secret.get("type") != "kubernetes.io/dockerconfigjson":
        raise wrong(at, f"is of type {secret.get('type')}, not kubernetes.io/dockerconfigjson")
    return secret


async def copied(cluster: Cluster, release: api.Release) -> JSON | None:
    """The copy in the gateway's namespace; in the release's own there is none."""
    if target.is_local(release):
        return None
    return await cluster.get(clusters.SECRETS, release.spec.gateway.namespace, target.copied_secret_name(release))


async def writes(cluster: Cluster, release: api.Release) -> tuple[plan.Write, ...]:
    """What makes the copy, or renews it; what is there already is left alone."""
    if target.is_local(release) or release.spec.artifact.image.pull_secret_ref is None:
        return ()
    source = await named(cluster, release)
    if source is None:
        return ()
    manifest = target.pull_secret(release, source["data"][".dockerconfigjson"])
    return plan.draft(release, [(manifest, await copied(cluster, release))]).writes


async def superfluous(cluster: Cluster, release: api.Release) -> JSON | None:
    """The copy of a secret that the release names no longer."""
    copy = None if release.spec.artifact.image.pull_secret_ref else await copied(cluster, release)
    return copy if copy is not None and plan.is_ours(release, copy) else None


def wrong(at: Place, what: str) -> Refused:
    """A pull secret that gateways could not use."""
    return Refused(
        "InvalidPullSecret",
        f"{at} {what}",
        f"Make it anew: kubectl -n {at.namespace} create secret docker-registry {at.name} --docker-server=… "
        "--docker-username=… --docker-password=…",
        recheck=plan.RECHECK,
    )
