"""Names, layouts and archives: what a gateway would read, and what it would not."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluginrelease.core.artifact import image_manifests, packing
from pluginrelease.core.artifact.archive import MAX_MEMBERS
from pluginrelease.core.artifact.image_manifests import Digest, Layout
from pluginrelease.core.errors import Refused

HEX = "a" * 64
WASM = b"\0asm\x01\0\0\0" + bytes(1000)


# --- names ---


@pytest.mark.parametrize(
    ("text", "whole", "endpoint", "question"),
    [
        ("registry.example.com/team/plugin:1.2", "registry.example.com/team/plugin:1.2", "registry.example.com", "1.2"),
        ("localhost/plugin:1", "localhost/plugin:1", "localhost", "1"),
        ("localhost:5000/plugin:1", "localhost:5000/plugin:1", "localhost:5000", "1"),
        ("[::1]:5000/plugin:1", "[::1]:5000/plugin:1", "[::1]:5000", "1"),
        ("[fd00:10:96::5]/plugin:1", "[fd00:10:96::5]/plugin:1", "[fd00:10:96::5]", "1"),
        ("10.0.0.1:5000/a/b/c:x_y-z.1", "10.0.0.1:5000/a/b/c:x_y-z.1", "10.0.0.1:5000", "x_y-z.1"),
        ("plugin:1", "docker.io/library/plugin:1", "registry-1.docker.io", "1"),
        ("team/plugin:1", "docker.io/team/plugin:1", "registry-1.docker.io", "1"),
        ("docker.io/plugin:1", "docker.io/library/plugin:1", "registry-1.docker.io", "1"),
        ("index.docker.io/team/plugin:1", "docker.io/team/plugin:1", "registry-1.docker.io", "1"),
        (f"r.io/p@sha256:{HEX}", f"r.io/p@sha256:{HEX}", "r.io", f"sha256:{HEX}"),
        (f"r.io/p:1@sha256:{HEX}", f"r.io/p:1@sha256:{HEX}", "r.io", f"sha256:{HEX}"),
    ],
)
def test_references(text: str, whole: str, endpoint: str, question: str) -> None:
    """A reference is read as container tools read it, Docker Hub's short forms included; a digest outranks a tag."""
    reference = image_manifests.parse(text)
    assert (str(reference), reference.endpoint, reference.question) == (whole, endpoint, question)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "empty"),
        ("r.io/p q:1", "white space"),
        ("oci://r.io/p:1", "scheme"),
        ("https://r.io/p:1", "scheme"),
        ("r.io/Plugin:1", "upper-case"),
        ("r.io/p:", "tag"),
        ("r.io/p:-1", "'-1'"),
        ("r.io/p:" + "a" * 129, "up to 128"),
        ("r.io/:1", "repository"),
        ("r.io//p:1", "'/p'"),
        ("r.io/p/:1", "'p/'"),
        ("-r.io/p:1", "'-r.io'"),
        ("r.io:99999/p:1", "99999"),
        ("[::1]:99999/p:1", "99999"),
        ("fd00::1/p:1", "in brackets"),
        ("fd00::1:5000/p:1", "in brackets"),
        ("[:::]:5000/p:1", "no IPv6 address"),
        ("[1.2.3.4]:5000/p:1", "no IPv6 address"),
        ("[12345::]/p:1", "no IPv6 address"),
        ("r.io/" + "a" * 256 + ":1", "longer than 255"),
        ("r.io/" + "a" * 600, "longer than 512"),
        ("r.io/p@sha256:abc", "64"),
        ("r.io/p@sha512:" + "a" * 128, "sha256"),
        ("r.io/p@", "sha256"),
        (f"r.io/p@sha256:{HEX}@sha256:{HEX}", "sha256"),
    ],
)
def test_no_references(text: str, names: str) -> None:
    """What is not a reference is refused, and the message names what is wrong with it."""
    with pytest.raises(Refused, match=names) as refused:
        image_manifests.parse(text)
    assert refused.value.reason == "InvalidReference"


def test_a_tag_is_never_made_up() -> None:
    """No tag and no digest is refused with an example; "latest" is not assumed."""
    with pytest.raises(Refused, match=r"r\.io/team/plugin") as refused:
        image_manifests.parse("r.io/team/plugin")
    assert refused.value.reason == "MissingTag"
    assert "r.io/team/plugin:1.0.0" in refused.value.remedy


def test_pinned() -> None:
    """A pinned reference has the digest and no tag, as a gateway is given it."""
    assert str(image_manifests.parse("r.io/p:1").pinned(Digest(HEX))) == f"r.io/p@sha256:{HEX}"


@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    """Any text is a reference or refused; what is a reference reads the same again."""
    with suppress(Refused):
        reference = image_manifests.parse(text)
        assert image_manifests.parse(str(reference)) == reference


# --- manifests ---


def entry(media_type: str, digest: str = f"sha256:{HEX}", **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": 10, **more}


def manifest(*types: str, **more: Any) -> bytes:
    layers = [entry(kind, f"sha256:{number:064x}") for number, kind in enumerate(types)]
    return json.dumps({"schemaVersion": 2, "layers": layers, **more}).encode()


OCI, DOCKER, RAW = image_manifests.OCI_LAYER, image_manifests.DOCKER_LAYER, image_manifests.WASM_LAYER
CONFIG = "application/vnd.module.wasm.config.v1+json"
DOCKER_IMAGE = {"mediaType": image_manifests.DOCKER_MANIFEST}


@pytest.mark.parametrize(
    ("raw", "layout", "layer"),
    [
        (manifest(OCI), Layout.OCI_COMPAT, 0),
        (manifest(OCI, OCI), Layout.OCI_COMPAT, 1),
        (manifest("application/vnd.module.wasm.spec.v1+yaml", OCI), Layout.OCI_COMPAT, 1),
        (manifest(RAW, OCI), Layout.OCI_COMPAT, 1),
        (manifest(DOCKER, **DOCKER_IMAGE), Layout.DOCKER_COMPAT, 0),
        (manifest(RAW, DOCKER, **DOCKER_IMAGE), Layout.DOCKER_COMPAT, 1),
        (manifest(RAW, CONFIG), Layout.OCI_ARTIFACT, 0),
        (manifest(CONFIG, RAW), Layout.OCI_ARTIFACT, 1),
    ],
)
def test_readable_layouts(raw: bytes, layout: Layout, layer: int) -> None:
    """The three layouts, and which of the layers holds the module."""
    found, descriptor = image_manifests.find_layer(raw)
    assert (found, descriptor.digest.hex) == (layout, f"{layer:064x}")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (manifest(), "no layer at all"),
        (manifest(RAW), "one raw layer, as wasm-to-oci and a broken release of a gateway's plugins were pushed"),
        (manifest(RAW, CONFIG, CONFIG), "three layers"),
        (manifest(CONFIG, CONFIG), "two layers, none the module"),
        (manifest(DOCKER), "a Docker layer in an OCI image"),
        (manifest(OCI, **DOCKER_IMAGE), "an OCI layer in a Docker image"),
        (manifest(RAW, CONFIG, **DOCKER_IMAGE), "an artifact called a Docker image"),
        (manifest("application/wasm"), "a CNCF wasm artifact"),
        (manifest("application/vnd.oci.image.layer.v1.tar+zstd"), "zstd"),
        (manifest("application/vnd.oci.image.layer.v1.tar"), "not compressed"),
        (manifest(OCI, CONFIG, CONFIG), "the archive is not last"),
    ],
)
def test_unreadable_layouts(raw: bytes, reason: str) -> None:
    """Any other is refused, with what was found, what is accepted and the command that makes a readable one."""
    with pytest.raises(Refused) as refused:
        image_manifests.find_layer(raw)
    assert refused.value.reason == "UnreadableLayout", reason
    assert "layer" in refused.value.message
    accepted = (image_manifests.OCI_LAYER, image_manifests.DOCKER_LAYER)
    assert any(layer in refused.value.message for layer in accepted)
    assert "pluginrelease push" in refused.value.remedy


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 200_000,
        b'{"layers": 1}',
        b'{"layers": [1]}',
        manifest(*[OCI] * 300),
        json.dumps({"layers": [entry(OCI, "md5:abc")]}).encode(),
        json.dumps({"layers": [entry(OCI, size=-1)]}).encode(),
        json.dumps({"layers": [entry(OCI, size="10")]}).encode(),
        b" " * (image_manifests.MAX_MANIFEST_BYTES + 1),
    ],
)
def test_malformed_manifests(raw: bytes) -> None:
    """What is no manifest, or more of one than is read, is refused."""
    with pytest.raises(Refused) as refused:
        image_manifests.find_layer(raw)
    assert refused.value.reason == "MalformedManifest"


def index(*platforms: tuple[str, str] | None) -> bytes:
    entries = []
    for number, platform in enumerate(platforms):
        found = entry(image_manifests.OCI_MANIFEST, f"sha256:{number:064x}")
        if platform:
            found["platform"] = {"os": platform[0], "architecture": platform[1]}
        entries.append(found)
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


@pytest.mark.parametrize(
    ("raw", "child"),
    [
        (index(("linux", "amd64")), 0),
        (index(("linux", "arm64"), ("linux", "amd64")), 1),
        (index(None), 0),
        (index(("unknown", "unknown"), ("wasi", "wasm"), None, ("linux", "amd64")), 2),
        (index(("linux", "amd64"), ("linux", "amd64")), 0),
    ],
)
def test_child_of_an_index(raw: bytes, child: int) -> None:
    """A gateway takes the first child for linux/amd64 or without a platform, whatever machine it runs on."""
    assert image_manifests.find_child(raw).digest.hex == f"{child:064x}"


@pytest.mark.parametrize("raw", [index(), index(("linux", "arm64")), index(("wasi", "wasm"))])
def test_index_without_a_child_for_gateways(raw: bytes) -> None:
    """An index that has nothing for linux/amd64 is refused."""
    with pytest.raises(Refused) as refused:
        image_manifests.find_child(raw)
    assert refused.value.reason == "NoUsablePlatform"


# --- archives ---


def archive(*files: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("name", ["plugin.wasm", "./plugin.wasm", "/app/plugin.wasm", "a/" * 80 + "plugin.wasm"])
def test_extract(name: str) -> None:
    """The module is plugin.wasm in any directory, after any other files."""
    assert image_manifests.extract(archive(("etc/passwd", b"x"), (name, WASM), ("plugin.wasm", b"later"))) == WASM


def test_extract_from_several_gzip_members() -> None:
    """gzip data may be made of parts; what follows the last is not looked at."""
    plain = gzip.decompress(archive(("plugin.wasm", WASM)))
    assert image_manifests.extract(gzip.compress(plain[:700]) + gzip.compress(plain[700:]) + b"\0\0\0") == WASM


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (archive(), "NoPluginWasm"),
        (archive(("main.wasm", WASM)), "NoPluginWasm"),
        (archive(("plugin.wasm.bak", WASM)), "NoPluginWasm"),
        (archive(("plugin.wasm", b""), kind=tarfile.SYMTYPE), "NoPluginWasm"),
        (archive(("plugin.wasm", b""), kind=tarfile.DIRTYPE), "NoPluginWasm"),
        (archive(("plugin.wasm", WASM))[:-200], "MalformedLayer"),
        (archive(("plugin.wasm", WASM))[:15], "MalformedLayer"),
        (gzip.compress(b"no tar at all"), "MalformedLayer"),
        (gzip.compress(b""), "MalformedLayer"),
        (WASM, "MalformedLayer"),
        (b"", "MalformedLayer"),
        (b"\x1f\x8b" + bytes(100), "MalformedLayer"),
    ],
)
def test_archives_without_a_module(blob: bytes, reason: str) -> None:
    """No plugin.wasm, or no archive: refused by name."""
    with pytest.raises(Refused) as refused:
        image_manifests.extract(blob)
    assert refused.value.reason == reason
    assert "pluginrelease push" in refused.value.remedy


def test_what_is_there_instead() -> None:
    """Who called the file otherwise reads its name in the message."""
    with pytest.raises(Refused, match=r"main\.wasm"):
        image_manifests.extract(archive(("main.wasm", WASM)))


def zeros(mebibytes: int) -> bytes:
    """That many MiB of zeros as gzip data, without making them at once."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)), packer.flush()])


def header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "blob",
    [
        gzip.compress(header("other", 1 << 40)) + zeros(40),
        gzip.compress(header("plugin.wasm", 1 << 40)) + zeros(1),
        gzip.compress(header("plugin.wasm", 20 << 20)) + zeros(20),
    ],
    ids=["before the module", "a size that is a lie", "the module itself"],
)
def test_bombs(blob: bytes) -> None:
    """An archive that unpacks to more than the cap is refused when the cap is reached, whatever its headers say."""
    with pytest.raises(Refused) as refused:
        image_manifests.extract(blob, most=10 << 20)
    assert refused.value.reason == "ArtifactTooLarge"
    assert str(10 << 20) in refused.value.message


def test_a_stream_of_headers_is_cut_off() -> None:
    """An archive of nothing but empty files ends at a number of them."""
    many = gzip.compress(b"".join(header(f"f{n}", 0) for n in range(MAX_MEMBERS + 10)))
    with pytest.raises(Refused, match=r"No plugin\.wasm within"):
        image_manifests.extract(many)


@settings(max_examples=200)
@given(st.data())
def test_any_damaged_archive(data: st.DataObject) -> None:
    """Damage before or after compression: bytes or a refusal, never another exception."""
    plain = bytearray(gzip.decompress(archive(("a/plugin.wasm", WASM), ("x" * 150, b"y"))))
    for _ in range(data.draw(st.integers(0, 5))):
        plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    packed = bytearray(gzip.compress(bytes(plain)))
    if data.draw(st.booleans()):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(Refused):
        image_manifests.extract(bytes(packed), most=1 << 20)


# --- packing ---


def test_pack_is_readable_and_the_same_every_time() -> None:
    """What is pushed reads back byte for byte, by the rules above, and packs to the same digest again."""
    image = packing.pack(WASM)
    layout, layer = image_manifests.find_layer(image.manifest)
    assert (layout, layer.digest, layer.size) == (Layout.OCI_COMPAT, Digest.of(image.layer), len(image.layer))
    assert image_manifests.extract(image.layer) == WASM
    assert packing.pack(WASM) == image


def test_pack_is_an_image_for_container_tools() -> None:
    """The config names a platform and the digest of the layer unpacked, without which container tools refuse it."""
    image = packing.pack(WASM)
    config = json.loads(image.config)
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["rootfs"]["diff_ids"] == [str(Digest.of(gzip.decompress(image.layer)))]
    described = json.loads(image.manifest)["config"]
    assert described["mediaType"] == image_manifests.OCI_CONFIG
    assert described["digest"] == str(Digest.of(image.config))
