"""The pull secret: read where the release is, and copied to where the gateways are."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pluginrelease.core import api, artifact, plan, pullsecret, target
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.edges import cluster as clusters
from pluginrelease.edges.cluster import Cluster

JSON = dict[str, Any]


async def content(cluster: Cluster, release: api.Release) -> bytes | None:
    """Content of the release's pull secret, as gateways use it; raises `Waiting` when it is missing, `Refused` when it
    is none, or none for gateways."""
    secret = await named(cluster, release)
    if secret is None:
        return None
    try:
        raw = base64.b64decode(secret["data"][".dockerconfigjson"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise wrong(release, "has no readable key .dockerconfigjson") from error
    return pullsecret.as_agent(raw, artifact.place(release.spec.artifact.image.ref))


async def named(cluster: Cluster, release: api.Release) -> JSON | None:
    """The Secret that the release names, of the right type."""
    reference = release.spec.artifact.image.pull_secret_ref
    if reference is None:
        return None
    namespace = release.metadata.namespace
    secret = await cluster.get(clusters.SECRETS, namespace, reference.name)
    if secret is None:
        raise Waiting(
            "PullSecretNotFound",
            f"artifact.image.pullSecretRef names Secret {namespace}/{reference.name}, which does not exist",
            f"Create it: kubectl -n {namespace} create secret docker-registry {reference.name} …",
            retry_after=15.0,
        )
    if secret.get("type") != "kubernetes.io/dockerconfigjson":
        raise wrong(release, f"is of type {secret.get('type')}, not kubernetes.io/dockerconfigjson")
    return secret


async def copied(cluster: Cluster, release: api.Release) -> JSON | None:
    """The copy in the gateway's namespace; in the release's own there is none."""
    if target.is_local(release):
        return None
    return await cluster.get(clusters.SECRETS, release.spec.gateway.namespace, target.copied_secret_name(release))


async def writes(cluster: Cluster, release: api.Release) -> tuple[plan.Write, ...]:
    """What makes the copy, or renews it."""
    source = None if target.is_local(release) else await named(cluster, release)
    if source is None:
        return ()
    manifest = target.pull_secret(release, source["data"][".dockerconfigjson"])
    return plan.draft(release, [(manifest, await copied(cluster, release))]).writes


async def superfluous(cluster: Cluster, release: api.Release) -> JSON | None:
    """The copy of a secret that the release names no longer."""
    copy = None if release.spec.artifact.image.pull_secret_ref else await copied(cluster, release)
    return copy if copy is not None and plan.is_ours(release, copy) else None


def wrong(release: api.Release, what: str) -> Refused:
    """A pull secret that gateways could not use."""
    reference = release.spec.artifact.image.pull_secret_ref
    name, namespace = reference.name if reference else "", release.metadata.namespace
    return Refused(
        "InvalidPullSecret",
        f"Secret {namespace}/{name} (artifact.image.pullSecretRef) {what}",
        f"Make it anew: kubectl -n {namespace} create secret docker-registry {name} --docker-server=… "
        "--docker-username=… --docker-password=…",
        recheck=plan.RECHECK,
    )
