"""What a plugin is called, what it is, and how it must be packed for a gateway to read it.

A digest is the identity; a tag is only a question. The layouts are those of the Wasm image specification
(solo-io/wasm, spec/README.md) as Istio's agent reads them (istio pkg/wasm/imagefetcher.go), and the choice within an
image index is that of google/go-containerregistry (pkg/v1/remote/index.go), which the agent uses.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import json
import posixpath
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import archive
from pluginrelease.core.errors import Refused
from pluginrelease.core.wasm import Module
from pluginrelease.core.wording import count_noun

MAX_WASM_BYTES = 256 * 1024 * 1024  # istio: ISTIO_WASM_MAX_BINARY_SIZE_BYTES' default
MAX_MANIFEST_BYTES = 1024 * 1024  # far more than any has; as JSON it may take 40 times its size in memory
MAX_LAYERS = 256
MAX_CHILDREN = 256

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
MANIFEST_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
PLUGIN_FILE = "plugin.wasm"

_PUSH = "Push the plugin with `pluginrelease push FILE.wasm REFERENCE`, which every gateway can read."


# --- names ---


@dataclass(frozen=True)
class Digest:
    """A SHA-256 digest; ``str()`` gives ``sha256:<hex>``."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``sha256:<64 lower-case hex digits>``. Raises `Refused` (``InvalidReference``)."""
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
            _invalid(text, "its digest is not sha256: and 64 lower-case hex digits")
        return cls(text.removeprefix("sha256:"))

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls(hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


@dataclass(frozen=True)
class Reference:
    """Where an artifact is: a registry and a repository, and a tag or a digest or both (the digest then counts)."""

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """``registry/repository``, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def endpoint(self) -> str:
        """The host, with its port, that serves the registry's API. Docker Hub's is not its name."""
        return "registry-1.docker.io" if self.registry == DOCKER_HUB else self.registry

    @property
    def question(self) -> str:
        """What to ask the registry for: the digest, or else the tag."""
        return str(self.digest) if self.digest else self.tag

    def pinned(self, digest: Digest) -> Reference:
        """The same place, by digest only."""
        return Reference(self.registry, self.repository, "", digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


DOCKER_HUB = "docker.io"
_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def parse(text: str) -> Reference:
    """Read ``[registry[:port]/]repository[:tag][@sha256:hex]``.

    A name without a registry is Docker Hub's, and there a name without a slash is in ``library/``
    (distribution/reference, normalize.go). Raises `Refused`: ``InvalidReference``, naming what is wrong, or
    ``MissingTag``: a tag is never made up, ``latest`` included.
    """
    reference = parse_repository(text)
    if not reference.question:
        raise Refused(
            Reason.MISSING_TAG,
            f"The reference {text!r} has neither a tag nor a digest",
            f"Write the version that is wanted, for example {text}:1.0.0, or a digest: {text}@sha256:….",
        )
    return reference


def parse_repository(text: str) -> Reference:
    """As `parse`, and a repository alone will do."""
    _check_shape(text)
    rest, _, digest = text.partition("@")
    path, tag = _split_tag(rest)
    registry, repository = _split_registry(path)
    _check_parts(text, registry, repository, tag)
    return Reference(registry, repository, tag or "", Digest.parse(digest) if "@" in text else None)


def _invalid(text: str, what: str) -> NoReturn:
    shown = text if len(text) <= 120 else text[:117] + "…"
    raise Refused(
        Reason.INVALID_REFERENCE,
        f"{shown!r} is not an image reference: {what}",
        "Write it as registry.example.com/team/plugin:1.0.0.",
    )


def _check_shape(text: str) -> None:
    if not text:
        _invalid(text, "it is empty")
    if len(text) > 512:
        _invalid(text, "it is longer than 512 characters")
    if "://" in text:
        _invalid(text, "it starts with a scheme; leave out " + text.partition("://")[0] + "://")
    if re.search(r"\s", text):
        _invalid(text, "there is white space in it")


def _split_tag(rest: str) -> tuple[str, str | None]:
    """A colon after the last slash begins the tag; one before it belongs to the port. None: there is no colon."""
    head, slash, last = rest.rpartition("/")
    name, colon, tag = last.partition(":")
    return head + slash + name, tag if colon else None


def _split_registry(path: str) -> tuple[str, str]:
    first, slash, rest = path.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        registry, repository = first, rest
    else:
        registry, repository = DOCKER_HUB, path
    if registry in _HUB_NAMES:
        registry = DOCKER_HUB
        repository = repository if "/" in repository else f"library/{repository}"
    return registry, repository


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _check_parts(text: str, registry: str, repository: str, tag: str | None) -> None:
    if not _HOST.fullmatch(registry):
        brackets = "; an IPv6 address stands in brackets: [fd00::1]:5000" if registry.count(":") > 1 else ""
        _invalid(text, f"{registry!r} is not a host name with an optional port{brackets}")
    if registry.startswith("[") and not _is_ipv6(registry[1:].partition("]")[0]):
        _invalid(text, f"{registry!r} has no IPv6 address in its brackets")
    port = re.search(r":([0-9]+)$", registry)
    if port and not 0 < int(port.group(1)) < 65536:
        _invalid(text, f"{port.group(1)} is not a port")
    if not repository or repository == "library/":
        _invalid(text, "the repository is missing")
    if len(repository) > 255:
        _invalid(text, "the repository is longer than 255 characters")
    if repository != repository.lower():
        _invalid(text, f"the repository {repository!r} has upper-case letters, and only lower case is allowed")
    if not _REPOSITORY.fullmatch(repository):
        _invalid(text, f"{repository!r} is not a repository: words of a-z and 0-9 with . _ - between, parted by /")
    if tag is not None and not TAG.fullmatch(tag):
        _invalid(text, f"{tag!r} is not a tag: up to 128 of A-Z a-z 0-9 _ . -" if tag else "the tag is empty")


# --- manifests ---


class Layout(StrEnum):
    """The three packings that Istio's agent reads."""

    DOCKER_COMPAT = "DockerCompat"
    OCI_COMPAT = "OCICompat"
    OCI_ARTIFACT = "OCIArtifact"

    @property
    def archived(self) -> bool:
        """Whether the module is plugin.wasm in a tar+gzip layer; else the layer is the module itself."""
        return self is not Layout.OCI_ARTIFACT


@dataclass(frozen=True)
class Descriptor:
    """A manifest's word on one blob or manifest: what it is, its digest and its size in bytes."""

    media_type: str
    digest: Digest
    size: int


@dataclass(frozen=True)
class Artifact:
    """A plugin that was fetched and read. ``digest`` is the manifest's that a gateway compares, ``wasm_sha256`` (hex)
    and ``size`` (bytes) are the module's; ``index`` is that of the image index that was asked for, None for none."""

    reference: Reference
    digest: Digest
    layout: Layout
    wasm_sha256: str
    size: int
    module: Module
    index: Digest | None = None

    @property
    def pinned(self) -> Reference:
        """The reference to hand to a gateway: by digest."""
        return self.reference.pinned(self.digest)


def is_index(media_type: str) -> bool:
    """Whether a manifest of this Content-Type lists others, one a platform."""
    return media_type in (OCI_INDEX, DOCKER_INDEX)


def find_child(raw: bytes) -> Descriptor:
    """The manifest in an index that a gateway takes: the first for linux/amd64 or without a platform, on every
    machine, as the agent asks for no other. Raises `Refused`: ``MalformedManifest``, ``NoUsablePlatform``.
    """
    entries = _list(_object(raw), "manifests", MAX_CHILDREN)
    for entry in entries:
        platform = entry.get("platform")
        if not isinstance(platform, dict):
            platform = {"os": "linux", "architecture": "amd64"}
        if platform.get("os") == "linux" and platform.get("architecture") == "amd64":
            return read_descriptor(entry)
    raise Refused(
        Reason.NO_USABLE_PLATFORM,
        f"Of {count_noun(len(entries), 'manifest')} in the image index none is for linux/amd64, which gateways take",
        _PUSH,
    )


def list_children(raw: bytes) -> tuple[Descriptor, ...]:
    """Every manifest in an index. Raises `Refused` (``MalformedManifest``)."""
    return tuple(read_descriptor(entry) for entry in _list(_object(raw), "manifests", MAX_CHILDREN))


def list_layers(raw: bytes) -> tuple[Descriptor, ...]:
    """Every layer of an image, whatever it is. Raises `Refused` (``MalformedManifest``)."""
    return tuple(read_descriptor(entry) for entry in _list(_object(raw), "layers", MAX_LAYERS))


def find_layer(raw: bytes) -> tuple[Layout, Descriptor]:
    """The layout of an image manifest and the layer to fetch, by the agent's rules.

    A Docker manifest needs a Docker layer last; any other an OCI tar+gzip layer last, or else exactly two layers of
    which one is the module itself. Raises `Refused`: ``MalformedManifest``, ``UnreadableLayout``.
    """
    manifest = _object(raw)
    layers = _list(manifest, "layers", MAX_LAYERS)
    types = [str(entry.get("mediaType", "")) for entry in layers]
    docker = manifest.get("mediaType") == DOCKER_MANIFEST
    if types and docker and types[-1] == DOCKER_LAYER:
        return Layout.DOCKER_COMPAT, read_descriptor(layers[-1])
    if types and not docker and types[-1] == OCI_LAYER:
        return Layout.OCI_COMPAT, read_descriptor(layers[-1])
    if not docker and len(types) == 2 and WASM_LAYER in types:
        return Layout.OCI_ARTIFACT, read_descriptor(layers[types.index(WASM_LAYER)])
    raise _unreadable(types, docker)


def _unreadable(types: list[str], docker: bool) -> Refused:
    listed = ", ".join(sanitize(name) or "of no type" for name in types[:5]) or "none"
    more = f" and {len(types) - 5} more" if len(types) > 5 else ""
    kind = "Docker image" if docker else "OCI image"
    accepted = (
        f"its last layer must be {DOCKER_LAYER}"
        if docker
        else f"its last layer must be {OCI_LAYER}, or it must have exactly two layers, one of them {WASM_LAYER}"
    )
    return Refused(
        Reason.UNREADABLE_LAYOUT,
        f"A gateway cannot read this {kind}: it has {count_noun(len(types), 'layer')} ({listed}{more}), and {accepted}",
        f"{_PUSH} `pluginrelease copy REFERENCE NEW-REFERENCE` packs the module of this one so.",
    )


def sanitize(text: str, most: int = 100) -> str:
    """A stranger's text as it may stand in a message: short, and with ``?`` for what is not for reading."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


def _malformed(what: str) -> NoReturn:
    raise Refused(Reason.MALFORMED_MANIFEST, f"The manifest in the registry is malformed: {what}", _PUSH)


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_MANIFEST_BYTES:
        _malformed(f"it is {len(raw)} bytes long, more than {MAX_MANIFEST_BYTES}")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        _malformed("it is not JSON")
    if not isinstance(value, dict):
        _malformed("it is not a JSON object")
    return value


def _list(manifest: dict[str, Any], key: str, most: int) -> list[dict[str, Any]]:
    entries = manifest.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _malformed(f"its {key!r} is not a list of objects")
    if len(entries) > most:
        _malformed(f"it lists {len(entries)} {key}, more than {most}")
    return entries


def read_descriptor(entry: dict[str, Any]) -> Descriptor:
    """One entry of a manifest. Raises `Refused` (``MalformedManifest``)."""
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        _malformed(f"{str(digest)[:100]!r} is not a sha256 digest")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        _malformed(f"{str(size)[:40]!r} is not a size")
    return Descriptor(str(entry.get("mediaType", "")), Digest.parse(digest), size)


# --- the layer's archive ---


def extract(blob: bytes, most: int = MAX_WASM_BYTES) -> bytes:
    """Take plugin.wasm out of a tar+gzip layer, as `unpack`, all at once."""
    return b"".join(unpack(io.BytesIO(blob).read, most))


def unpack(read: Callable[[int], bytes], most: int = MAX_WASM_BYTES) -> Iterator[bytes]:
    """Take plugin.wasm out of a tar+gzip layer: the first entry of that name in any directory, as the agent does.

    ``read`` gives up to so many bytes of the layer, none at its end. The file comes in pieces of at most 1 MiB, and
    at most ``most`` bytes are ever unpacked, whatever the archive says of itself.
    Raises `Refused`: ``NoPluginWasm``, ``MalformedLayer``, ``ArtifactTooLarge``.
    """
    try:
        yield from _read_content(_find(archive.members(archive.ArchiveStream(archive.gunzip(read), most))), most)
    except archive.Malformed as malformed:
        raise Refused(
            Reason.MALFORMED_LAYER, f"The image's layer is not a whole tar+gzip archive: {malformed}", _PUSH
        ) from malformed
    except archive.TooLarge as too:
        raise refuse_too_large("What the image's layer unpacks to", most) from too


def refuse_too_large(what: str, most: int) -> Refused:
    """The error for anything beyond the cap that gateways have, too."""
    return Refused(
        Reason.ARTIFACT_TOO_LARGE,
        f"{what} is larger than {most} bytes, the most that a gateway reads",
        "Make the plugin smaller (for Go: -ldflags='-s -w'; for Rust: opt-level and strip).",
    )


def _find(members: Iterator[archive.Member]) -> archive.Member:
    seen: list[str] = []
    try:
        for member in members:
            if posixpath.basename(member.name) == PLUGIN_FILE:
                return member
            seen.append(sanitize(member.name))
            del seen[5:]
    except archive.TooManyMembers as many:
        raise Refused(
            Reason.NO_PLUGIN_WASM, f"No {PLUGIN_FILE} within {archive.MAX_MEMBERS} files of the image", _PUSH
        ) from many
    found = ", ".join(seen) or "nothing"
    raise Refused(
        Reason.NO_PLUGIN_WASM,
        f"{PLUGIN_FILE} not found in the archive: the layer a gateway reads holds {found}",
        f"Call the file {PLUGIN_FILE} in the image's last layer. {_PUSH}",
    )


def _read_content(member: archive.Member, most: int) -> Iterator[bytes]:
    if not member.regular:
        raise Refused(
            Reason.NO_PLUGIN_WASM, f"{sanitize(member.name)} is in the archive, but is not a regular file", _PUSH
        )
    if member.size > most:
        raise refuse_too_large(PLUGIN_FILE, most)
    while piece := member.read(archive.PIECE_BYTES):
        yield piece


# --- packing ---


@dataclass(frozen=True)
class PackedImage:
    """An image to push: its three blobs, byte for byte."""

    layer: bytes
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> Digest:
        return Digest.of(self.manifest)


def pack(wasm: bytes) -> PackedImage:
    """Pack a module as an OCI compat image: one tar+gzip layer with plugin.wasm, and an image config that container
    tools accept. The same module gives the same bytes on every day (no times, no owners).
    """
    packed = _gzip(unpacked := _tar(wasm))
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(unpacked))]},
            "history": [{"created_by": "pluginrelease push"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _describe_blob(OCI_CONFIG, config),
            "layers": [_describe_blob(OCI_LAYER, packed)],
        }
    )
    return PackedImage(packed, config, manifest)


def _tar(wasm: bytes) -> bytes:
    file = tarfile.TarInfo(PLUGIN_FILE)
    file.size = len(wasm)
    file.mode = 0o644
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(file, io.BytesIO(wasm))
    return out.getvalue()


def _gzip(data: bytes) -> bytes:
    """RFC 1952 with no time and an unknown system in the header, which the gzip module fills in by Python version."""
    packer = zlib.compressobj(level=6, wbits=-15)
    body = packer.compress(data) + packer.flush()
    header = archive.GZIP + b"\x08\0\0\0\0\0\0\xff"
    return header + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _describe_blob(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(blob)), "size": len(blob)}
