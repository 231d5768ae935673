"""Signatures of an image: who must have made one, what a signature says, and what several of them mean together.

Two forms are read, as cosign writes them (sigstore/cosign, specs/SIGNATURE_SPEC.md and specs/BUNDLE_SPEC.md):

* payloads of "simple signing" under the tag ``sha256-<hex>.sig``
* Sigstore bundles with an in-toto statement in a DSSE envelope, which refer to the image

Nothing that a registry says about a signature is trusted; only the bytes that were signed count. There is no
cryptography here; see `pluginrelease.edges.signing.signatures`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Descriptor, Digest
from pluginrelease.core.errors import Refused
from pluginrelease.core.wording import count_noun

MAX_CANDIDATES = 32  # read of one image: every client that may push can make any number of them
MAX_BYTES = 1024 * 1024  # of one payload or bundle
MAX_KEYS = 32
MAX_SIGNATURES = 8  # in one envelope
MAX_SUBJECTS = 256  # of one statement
MAX_TRUSTED_ROOT_BYTES = 1024 * 1024
TOLD = 3  # rejected signatures that a message names
RECHECK = 60.0  # seconds: signing comes after pushing, often a minute later

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLES = (BUNDLE, "application/vnd.dev.sigstore.bundle+json;version=0.3")
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "https://sigstore.dev/cosign/sign/v1"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_SIMPLE_TYPE = "cosign container image signature"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_PREDICATE = "dev.sigstore.bundle.predicateType"

JSON = dict[str, Any]
Matches = Callable[[str, str], bool]


class Rejected(Exception):
    """A candidate that does not count: the reason to report if no other one counts, and what was found."""

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what


def reject_invalid(what: str) -> Rejected:
    """Reject one that cannot be read, is about another image, or is broken."""
    return Rejected(Reason.SIGNATURE_INVALID, what)


def reject_untrusted(what: str) -> Rejected:
    """Reject one whose signer the policy does not name."""
    return Rejected(Reason.UNTRUSTED_SIGNER, what)


@dataclass(frozen=True)
class SignatureCandidate:
    """Something that may be a signature.

    ``content`` is the blob to fetch for it; for a bundle it is in ``manifest``. ``signature`` (base64) and
    ``certified`` belong to the simple form, whose signatures are annotations.
    """

    content: Descriptor | None = None
    manifest: Descriptor | None = None
    signature: str = ""
    certified: bool = False


@dataclass(frozen=True)
class Signed:
    """What was signed (``message``), its signatures, and the manifest digests (``sha256:…``) that it is about.

    ``certified``: the signer's key comes with a certificate, and not from a policy.
    """

    message: bytes
    signatures: tuple[bytes, ...]
    digests: frozenset[str]
    certified: bool = False


@dataclass(frozen=True)
class Verified:
    """Who signed, and which digest: the manifest's, or that of an index that names it."""

    signer: str
    digest: Digest


def compute_policy(verify: api.Verification) -> str:
    """Return ten hex digits over the policy, so that a change of it is noticed."""
    canonical = json.dumps(verify.wire(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def is_done(spec: api.ArtifactSource, known: api.ArtifactStatus | None) -> bool:
    """Return True if an artifact was verified by the present policy, or none is required."""
    if spec.verify is None:
        return True
    return known is not None and known.signer is not None and known.policy == compute_policy(spec.verify)


# --- where signatures are ---


def tag(digest: Digest) -> str:
    """Return the tag of an image's simple signatures."""
    return f"sha256-{digest.hex}.sig"


def referrers_tag(digest: Digest) -> str:
    """Return the tag of the list of referrers, for a registry without the referrers API (OCI distribution 1.1)."""
    return f"sha256-{digest.hex}"


def list_simple(raw: bytes) -> tuple[SignatureCandidate, ...]:
    """Return the candidates in a manifest of simple signatures, newest first. Raises `Rejected`."""
    found = []
    for entry, layer in _iterate_descriptors(raw, "layers"):
        notes = _as_object(entry.get("annotations"))
        if layer.media_type == SIMPLE_SIGNING:
            found.append(SignatureCandidate(layer, None, str(notes.get(_SIGNATURE, "")), _CERTIFICATE in notes))
    return tuple(reversed(found))


def list_referring(raw: bytes) -> tuple[SignatureCandidate, ...]:
    """Return the candidates in a list of referrers, newest first. Raises `Rejected`.

    The list's own claims are used only for the order: likely signatures first, attestations last.
    """
    likely: list[SignatureCandidate] = []
    others: list[SignatureCandidate] = []
    for entry, descriptor in _iterate_descriptors(raw, "manifests"):
        if entry.get("artifactType", BUNDLE) in BUNDLES:
            kind = _as_object(entry.get("annotations")).get(_PREDICATE, PREDICATE_TYPE)
            (likely if kind == PREDICATE_TYPE else others).append(SignatureCandidate(manifest=descriptor))
    return (*reversed(likely), *reversed(others))


def _iterate_descriptors(raw: bytes, key: str) -> Iterator[tuple[JSON, Descriptor]]:
    """Yield the entries of a manifest that are descriptors, up to any number. Others are skipped."""
    for entry in _as_objects(_parse_json(raw, "manifest"), key):
        try:
            described = image_manifests.read_descriptor(entry)
        except Refused:
            continue
        yield entry, described


def find_bundle(raw: bytes) -> Descriptor:
    """Return the bundle's blob in a manifest that refers to an image. Raises `Rejected`."""
    try:
        found = [layer for layer in image_manifests.list_layers(raw) if layer.media_type in BUNDLES]
    except Refused as refused:
        raise reject_invalid(f"its manifest cannot be read: {refused.message}") from None
    if len(found) != 1:
        raise reject_invalid(f"its manifest has {len(found)} bundles and not one")
    return found[0]


# --- what a signature says ---


def read_simple(candidate: SignatureCandidate, payload: bytes) -> Signed:
    """Read a payload of simple signing. Raises `Rejected`."""
    critical = _as_object(_parse_json(payload, "payload").get("critical"))
    if critical.get("type") != _SIMPLE_TYPE:
        raise reject_invalid("its payload is not that of an image's signature")
    digest = _as_object(critical.get("image")).get("docker-manifest-digest")
    digests = frozenset({digest}) if isinstance(digest, str) else frozenset()
    return Signed(payload, (_decode_base64(candidate.signature, "signature"),), digests, candidate.certified)


def read_bundle(raw: bytes) -> Signed | None:
    """Read the envelope of a bundle; None if it attests something else about the image. Raises `Rejected`."""
    bundle = _parse_json(raw, "bundle")
    if bundle.get("mediaType") not in BUNDLES:
        raise reject_invalid("it is a bundle of another version than 0.3")
    if "dsseEnvelope" not in bundle:
        raise reject_invalid("its bundle has no envelope, so it names no image")
    envelope = _as_object(bundle["dsseEnvelope"])
    payload = _decode_base64(envelope.get("payload"), "payload")
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise reject_invalid("its payload is not an in-toto statement")
    digests = read_statement(payload)
    if digests is None:
        return None
    listed = _as_objects(envelope, "signatures")
    if not 0 < len(listed) <= MAX_SIGNATURES:
        raise reject_invalid(f"its envelope has {len(listed)} signatures")
    signatures = tuple(_decode_base64(entry.get("sig"), "signature") for entry in listed)
    certified = "certificate" in _as_object(bundle.get("verificationMaterial"))
    return Signed(encode_pae(PAYLOAD_TYPE, payload), signatures, digests, certified)


def read_statement(payload: bytes) -> frozenset[str] | None:
    """Return the digests that an in-toto statement is about; None if it is no signature. Raises `Rejected`."""
    statement = _parse_json(payload, "statement")
    if statement.get("predicateType") != PREDICATE_TYPE:
        return None
    if statement.get("_type") != _STATEMENT_TYPE:
        raise reject_invalid("its statement is not of in-toto's version 1")
    subjects = _as_objects(statement, "subject")
    if len(subjects) > MAX_SUBJECTS:
        raise reject_invalid(f"its statement has {len(subjects)} subjects")
    digests = (_as_object(subject.get("digest")).get("sha256") for subject in subjects)
    return frozenset(f"sha256:{digest}" for digest in digests if isinstance(digest, str))


def encode_pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE envelope's signatures cover (secure-systems-lab/dsse, protocol.md)."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def find_signed_digest(signed: Signed, lineage: Sequence[Digest]) -> Digest:
    """Return the digest that a signature names: the image's, or that of an index that leads to it.

    Raises `Rejected`.
    """
    for digest in lineage:
        if str(digest) in signed.digests:
            return digest
    images = ", ".join(sorted(image_manifests.sanitize(digest, 80) for digest in signed.digests)[:TOLD]) or "no image"
    raise reject_invalid(f"it is about {images}")


# --- who signed ---


def check_identity(issuer: str, subject: str, wanted: Iterable[api.OIDCIdentity], matches: Matches) -> str:
    """Return the signer's description if some wanted identity fits. Raises `Rejected`.

    Both expressions must match from the first to the last character (`matches` is a full match in RE2's syntax).
    """
    for identity in wanted:
        if matches(identity.issuer, issuer) and matches(identity.subject, subject):
            return f"{image_manifests.sanitize(subject, 512)} ({image_manifests.sanitize(issuer, 256)})"
    raise reject_untrusted(
        f"it is by {image_manifests.sanitize(subject, 200)}, whom {image_manifests.sanitize(issuer, 200)} vouches for"
    )


def conclude(rejected: Collection[Rejected], lineage: Sequence[Digest], by: str) -> Refused:
    """Return the refusal if no signature counts. ``by`` describes whose signature is required."""
    image = " or ".join(str(digest) for digest in lineage)
    if not rejected:
        return Refused(
            Reason.NOT_SIGNED,
            f"No signature was found for {image}, and artifact.verify requires one by {by}",
            f"Sign it by its digest with `cosign sign`; the operator checks again every {RECHECK:.0f} seconds.",
            recheck=RECHECK,
        )
    reasons = {error.reason for error in rejected}
    reason = Reason.UNTRUSTED_SIGNER if Reason.UNTRUSTED_SIGNER in reasons else Reason.SIGNATURE_INVALID
    told = list(dict.fromkeys(error.what for error in rejected if error.reason == reason))
    more = f", and {len(told) - TOLD} more" if len(told) > TOLD else ""
    return Refused(
        reason,
        f"None of the {count_noun(len(rejected), 'signature')} of {image} is accepted; one by {by} is required: "
        f"{'; '.join(told[:TOLD])}{more}",
        "Sign the image again, or correct artifact.verify. Find out who made the other signatures.",
        recheck=RECHECK,
    )


# --- JSON of unknown origin ---


def _parse_json(raw: bytes, what: str) -> JSON:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise reject_invalid(f"its {what} is not JSON") from None
    if not isinstance(value, dict):
        raise reject_invalid(f"its {what} is not a JSON object")
    return value


def _as_object(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def _as_objects(parent: Any, key: str) -> list[JSON]:
    entries = _as_object(parent).get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _decode_base64(text: Any, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise reject_invalid(f"its {what} is not base64") from None
