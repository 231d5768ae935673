"""Packs a plugin as an image that every gateway can read.

The layout is that of the Wasm image specification (solo-io/wasm, spec/spec-compat.md).
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from dataclasses import dataclass
from typing import Any

from pluginrelease.core.artifact import archive
from pluginrelease.core.artifact.image_manifests import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, PLUGIN_FILE, Digest


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
    """Pack a module as an OCI compat image: one tar+gzip layer with plugin.wasm.

    Its config is one that container tools accept. The same module always gives the same bytes: there are no times and
    no owners.
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
    """Compress as RFC 1952, with no time and an unknown system in the header.

    The gzip module would write values there that depend on the Python version.
    """
    packer = zlib.compressobj(level=6, wbits=-15)
    body = packer.compress(data) + packer.flush()
    header = archive.GZIP + b"\x08\0\0\0\0\0\0\xff"
    return header + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _describe_blob(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(blob)), "size": len(blob)}
