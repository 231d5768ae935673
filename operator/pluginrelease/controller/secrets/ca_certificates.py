"""CA certificates for registries: those of one release, from its Secret, and those of the operator, from a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.reading import ObjectReader
from pluginrelease.controller.secrets.secret_field import Named
from pluginrelease.core import sources
from pluginrelease.edges.oci.connections import refuse_registry_ca

KEY = "ca.crt"
MAX_BYTES = 1024 * 1024  # the API server's limit for a ConfigMap
TYPES = ("Opaque", "kubernetes.io/tls")


async def content(reader: ObjectReader, release: api.Release) -> bytes | None:
    """Return the content of ``caSecretRef``. Raises `Waiting` if it is missing, `Refused` if it is invalid."""
    reference = sources.find_image(release.spec.artifact).ca_secret_ref
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
    return one.value(await one.read(reader, TYPES), KEY)


async def of_all_registries(file: Path | None) -> bytes | None:
    """Return the operator's own CA certificates. Raises `Refused`.

    They are read at each call, because a mounted ConfigMap changes.
    """
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
