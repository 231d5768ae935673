"""The certificates of registries' own authorities: one's, read where the release is, and all's, of the operator."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.secrets.secret_field import Named
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.oci.connections import refuse_registry_ca

KEY = "ca.crt"
MAX_BYTES = 1024 * 1024  # what an API server lets a ConfigMap have
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
        missing=Reason.CA_SECRET_NOT_FOUND,
        unfit=Reason.INVALID_CA_SECRET,
    )
    return one.value(await one.read(cluster, TYPES), KEY)


async def of_all_registries(file: Path | None) -> bytes | None:
    """The operator's own authorities, read each time, as a ConfigMap's file changes; raises `Refused`."""
    return None if file is None else await asyncio.to_thread(_read, file)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise refuse_registry_ca(str(error.strerror)) from None
    if len(content) > MAX_BYTES:
        raise refuse_registry_ca(f"it is larger than {MAX_BYTES} bytes")
    return content
