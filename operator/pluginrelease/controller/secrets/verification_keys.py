"""Whose signatures count for a release: the Secrets and files that ``artifact.verify`` names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.reading import ObjectReader
from pluginrelease.controller.secrets.secret_field import Named
from pluginrelease.core.errors import Refused
from pluginrelease.core.signing import signature

if TYPE_CHECKING:
    from pluginrelease.edges.signing.signatures import SignatureTrust

KEY_ENDING = ".pub"
ROOT_KEY = "trusted_root.json"


async def trust(
    reader: ObjectReader, release: api.Release, verify: api.Verification, root: Path | None
) -> SignatureTrust:
    """Return whose signatures count. ``root`` is the operator's own trusted root.

    Raises `Waiting` if a Secret does not exist, `Refused` if it is invalid.
    """
    if verify.secret_ref is not None:
        return await keys(
            reader,
            named(
                release, "secretRef", verify.secret_ref, "--from-file=cosign.pub", unfit=Reason.INVALID_VERIFICATION_KEY
            ),
        )
    raw, where = await trusted_root(reader, release, verify, root)
    return await asyncio.to_thread(read_identities, verify.match_oidc_identity or (), raw, where)


async def keys(reader: ObjectReader, one: Named) -> SignatureTrust:
    """Return the public keys of a Secret, by their keys in it."""
    secret = await one.read(reader)
    names = [name for name in secret.get("data") or {} if name.endswith(KEY_ENDING)]
    return await asyncio.to_thread(read_keys, {name: one.value(secret, name) for name in names}, str(one))


def read_keys(found: Mapping[str, bytes], where: str) -> SignatureTrust:
    """Call `signatures.read_keys`. The import is late, as in `artifacts.verify`."""
    from pluginrelease.edges.signing import signatures

    return signatures.read_keys(found, where)


def read_identities(wanted: Sequence[api.OIDCIdentity], raw: bytes, where: str) -> SignatureTrust:
    """Call `signatures.read_identities`. The import is late."""
    from pluginrelease.edges.signing import signatures

    return signatures.read_identities(wanted, raw, where)


async def trusted_root(
    reader: ObjectReader, release: api.Release, verify: api.Verification, root: Path | None
) -> tuple[bytes, str]:
    """Return the JSON of the release's or the operator's trusted root, and its name for messages."""
    if (reference := verify.trusted_root_secret_ref) is not None:
        one = named(
            release, "trustedRootSecretRef", reference, f"--from-file={ROOT_KEY}", unfit=Reason.INVALID_TRUSTED_ROOT
        )
        return one.value(await one.read(reader), ROOT_KEY), str(one)
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
    """Return the operator's own trusted root. Raises `Refused` (TrustedRootMissing)."""
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
    """Return the Secret that a field of ``artifact.verify`` names."""
    return Named(
        f"artifact.verify.{field}",
        release.metadata.namespace,
        reference.name,
        kind="generic",
        content=content,
        missing=Reason.VERIFICATION_SECRET_NOT_FOUND,
        unfit=unfit,
    )
