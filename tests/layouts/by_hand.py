"""What else a registry can hold: manifests, indexes, layers and files that no common tool makes."""

from __future__ import annotations

import gzip
import tarfile

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import (
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_LAYER,
    WASM_LAYER,
)
from tests import wasm_modules
from tests.layouts.book import LayoutCase, LayoutOutcome
from tests.layouts.workshop import WASM_CONFIG, Workshop, archived, linked, packed, platform

LOADED, DENIED, REJECTED = LayoutOutcome.LOADED, LayoutOutcome.DENIED, LayoutOutcome.REJECTED
OCI_TAR = "application/vnd.oci.image.layer.v1.tar"
BY_HAND = "the registry's API"
ZSTD = bytes.fromhex("28b52ffd240001000099e9d851")
"""A whole zstd frame of nothing."""


# --- manifests ---


def artifact_of_old(shop: Workshop) -> None:
    """Before 1.1 of the specification a manifest had no media type in it."""
    shop.image((WASM_CONFIG, b"{}"), (WASM_LAYER, shop.module), mediaType=None)


def two_modules(shop: Workshop) -> None:
    shop.image((WASM_LAYER, shop.module), (WASM_LAYER, wasm_modules.unknown_abi()))


def docker_with_oci_layer(shop: Workshop) -> None:
    shop.image((OCI_LAYER, packed(("plugin.wasm", shop.module))), kind=DOCKER_MANIFEST)


def oci_with_docker_layer(shop: Workshop) -> None:
    shop.image((DOCKER_LAYER, packed(("plugin.wasm", shop.module))))


def not_compressed(shop: Workshop) -> None:
    shop.image((OCI_TAR, archived(("plugin.wasm", shop.module))))


def docker_artifact(shop: Workshop) -> None:
    shop.image((WASM_CONFIG, b"{}"), (WASM_LAYER, shop.module), kind=DOCKER_MANIFEST)


def packed_artifact(shop: Workshop) -> None:
    shop.image((WASM_CONFIG, b"{}"), (WASM_LAYER, gzip.compress(shop.module, mtime=0)))


def no_layer(shop: Workshop) -> None:
    shop.image()


# --- indexes ---


def no_platform(shop: Workshop) -> None:
    shop.index(shop.readable("child"))


def wasi_only(shop: Workshop) -> None:
    shop.index(platform(shop.readable("child"), "wasm", "wasip1"))


def variant(shop: Workshop) -> None:
    shop.index(platform(shop.readable("child"), "amd64", variant="v3"))


def attested(shop: Workshop) -> None:
    """As buildx pushes it: the image, and an attestation of how it was built beside it."""
    note = shop.image(("application/vnd.in-toto+json", b"{}"), tag="note")
    about = {"vnd.docker.reference.type": "attestation-manifest"}
    unknown = platform(note, "unknown", "unknown") | {"annotations": about}
    shop.index(unknown, platform(shop.readable("child"), "amd64"))


def docker_list(shop: Workshop) -> None:
    child = shop.image((DOCKER_LAYER, packed(("plugin.wasm", shop.module))), kind=DOCKER_MANIFEST, tag="child")
    shop.index(platform(child, "amd64"), kind=DOCKER_INDEX)


def unreadable_first(shop: Workshop) -> None:
    raw = shop.image((WASM_LAYER, shop.module), tag="raw")
    shop.index(platform(raw, "amd64"), platform(shop.readable("child"), "amd64"))


def nested(shop: Workshop, depth: int) -> None:
    entry = shop.readable("child")
    for number in range(depth):
        entry = shop.index(entry, tag=f"{number}")
    shop.index(entry)


def index_of_index(shop: Workshop) -> None:
    nested(shop, 1)


def three_deep(shop: Workshop) -> None:
    nested(shop, 2)


def empty_index(shop: Workshop) -> None:
    shop.index()


# --- what is in the layer ---


def layered(shop: Workshop, blob: bytes) -> None:
    shop.image((OCI_LAYER, blob))


def raw_gzip(shop: Workshop) -> None:
    layered(shop, gzip.compress(shop.module, mtime=0))


def raw_module(shop: Workshop) -> None:
    layered(shop, shop.module)


def plain_tar(shop: Workshop) -> None:
    layered(shop, archived(("plugin.wasm", shop.module)))


def zstd_in_disguise(shop: Workshop) -> None:
    layered(shop, ZSTD)


def cut_gzip(shop: Workshop) -> None:
    """In the middle of the module."""
    whole = packed(("plugin.wasm", shop.module))
    layered(shop, whole[: len(whole) // 2])


def cut_after_the_module(shop: Workshop) -> None:
    """The module is whole; the archive's end is missing."""
    layered(shop, packed(("plugin.wasm", shop.module), ("more", bytes(range(256)) * 4096))[:-1024])


def gzip_members(shop: Workshop) -> None:
    """As eStargz and pigz write it: many gzip data one after the other."""
    whole = archived(("README.md", b"#" * 5000), ("plugin.wasm", shop.module))
    layered(shop, b"".join(gzip.compress(whole[at : at + 1000], mtime=0) for at in range(0, len(whole), 1000)))


def rest_after_gzip(shop: Workshop) -> None:
    layered(shop, packed(("plugin.wasm", shop.module)) + b"\0" * 512)


def without(shop: Workshop) -> None:
    layered(shop, packed(("README.md", b"# plugin\n"), ("plugin.wasm.sha256", b"0" * 64)))


def taken_away(shop: Workshop) -> None:
    """A later layer that deletes the file: only the last layer is looked at."""
    good = packed(("plugin.wasm", shop.module))
    shop.image((OCI_LAYER, good), (OCI_LAYER, packed((".wh.plugin.wasm", b""))))


def dot_slash(shop: Workshop) -> None:
    layered(shop, packed(("./", None), ("./plugin.wasm", shop.module)))


def absolute(shop: Workshop) -> None:
    layered(shop, packed(("/plugin.wasm", shop.module)))


def upwards(shop: Workshop) -> None:
    layered(shop, packed(("../../plugin.wasm", shop.module)))


def pax(shop: Workshop) -> None:
    long = "a-very-long-name/" * 20
    layered(shop, packed((f"{long}plugin.wasm", shop.module), kind=tarfile.PAX_FORMAT))


def gnu(shop: Workshop) -> None:
    long = "a-very-long-name/" * 20
    layered(shop, packed((f"{long}plugin.wasm", shop.module), kind=tarfile.GNU_FORMAT))


def good_first(shop: Workshop) -> None:
    layered(shop, packed(("a/plugin.wasm", shop.module), ("b/plugin.wasm", wasm_modules.text_file())))


def bad_first(shop: Workshop) -> None:
    layered(shop, packed(("a/plugin.wasm", wasm_modules.text_file()), ("b/plugin.wasm", shop.module)))


def folder_first(shop: Workshop) -> None:
    layered(shop, packed(("plugin.wasm/", None), ("plugin.wasm/plugin.wasm", shop.module)))


def symlink(shop: Workshop) -> None:
    layered(shop, linked(tarfile.SYMTYPE, ("main.wasm", shop.module)))


def hard_link(shop: Workshop) -> None:
    layered(shop, linked(tarfile.LNKTYPE, ("main.wasm", shop.module)))


def too_large(shop: Workshop) -> None:
    layered(shop, packed(("plugin.wasm", shop.module + bytes(image_manifests.MAX_WASM_BYTES))))


def behind_much(shop: Workshop) -> None:
    layered(shop, packed(("data", bytes(image_manifests.MAX_WASM_BYTES)), ("plugin.wasm", shop.module)))


# --- what is called plugin.wasm ---


def file_of(shop: Workshop, content: bytes) -> None:
    layered(shop, packed(("plugin.wasm", content)))


def empty(shop: Workshop) -> None:
    file_of(shop, wasm_modules.empty_file())


def text(shop: Workshop) -> None:
    file_of(shop, wasm_modules.text_file())


def component(shop: Workshop) -> None:
    file_of(shop, wasm_modules.component())


def header_only(shop: Workshop) -> None:
    file_of(shop, wasm_modules.HEADER)


def truncated(shop: Workshop) -> None:
    file_of(shop, wasm_modules.truncated())


def unknown_abi(shop: Workshop) -> None:
    file_of(shop, wasm_modules.unknown_abi())


def missing_import(shop: Workshop) -> None:
    file_of(shop, wasm_modules.missing_import())


def without_allocator(shop: Workshop) -> None:
    file_of(shop, wasm_modules.without_allocator())


CASES = [
    LayoutCase("artifact-of-old", "artifact whose manifest has no media type", BY_HAND, LOADED, artifact_of_old),
    LayoutCase("two-modules", "artifact with two modules, a good one first", BY_HAND, LOADED, two_modules),
    LayoutCase("docker-oci", "Docker manifest, OCI layer", BY_HAND, DENIED, docker_with_oci_layer, "UnreadableLayout"),
    LayoutCase("oci-docker", "OCI manifest, Docker layer", BY_HAND, DENIED, oci_with_docker_layer, "UnreadableLayout"),
    LayoutCase("not-compressed", "layer not compressed", BY_HAND, DENIED, not_compressed, "UnreadableLayout"),
    LayoutCase(
        "docker-artifact", "artifact under a Docker manifest", BY_HAND, DENIED, docker_artifact, "UnreadableLayout"
    ),
    LayoutCase("packed-artifact", "artifact, module compressed", BY_HAND, DENIED, packed_artifact, "NotWasm"),
    LayoutCase("no-layer", "no layer", BY_HAND, DENIED, no_layer, "UnreadableLayout"),
    LayoutCase("no-platform", "index, no platform named", BY_HAND, LOADED, no_platform),
    LayoutCase("wasi-only", "index of wasip1/wasm alone", BY_HAND, DENIED, wasi_only, "NoUsablePlatform"),
    LayoutCase("variant", "index of linux/amd64/v3", BY_HAND, LOADED, variant),
    LayoutCase("attested", "index with buildx's attestations", BY_HAND, LOADED, attested),
    LayoutCase("docker-list", "Docker's manifest list", BY_HAND, LOADED, docker_list),
    LayoutCase(
        "unreadable-first", "index, first of two unreadable", BY_HAND, DENIED, unreadable_first, "UnreadableLayout"
    ),
    LayoutCase("index-of-index", "index of an index", BY_HAND, LOADED, index_of_index),
    LayoutCase("three-deep", "index of an index of an index", BY_HAND, LOADED, three_deep),
    LayoutCase("empty-index", "index of nothing", BY_HAND, DENIED, empty_index, "NoUsablePlatform"),
    LayoutCase("raw-gzip", "tar+gzip layer that is the module in gzip", BY_HAND, DENIED, raw_gzip, "MalformedLayer"),
    LayoutCase("raw-module", "tar+gzip layer that is the module", BY_HAND, DENIED, raw_module, "MalformedLayer"),
    LayoutCase("plain-tar", "tar+gzip layer that is only tar", BY_HAND, DENIED, plain_tar, "MalformedLayer"),
    LayoutCase("zstd-disguised", "tar+gzip layer that is zstd", BY_HAND, DENIED, zstd_in_disguise, "MalformedLayer"),
    LayoutCase("cut-gzip", "layer cut in the middle of the module", BY_HAND, DENIED, cut_gzip, "MalformedLayer"),
    LayoutCase("cut-after", "layer cut after the module", BY_HAND, LOADED, cut_after_the_module),
    LayoutCase("gzip-members", "layer of many gzip members (eStargz)", BY_HAND, LOADED, gzip_members),
    LayoutCase("rest-after-gzip", "zeros after the gzip data", BY_HAND, LOADED, rest_after_gzip),
    LayoutCase("without", "no plugin.wasm", BY_HAND, DENIED, without, "NoPluginWasm"),
    LayoutCase("taken-away", "plugin.wasm deleted by the last layer", BY_HAND, DENIED, taken_away, "NoPluginWasm"),
    LayoutCase("dot-slash", "./plugin.wasm", BY_HAND, LOADED, dot_slash),
    LayoutCase("absolute", "/plugin.wasm", BY_HAND, LOADED, absolute),
    LayoutCase("upwards", "../../plugin.wasm", BY_HAND, LOADED, upwards),
    LayoutCase("pax", "name of 350 letters, PAX", BY_HAND, LOADED, pax),
    LayoutCase("gnu", "name of 350 letters, GNU tar", BY_HAND, LOADED, gnu),
    LayoutCase("good-first", "two plugin.wasm, the first good", BY_HAND, LOADED, good_first),
    LayoutCase("bad-first", "two plugin.wasm, the first a text", BY_HAND, DENIED, bad_first, "NotWasm"),
    LayoutCase("folder-first", "a folder called plugin.wasm before it", BY_HAND, DENIED, folder_first, "NoPluginWasm"),
    LayoutCase("symlink", "plugin.wasm is a symbolic link", BY_HAND, DENIED, symlink, "NoPluginWasm"),
    LayoutCase("hard-link", "plugin.wasm is a hard link", BY_HAND, DENIED, hard_link, "NoPluginWasm"),
    LayoutCase("too-large", "plugin.wasm of 256 MiB and some bytes", BY_HAND, DENIED, too_large, "ArtifactTooLarge"),
    LayoutCase(
        "behind-much", "plugin.wasm behind 256 MiB of other files", BY_HAND, DENIED, behind_much, "ArtifactTooLarge"
    ),
    LayoutCase("empty", "plugin.wasm is empty", BY_HAND, DENIED, empty, "NotWasm"),
    LayoutCase("text", "plugin.wasm is a text", BY_HAND, DENIED, text, "NotWasm"),
    LayoutCase("component", "plugin.wasm is a component", BY_HAND, REJECTED, component, "ComponentNotModule"),
    LayoutCase("header-only", "plugin.wasm has no sections", BY_HAND, REJECTED, header_only, "UnknownABI"),
    LayoutCase("truncated", "plugin.wasm ends in the middle", BY_HAND, REJECTED, truncated, "TruncatedModule"),
    LayoutCase("unknown-abi", "plugin.wasm with an unknown ABI", BY_HAND, REJECTED, unknown_abi, "UnknownABI"),
    LayoutCase(
        "missing-import", "plugin.wasm, unknown import", BY_HAND, REJECTED, missing_import, "MissingHostFunction"
    ),
    LayoutCase("no-allocator", "plugin.wasm, no allocator", BY_HAND, REJECTED, without_allocator, "MissingAllocator"),
]
