"""Modules on HTTP servers: their names, and what Istio's agent makes of the bytes.

The agent takes the body of an answer with status 200. It unpacks gzip and tar, in any order, until it has a module, and
compares the module's SHA-256 (istio pkg/wasm/httpfetcher.go, cache.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import archive
from pluginrelease.core.artifact.image_manifests import Digest, Reference, refuse_too_large, sanitize
from pluginrelease.core.errors import Refused

MAGIC = b"\0asm"
MAGIC_BYTES = 262
# gzip in tar in gzip: more is no way to publish a module
MAX_BOXES = 3
_NAME = re.compile(r"(?P<url>https?://[^@\s]+)@(?P<digest>sha256:[0-9a-f]{64})")
_TAR_AT, _TAR = 257, b"ustar"
_PUBLISH = "Publish the .wasm file itself, or push it as an image with `pluginrelease push`"


@dataclass(frozen=True)
class Download(Reference):
    """A module at a URL, with its SHA-256 as digest. ``registry`` is the host, ``repository`` the path."""

    url: str = ""

    @property
    def origin(self) -> str:
        """Return scheme and host."""
        return f"{urlsplit(self.url).scheme}://{self.registry}"

    def pinned(self, digest: Digest) -> Self:
        """Return the same URL with this digest."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        return f"{self.url}@{self.digest}"


def read_name(text: str) -> Download | None:
    """Read ``URL@sha256:hex``, as `core.sources` names a module on an HTTP server; None for an image's reference."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    parts = urlsplit(match["url"])
    return Download(parts.netloc, parts.path.lstrip("/"), "", Digest.parse(match["digest"]), match["url"])


def find_box(head: bytes) -> Callable[[Callable[[int], bytes], int], Iterator[bytes]] | None:
    """Return what unpacks a file that begins with these `MAGIC_BYTES`; None if the agent would not unpack it."""
    if head.startswith(MAGIC):
        return None
    if head.startswith(archive.GZIP) and len(head) > len(archive.GZIP):
        return unpack_gzip
    is_tar = head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR
    return unpack_tar if is_tar else None


def unpack_gzip(read: Callable[[int], bytes], most: int) -> Iterator[bytes]:
    """Yield what is in gzip data, up to ``most`` bytes. Raises `Refused`: ``MalformedLayer``, ``ArtifactTooLarge``."""
    size = 0
    try:
        for piece in archive.gunzip(read):
            size += len(piece)
            if size > most:
                raise refuse_too_large("What the file unpacks to", most)
            yield piece
    except archive.Malformed as malformed:
        raise _malformed(malformed) from malformed


def unpack_tar(read: Callable[[int], bytes], most: int) -> Iterator[bytes]:
    """Yield the first file of a tar archive, whatever its name. Raises as `unpack_gzip`."""
    pieces = iter(lambda: read(archive.PIECE_BYTES), b"")
    try:
        first = next(archive.members(archive.ArchiveStream(pieces, most + archive.MAX_HEADER_BYTES)), None)
        if first is None or not first.regular:
            name = sanitize(first.name) if first is not None else "nothing"
            raise Refused(
                Reason.MALFORMED_LAYER,
                f"The first entry of the file's tar archive is {name}, and a gateway takes it for the module",
                _PUBLISH,
            )
        if first.size > most:
            raise refuse_too_large("What the file unpacks to", most)
        while piece := first.read(archive.PIECE_BYTES):
            yield piece
    except archive.Malformed as malformed:
        raise _malformed(malformed) from malformed
    except archive.TooLarge as too:
        raise refuse_too_large("What the file unpacks to", most) from too


def _malformed(malformed: archive.Malformed) -> Refused:
    return Refused(Reason.MALFORMED_LAYER, f"The file is not a whole gzip or tar archive: {malformed}", _PUBLISH)


def check_digest(wanted: Download, found: Digest) -> None:
    """Raise `Refused` (``WasmMismatch``) for other bytes than ``artifact.http.sha256`` names."""
    if found != wanted.digest:
        raise Refused(
            Reason.WASM_MISMATCH,
            f"artifact.http.sha256 is {wanted.question.removeprefix('sha256:')}, and the module at {wanted.url} has "
            f"{found.hex}",
            "Correct sha256, which is that of the .wasm file and not of an archive of it, or find out who replaced the "
            "file. Publish each version at a URL of its own",
        )
