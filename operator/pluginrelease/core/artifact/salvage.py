"""Find the module in an image that no gateway can read, so that it can be packed again.

A gateway knows three layouts (`image_manifests.find_layer`). Published images have others: the module as a single layer
(higress-group/higress#4528), another media type (engineerd/wasm-to-oci#45, ``application/wasm``), more layers in front
(higress-group/higress#4014), an archive without compression, or another file name.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Iterator

from pluginrelease.api.reasons import Reason
from pluginrelease.core import wasm
from pluginrelease.core.artifact import archive, image_manifests
from pluginrelease.core.artifact.image_manifests import PLUGIN_FILE, Descriptor, Digest
from pluginrelease.core.errors import Refused

MAX_MODULES = 16
_ZSTD = b"\x28\xb5\x2f\xfd"
_REMEDY = f"Extract the module by hand, and push it: `pluginrelease push {PLUGIN_FILE} REFERENCE`."


def find_child(raw: bytes) -> Descriptor:
    """Return the manifest in an index to read: the one that a gateway takes, else the first.

    A module has no platform.
    """
    try:
        return image_manifests.find_child(raw)
    except Refused as refused:
        if refused.reason != Reason.NO_USABLE_PLATFORM or not (entries := image_manifests.list_children(raw)):
            raise
        return entries[0]


def find_module(raw: bytes, read: Callable[[Descriptor], bytes], most: int = image_manifests.MAX_WASM_BYTES) -> bytes:
    """Return the module in an image: from the last layer that has a plugin.wasm, else the only module in the image.

    ``raw`` is the image's manifest. ``read`` returns the verified bytes of a layer. ``most`` limits the unpacked bytes
    of a layer. Raises `Refused`: ``NoModule``, ``SeveralModules``, ``ArtifactTooLarge``, ``MalformedManifest``.
    """
    layers = image_manifests.list_layers(raw)
    others: dict[Digest, str] = {}
    other = b""
    for layer in reversed(layers):
        for name, content in _modules(layer, read(layer), most):
            if name == PLUGIN_FILE:
                return content
            others[Digest.of(content)], other = name, content
    if not others:
        kinds = ", ".join(image_manifests.sanitize(layer.media_type) or "no type" for layer in layers[:5]) or "no layer"
        raise Refused(Reason.NO_MODULE, f"There is no WebAssembly module in any layer of the image ({kinds})", _REMEDY)
    if len(others) > 1:
        names = ", ".join(list(others.values())[:MAX_MODULES])
        raise Refused(Reason.SEVERAL_MODULES, f"There are several modules in the image: {names}", _REMEDY)
    return other


def _modules(layer: Descriptor, blob: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    """Yield the modules in one layer with their file names.

    If the layer itself is the module, its digest is the name.
    """
    if blob.startswith(_ZSTD):
        raise Refused(
            Reason.NO_MODULE, f"The layer {layer.digest} is packed with zstd, which is not read here", _REMEDY
        )
    pieces = archive.gunzip(io.BytesIO(blob).read) if blob.startswith(archive.GZIP) else iter([blob])
    stream = archive.ArchiveStream(pieces, most)
    try:
        if stream.peek(len(wasm.MAGIC)) == wasm.MAGIC:
            yield str(layer.digest), stream.read(most + 1)
        else:
            yield from _files(archive.members(stream))
    except archive.TooLarge as too:
        raise image_manifests.refuse_too_large("What the image's layer unpacks to", most) from too
    except archive.ArchiveError:
        return  # not an archive, for example an image's configuration or a README


def _files(members: Iterator[archive.Member]) -> Iterator[tuple[str, bytes]]:
    found = 0
    for member in members:
        if found >= MAX_MODULES:
            return
        if not member.regular or (head := member.read(len(wasm.MAGIC))) != wasm.MAGIC:
            continue
        found += 1
        yield image_manifests.sanitize(posixpath.basename(member.name)), head + member.read(member.size)
