"""Check an image's signatures as a manifest asks, with keys and roots from local files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli._access import explain_at_terminal
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.offline.inspection import Usability
from pluginrelease.core.signing import signature
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.signing import signatures
from pluginrelease.edges.signing.signatures import SignatureTrust


@dataclass(frozen=True)
class Signers:
    """Local files instead of the Secrets that a manifest names: public keys, and a trusted root."""

    keys: tuple[Path, ...] = ()
    root: Path | None = None


def read_policy(artifact_source: Any) -> api.Verification | None:
    """Return what ``spec.artifact`` asks for; None if nothing, or if the schema refuses it."""
    asked = artifact_source.get("verify") if isinstance(artifact_source, dict) else None
    try:
        return api.Verification.model_validate(asked) if isinstance(asked, dict) else None
    except ValidationError:
        return None


def find_objection(
    target: str, asked: api.Verification, signers: Signers, access: Access
) -> tuple[Usability, ReleaseError] | None:
    """Return why the image's signatures do not suffice; None if they do."""
    try:
        trust = find_trusted(asked, signers)
        reference = image_manifests.parse(target)
        resolved = registry.resolve(reference, access)
        signatures.verify(reference.pinned(resolved.digest), resolved.index, access, trust)
    except ReleaseError as error:
        answer = Usability.REFUSED if error.reason.is_of_the_signature else Usability.NOT_LOOKED
        return answer, explain_at_terminal(error)
    return None


def find_trusted(asked: api.Verification, signers: Signers) -> SignatureTrust:
    """Return whose signatures count. Raises `Refused` (SignatureNotChecked) if the needed files were not given."""
    if asked.match_oidc_identity is None:
        if not signers.keys:
            raise refuse_unchecked("keys", "--key cosign.pub, for each key that is in the Secret")
        return signatures.read_keys({str(file): read(file) for file in signers.keys}, "--key")
    if signers.root is None:
        raise refuse_unchecked("a keyless signature", "--trusted-root trusted_root.json")
    return signatures.read_identities(asked.match_oidc_identity, read(signers.root), f"--trusted-root {signers.root}")


def refuse_unchecked(what: str, how: str) -> Refused:
    """Return the error for a manifest that names Secrets, which only a cluster has."""
    return Refused(
        Reason.SIGNATURE_NOT_CHECKED,
        f"artifact.verify asks for {what}, and nothing was given to verify with",
        f"Give {how}.",
    )


def read(file: Path) -> bytes:
    """Return a file's first bytes, more than any key or root has. Raises `Refused` (TargetNotFound)."""
    try:
        with file.open("rb") as opened:
            return opened.read(signature.MAX_TRUSTED_ROOT_BYTES)
    except OSError as error:
        raise Refused(
            Reason.TARGET_NOT_FOUND, f"{file} cannot be read: {error.strerror}", "Name another file."
        ) from None
