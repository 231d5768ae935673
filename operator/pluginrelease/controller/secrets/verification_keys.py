"""Whose signatures count for a release: the Secrets and files that ``artifact.verify`` names, read where they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.secrets.secret_field import Named
from pluginrelease.core.errors import Refused
from pluginrelease.core.signing import signature
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.signing import signatures
from pluginrelease.edges.signing.signatures import SignatureTrust

KEY_ENDING = ".pub"
ROOT_KEY = "trusted_root.json"


async def trust(cluster: Cluster, release: api.Release, verify: api.Verification, root: Path | None) -> SignatureTrust:
    """Whose signatures count; ``root`` is the operator's own trusted root.

    Raises `Waiting` for a Secret that is not there, `Refused` for what cannot be used.
    """
    if verify.secret_ref is not None:
        return await keys(
            cluster,
            named(
                release, "secretRef", verify.secret_ref, "--from-file=cosign.pub", unfit=Reason.INVALID_VERIFICATION_KEY
            ),
        )
    raw, where = await trusted_root(cluster, release, verify, root)
    return await asyncio.to_thread(signatures.read_identities, verify.match_oidc_identity or (), raw, where)


async def keys(cluster: Cluster, one: Named) -> SignatureTrust:
    """The public keys of a Secret, by the names they have in it."""
    secret = await one.read(cluster)
    names = [name for name in secret.get("data") or {} if name.endswith(KEY_ENDING)]
    return signatures.read_keys({name: one.value(secret, name) for name in names}, str(one))


async def trusted_root(
    cluster: Cluster, release: api.Release, verify: api.Verification, root: Path | None
) -> tuple[bytes, str]:
    """The JSON of the trusted root, the release's own or the operator's, and what it is called in messages."""
    if (reference := verify.trusted_root_secret_ref) is not None:
        one = named(
            release, "trustedRootSecretRef", reference, f"--from-file={ROOT_KEY}", unfit=Reason.INVALID_TRUSTED_ROOT
        )
        return one.value(await one.read(cluster), ROOT_KEY), str(one)
    if root is None:
        raise Refused(
            Reason.TRUSTED_ROOT_MISSING,
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
            Reason.TRUSTED_ROOT_MISSING,
            f"The operator's trusted root cannot be read: {error.strerror}",
            "Mount it where --trusted-root says.",
            recheck=signature.RECHECK,
        ) from None
    return raw


def named(
    release: api.Release,
    field: str,
    reference: api.SecretReference,
    content: str,
    *,
    unfit: Reason,
) -> Named:
    """A Secret that artifact.verify names."""
    return Named(
        f"artifact.verify.{field}",
        release.metadata.namespace,
        reference.name,
        kind="generic",
        content=content,
        missing=Reason.VERIFICATION_SECRET_NOT_FOUND,
        unfit=unfit,
    )
