"""What is released is signed by the real cosign, and believed by the operator's own verification."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.signing import signatures
from pluginrelease_lab import binaries
from release import checksums, sbom, sign
from tests.edges.real_cosign import Cosign
from tests.release.conftest import PublishedChart

OPEN = Access(insecure=True, deadline_seconds=20)


def key_file(cosign: Cosign, name: str) -> Path:
    """The private key of a pair."""
    cosign.key(name)
    return cosign.folder / f"{name}.key"


def signer(cosign: Cosign, reference: str, name: str) -> str:
    """Who signed, as `artifact.verify` of a release finds out. Raises Refused."""
    trust = signatures.read_keys({f"{name}.pub": cosign.key(name)}, "Secret team/keys")
    return signatures.verify(image_manifests.parse(reference), None, OPEN, trust).signer


def test_the_chart_is_signed_and_verified(cosign: Cosign, published: PublishedChart) -> None:
    """Unsigned it is refused; signed by the step of the workflow it is believed, and by another key it is not."""
    with pytest.raises(Refused) as unsigned:
        signer(cosign, str(published), "release")
    assert unsigned.value.reason == "NotSigned"
    sign.run([sign.image_command(str(published), key_file(cosign, "release"))])
    assert signer(cosign, str(published), "release") == "key release.pub"
    with pytest.raises(Refused) as strange:
        signer(cosign, str(published), "stranger")
    assert strange.value.reason == "UntrustedSigner"


def test_the_sbom_is_attached(cosign: Cosign, published: PublishedChart, tmp_path: Path) -> None:
    """cosign finds the bill of materials beside what it is about, signed."""
    file = tmp_path / "sbom.json"
    sbom.main.main([str(file)], standalone_mode=False)
    sign.run([sign.attestation_command(str(published), file, key_file(cosign, "release"))])
    argv = ["verify-attestation", "--key", "release.pub", "--type", "cyclonedx", "--insecure-ignore-tlog"]
    said = cosign_says(cosign, [*argv, "--allow-http-registry", str(published)])
    assert said.returncode == 0, said.stderr


def test_the_list_is_signed(cosign: Cosign, tmp_path: Path) -> None:
    """cosign verifies SHA256SUMS by its bundle, and refuses one that was changed; the list names every file."""
    (tmp_path / "a.whl").write_text("a")
    (tmp_path / "SHA256SUMS").write_text(checksums.text(tmp_path))
    listed = tmp_path / "SHA256SUMS"
    sign.run([sign.file_command(listed, key_file(cosign, "release"))])
    assert checksums.differences(tmp_path) == []
    argv = ["verify-blob", "--key", "release.pub", "--bundle", f"{listed}.sigstore.json", "--insecure-ignore-tlog"]
    assert cosign_says(cosign, [*argv, str(listed)]).returncode == 0
    shutil.copy(listed, other := tmp_path / "other")
    other.write_text(other.read_text().replace("a.whl", "b.whl"))
    assert cosign_says(cosign, [*argv, str(other)]).returncode != 0


def cosign_says(cosign: Cosign, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run cosign where the keys are."""
    argv = [str(binaries.provide("cosign")), *arguments]
    return subprocess.run(argv, cwd=cosign.folder, capture_output=True, text=True, timeout=120, check=False)


def test_a_tag_is_not_signed() -> None:
    """What is signed must be what was built: a tag could be another image's by now."""
    with pytest.raises(ValueError, match="digest"):
        sign.image_command("registry.example.com/a:1.0", None)


def test_without_a_key_it_is_keyless() -> None:
    """In the workflow there is no key and no switch that leaves the transparency log out."""
    reference = f"ghcr.io/acme/a@sha256:{'0' * 64}"
    assert sign.image_command(reference, None) == ["sign", "--yes", reference]
    assert sign.file_command(Path("SHA256SUMS"), None) == [
        *("sign-blob", "--yes", "--bundle"),
        *("SHA256SUMS.sigstore.json", "SHA256SUMS"),
    ]


def test_the_pages_commands_are_cosigns(cosign: Cosign) -> None:
    """Each subcommand and flag that SECURITY.md tells a reader to type is one of cosign's."""
    page = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8").replace("\\\n", " ")
    typed = re.findall(r"^\$ cosign (.*)$", page, re.MULTILINE)
    assert len(typed) >= 3
    for line in typed:
        subcommand, *words = shlex.split(line)
        known = cosign_says(cosign, [subcommand, "--help"]).stdout
        assert [word for word in words if word.startswith("--") and word not in known] == []
