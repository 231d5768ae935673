"""The operator's own image as a release has it: pushed, signed by cosign, believed by the operator's verification."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.signing import signatures
from pluginrelease_lab import binaries
from pluginrelease_lab.images import buildah
from pluginrelease_lab.images.operator import OperatorImage
from release import sbom, sign
from tests.edges import real_registry
from tests.edges.real_cosign import Cosign
from tests.edges.real_registry import Real

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Real]:
    """A registry that lets everybody in."""
    with real_registry.running(tmp_path) as real:
        yield real


@pytest.fixture
def cosign(tmp_path: Path) -> Cosign:
    """Keys of its own."""
    return Cosign(tmp_path)


def push(image: OperatorImage, place: str, folder: Path) -> str:
    """Push the archive; the image by its digest."""
    digest = folder / "digest"
    argv = ["push", "--tls-verify=false", "--digestfile", digest]
    builder = buildah.in_cache()
    pulled = builder.run("pull", f"docker-archive:{image.archive}").splitlines()[-1]
    builder.run(*argv, pulled, f"docker://{place}:0.1.0")
    return f"{place}@{digest.read_text().strip()}"


def test_the_image_is_signed_and_verified(image: OperatorImage, plain: Real, cosign: Cosign, tmp_path: Path) -> None:
    """What the Dockerfile makes is pushed; unsigned it is refused, signed with its SBOM attached it is believed."""
    binaries.provide("cosign")
    reference = push(image, f"{plain.host}/ops/pluginrelease-operator", tmp_path)
    trust = signatures.read_keys({"release.pub": cosign.key("release")}, "Secret team/keys")
    parsed, access = image_manifests.parse(reference), Access(insecure=True, deadline_seconds=20)
    with pytest.raises(Refused) as unsigned:
        signatures.verify(parsed, None, access, trust)
    assert unsigned.value.reason == "NotSigned"

    key, bill = tmp_path / "release.key", tmp_path / "sbom.json"
    sbom.main.main([str(bill)], standalone_mode=False)
    sign.run([sign.image_command(reference, key), sign.attestation_command(reference, bill, key)])
    assert signatures.verify(parsed, None, access, trust).signer == "key release.pub"
