"""Names of images, their manifests, and the layer of them that gateways read.

A digest identifies content; a tag only points to it. The layouts are those of the Wasm image specification
(solo-io/wasm, spec/README.md), as Istio's agent reads them (istio pkg/wasm/imagefetcher.go). The choice in an image
index follows google/go-containerregistry (pkg/v1/remote/index.go), which the agent uses.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import archive
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.wasm import Module
from pluginrelease.core.wording import count_noun

MAX_WASM_BYTES = 256 * 1024 * 1024  # default of Istio's ISTIO_WASM_MAX_BINARY_SIZE_BYTES
MAX_MANIFEST_BYTES = 1024 * 1024  # far more than any manifest has; parsed JSON may take 40 times its size in memory
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
    """The place of an artifact: registry, repository, and a tag or a digest. If both are set, the digest counts."""

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Return ``registry/repository``, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def endpoint(self) -> str:
        """Return host and port of the registry's API. For Docker Hub it differs from the registry's name."""
        return "registry-1.docker.io" if self.registry == DOCKER_HUB else self.registry

    @property
    def question(self) -> str:
        """Return what to request from the registry: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag

    def pinned(self, digest: Digest) -> Reference:
        """Return the same repository with this digest and no tag."""
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

    A name without a registry is on Docker Hub; there, a name without a slash is in ``library/``
    (distribution/reference, normalize.go). Raises `Refused`: ``InvalidReference``, naming what is wrong, or
    ``MissingTag``: there is no default tag, not even ``latest``.
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
    """Read a reference like `parse`; tag and digest may be missing."""
    _check_shape(text)
    rest, _, digest = text.partition("@")
    path, tag = _split_tag(rest)
    registry, repository = _split_registry(path)
    _check_parts(text, registry, repository, tag)
    return Reference(registry, repository, tag or "", Digest.parse(digest) if "@" in text else None)


def find_repository(text: str) -> str | None:
    """Return registry and repository of a reference, without tag and digest; None if it is no reference."""
    try:
        return parse_repository(text).name
    except ReleaseError:
        return None


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
    """Split off the tag: a colon after the last slash begins it, an earlier one belongs to the port.

    None: there is none.
    """
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
        brackets = "; put an IPv6 address in brackets: [fd00::1]:5000" if registry.count(":") > 1 else ""
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
        _invalid(
            text, f"{repository!r} is not a repository: words of a-z and 0-9 with . _ - between them, separated by /"
        )
    if tag is not None and not TAG.fullmatch(tag):
        _invalid(text, f"{tag!r} is not a tag: up to 128 of A-Z a-z 0-9 _ . -" if tag else "the tag is empty")


# --- manifests ---


class Layout(StrEnum):
    """The three layouts of images that Istio's agent reads, and a file on an HTTP server."""

    DOCKER_COMPAT = "DockerCompat"
    OCI_COMPAT = "OCICompat"
    OCI_ARTIFACT = "OCIArtifact"
    DOWNLOAD = "Download"

    @property
    def is_archived(self) -> bool:
        """Return True if the module is plugin.wasm in a tar+gzip layer; False if the layer is the module itself."""
        return self in (Layout.DOCKER_COMPAT, Layout.OCI_COMPAT)


@dataclass(frozen=True)
class Descriptor:
    """A manifest's entry for one blob or manifest: media type, digest, and size in bytes."""

    media_type: str
    digest: Digest
    size: int


@dataclass(frozen=True)
class Artifact:
    """A plugin that was fetched and read.

    ``digest`` is the manifest's, which a gateway compares. ``wasm_sha256`` (hex) and ``size`` (bytes) are the module's.
    ``index`` is the digest of the image index that was requested; None if there was none.
    """

    reference: Reference
    digest: Digest
    layout: Layout
    wasm_sha256: str
    size: int
    module: Module
    index: Digest | None = None

    @property
    def pinned(self) -> Reference:
        """Return the reference by digest, for a gateway."""
        return self.reference.pinned(self.digest)


def is_index(media_type: str) -> bool:
    """Return True if a manifest of this Content-Type is an index: a list of manifests, one for each platform."""
    return media_type in (OCI_INDEX, DOCKER_INDEX)


def find_child(raw: bytes) -> Descriptor:
    """Return the manifest in an index that a gateway takes: the first for linux/amd64 or without a platform.

    This holds on every machine, because the agent requests no other platform. Raises `Refused`: ``MalformedManifest``,
    ``NoUsablePlatform``.
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
    """Return every manifest in an index. Raises `Refused` (``MalformedManifest``)."""
    return tuple(read_descriptor(entry) for entry in _list(_object(raw), "manifests", MAX_CHILDREN))


def list_layers(raw: bytes) -> tuple[Descriptor, ...]:
    """Return every layer of an image, of any type. Raises `Refused` (``MalformedManifest``)."""
    return tuple(read_descriptor(entry) for entry in _list(_object(raw), "layers", MAX_LAYERS))


def find_layer(raw: bytes) -> tuple[Layout, Descriptor]:
    """Return the layout of an image and the layer to fetch, by the rules of Istio's agent.

    A Docker manifest needs a Docker layer last. Any other needs an OCI tar+gzip layer last, or exactly two layers of
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
    """Return a text of unknown origin for use in a message.

    It is cut to ``most`` characters, with ``?`` for unprintable ones.
    """
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
    """Read one entry of a manifest. Raises `Refused` (``MalformedManifest``)."""
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        _malformed(f"{str(digest)[:100]!r} is not a sha256 digest")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        _malformed(f"{str(size)[:40]!r} is not a size")
    return Descriptor(str(entry.get("mediaType", "")), Digest.parse(digest), size)


# --- the layer's archive ---


def extract(blob: bytes, most: int = MAX_WASM_BYTES) -> bytes:
    """Return plugin.wasm from a tar+gzip layer, as `unpack`, in one piece."""
    return b"".join(unpack(io.BytesIO(blob).read, most))


def unpack(read: Callable[[int], bytes], most: int = MAX_WASM_BYTES) -> Iterator[bytes]:
    """Yield plugin.wasm from a tar+gzip layer: the first entry of that name in any directory, as Istio's agent does.

    ``read`` returns up to the given number of bytes of the layer, and none at its end. The file comes in pieces of at
    most 1 MiB. At most ``most`` bytes are unpacked, whatever sizes the archive declares. Raises `Refused`:
    ``NoPluginWasm``, ``MalformedLayer``, ``ArtifactTooLarge``.
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
    """Return the error for anything above the size limit, which gateways have as well."""
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
