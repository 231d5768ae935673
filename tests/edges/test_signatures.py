"""Signatures as the real cosign makes them, in a real registry; and what somebody else may make of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from pluginrelease.cli import main
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Artifact, Digest
from pluginrelease.core.errors import Refused, ReleaseError, Transient
from pluginrelease.core.signing import signature
from pluginrelease.core.signing.signature import Verified
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.signing import signatures
from pluginrelease.edges.signing.signatures import Keys
from tests import wasm_modules as made
from tests.edges.crd_objects import release
from tests.edges.crd_rules import REF
from tests.edges.real_cosign import Cosign, Form
from tests.edges.real_registry import Real, refer
from tests.edges.scripted import Request, Script, Scripted, ScriptedAnswer

OPEN = Access(insecure=True, deadline_seconds=20)
TYPES = {"Accept": ", ".join(image_manifests.MANIFEST_TYPES)}


@pytest.fixture(scope="module")
def cosign(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    return Cosign(tmp_path_factory.mktemp("cosign"))


def pushed(plain: Real, tmp_path: Path, repository: str, wasm: bytes = made.plugin("0_2_1")) -> Artifact:
    """An image in a repository of its own, as it is fetched by its tag."""
    file = tmp_path / "plugin.wasm"
    file.write_bytes(wasm)
    registry.push(plain.reference(f"{repository}:1"), file, OPEN)
    return registry.fetch(plain.reference(f"{repository}:1"), OPEN)


def keys(cosign: Cosign, *names: str) -> Keys:
    return signatures.read_keys({f"{name}.pub": cosign.key(name) for name in names}, "Secret team/keys")


def verify(image: Artifact, trust: signatures.SignatureTrust) -> Verified:
    return signatures.verify(image.pinned, image.index, OPEN, trust)


def refusal(image: Artifact, trust: signatures.SignatureTrust, access: Access = OPEN) -> ReleaseError:
    with pytest.raises(ReleaseError) as caught:
        signatures.verify(image.pinned, image.index, access, trust)
    return caught.value


def read(plain: Real, repository: str, question: str) -> dict[str, Any]:
    """A manifest as it is in the registry."""
    return requests.get(f"http://{plain.host}/v2/{repository}/manifests/{question}", headers=TYPES, timeout=5).json()


def blob(plain: Real, repository: str, digest: str) -> bytes:
    return requests.get(f"http://{plain.host}/v2/{repository}/blobs/{digest}", timeout=5).content


# --- what is signed ---


@pytest.mark.parametrize("form", Form)
def test_a_signed_image_is_verified(plain: Real, cosign: Cosign, tmp_path: Path, form: Form) -> None:
    """Whichever cosign signed, and wherever it put the signature, the key is found and named."""
    image = pushed(plain, tmp_path, f"signed-{form.name.lower()}".replace("_", "-"))
    assert refusal(image, keys(cosign, "team")).reason == "NotSigned"
    cosign.sign(str(image.pinned), "team", form)
    assert verify(image, keys(cosign, "team")) == Verified("key team.pub", image.digest)


@pytest.mark.parametrize("form", Form)
def test_a_key_that_is_not_named_does_not_count(plain: Real, cosign: Cosign, tmp_path: Path, form: Form) -> None:
    """Somebody else's signature is none, and the message says which key is wanted."""
    image = pushed(plain, tmp_path, f"strange-{form.name.lower()}".replace("_", "-"))
    cosign.sign(str(image.pinned), "stranger", form)
    error = refusal(image, keys(cosign, "team"))
    assert (error.reason, isinstance(error, Refused)) == ("UntrustedSigner", True)
    assert "team.pub" in error.message
    assert str(image.digest) in error.message


def test_keys_are_changed_without_a_gap(plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """While two keys are named either is enough; when the old one is taken away, the new one's signature counts."""
    image = pushed(plain, tmp_path, "rotation")
    cosign.sign(str(image.pinned), "old")
    assert verify(image, keys(cosign, "new", "old")).signer == "key old.pub"
    assert refusal(image, keys(cosign, "new")).reason == "UntrustedSigner"
    cosign.sign(str(image.pinned), "new", Form.TAG_BY_2)
    assert verify(image, keys(cosign, "new")).signer == "key new.pub"


@pytest.mark.parametrize("form", [Form.TAG_BY_2, Form.BUNDLE_BY_3])
def test_an_index_is_signed_in_place_of_its_children(plain: Real, cosign: Cosign, tmp_path: Path, form: Form) -> None:
    """A signature of the index that the tag names is one of the image that a gateway takes from it, also later, when
    that is asked for by its digest; of another index it is not."""
    repository = f"index-{form.name.lower()}".replace("_", "-")
    child = pushed(plain, tmp_path, repository)
    entry = {
        "mediaType": image_manifests.OCI_MANIFEST,
        "digest": str(child.digest),
        "size": len(manifest_of(plain, child)),
    }
    index = Digest.parse(plain.manifest(repository, "multi", image_manifests.OCI_INDEX, {"manifests": [entry]}))
    cosign.sign(f"{plain.host}/{repository}@{index}", "team", form)
    image = registry.fetch(plain.reference(f"{repository}@{index}"), OPEN)
    assert (image.digest, image.index) == (child.digest, index)
    assert registry.resolve(plain.reference(f"{repository}:multi"), OPEN) == registry.Resolved(child.digest, index)
    assert verify(image, keys(cosign, "team")) == Verified("key team.pub", index)
    assert refusal(child, keys(cosign, "team")).reason == "NotSigned"


def manifest_of(plain: Real, image: Artifact) -> bytes:
    url = f"http://{plain.host}/v2/{image.reference.repository}/manifests/{image.digest}"
    return requests.get(url, headers=TYPES, timeout=5).content


def test_an_index_must_lead_to_the_image(plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """An index that leads elsewhere lends its signature to nothing."""
    other = pushed(plain, tmp_path, "astray", made.plugin("0_2_0"))
    entry = {
        "mediaType": image_manifests.OCI_MANIFEST,
        "digest": str(other.digest),
        "size": len(manifest_of(plain, other)),
    }
    index = Digest.parse(plain.manifest("astray", "multi", image_manifests.OCI_INDEX, {"manifests": [entry]}))
    cosign.sign(f"{plain.host}/astray@{index}", "team")
    image = pushed(plain, tmp_path, "astray")
    error = refusal(with_index(image, index), keys(cosign, "team"))
    assert error.reason == "DigestMismatch"


def with_index(image: Artifact, index: Digest) -> Artifact:
    return replace(image, index=index)


def test_an_attestation_is_no_signature(plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """What the same key says about the image otherwise, for example that it was scanned, does not sign it."""
    image = pushed(plain, tmp_path, "attested")
    cosign.attest(str(image.pinned), "team")
    assert refusal(image, keys(cosign, "team")).reason == "NotSigned"
    cosign.sign(str(image.pinned), "team")
    cosign.attest(str(image.pinned), "team")
    assert verify(image, keys(cosign, "team")).signer == "key team.pub"


# --- what somebody may do with it ---


def test_a_tag_form_signature_of_another_image_is_moved_over(plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """A good signature under another image's tag is about the image that it names."""
    signed = pushed(plain, tmp_path, "moved", made.plugin("0_2_0"))
    cosign.sign(str(signed.pinned), "team", Form.TAG_BY_2)
    image = pushed(plain, tmp_path, "moved")
    plain.put(
        "moved",
        signature.tag(image.digest),
        image_manifests.OCI_MANIFEST,
        read(plain, "moved", signature.tag(signed.digest)),
    )
    error = refusal(image, keys(cosign, "team"))
    assert error.reason == "SignatureInvalid"
    assert str(signed.digest) in error.message


def test_a_bundle_of_another_image_is_moved_over(plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """The same for a bundle: that a list names it as the image's says nothing."""
    signed = pushed(plain, tmp_path, "moved-bundle", made.plugin("0_2_0"))
    cosign.sign(str(signed.pinned), "team")
    image = pushed(plain, tmp_path, "moved-bundle")
    listed = read(plain, "moved-bundle", signature.referrers_tag(signed.digest))
    plain.put("moved-bundle", signature.referrers_tag(image.digest), image_manifests.OCI_INDEX, listed)
    error = refusal(image, keys(cosign, "team"))
    assert error.reason == "SignatureInvalid"
    assert str(signed.digest) in error.message


def test_a_payload_is_changed_after_it_was_signed(plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """A payload that was made to name this image, with everything around it made to fit, is not what was signed."""
    signed = pushed(plain, tmp_path, "tampered", made.plugin("0_2_0"))
    cosign.sign(str(signed.pinned), "team", Form.TAG_BY_2)
    image = pushed(plain, tmp_path, "tampered")
    manifest = read(plain, "tampered", signature.tag(signed.digest))
    payload = blob(plain, "tampered", manifest["layers"][0]["digest"])
    changed = payload.replace(signed.digest.hex.encode(), image.digest.hex.encode())
    assert changed != payload
    manifest["layers"][0] |= plain.blob("tampered", changed)
    plain.put("tampered", signature.tag(image.digest), image_manifests.OCI_MANIFEST, manifest)
    error = refusal(image, keys(cosign, "team"))
    assert error.reason == "UntrustedSigner"


def test_a_bundle_is_changed_after_it_was_signed(plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """The same for the statement in a bundle."""
    signed = pushed(plain, tmp_path, "tampered-bundle", made.plugin("0_2_0"))
    cosign.sign(str(signed.pinned), "team")
    image = pushed(plain, tmp_path, "tampered-bundle")
    listed = read(plain, "tampered-bundle", signature.referrers_tag(signed.digest))
    manifest = read(plain, "tampered-bundle", listed["manifests"][0]["digest"])
    bundle = json.loads(blob(plain, "tampered-bundle", manifest["layers"][0]["digest"]))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(
        payload.replace(signed.digest.hex.encode(), image.digest.hex.encode())
    ).decode()
    refer(plain, image, json.dumps(bundle).encode())
    assert refusal(image, keys(cosign, "team")).reason == "UntrustedSigner"


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        (b"nonsense", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"{}", "0.3"),
        (json.dumps({"mediaType": signature.BUNDLE, "messageSignature": {}}).encode(), "image"),
        (json.dumps({"mediaType": signature.BUNDLE, "dsseEnvelope": {"payload": "%"}}).encode(), "not base64"),
        (b" " * (signature.MAX_BYTES + 1), f"{signature.MAX_BYTES + 1} bytes"),
    ],
    ids=["text", "deep", "empty", "sign-blob", "base64", "large"],
)
def test_a_bundle_that_is_none(plain: Real, tmp_path: Path, bundle: bytes, said: str) -> None:
    """What cannot be read is told, and a good signature beside it counts all the same."""
    repository = f"none-{Digest.of(bundle).hex[:8]}"
    image, key = pushed(plain, tmp_path, repository), ec.generate_private_key(ec.SECP256R1())
    trust = signatures.read_keys({"team.pub": pem(key)}, "Secret team/keys")
    refer(plain, image, bundle)
    error = refusal(image, trust)
    assert error.reason == "SignatureInvalid"
    assert said in error.message
    simple(plain, repository, image, key)
    assert verify(image, trust).signer == "key team.pub"


# --- any number of them ---


def simple(plain: Real, repository: str, image: Artifact, *made_with: ec.EllipticCurvePrivateKey) -> None:
    """Signatures in the form of a tag, the last the newest, as many as there are keys."""
    payload = json.dumps(
        {
            "critical": {
                "identity": {"docker-reference": image.reference.name},
                "image": {"docker-manifest-digest": str(image.digest)},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    ).encode()
    layer = {"mediaType": signature.SIMPLE_SIGNING, **plain.blob(repository, payload)}
    layers = []
    for key in made_with:
        text = base64.b64encode(key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()
        layers.append(layer | {"annotations": {"dev.cosignproject.cosign/signature": text}})
    config = {"mediaType": image_manifests.OCI_CONFIG, **plain.blob(repository, b"{}")}
    content = {"config": config, "layers": layers}
    plain.manifest(repository, signature.tag(image.digest), image_manifests.OCI_MANIFEST, content)


def pem(key: Any) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(("good_is", "reason"), [("newest", ""), ("oldest", "UntrustedSigner")])
def test_a_hundred_signatures(plain: Real, tmp_path: Path, good_is: str, reason: str) -> None:
    """Whoever may push can add any number: the newest 32 are read, and a message says that there are more."""
    repository = f"hundred-{good_is}"
    image = pushed(plain, tmp_path, repository)
    good, strangers = ec.generate_private_key(ec.SECP256R1()), [ec.generate_private_key(ec.SECP256R1())] * 99
    simple(plain, repository, image, *([*strangers, good] if good_is == "newest" else [good, *strangers]))
    trust = signatures.read_keys({"team.pub": pem(good)}, "Secret team/keys")
    if not reason:
        assert verify(image, trust).signer == "key team.pub"
        return
    assert refusal(image, trust).reason == reason


# --- registries ---


def served_by(plain: Real, change: Callable[[Request], ScriptedAnswer | None]) -> Script:
    """The real registry's answers, but for those that the test changes."""

    def script(asked: Request) -> ScriptedAnswer:
        answer = change(asked)
        if answer is not None:
            return answer
        found = requests.get(f"http://{plain.host}{asked.path}", headers=TYPES, timeout=5)
        return ScriptedAnswer(found.status_code, found.content, {"Content-Type": found.headers.get("Content-Type", "")})

    return script


def at(image: Artifact, other: Scripted) -> Artifact:
    """The same image in another registry."""
    return replace(image, reference=other.reference(f"{image.reference.repository}:1"))


@pytest.fixture(scope="module")
def signed(plain: Real, cosign: Cosign, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An image with a bundle by the key "team", and nothing else."""
    image = pushed(plain, tmp_path_factory.mktemp("signed"), "signed-once")
    cosign.sign(str(image.pinned), "team")
    return image


def test_a_registry_that_keeps_referrers(
    plain: Real, cosign: Cosign, signed: Artifact, scripted: Callable[..., Scripted]
) -> None:
    """Where the registry itself lists what refers to an image, the tag that is there for others is not asked for."""
    listed = requests.get(
        f"http://{plain.host}/v2/signed-once/manifests/{signature.referrers_tag(signed.digest)}",
        headers=TYPES,
        timeout=5,
    ).content

    def referrers(asked: Request) -> ScriptedAnswer | None:
        if f"/referrers/{signed.digest}" in asked.path:
            return ScriptedAnswer(200, listed, {"Content-Type": image_manifests.OCI_INDEX})
        return ScriptedAnswer(500) if asked.path.endswith(signature.referrers_tag(signed.digest)) else None

    other = scripted(served_by(plain, referrers))
    assert verify(at(signed, other), keys(cosign, "team")).signer == "key team.pub"


@pytest.mark.parametrize(
    ("part", "answer", "reason"),
    [
        ("/referrers/", ScriptedAnswer(500), "RegistryUnavailable"),
        ("/referrers/", ScriptedAnswer(429, headers={"Retry-After": "600"}), "RegistryUnavailable"),
        (
            "/referrers/",
            ScriptedAnswer(200, b"[", {"Content-Type": image_manifests.OCI_INDEX}, length=100),
            "RegistryUnavailable",
        ),
        (
            "/referrers/",
            ScriptedAnswer(200, b" " * 2_000_000, {"Content-Type": image_manifests.OCI_INDEX}),
            "SignatureInvalid",
        ),
        ("/referrers/", ScriptedAnswer(200, b"<html>", {"Content-Type": "text/html"}), ""),
        ("/referrers/", ScriptedAnswer(405), ""),
        ("/referrers/", ScriptedAnswer(403), "AuthenticationRequired"),
        ("/manifests/sha256-", ScriptedAnswer(503), "RegistryUnavailable"),
        ("/manifests/sha256-", ScriptedAnswer(404), "NotSigned"),
        ("/manifests/sha256:", ScriptedAnswer(404), "SignatureInvalid"),
        (
            "/manifests/sha256:",
            ScriptedAnswer(200, b"{}", {"Content-Type": image_manifests.OCI_MANIFEST}),
            "SignatureInvalid",
        ),
        ("/blobs/", ScriptedAnswer(500), "RegistryUnavailable"),
        ("/blobs/", ScriptedAnswer(404), "SignatureInvalid"),
        ("/blobs/", ScriptedAnswer(200, b"other bytes"), "SignatureInvalid"),
        ("/blobs/", ScriptedAnswer(200, more=(b"x" * 65536 for _ in range(10_000)), length=-1), "SignatureInvalid"),
        (
            "/blobs/",
            ScriptedAnswer(302, headers={"Location": "http://169.254.169.254/latest"}),
            "RegistryRedirectRefused",
        ),
        ("/blobs/", ScriptedAnswer(hangs=True, length=100), "RegistryUnavailable"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.status),
)
def test_a_registry_that_misbehaves(
    plain: Real,
    cosign: Cosign,
    signed: Artifact,
    scripted: Callable[..., Scripted],
    part: str,
    answer: ScriptedAnswer,
    reason: str,
) -> None:
    """Each ends in time and has its reason. What could not be had is never called unsigned: it is tried again."""
    other = scripted(served_by(plain, lambda asked: answer if part in asked.path else None))
    access = replace(OPEN, deadline_seconds=1.5 if reason == "RegistryUnavailable" else 20)
    if not reason:
        found = signatures.verify(at(signed, other).pinned, None, access, keys(cosign, "team"))
        assert found.signer == "key team.pub"
        return
    error = refusal(at(signed, other), keys(cosign, "team"), access)
    assert error.reason == reason
    assert isinstance(error, Transient) == (reason == "RegistryUnavailable")


# --- keys ---


@pytest.mark.parametrize(
    ("key", "sign"),
    [
        (ec.generate_private_key(ec.SECP256R1()), lambda key, text: key.sign(text, ec.ECDSA(hashes.SHA256()))),
        (ec.generate_private_key(ec.SECP384R1()), lambda key, text: key.sign(text, ec.ECDSA(hashes.SHA256()))),
        (ec.generate_private_key(ec.SECP384R1()), lambda key, text: key.sign(text, ec.ECDSA(hashes.SHA384()))),
        (ec.generate_private_key(ec.SECP521R1()), lambda key, text: key.sign(text, ec.ECDSA(hashes.SHA512()))),
        (ed25519.Ed25519PrivateKey.generate(), lambda key, text: key.sign(text)),
        (rsa.generate_private_key(65537, 2048), lambda key, text: key.sign(text, padding.PKCS1v15(), hashes.SHA256())),
    ],
    ids=["p256", "p384 sha256", "p384 sha384", "p521", "ed25519", "rsa"],
)
def test_the_kinds_of_keys(key: Any, sign: Callable[[Any, bytes], bytes]) -> None:
    """ECDSA, Ed25519 and RSA, with the digests that cosign uses; another message, or another key, is not theirs."""
    public = signatures.read_public_key(pem(key), "cosign.pub")
    made_so = sign(key, b"message")
    assert signatures.is_valid(public, made_so, b"message")
    assert not signatures.is_valid(public, made_so, b"another message")
    assert not signatures.is_valid(public, b"", b"message")
    stranger = signatures.read_public_key(pem(ec.generate_private_key(ec.SECP256R1())), "cosign.pub")
    assert not signatures.is_valid(stranger, made_so, b"message")


@pytest.mark.parametrize(
    ("pems", "said"),
    [
        ({}, "has 0 keys"),
        ({"a.pub": b"nonsense"}, "a.pub in Secret team/keys"),
        ({"a.pub": pem(rsa.generate_private_key(65537, 1024))}, "RSA key of 1024 bits"),  # noqa: S505
        ({f"{n}.pub": b"" for n in range(33)}, "has 33 keys"),
    ],
    ids=["none", "text", "short", "many"],
)
def test_keys_that_cannot_be_used(pems: dict[str, bytes], said: str) -> None:
    """A Secret that nothing can be verified with is refused by its own reason, before any registry is asked."""
    with pytest.raises(Refused, match=said) as caught:
        signatures.read_keys(pems, "Secret team/keys")
    assert caught.value.reason == "InvalidVerificationKey"


def test_a_private_key_is_told_by_its_name_alone() -> None:
    """Whoever puts the private key where the public one belongs finds none of it in the status."""
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(Refused) as caught:
        signatures.read_keys({"cosign.pub": private}, "Secret team/keys")
    assert not any(line in caught.value.sentence() for line in private.decode().splitlines())


# --- beforehand ---


def test_lint_verifies_what_a_manifest_asks_for(plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """lint --online tells what the operator will say: 0 signed, 1 refused, 2 when nothing was given to verify with."""
    image = pushed(plain, tmp_path, "linted")
    (tmp_path / "cosign.pub").write_bytes(cosign.key("team"))
    manifest = release(REF, f"{plain.host}/linted:1")
    manifest["spec"]["artifact"]["image"]["insecure"] = True
    manifest["spec"]["artifact"]["verify"] = {"secretRef": {"name": "keys"}}
    file = tmp_path / "release.yaml"
    file.write_text(yaml.safe_dump(manifest))

    def lint(*options: str) -> tuple[int, str]:
        ended = CliRunner().invoke(main, ["lint", str(file), "--online", *options])
        return ended.exit_code, ended.stdout

    code, said = lint()
    assert (code, "SignatureNotChecked" in said) == (2, True)
    code, said = lint("--key", str(tmp_path / "cosign.pub"))
    assert (code, "spec.artifact.verify: " in said, "NotSigned" in said) == (1, True, True)
    cosign.sign(str(image.pinned), "team")
    assert lint("--key", str(tmp_path / "cosign.pub"))[0] == 0
