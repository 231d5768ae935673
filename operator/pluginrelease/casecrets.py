"""The certificates of a registry's own authority, read where the release is."""

from __future__ import annotations

from pluginrelease.core import api
from pluginrelease.edges.cluster import Cluster
from pluginrelease.named import Named

KEY = "ca.crt"
TYPES = ("Opaque", "kubernetes.io/tls")


async def content(cluster: Cluster, release: api.Release) -> bytes | None:
    """What ``caSecretRef`` names; raises `Waiting` when it is missing, `Refused` when it is none."""
    reference = release.spec.artifact.image.ca_secret_ref
    if reference is None:
        return None
    one = Named(
        "artifact.image.caSecretRef",
        release.metadata.namespace,
        reference.name,
        kind="generic",
        content=f"--from-file={KEY}=…",
        missing="CASecretNotFound",
        unfit="InvalidCASecret",
    )
    return one.value(await one.read(cluster, TYPES), KEY)
