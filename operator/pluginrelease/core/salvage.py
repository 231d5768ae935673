"""The module in an image that no gateway can read: for packing it anew.

A gateway knows three layouts and nothing else (`core.artifact.layer`). Published images have others: the module as a
single layer (higress-group/higress#4528), under another media type (engineerd/wasm-to-oci#45, ``application/wasm``),
behind more layers (higress-group/higress#4014), in an archive that is not packed, or under another file name.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from pluginrelease.core import artifact, wasm
from pluginrelease.core.artifact import PLUGIN_FILE, Descriptor
from pluginrelease.core.errors import Refused

MAX_MODULES = 16
PIECE_BYTES = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_REMEDY = f"Take the module out by hand, and push it: `pluginrelease push {PLUGIN_FILE} REFERENCE`."


def child(raw: bytes) -> Descriptor:
    """The manifest in an index to look into: the one that a gateway takes, else the first. A module has no platform."""
    try:
        return artifact.child(raw)
    except Refused as refused:
        if refused.reason != "NoUsablePlatform" or not (entries := artifact.children(raw)):
            raise
        return entries[0]


def take(raw: bytes, read: Callable[[Descriptor], bytes], most: int = artifact.MAX_WASM_BYTES) -> bytes:
    """The module in an image: of the last layer that has a plugin.wasm, else the only module that there is.

    ``raw`` is the image's manifest, ``read`` gives a layer's bytes, checked; ``most`` caps what a layer unpacks to.
    Raises `Refused`: ``NoModule``, ``SeveralModules``, ``ArtifactTooLarge``, ``MalformedManifest``.
    """
    layers = artifact.layers(raw)
    others: dict[bytes, str] = {}
    for layer in reversed(layers):
        for name, content in _modules(layer, read(layer), most):
            if name == PLUGIN_FILE:
                return content
            others[content] = name
    if not others:
        kinds = ", ".join(artifact.shown(layer.media_type) or "no type" for layer in layers[:5]) or "no layer"
        raise Refused("NoModule", f"There is no WebAssembly module in any layer of the image ({kinds})", _REMEDY)
    if len(others) > 1:
        raise Refused(
            "SeveralModules", f"There are several modules in the image: {', '.join(others.values())}", _REMEDY
        )
    return next(iter(others))


def _modules(layer: Descriptor, blob: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    """The modules in one layer with their file names; one that is the layer itself is called by its digest."""
    if blob.startswith(_ZSTD):
        raise Refused("NoModule", f"The layer {layer.digest} is packed with zstd, which is not read here", _REMEDY)
    content = _unpacked(blob, most) if blob.startswith(_GZIP) else blob
    if content.startswith(wasm.MAGIC):
        yield str(layer.digest), content
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            yield from _files(archive)
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError):
        return  # something else than an archive: an image's configuration, a README


def _files(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    found = 0
    for number, member in enumerate(iter(archive.next, None)):
        if number >= artifact.MAX_TAR_ENTRIES or found >= MAX_MODULES:
            return
        archive.members = []  # type: ignore[attr-defined]  # headers must not pile up in memory
        source: IO[bytes] | None = archive.extractfile(member) if member.isreg() else None
        if source is None or source.read(4) != wasm.MAGIC:
            continue
        found += 1
        source.seek(0)
        yield artifact.shown(posixpath.basename(member.name)), source.read()


def _unpacked(blob: bytes, most: int) -> bytes:
    """Gunzip, up to ``most`` bytes. What is no whole gzip data is nothing."""
    content = bytearray()
    try:
        with gzip.open(io.BytesIO(blob)) as source:
            while piece := source.read(PIECE_BYTES):
                content += piece
                if len(content) > most:
                    raise artifact.too_large("What the image's layer unpacks to", most)
    except (zlib.error, EOFError, OSError):
        return b""
    return bytes(content)
