"""Whose signatures count for a release: the Secrets and files that ``artifact.verify`` names, read where they are."""

from __future__ import annotations

import asyncio
import base64
import binascii
from pathlib import Path
from typing import Any

from pluginrelease.core import api, signature
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.edges import cluster as clusters
from pluginrelease.edges import signatures
from pluginrelease.edges.cluster import Cluster
from pluginrelease.edges.signatures import Trust

KEY_ENDING = ".pub"
ROOT_KEY = "trusted_root.json"
RETRY = 15.0  # seconds

JSON = dict[str, Any]


async def trust(cluster: Cluster, release: api.Release, verify: api.Verification, root: Path | None) -> Trust:
    """Whose signatures count; ``root`` is the operator's own trusted root.

    Raises `Waiting` for a Secret that is not there, `Refused` for what cannot be used.
    """
    if verify.secret_ref is not None:
        secret = await named(cluster, release, verify.secret_ref, "secretRef", "--from-file=cosign.pub")
        where = f"Secret {release.metadata.namespace}/{verify.secret_ref.name} (artifact.verify.secretRef)"
        return signatures.read_keys(contents(secret, where), where)
    raw, where = await trusted_root(cluster, release, verify, root)
    return await asyncio.to_thread(signatures.read_identities, verify.match_oidc_identity or (), raw, where)


async def trusted_root(
    cluster: Cluster, release: api.Release, verify: api.Verification, root: Path | None
) -> tuple[bytes, str]:
    """The JSON of the trusted root, the release's own or the operator's, and what it is called in messages."""
    if (reference := verify.trusted_root_secret_ref) is not None:
        secret = await named(cluster, release, reference, "trustedRootSecretRef", f"--from-file={ROOT_KEY}")
        where = f"Secret {release.metadata.namespace}/{reference.name} (artifact.verify.trustedRootSecretRef)"
        return decoded(secret, ROOT_KEY, where), where
    if root is None:
        raise Refused(
            "TrustedRootMissing",
            "artifact.verify.matchOIDCIdentity asks for a keyless signature, and neither the release nor the operator "
            "has a trusted root to verify it with",
            f"Name a Secret with the key {ROOT_KEY} in artifact.verify.trustedRootSecretRef, or give the operator one "
            "with --trusted-root.",
        )
    return await asyncio.to_thread(read_root, root), f"--trusted-root {root.name}"


def read_root(file: Path) -> bytes:
    """The operator's own trusted root; raises `Refused` (``TrustedRootMissing``)."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(signature.MAX_TRUSTED_ROOT_BYTES + 1)
    except OSError as error:
        raise Refused(
            "TrustedRootMissing",
            f"The operator's trusted root cannot be read: {error.strerror}",
            "Mount it where --trusted-root says.",
            recheck=signature.RECHECK,
        ) from None
    return raw


async def named(
    cluster: Cluster, release: api.Release, reference: api.SecretReference, field: str, content: str
) -> JSON:
    """The Secret that a field of artifact.verify names; raises `Waiting` (``VerificationSecretNotFound``)."""
    namespace, name = release.metadata.namespace, reference.name
    secret = await cluster.get(clusters.SECRETS, namespace, name)
    if secret is None:
        raise Waiting(
            "VerificationSecretNotFound",
            f"artifact.verify.{field} names Secret {namespace}/{name}, which does not exist",
            f"Create it: kubectl -n {namespace} create secret generic {name} {content}",
            retry_after=RETRY,
        )
    return secret


def contents(secret: JSON, where: str) -> dict[str, bytes]:
    """The public keys of a Secret, by the names they have in it."""
    names = [name for name in secret.get("data") or {} if name.endswith(KEY_ENDING)]
    return {name: decoded(secret, name, where) for name in names}


def decoded(secret: JSON, key: str, where: str) -> bytes:
    """One value of a Secret."""
    try:
        return base64.b64decode(secret["data"][key], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise Refused(
            "InvalidVerificationKey" if key != ROOT_KEY else "InvalidTrustedRoot",
            f"{where} has no readable key {key}",
            f"Make it anew, with --from-file={key}.",
            recheck=signature.RECHECK,
        ) from None
