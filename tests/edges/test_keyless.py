"""Signatures without keys: by a Sigstore of the tests' own, and by the public one as its authors published them.

No live certificate authority or log is asked, here or by the operator.
"""

from __future__ import annotations

import functools
import json
import operator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pluginrelease import api
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Artifact, Digest
from pluginrelease.core.errors import Refused
from pluginrelease.core.signing import signature
from pluginrelease.core.signing.signature import Rejected, Verified
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.signing import signatures
from pluginrelease.edges.signing.signatures import Identities
from tests import wasm_modules as made
from tests.edges import keyless
from tests.edges.keyless import Sigstore
from tests.edges.real_registry import Real, refer

PUBLISHED = Path(__file__).parents[1] / "fixtures" / "sigstore"
OPEN = Access(insecure=True, deadline_seconds=20)
ISSUER = "https://token.actions.githubusercontent.com"
RELEASE = "https://github.com/team/plugins/.github/workflows/release.yml@refs/tags/v1.0.0"
OURS = (r"https://token\.actions\.githubusercontent\.com", r"https://github\.com/team/plugins/.*@refs/tags/.*")

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    return Sigstore()


@pytest.fixture
def image(plain: Real, tmp_path: Path, request: pytest.FixtureRequest) -> Artifact:
    """An image in a repository of the test's own."""
    name = f"keyless/{Digest.of(request.node.name.encode()).hex[:12]}"
    (tmp_path / "plugin.wasm").write_bytes(made.plugin("0_2_1"))
    registry.push(plain.reference(f"{name}:1"), tmp_path / "plugin.wasm", OPEN)
    return registry.fetch(plain.reference(f"{name}:1"), OPEN)


def statement(image: Artifact) -> JSON:
    """What cosign 3 signs."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": image.digest.hex}, "annotations": {}}],
        "predicateType": signature.PREDICATE_TYPE,
        "predicate": {},
    }


def policy(sigstore: Sigstore, *wanted: tuple[str, str]) -> Identities:
    identities = [api.OIDCIdentity(issuer=issuer, subject=subject) for issuer, subject in wanted or [OURS]]
    return signatures.read_identities(identities, sigstore.trusted_root(), "Secret team/root")


def refusal(image: Artifact, trust: signatures.SignatureTrust) -> Refused:
    with pytest.raises(Refused) as caught:
        signatures.verify(image.pinned, image.index, OPEN, trust)
    return caught.value


def test_a_workflow_signs(plain: Real, sigstore: Sigstore, image: Artifact) -> None:
    """Whoever the policy names may sign, and status tells who did and who vouched for it."""
    trust = policy(sigstore, ("https://other", ".*"), OURS)
    assert refusal(image, trust).reason == "NotSigned"
    refer(plain, image, json.dumps(sigstore.sign(statement(image), RELEASE, ISSUER)).encode())
    assert signatures.verify(image.pinned, image.index, OPEN, trust) == Verified(f"{RELEASE} ({ISSUER})", image.digest)


def test_a_person_signs(plain: Real, sigstore: Sigstore, image: Artifact) -> None:
    """An e-mail address is a name too."""
    refer(
        plain, image, json.dumps(sigstore.sign(statement(image), "ann@example.com", "https://login.example")).encode()
    )
    trust = policy(sigstore, (r"https://login\.example", r"ann@example\.com"))
    assert signatures.verify(image.pinned, image.index, OPEN, trust).signer == "ann@example.com (https://login.example)"


@pytest.mark.parametrize(
    ("subject", "issuer"),
    [
        ("https://github.com/stranger/plugins/.github/workflows/release.yml@refs/tags/v1.0.0", ISSUER),
        (f"https://evil.example/?{RELEASE}", ISSUER),
        (RELEASE, "https://token.actions.githubusercontent.com.evil.example"),
        (RELEASE.replace("github.com", "github-com"), ISSUER),
    ],
    ids=["another team", "contained", "another issuer", "a dot is a dot"],
)
def test_somebody_else_signs(plain: Real, sigstore: Sigstore, image: Artifact, subject: str, issuer: str) -> None:
    """A whole signature by a stranger is one, and names the stranger."""
    refer(plain, image, json.dumps(sigstore.sign(statement(image), subject, issuer)).encode())
    error = refusal(image, policy(sigstore))
    assert error.reason == "UntrustedSigner"
    assert subject in error.message


def test_somebody_else_vouches(plain: Real, sigstore: Sigstore, image: Artifact) -> None:
    """A certificate authority that is not in the trusted root can write any name."""
    refer(plain, image, json.dumps(Sigstore().sign(statement(image), RELEASE, ISSUER)).encode())
    assert refusal(image, policy(sigstore)).reason == "SignatureInvalid"


def other_certificate() -> x509.Certificate:
    return Sigstore()._certificate(keyless.new_key(), RELEASE, ISSUER)


LOG = ("verificationMaterial", "tlogEntries")
ENTRY = (*LOG, 0)
PROOF = (*ENTRY, "inclusionProof")
CERTIFICATE = ("verificationMaterial", "certificate", "rawBytes")
SIGNATURES = ("dsseEnvelope", "signatures")
CHECKPOINT = "log.example\n1\nAAAA\n\n\u2014 log.example AAAAAAAA\n"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (LOG, [Sigstore()._entry(b"", b"", other_certificate(), keyless.SIGNING)]),
        (LOG, []),
        (PROOF, {}),
        ((*ENTRY, "inclusionPromise"), None),
        ((*ENTRY, "integratedTime"), str(int(keyless.SIGNING.timestamp()) + 1)),
        ((*PROOF, "treeSize"), "2"),
        ((*PROOF, "checkpoint", "envelope"), CHECKPOINT),
        ((*SIGNATURES, 0, "sig"), keyless.b64(b"0" * 70)),
        (SIGNATURES, [{"sig": "AAAA"}, {"sig": "BBBB"}]),
        (CERTIFICATE, keyless.b64(other_certificate().public_bytes(Encoding.DER))),
        (CERTIFICATE, keyless.b64(other_certificate().public_bytes(Encoding.DER)[:80])),
    ],
    ids=[
        "another log",
        "no log",
        "no proof",
        "no promise",
        "another time",
        "another tree",
        "another checkpoint",
        "another signature",
        "two signatures",
        "another certificate",
        "half a certificate",
    ],
)
def test_a_bundle_in_which_one_thing_is_wrong(
    plain: Real, sigstore: Sigstore, image: Artifact, place: tuple[str | int, ...], value: Any
) -> None:
    """Certificate, log, time and signature hold together, or nothing does; and the operator only refuses."""
    bundle = sigstore.sign(statement(image), RELEASE, ISSUER)
    *parents, last = place
    functools.reduce(operator.getitem, parents, bundle)[last] = value  # type: ignore[arg-type]
    refer(plain, image, json.dumps(bundle).encode())
    assert refusal(image, policy(sigstore)).reason == "SignatureInvalid"


def test_a_certificate_that_had_run_out(plain: Real, sigstore: Sigstore, image: Artifact) -> None:
    """What was signed an hour after the certificate was made is not signed by whom it names."""
    late = sigstore.sign(statement(image), RELEASE, ISSUER, at=keyless.SIGNING + timedelta(hours=1))
    refer(plain, image, json.dumps(late).encode())
    assert refusal(image, policy(sigstore)).reason == "SignatureInvalid"


def test_a_log_entry_of_something_else(plain: Real, sigstore: Sigstore, image: Artifact) -> None:
    """The log must have seen this very statement."""
    bundle = sigstore.sign(statement(image), RELEASE, ISSUER, logged_as=b"something else")
    refer(plain, image, json.dumps(bundle).encode())
    assert refusal(image, policy(sigstore)).reason == "SignatureInvalid"


def test_a_bundle_of_another_image(plain: Real, sigstore: Sigstore, image: Artifact) -> None:
    """A good bundle counts for the image that it names, wherever it is put."""
    other = statement(image) | {"subject": [{"digest": {"sha256": "ab" * 32}}]}
    refer(plain, image, json.dumps(sigstore.sign(other, RELEASE, ISSUER)).encode())
    error = refusal(image, policy(sigstore))
    assert error.reason == "SignatureInvalid"
    assert f"sha256:{'ab' * 32}" in error.message


def test_a_bundle_that_was_made_with_a_key(plain: Real, sigstore: Sigstore, image: Artifact) -> None:
    """Without a certificate nobody is named."""
    bundle = sigstore.sign(statement(image), RELEASE, ISSUER)
    bundle["verificationMaterial"] = {"publicKey": {"hint": "x"}}
    refer(plain, image, json.dumps(bundle).encode())
    error = refusal(image, policy(sigstore))
    assert (error.reason, "key" in error.message) == ("UntrustedSigner", True)


def test_the_older_keyless_form_is_named(plain: Real, sigstore: Sigstore, image: Artifact) -> None:
    """A certificate in an annotation, as cosign 2 stores it, is not read, and the message says what to do."""
    repository = image.reference.repository
    notes = {"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/certificate": "PEM"}
    layer = {"mediaType": signature.SIMPLE_SIGNING, **plain.blob(repository, b"{}"), "annotations": notes}
    config = {"mediaType": image_manifests.OCI_CONFIG, **plain.blob(repository, b"{}")}
    plain.manifest(
        repository, signature.tag(image.digest), image_manifests.OCI_MANIFEST, {"config": config, "layers": [layer]}
    )
    error = refusal(image, policy(sigstore))
    assert error.reason == "UntrustedSigner"
    assert "cosign 3" in error.message


def test_a_bundle_of_the_public_instance() -> None:
    """What Sigstore's own services signed stands against their published root, and names who signed; against another
    root it does not."""
    bundle = (PUBLISHED / "oci-attestation.sigstore.json").read_bytes()
    root = (PUBLISHED / "trusted_root_pgi.json").read_bytes()
    stood, issuer, subject = signatures.check_certificate(bundle, root, "root")
    assert b"https://cosign.sigstore.dev/attestation/v1" in stood
    assert (issuer, subject.partition("@")[2]) == ("https://github.com/login/oauth", "soyland.com")
    with pytest.raises(Rejected) as caught:
        signatures.check_certificate(bundle, Sigstore().trusted_root(), "root")
    assert caught.value.reason == "SignatureInvalid"


@pytest.mark.parametrize(
    ("pattern", "root", "reason"),
    [
        ("(unclosed", None, "InvalidIdentityPattern"),
        ("(?=lookahead)", None, "InvalidIdentityPattern"),
        ("(a{1000}){1000}", None, "InvalidIdentityPattern"),
        (".*", b"nonsense", "InvalidTrustedRoot"),
        (".*", b"{}", "InvalidTrustedRoot"),
    ],
)
def test_a_policy_that_cannot_be_used(sigstore: Sigstore, pattern: str, root: bytes | None, reason: str) -> None:
    """It is refused by its own reason, before any registry is asked."""
    wanted = [api.OIDCIdentity(issuer=".*", subject=pattern)]
    with pytest.raises(Refused) as caught:
        signatures.read_identities(wanted, root or sigstore.trusted_root(), "Secret team/root")
    assert caught.value.reason == reason


def test_an_expression_that_would_take_for_ever() -> None:
    """RE2 takes time in proportion to the text."""
    assert not signatures.matches("(a*)*b", "a" * 50_000)
