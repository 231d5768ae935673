"""The certificates of a registry's own authority, read where the release is."""

from __future__ import annotations

import base64
import binascii

from pluginrelease.core import api, plan
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.edges import cluster as clusters
from pluginrelease.edges.cluster import Cluster

KEY = "ca.crt"
TYPES = ("Opaque", "kubernetes.io/tls")


async def content(cluster: Cluster, release: api.Release) -> bytes | None:
    """What ``caSecretRef`` names; raises `Waiting` when it is missing, `Refused` when it is none."""
    reference = release.spec.artifact.image.ca_secret_ref
    if reference is None:
        return None
    namespace, name = release.metadata.namespace, reference.name
    secret = await cluster.get(clusters.SECRETS, namespace, name)
    if secret is None:
        raise Waiting(
            "CASecretNotFound",
            f"artifact.image.caSecretRef names Secret {namespace}/{name}, which does not exist",
            f"Create it: kubectl -n {namespace} create secret generic {name} --from-file={KEY}=…",
            retry_after=15.0,
        )
    if secret.get("type") not in TYPES:
        raise wrong(namespace, name, f"is of type {secret.get('type')}, and not of {' or '.join(TYPES)}")
    try:
        return base64.b64decode(secret["data"][KEY], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise wrong(namespace, name, f"has no readable key {KEY}") from error


def wrong(namespace: str, name: str, what: str) -> Refused:
    """A Secret that has no certificates."""
    return Refused(
        "InvalidCASecret",
        f"Secret {namespace}/{name} (artifact.image.caSecretRef) {what}",
        f"Make it anew: kubectl -n {namespace} create secret generic {name} --from-file={KEY}=…",
        recheck=plan.RECHECK,
    )
