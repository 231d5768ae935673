"""OCI image layouts: an image as a folder (opencontainers/image-spec, image-layout.md).

Every file is checked against its digest and has a size limit, as from a registry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import image_manifests, salvage
from pluginrelease.core.artifact.image_manifests import Descriptor, Digest, Layout
from pluginrelease.core.errors import Refused

INDEX = "index.json"
TAG = "org.opencontainers.image.ref.name"
MAX_DEPTH = 3


@dataclass(frozen=True)
class LayoutImage:
    """The image that a gateway would take from the folder: its manifest, and where its layers are."""

    folder: Path
    digest: Digest
    manifest: bytes = field(repr=False)
    max_bytes: int = image_manifests.MAX_WASM_BYTES

    def module(self) -> tuple[Layout, bytes]:
        """Return the layout and the module's bytes, by a gateway's rules. Raises what `image_manifests` refuses."""
        layout, layer = image_manifests.find_layer(self.manifest)
        blob = self.layer(layer)
        return layout, image_manifests.extract(blob, self.max_bytes) if layout.is_archived else blob

    def salvage(self) -> bytes:
        """Return the module of an image of any layout. Raises as `salvage.find_module`."""
        return salvage.find_module(self.manifest, self.layer, self.max_bytes)

    def layer(self, layer: Descriptor) -> bytes:
        """Return a layer's bytes, checked."""
        if layer.size > self.max_bytes:
            raise image_manifests.refuse_too_large("The image's layer", self.max_bytes)
        return _blob(self.folder, layer, layer.size)


def is_layout(target: Path) -> bool:
    """Return whether a path is a folder with an index."""
    return (target / INDEX).is_file()


def open_layout(folder: Path, tag: str = "", *, anything: bool = False) -> LayoutImage:
    """Return the image of a tag, or the only one in the folder. ``anything``: accept any platform.

    Raises `Refused` (InvalidLayout, DigestMismatch, ManifestNotInLayout), and what `image_manifests` refuses.
    """
    choose = salvage.find_child if anything else image_manifests.find_child
    raw = _read(folder / INDEX, image_manifests.MAX_MANIFEST_BYTES)
    entry = _choose(folder, raw, tag)
    for _ in range(MAX_DEPTH + 1):
        raw = _blob(folder, entry, image_manifests.MAX_MANIFEST_BYTES)
        if not image_manifests.is_index(entry.media_type):
            return LayoutImage(folder, entry.digest, raw)
        entry = choose(raw)
    raise _refuse_layout(folder, f"its indexes are nested more than {MAX_DEPTH} deep")


def _choose(folder: Path, raw: bytes, tag: str) -> Descriptor:
    entries = image_manifests.list_children(raw)
    tags = _tags(raw)
    found = [entry for entry, name in zip(entries, tags, strict=True) if not tag or name == tag]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted(filter(None, tags))[:10]) or "none has a tag"
    raise Refused(
        Reason.MANIFEST_NOT_IN_LAYOUT,
        f"{folder} has {len(found)} images{f' of tag {tag}' if tag else ''}, and one is needed (its tags: {known})",
        f"Name one: {folder}:TAG.",
    )


def _tags(raw: bytes) -> list[str]:
    listed: list[dict[str, Any]] = json.loads(raw).get("manifests") or []
    notes = [entry.get("annotations") for entry in listed]
    return [str(note.get(TAG, ""))[:128] if isinstance(note, dict) else "" for note in notes]


def _blob(folder: Path, entry: Descriptor, most: int) -> bytes:
    content = _read(folder / "blobs" / "sha256" / entry.digest.hex, most)
    if Digest.of(content) != entry.digest or len(content) != entry.size:
        raise Refused(
            Reason.DIGEST_MISMATCH,
            f"{folder}: the file of {entry.digest} has other bytes, or another length than {entry.size}",
            "Write the layout again.",
        )
    return content


def _read(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as source:
            content = source.read(most + 1)
    except OSError as error:
        raise _refuse_layout(file.parent, f"{file.name} cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise _refuse_layout(file.parent, f"{file.name} is larger than {most} bytes")
    return content


def _refuse_layout(folder: Path, what: str) -> Refused:
    return Refused(
        Reason.INVALID_LAYOUT, f"{folder} is no OCI image layout: {what}", "Write it again, with skopeo or crane."
    )
