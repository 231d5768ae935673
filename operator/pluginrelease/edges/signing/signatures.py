"""Read signatures of an image from its registry, and verify them.

Public keys are verified with cryptography, keyless signatures with sigstore-python and a given trusted root. Only the
image's own registry is asked. `pluginrelease.core.signing.signature` parses signatures and decides whose count. All
functions block.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import re2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import Digest, Reference, sanitize
from pluginrelease.core.errors import Refused
from pluginrelease.core.signing import signature
from pluginrelease.core.signing.signature import (
    Rejected,
    SignatureCandidate,
    Signed,
    Verified,
    reject_invalid,
    reject_untrusted,
)
from pluginrelease.core.wording import count_noun
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.registry import Attachments

if TYPE_CHECKING:
    from sigstore.verify import Verifier

MIN_RSA_BITS = 2048
MAX_PATTERN_MEMORY = 1 << 20  # bytes for one compiled expression

ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")

Lineage = tuple[Digest, ...]
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


class SignatureTrust(Protocol):
    """Whose signatures count."""

    def describe_wanted(self) -> str:
        """Return a phrase for people: "one of the keys …"."""

    def check(self, raw: bytes, candidate: SignatureCandidate, lineage: Lineage) -> Verified | None:
        """Return who made a signature, and of which digest; None if it is no signature. Raises `Rejected`."""


@dataclass(frozen=True)
class Keys:
    """Public keys by name."""

    keys: tuple[tuple[str, PublicKey], ...]

    def describe_wanted(self) -> str:
        """Return a phrase for people."""
        names = ", ".join(name for name, _ in self.keys)
        return f"the key {names}" if len(self.keys) == 1 else f"one of the keys {names}"

    def check(self, raw: bytes, candidate: SignatureCandidate, lineage: Lineage) -> Verified | None:
        """Accept any of the keys. The transparency log is not checked: only the key counts."""
        signed = signature.read_bundle(raw) if candidate.manifest else signature.read_simple(candidate, raw)
        if signed is None:
            return None
        name = next((name for name, key in self.keys if is_made_by(key, signed)), None)
        if name is None:
            raise reject_untrusted("it is by another key, or was changed after it was signed")
        return Verified(f"key {name}", signature.find_signed_digest(signed, lineage))


@dataclass(frozen=True)
class Identities:
    """Who may sign without a key, and the JSON of the trusted root, whose certificates count."""

    identities: tuple[api.OIDCIdentity, ...]
    root: bytes = field(repr=False)
    where: str

    def describe_wanted(self) -> str:
        """Return a phrase for people."""
        first = self.identities[0]
        more = f" or {count_noun(len(self.identities) - 1, 'other')}" if len(self.identities) > 1 else ""
        return f"an identity like {first.subject} ({first.issuer}){more}"

    def check(self, raw: bytes, candidate: SignatureCandidate, lineage: Lineage) -> Verified | None:
        """Check certificate, log entry and signature, and then the certificate's identity."""
        if candidate.manifest is None:
            kind = "keyless in the form of cosign 2, which is not read" if candidate.certified else "made with a key"
            raise reject_untrusted(f"it is {kind}; sign it with cosign 3")
        signed = signature.read_bundle(raw)
        if signed is None:
            return None
        if not signed.certified:
            raise reject_untrusted("it was made with a key")
        stood, issuer, subject = check_certificate(raw, self.root, self.where)
        if stood != signed.message:
            raise reject_invalid("its bundle can be read in two ways")
        signer = signature.check_identity(issuer, subject, self.identities, matches)
        return Verified(signer, signature.find_signed_digest(signed, lineage))


def verify(image: Reference, index: Digest | None, access: Access, trust: SignatureTrust) -> Verified:
    """Return the first signature that counts, of the image or of the index that led to it; ``image`` has a digest.

    Raises `Refused` (NotSigned, UntrustedSigner, SignatureInvalid) if there is none, and what `registry.resolve`
    raises: if something cannot be read now, it is never taken for missing.
    """
    assert image.digest is not None  # noqa: S101  a tag could be another image's by now
    rejected: list[Rejected] = []
    with registry.open_attachments(image, access) as beside:
        lineage = beside.lineage(image.digest, index)
        for number, candidate in enumerate(find_candidates(beside, lineage, rejected)):
            if number >= signature.MAX_CANDIDATES:
                rejected.append(reject_invalid(f"no more than {signature.MAX_CANDIDATES} are read of one image"))
                break
            try:
                verified = trust.check(read_candidate(beside, candidate), candidate, lineage)
            except Rejected as why:
                rejected.append(why)
            else:
                if verified is not None:
                    return verified
    raise signature.conclude(rejected, lineage, trust.describe_wanted())


def find_candidates(beside: Attachments, lineage: Lineage, rejected: list[Rejected]) -> Iterator[SignatureCandidate]:
    """Yield all possible signatures, the manifest's first. The registry is asked only as far as the caller iterates.

    A list that cannot be read goes to ``rejected``.
    """
    for digest in lineage:
        for read, listed in (
            (partial(beside.referrers, digest, signature.referrers_tag(digest)), signature.list_referring),
            (partial(beside.manifest, signature.tag(digest)), signature.list_simple),
        ):
            try:
                raw = read_untrusted(read)
                found = () if raw is None else listed(raw)
            except Rejected as why:
                rejected.append(why)
            else:
                yield from found


def read_candidate(beside: Attachments, candidate: SignatureCandidate) -> bytes:
    """Return the bytes of a candidate. Raises `Rejected` if they are too many or do not match their digest."""
    blob = candidate.content
    if candidate.manifest is not None:
        manifest = read_untrusted(partial(beside.manifest, str(candidate.manifest.digest)))
        if manifest is None:
            raise reject_invalid("its manifest is listed, and is not in the registry")
        blob = signature.find_bundle(manifest)
    if blob is None:
        raise reject_invalid("it has no content")
    if blob.size > signature.MAX_BYTES:
        raise reject_invalid(f"it is {blob.size} bytes long, more than {signature.MAX_BYTES}")
    raw = read_untrusted(partial(beside.blob, blob, signature.MAX_BYTES))
    if raw is None:
        raise reject_invalid("its content is not in the registry")
    return raw


def read_untrusted(read: Callable[[], bytes | None]) -> bytes | None:
    """Return what was read. Wrong bytes only reject this candidate; they are no error of the registry."""
    try:
        return read()
    except Refused as refused:
        if refused.reason.is_of_the_bytes:  # every user who may push can cause it
            raise reject_invalid(refused.message) from None
        raise


# --- with keys ---


def read_keys(pems: Mapping[str, bytes], where: str) -> Keys:
    """Return public keys from PEM, by name. Raises `Refused` (InvalidVerificationKey); ``where`` is for its message."""
    if not 0 < len(pems) <= signature.MAX_KEYS:
        raise refuse_key(f"{where} has {len(pems)} keys that end in .pub, and not 1 to {signature.MAX_KEYS}")
    return Keys(tuple((name, read_public_key(pem, f"{name} in {where}")) for name, pem in sorted(pems.items())))


def read_public_key(pem: bytes, where: str) -> PublicKey:
    """Return one PEM public key: ECDSA, Ed25519, or RSA of at least 2048 bits. No message contains the bytes."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise refuse_key(f"{where} is not a public key in PEM") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise refuse_key(f"{where} is an RSA key of {key.key_size} bits, less than {MIN_RSA_BITS}")
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise refuse_key(f"{where} is neither an ECDSA, an Ed25519 nor an RSA key")
    return key


def refuse_key(what: str) -> Refused:
    """Return the error for unusable keys."""
    return Refused(
        Reason.INVALID_VERIFICATION_KEY,
        what,
        "Put public keys into it as cosign writes them: kubectl create secret generic NAME --from-file=cosign.pub",
        recheck=signature.RECHECK,
    )


def is_made_by(key: PublicKey, signed: Signed) -> bool:
    """Return whether one of the signatures is by this key."""
    return any(is_valid(key, made, signed.message) for made in signed.signatures)


def is_valid(key: PublicKey, made: bytes, message: bytes) -> bool:
    """Return whether a signature is valid, as cosign makes them: SHA-256, or the digest of a longer curve."""
    for digest in digests(key):
        with suppress(InvalidSignature):
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(made, message, ec.ECDSA(digest))
            elif isinstance(key, rsa.RSAPublicKey):
                key.verify(made, message, padding.PKCS1v15(), digest)
            else:
                key.verify(made, message)
            return True
    return False


def digests(key: PublicKey) -> tuple[hashes.HashAlgorithm, ...]:
    """Return the digests that a key may have signed; for Ed25519 none, because it signs the message."""
    longer = {384: hashes.SHA384(), 521: hashes.SHA512()}
    own = longer.get(key.curve.key_size) if isinstance(key, ec.EllipticCurvePublicKey) else None
    return (hashes.SHA256(), own) if own else (hashes.SHA256(),)


# --- without keys ---


def read_identities(wanted: Sequence[api.OIDCIdentity], root: bytes, where: str) -> Identities:
    """Return a keyless policy. Raises `Refused` (InvalidIdentityPattern, InvalidTrustedRoot).

    ``where`` is for the message.
    """
    for identity in wanted:
        for field_name, pattern in (("issuer", identity.issuer), ("subject", identity.subject)):
            check_pattern(f"artifact.verify.matchOIDCIdentity[].{field_name}", pattern)
    make_verifier(root, where)
    return Identities(tuple(wanted), root, where)


def check_pattern(name: str, pattern: str) -> None:
    """Raise `Refused` (InvalidIdentityPattern) if RE2 cannot compile the pattern."""
    try:
        compile_pattern(pattern)
    except re2.error as error:
        raise Refused(
            Reason.INVALID_IDENTITY_PATTERN,
            f"{name} is {pattern!r}, which RE2 cannot read: {error}",
            r"Write a regular expression, for example https://github\.com/team/.*",
        ) from None


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Any:
    """Compile an expression of RE2: matching takes time in proportion to the text, for any pattern."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY
    return re2.compile(pattern, options)


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern matches the whole text."""
    return compile_pattern(pattern).fullmatch(text) is not None


@lru_cache(maxsize=8)
def make_verifier(root: bytes, where: str) -> Verifier:
    """Return a verifier of sigstore-python with this trusted root. Raises `Refused` (InvalidTrustedRoot)."""
    from sigstore.models import TrustedRoot  # a late import: it loads a dozen packages, and few releases need it
    from sigstore.verify import Verifier

    try:
        with tempfile.NamedTemporaryFile(prefix="pluginrelease-", suffix=".json") as file:
            file.write(root)
            file.flush()
            return Verifier(trusted_root=TrustedRoot.from_file(file.name))
    except Exception as error:  # errors of the library's parsers are not translated
        raise Refused(
            Reason.INVALID_TRUSTED_ROOT,
            f"{where} is not a trusted root that can be used ({type(error).__name__})",
            "Make it with `cosign trusted-root create`, or take that of the public instance from its TUF repository.",
            recheck=signature.RECHECK,
        ) from None


def check_certificate(raw: bytes, root: bytes, where: str) -> tuple[bytes, str, str]:
    """Verify a bundle; return what its signature is over, and the certificate's issuer and subject.

    It verifies the certificate's chain and log entry, the transparency log's entry and its proof, the time, and the
    signature. Raises `Rejected`.
    """
    from sigstore.errors import VerificationError
    from sigstore.models import Bundle

    seen = _Certificate()
    try:
        kind, payload = make_verifier(root, where).verify_dsse(Bundle.from_json(raw), seen)
        return signature.encode_pae(kind, payload), seen.issuer(), seen.subject()
    except VerificationError as error:
        raise reject_invalid(f"it does not verify: {sanitize(str(error), 200)}") from None
    except (Rejected, Refused):
        raise
    except Exception as error:  # if any error is raised, this bundle of an unknown signer does not count
        raise reject_invalid(f"its bundle cannot be read ({type(error).__name__})") from None


class _Certificate:
    """A policy for sigstore-python that keeps the certificate; our own rules then decide about its identity."""

    def __init__(self) -> None:
        self._certificate: x509.Certificate | None = None

    def verify(self, cert: x509.Certificate) -> None:
        """Accept any certificate. All other checks come before and after."""
        self._certificate = cert

    def issuer(self) -> str:
        """Return who identified the signer (sigstore/fulcio, docs/oid-info.md: 1.8, and before it 1.1)."""
        with suppress(x509.ExtensionNotFound):
            return asn1.decode_der(str, self._extension(ISSUER_V2))
        return self._extension(ISSUER_V1).decode()

    def subject(self) -> str:
        """Return the certificate's only alternative name."""
        assert self._certificate is not None  # noqa: S101  sigstore-python asks the policy, or raises
        names = self._certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found: list[str] = [
            *names.get_values_for_type(x509.UniformResourceIdentifier),
            *names.get_values_for_type(x509.RFC822Name),
        ]
        if len(names) != 1 or len(found) != 1:
            raise reject_invalid("its certificate does not have one name, a URI or an e-mail address")
        return found[0]

    def _extension(self, oid: x509.ObjectIdentifier) -> bytes:
        assert self._certificate is not None  # noqa: S101  see subject
        value = self._certificate.extensions.get_extension_for_oid(oid).value
        assert isinstance(value, x509.UnrecognizedExtension)  # noqa: S101  it is none of the standard ones
        return value.value
