"""What signatures say, whose count, and what is said when none does."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.core.errors import Waiting
from pluginrelease.core.rollout import settled
from pluginrelease.core.rollout.report import Failure, Report
from pluginrelease.core.signing import signature
from pluginrelease.core.signing.signature import (
    BUNDLE,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    Rejected,
    SignatureCandidate,
    Signed,
)
from pluginrelease.core.status import conditions, settlement
from tests.harness.releases import ARTIFACT, release

IMAGE, INDEX = Digest("ab" * 32), Digest("cd" * 32)
KEYED = {"secretRef": {"name": "keys"}}
KEYLESS = {"matchOIDCIdentity": [{"issuer": "https://issuer", "subject": "https://team/.*"}]}


def wire(value: Any) -> bytes:
    return json.dumps(value).encode()


def statement(**changes: Any) -> dict[str, Any]:
    subject = {"digest": {"sha256": IMAGE.hex}}
    whole = {"_type": "https://in-toto.io/Statement/v1", "predicateType": PREDICATE_TYPE, "subject": [subject]}
    return whole | changes


def bundle(said: dict[str, Any], **changes: Any) -> bytes:
    envelope = {
        "payload": base64.b64encode(wire(said)).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(b"made").decode()}],
    }
    return wire({"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": envelope | changes})


def test_a_bundle_is_over_its_statement() -> None:
    """What is signed is the envelope's encoding of type and payload, and the image is the one in the statement."""
    signed = signature.read_bundle(bundle(statement()))
    assert signed is not None
    body = wire(statement())
    assert signed.message == b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(body), body)
    assert (signed.signatures, signed.digests) == ((b"made",), {str(IMAGE)})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bundle(statement(_type="https://in-toto.io/Statement/v9")), "a statement of another version"),
        (bundle(statement(), payloadType="text/plain"), "a payload of another type"),
        (bundle(statement(), signatures=[]), "no signature at all"),
        (bundle(statement(), signatures=[{"sig": "bWFkZQ=="}] * 9), "more signatures than anybody makes"),
        (bundle(statement(subject=[{}] * 257)), "more subjects than anybody signs"),
        (bundle(statement(), signatures=[{"sig": 7}]), "a signature that is no text"),
        (wire([]), "a list"),
        (wire({"mediaType": BUNDLE, "dsseEnvelope": []}), "an envelope that is a list"),
    ],
)
def test_a_bundle_that_cannot_be_read(raw: bytes, reason: str) -> None:
    """Nothing that a stranger writes gets further than a rejection of itself."""
    with pytest.raises(Rejected) as caught:
        signature.read_bundle(raw)
    assert caught.value.reason == "SignatureInvalid", reason


def test_other_words_about_an_image_are_passed_over() -> None:
    """A bill of materials or a provenance is no signature, and no fault either."""
    assert signature.read_bundle(bundle(statement(predicateType="https://slsa.dev/provenance/v1"))) is None


@pytest.mark.parametrize(
    "payload",
    [
        {"critical": {"type": "something else", "image": {"docker-manifest-digest": str(IMAGE)}}},
        {"critical": []},
        {},
    ],
)
def test_a_payload_of_another_kind(payload: dict[str, Any]) -> None:
    """Only what was made to sign an image signs one."""
    with pytest.raises(Rejected):
        signature.read_simple(SignatureCandidate(signature="bWFkZQ=="), wire(payload))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KNOWN = st.sampled_from([BUNDLE, PAYLOAD_TYPE, PREDICATE_TYPE, "bWFkZQ==", f"sha256:{IMAGE.hex}", {}, [], [{}]])
FIELDS = st.sampled_from(
    [
        "mediaType",
        "dsseEnvelope",
        "payload",
        "payloadType",
        "signatures",
        "sig",
        "verificationMaterial",
        "_type",
        "predicateType",
        "subject",
        "digest",
        "sha256",
        "critical",
        "image",
        "type",
        "docker-manifest-digest",
        "layers",
        "manifests",
        "size",
        "annotations",
        "artifactType",
    ]
)
HALF_RIGHT = st.recursive(
    KNOWN | ANYTHING, lambda inner: st.dictionaries(FIELDS, inner, max_size=6) | st.lists(inner, max_size=3)
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HALF_RIGHT, HALF_RIGHT)
def test_whatever_a_stranger_writes(whole: Any, said: Any) -> None:
    """JSON of any shape is read, or rejected; never is it an error of the operator."""
    raw = wire(whole)
    envelope = wire({"mediaType": BUNDLE, "dsseEnvelope": whole})
    about = bundle(said) if isinstance(said, dict) else raw
    for read in (
        lambda: signature.read_bundle(raw),
        lambda: signature.read_bundle(envelope),
        lambda: signature.read_bundle(about),
        lambda: signature.read_simple(SignatureCandidate(signature="bWFkZQ=="), raw),
        lambda: signature.list_simple(raw),
        lambda: signature.list_referring(raw),
        lambda: signature.find_bundle(raw),
    ):
        with contextlib.suppress(Rejected):
            read()


def test_what_a_signature_is_about() -> None:
    """It names the image's digest or that of an index that leads to it; a digest in another place is not looked at."""
    assert signature.find_signed_digest(Signed(b"", (), frozenset({str(INDEX)})), (IMAGE, INDEX)) == INDEX
    for named in (frozenset({str(INDEX)}), frozenset({IMAGE.hex}), frozenset[str]()):
        with pytest.raises(Rejected, match="it is about"):
            signature.find_signed_digest(Signed(b"", (), named), (IMAGE,))


def descriptor(number: int, **more: Any) -> dict[str, Any]:
    return {"mediaType": "x", "digest": f"sha256:{number:064x}", "size": 1, **more}


def test_likely_referrers_come_first_and_the_newest_of_them() -> None:
    """A list of hundreds is looked at from its new end, signatures before what says to be something else."""
    other = {"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}
    entries = [descriptor(n, artifactType=BUNDLE) for n in range(300)]
    entries += [descriptor(500, artifactType=BUNDLE, annotations=other), descriptor(501, artifactType="text/x")]
    entries += [{"digest": "nonsense"}, descriptor(502)]
    found = [candidate.manifest for candidate in signature.list_referring(wire({"manifests": entries}))]
    numbers = [int(candidate.digest.hex, 16) for candidate in found if candidate is not None]
    assert numbers == [502, *range(299, -1, -1), 500]


def test_lists_that_cannot_be_read() -> None:
    """Such a list is told, as there could have been a signature in it; an empty one is only empty."""
    for read in (signature.list_simple, signature.list_referring):
        assert read(b"{}") == ()
        with pytest.raises(Rejected, match="not JSON"):
            read(b"<html>")


def full_match(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


@pytest.mark.parametrize(
    ("issuer", "subject", "fits"),
    [
        ("https://issuer", "https://team/auth", True),
        ("https://issuer.evil.example", "https://team/auth", False),
        ("https://issuer", "https://evil.example/https://team/auth", False),
        ("https://evil.example/?https://issuer", "https://team/auth", False),
        ("", "", False),
    ],
)
def test_an_identity_fits_as_a_whole(issuer: str, subject: str, fits: bool) -> None:
    """Issuer and subject both match from the first to the last character: one that only contains them is another's."""
    wanted = [api.OIDCIdentity(issuer="https://issuer", subject="https://team/.*")]
    if fits:
        assert signature.check_identity(issuer, subject, wanted, full_match) == f"{subject} ({issuer})"
        return
    with pytest.raises(Rejected) as caught:
        signature.check_identity(issuer, subject, wanted, full_match)
    assert caught.value.reason == "UntrustedSigner"


@pytest.mark.parametrize(
    ("rejected", "reason", "why"),
    [
        ([], "NotSigned", "nothing is there"),
        ([signature.reject_invalid("it is broken")], "SignatureInvalid", "what is there is broken"),
        (
            [signature.reject_invalid("it is broken"), signature.reject_untrusted("it is by another key")],
            "UntrustedSigner",
            "a whole signature by a stranger is what a person must know of first",
        ),
    ],
)
def test_what_no_signature_amounts_to(rejected: list[Rejected], reason: str, why: str) -> None:
    """One reason, the digests that are to be signed, whose signature is wanted, and another look in a minute."""
    refused = signature.conclude(rejected, (IMAGE, INDEX), "the key team.pub")
    assert (refused.reason, refused.recheck) == (reason, 60.0), why
    assert all(word in refused.message for word in (str(IMAGE), str(INDEX), "the key team.pub"))


def test_many_rejections_make_a_short_message() -> None:
    """Thirty-two strangers do not fill a status."""
    rejected = [signature.reject_invalid(f"it is about sha256:{number:064x}") for number in range(32)]
    assert len(signature.conclude(rejected, (IMAGE,), "the key team.pub").sentence()) < 1024


# --- a release's policy ---


def verified(asked: dict[str, Any], **fields: Any) -> api.Release:
    """A release of this policy whose artifact was verified by it, and all of whose steps held."""
    one = release(spec__artifact__verify=asked)
    assert one.spec.artifact.verify is not None
    known = {"signer": "key team.pub", "policy": signature.compute_policy(one.spec.artifact.verify)} | fields
    steps = [
        api.Condition(type=kind, status="True", reason="Fine", last_transition_time="2026-01-01T00:00:00Z")
        for kind in conditions.STEPS
    ]
    told = api.Status(conditions=steps, artifact=ARTIFACT.model_copy(update=known))
    return one.model_copy(update={"status": told})


def test_the_same_policy_needs_no_second_look() -> None:
    """A release that was verified by the policy that it has is settled; by another one, or by none, it is not."""
    assert settled.checks_still_valid(verified(KEYED))
    assert settled.checks_still_valid(verified(KEYLESS))
    assert not settled.checks_still_valid(verified(KEYED, policy="0123456789"))
    assert not settled.checks_still_valid(verified(KEYED, signer=None))
    assert not settled.checks_still_valid(verified(KEYED, signer=None, policy=None))


def test_another_key_secret_is_another_policy() -> None:
    """Names are what a policy is told by."""
    first, second = (api.Verification.model_validate({"secretRef": {"name": name}}) for name in ("keys", "other"))
    assert signature.compute_policy(first) != signature.compute_policy(second)


def test_whose_signature_it_is_makes_no_other_revision() -> None:
    """What is kept to be rolled back to is the same whoever signed it: the API server lets nobody change it."""
    one = release()
    signed = ARTIFACT.model_copy(update={"signer": "key team.pub", "policy": "0123456789"})
    assert revision.same_data(revision.manifest(one, signed, 1), revision.manifest(one, ARTIFACT, 1))


def test_a_condition_only_where_it_is_asked_for() -> None:
    """Verified is there while artifact.verify is, like Probed with its probes; before it is reached it says so."""
    assert settled.is_asked(api.ConditionType.VERIFIED, release(spec__artifact__verify=KEYED))
    assert not settled.is_asked(api.ConditionType.VERIFIED, release())


@pytest.mark.parametrize(("policy", "told"), [(KEYED, ("Unknown", "NotReached")), (None, None)])
def test_an_image_that_is_not_there_is_not_called_unsigned(
    policy: dict[str, Any] | None, told: tuple[str, str] | None
) -> None:
    """Where the image could not be had, nothing is said of its signature; and nothing at all where nobody asked."""
    one = release(spec__artifact__verify=policy) if policy else release()
    failure = Failure(api.ConditionType.ARTIFACT_READY, Waiting(Reason.MANIFEST_NOT_FOUND, "there is none"))
    report = Report(failure=failure)
    ending = settlement.settle(one, report, now=datetime(2026, 1, 1, tzinfo=UTC), attempt=0, resync=300.0)
    found = {condition.type: (condition.status, condition.reason) for condition in ending.status.conditions}
    assert found.get("Verified") == told
