"""Images as archives: write one with a single program, and read the layer sizes of others."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

from pluginrelease_lab.errors import LabError

_DOCUMENT_LIMIT = 4 * 1024 * 1024
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_single_program(program: Path, reference: str, archive: Path) -> None:
    """Write an image ``reference`` that contains only ``program`` and starts it."""
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _added(blobs, _CONFIG, json.dumps(config).encode()),
        "layers": [_added(blobs, _LAYER, gzip.compress(layer, mtime=0))],
    }
    described = _added(blobs, _MANIFEST, json.dumps(manifest).encode())
    described["annotations"] = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}
    archive.write_bytes(_tar(files, mode=0o644))


def layer_sizes(archive: Path) -> list[int]:
    """Return the bytes of each layer of the one image in a Docker archive, lowest layer first.

    They are not compressed.
    """
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        if manifest is None:
            raise LabError(f"{archive} has no manifest.json")
        [image] = json.loads(manifest.read(_DOCUMENT_LIMIT))
        return [tar.getmember(layer).size for layer in image["Layers"]]


def _added(blobs: dict[str, bytes], media_type: str, content: bytes) -> dict[str, Any]:
    """Add a blob; return its descriptor."""
    digest = _digest(content)
    blobs[f"blobs/{digest.replace(':', '/')}"] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()
