"""The registry's edge against a real registry (CNCF distribution): what is pushed, resolved, listed and fetched."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import time
from pathlib import Path

import pytest
import requests

from pluginrelease.core.artifact import image_manifests, packing
from pluginrelease.core.artifact.image_manifests import Layout
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.core.registry import challenge
from pluginrelease.edges.oci import distribution, registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab.registries import KEY, KEY_USER
from tests import wasm_modules as made
from tests.edges.real_registry import PASSWORD, REALM, USER, Real, as_tester, secret
from tests.edges.registry_access import OPEN, WASM, failure


def test_pushed_resolved_fetched(plain: Real, file: Path) -> None:
    """What was pushed comes back byte for byte, under one digest that the registry, too, says it has."""
    reference = plain.reference("team/plugin:1.0")
    pushed = registry.push(reference, file, OPEN)
    head = requests.head(
        f"http://{plain.host}/v2/team/plugin/manifests/1.0", headers={"Accept": image_manifests.OCI_MANIFEST}, timeout=5
    )
    assert head.headers["Docker-Content-Digest"] == str(pushed)
    assert registry.resolve(reference, OPEN) == registry.Resolved(pushed)
    fetched = registry.pull(reference, OPEN)
    assert fetched.wasm == WASM
    assert fetched.artifact.layout is Layout.OCI_COMPAT
    assert fetched.artifact.wasm_sha256 == hashlib.sha256(WASM).hexdigest()
    assert (fetched.artifact.size, fetched.artifact.module.abi) == (len(WASM), "0_2_1")
    assert registry.fetch(fetched.artifact.pinned, OPEN).digest == pushed


def test_a_manifest_that_is_there_or_not(plain: Real, file: Path) -> None:
    """One HEAD says whether a digest can still be fetched; what is gone is an answer, and no error."""
    pushed = registry.push(plain.reference("team/there:1"), file, OPEN)
    assert registry.has_manifest(plain.reference(f"team/there@{pushed}"), OPEN)
    assert not registry.has_manifest(plain.reference("team/there@sha256:" + "0" * 64), OPEN)
    assert not registry.has_manifest(plain.reference("team/never@" + str(pushed)), OPEN)


def test_pushed_again(plain: Real, file: Path) -> None:
    """The same module gives the same digest, wherever and whenever it is pushed."""
    first = registry.push(plain.reference("team/again:1"), file, OPEN)
    assert registry.push(plain.reference("team/again:2"), file, OPEN) == first
    assert registry.push(plain.reference(f"team/other@{first}"), file, OPEN) == first


def test_other_tools_layouts(plain: Real) -> None:
    """An image of a container build and a raw artifact are read as well, the module from the right layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo("app/plugin.wasm")
        member.size = len(WASM)
        tar.addfile(member, io.BytesIO(WASM))
    config = plain.blob("kinds", b"{}") | {"mediaType": "application/vnd.docker.container.image.v1+json"}
    layer = plain.blob("kinds", out.getvalue()) | {"mediaType": image_manifests.DOCKER_LAYER}
    plain.manifest("kinds", "docker", image_manifests.DOCKER_MANIFEST, {"config": config, "layers": [layer]})
    raw = plain.blob("kinds", WASM) | {"mediaType": image_manifests.WASM_LAYER}
    other = plain.blob("kinds", b'{"type":"envoy_proxy"}') | {"mediaType": "application/vnd.module.wasm.config.v1+json"}
    plain.manifest("kinds", "raw", image_manifests.OCI_MANIFEST, {"config": config, "layers": [other, raw]})
    for tag, layout in (("docker", Layout.DOCKER_COMPAT), ("raw", Layout.OCI_ARTIFACT)):
        fetched = registry.pull(plain.reference(f"kinds:{tag}"), OPEN)
        assert (fetched.wasm, fetched.artifact.layout) == (WASM, layout)


def test_unreadable_layout(plain: Real) -> None:
    """An image that a gateway cannot read is refused although it holds the module."""
    raw = plain.blob("kinds", WASM) | {"mediaType": image_manifests.WASM_LAYER}
    plain.manifest("kinds", "single", image_manifests.OCI_MANIFEST, {"config": raw, "layers": [raw]})
    assert failure(plain.reference("kinds:single")).reason == "UnreadableLayout"


def test_an_index_gives_its_child(plain: Real, file: Path) -> None:
    """A tag of a multi-platform image resolves to the digest that a gateway compares: its child's."""
    child = registry.push(plain.reference("multi:one"), file, OPEN)
    size = len(packing.pack(WASM).manifest)
    entry = {"mediaType": image_manifests.OCI_MANIFEST, "digest": str(child), "size": size}
    amd64 = entry | {"platform": {"os": "linux", "architecture": "amd64"}}
    index = plain.manifest("multi", "1", image_manifests.OCI_INDEX, {"manifests": [amd64]})
    assert index != str(child)
    assert registry.resolve(plain.reference("multi:1"), OPEN) == registry.Resolved(
        child, image_manifests.Digest.parse(index)
    )
    assert registry.fetch(plain.reference(f"multi@{index}"), OPEN).digest == child


def test_an_index_of_indexes(plain: Real, file: Path) -> None:
    """Indexes may be nested three deep, as a gateway goes further than that; deeper ones are refused."""
    child = registry.push(plain.reference("deep:0"), file, OPEN)
    kind, size = image_manifests.OCI_MANIFEST, len(packing.pack(WASM).manifest)
    entry = {"mediaType": kind, "digest": str(child), "size": size}
    for depth in range(1, 5):
        index = plain.manifest("deep", str(depth), image_manifests.OCI_INDEX, {"manifests": [entry]})
        size = len(plain.read("deep", str(depth))[1])
        entry = {"mediaType": image_manifests.OCI_INDEX, "digest": index, "size": size}
    assert registry.fetch(plain.reference("deep:3"), OPEN).digest == child
    assert failure(plain.reference("deep:4")).reason == "UnreadableLayout"


def test_a_tag_that_is_not_there(plain: Real) -> None:
    """A missing tag is waited for: it may be pushed in a minute."""
    error = failure(plain.reference("team/nothing:9"))
    assert isinstance(error, Waiting)
    assert (error.reason, error.retry_after) == ("ManifestNotFound", 60)
    assert "team/nothing:9" in error.message


def test_tags(plain: Real, file: Path) -> None:
    """Every tag of a repository, over as many pages as the registry makes of them; of none, that it is not there."""
    everything = {"1", *(f"1.{number}.0" for number in range(12))}
    for name in everything:
        registry.push(plain.reference(f"team/tagged:{name}"), file, OPEN)
    repository = image_manifests.parse_repository(f"{plain.host}/team/tagged")
    assert set(registry.list_tags(repository, OPEN).tags) == everything
    for most in (5, len(everything)):  # the latter: a full page, and no more after it
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distribution, "TAGS_AT_ONCE", most)
            found = registry.list_tags(repository, OPEN)
            assert (set(found.tags), found.whole) == (everything, True)
    with pytest.raises(Waiting) as raised:
        registry.list_tags(image_manifests.parse_repository(f"{plain.host}/team/nothing"), OPEN)
    assert raised.value.reason == "ManifestNotFound"


def test_tags_of_a_private_registry(private: Real, file: Path) -> None:
    """The list is asked for with the release's own credentials."""
    registry.push(private.reference("team/tagged:1.0.0"), file, as_tester(private.host))
    assert registry.list_tags(
        image_manifests.parse_repository(f"{private.host}/team/tagged"), as_tester(private.host)
    ).tags == ("1.0.0",)
    with pytest.raises(Refused) as raised:
        registry.list_tags(image_manifests.parse_repository(f"{private.host}/team/tagged"), OPEN)
    assert raised.value.reason == "AuthenticationRequired"


def test_too_large(plain: Real, file: Path) -> None:
    """A layer beyond the cap is refused before it is downloaded, and a file before it is pushed."""
    registry.push(plain.reference("large:1"), file, OPEN)
    small = Access(insecure=True, max_bytes=20)
    assert failure(plain.reference("large:1"), small).reason == "ArtifactTooLarge"
    with pytest.raises(Refused, match=" 20 bytes"):
        registry.push(plain.reference("large:2"), file, small)


def test_what_a_layer_unpacks_to_is_capped(plain: Real, tmp_path: Path) -> None:
    """A small layer that unpacks to more than the cap is refused, too."""
    big = tmp_path / "big.wasm"
    big.write_bytes(made.HEADER + bytes(1 << 20))
    registry.push(plain.reference("large:bomb"), big, OPEN)
    error = failure(plain.reference("large:bomb"), Access(insecure=True, max_bytes=100_000))
    assert error.reason == "ArtifactTooLarge"


def test_not_a_module(plain: Real, tmp_path: Path) -> None:
    """A text file called plugin.wasm is refused by what it is."""
    text = tmp_path / "plugin.wasm"
    text.write_bytes(made.text_file())
    registry.push(plain.reference("text:1"), text, OPEN)
    error = failure(plain.reference("text:1"))
    assert error.reason == "NotWasm"
    assert "text" in error.message


def test_https_by_default(plain: Real) -> None:
    """Plain http is spoken only where the release says so, and the message names the field."""
    error = failure(plain.reference("team/plugin:1.0"), Access(deadline_seconds=20))
    assert isinstance(error, Refused)
    assert error.reason == "RegistryTLS"
    assert "insecure: true" in error.remedy


def test_private_without_a_secret(private: Real) -> None:
    """No credentials: refused with the field that names them."""
    error = failure(private.reference("team/plugin:1"))
    assert isinstance(error, Refused)
    assert error.reason == "AuthenticationRequired"
    assert "pullSecretRef" in error.remedy


def test_private_with_another_registrys_secret(private: Real) -> None:
    """A secret without an entry for this registry: the message says which it has."""
    error = failure(private.reference("team/plugin:1"), as_tester("other.example.com"))
    assert error.reason == "AuthenticationRequired"
    assert "other.example.com" in error.message


def test_private_with_wrong_credentials(private: Real) -> None:
    """Bad credentials are refused at once, without another try, and are not in the message."""
    began = time.monotonic()
    error = failure(private.reference("team/plugin:1"), as_tester(private.host, "hush hush"))
    assert time.monotonic() - began < 5
    assert (type(error), error.reason) == (Refused, "AuthenticationFailed")
    assert "hush" not in error.sentence()


def test_private(private: Real, file: Path) -> None:
    """With the right secret it is pushed and fetched."""
    access = as_tester(private.host)
    pushed = registry.push(private.reference("team/plugin:1"), file, access)
    assert registry.fetch(private.reference("team/plugin:1"), access).digest == pushed


@pytest.mark.parametrize("form", ["auth", "password"])
def test_private_with_a_password_of_several_lines(private: Real, file: Path, form: str) -> None:
    """Google's JSON key logs in as it is, with its line breaks and the last of them."""
    pair = {"username": KEY_USER, "password": KEY}
    entry = pair if form == "password" else {"auth": base64.b64encode(f"{KEY_USER}:{KEY}".encode()).decode()}
    content = json.dumps({"auths": {private.host: entry}}).encode()
    access = Access(insecure=True, deadline_seconds=20, dockerconfigjson=content)
    pushed = registry.push(private.reference("team/plugin:key"), file, access)
    assert registry.fetch(private.reference("team/plugin:key"), access).digest == pushed


def test_private_with_a_line_break_too_many(private: Real) -> None:
    """A password out of a file, with its last line break, is shown so; who reads the refusal learns of it."""
    error = failure(private.reference("team/plugin:1"), as_tester(private.host, PASSWORD + "\n"))
    assert error.reason == "AuthenticationFailed"
    assert "line break" in error.message
    assert "horse" not in error.sentence()


def test_invalid_secret(private: Real) -> None:
    """A secret that is not one is refused before anything is asked."""
    access = Access(insecure=True, dockerconfigjson=b"user: tester")
    assert failure(private.reference("team/plugin:1"), access).reason == "InvalidPullSecret"


def test_nothing_is_taken_from_the_home_folder(private: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials come from the release's secret alone: not from ~/.docker, not from ~/.netrc."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_bytes(secret(private.host))
    netrc = tmp_path / ".netrc"
    netrc.write_text(f'machine 127.0.0.1 login {USER} password "{PASSWORD}"\n')
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    assert failure(private.reference("team/plugin:1")).reason == "AuthenticationRequired"


def test_challenge(plain: Real, private: Real) -> None:
    """What a registry asks of everyone is read without credentials, and the gateway's guard accepts this realm."""
    assert registry.read_challenge(plain.reference("any:1"), OPEN) == ()
    values = registry.read_challenge(private.reference("any:1"), as_tester(private.host))
    assert values == (f'Basic realm="{REALM}"',)
    challenge.check_gateways(private.host, values, {"1.31.0"})


def test_many_at_once(plain: Real, file: Path) -> None:
    """Calls share nothing: many threads at once each get the whole."""
    registry.push(plain.reference("threads:1"), file, OPEN)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(registry.pull(plain.reference("threads:1"), OPEN).wasm))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [WASM] * 8


def test_a_secret_is_in_no_text() -> None:
    """An Access may be logged: its repr and its fingerprint hide the secret; another secret has another fingerprint."""
    access = Access(dockerconfigjson=b"hush")
    assert "hush" not in repr(access)
    assert access.fingerprint != Access().fingerprint
