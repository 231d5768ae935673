"""OCI registries: resolve a reference, fetch its module, list its tags, read its attachments, and push.

All functions block; call them with ``asyncio.to_thread``. Each call has its own connection state
(`pluginrelease.edges.oci.distribution`), so many threads may call them at once. Errors are those of
`pluginrelease.core.errors`; no message contains a credential or a signed URL.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pluginrelease.api.reasons import Reason
from pluginrelease.core import wasm
from pluginrelease.core.artifact import image_manifests, packing
from pluginrelease.core.artifact import salvage as salvages
from pluginrelease.core.artifact.image_manifests import Artifact, Descriptor, Digest, Reference
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.core.registry import tags, transport
from pluginrelease.core.registry.transport import Transport
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.blobs import Blobs
from pluginrelease.edges.oci.distribution import MAX_INDEX_DEPTH, Repository, open_repository
from pluginrelease.edges.oci.failures import mismatch

SCRATCH_BYTES = 32 * 1024 * 1024  # what unfinished files need in addition to their content


@dataclass(frozen=True)
class Fetched:
    """An artifact and its module's bytes."""

    artifact: Artifact
    wasm: bytes = field(repr=False)


@dataclass(frozen=True)
class Resolved:
    """What a reference names: the manifest that a gateway takes, and the index that leads to it, or None."""

    digest: Digest
    index: Digest | None = None


def resolve(reference: Reference, access: Access) -> Resolved:
    """Return the digest of the manifest that a gateway takes for a reference; for an index, that of its child.

    Raises `Refused`, `Waiting` (ManifestNotFound) or `Transient` (RegistryUnavailable).
    """
    with open_repository(reference, access) as registry:
        lineage, _ = registry.image(reference)
        return Resolved(lineage[0], lineage[-1] if len(lineage) > 1 else None)


def has_manifest(reference: Reference, access: Access) -> bool:
    """Return whether the registry has a manifest, with one HEAD. Raises as `resolve`, except ManifestNotFound."""
    with open_repository(reference, access) as registry:
        return registry.has_manifest(reference.question)


def list_tags(repository: Reference, access: Access) -> tags.Listed:
    """Return the tags of a repository. Raises as `resolve`, and `Refused` (TooManyTags)."""
    with open_repository(repository, access) as registry:
        return registry.list_tags()


def fetch(reference: Reference, access: Access, blobs: Blobs | None = None) -> Artifact:
    """Fetch a plugin, check every byte and read its module. Raises as `resolve`, and what the core refuses.

    ``blobs`` keeps the layer for the next time; None keeps nothing. A kept layer is used only after the registry has
    returned the manifest for these credentials.
    """
    with _fetch(reference, access, blobs) as (found, _):
        return found


def pull(reference: Reference, access: Access, blobs: Blobs | None = None) -> Fetched:
    """Do as `fetch`, and read the module into memory."""
    with _fetch(reference, access, blobs) as (found, file):
        file.seek(0)
        return Fetched(found, file.read())


def read_challenge(reference: Reference, access: Access) -> tuple[str, ...]:
    """Return the WWW-Authenticate values of ``GET /v2/`` without credentials; none if the registry needs no login.

    `pluginrelease.core.registry.challenge.judge` says how a gateway handles them.
    """
    with open_repository(reference, access) as registry:
        return registry.challenge()


def find_transport(reference: Reference, access: Access) -> Transport:
    """Return what a gateway's agent meets at a registry that the operator could reach.

    `pluginrelease.core.registry.transport` has the cases. No request is made if the operator reaches the registry over
    HTTPS with the usual CAs.
    """
    with open_repository(reference, access) as registry:
        if registry.is_proxied():
            return Transport.HIDDEN
        if access.insecure:
            return Transport.PLAIN if transport.prefers_plain(reference) else registry.probe_plain_http()
    if not access.trusts_more:
        return Transport.TRUSTED
    try:
        read_challenge(reference, access.as_others())
    except Refused as refused:
        if refused.reason == Reason.REGISTRY_TLS:
            return Transport.UNTRUSTED
        raise
    return Transport.TRUSTED


def salvage(reference: Reference, access: Access) -> bytes:
    """Return the module of an image of any layout (`pluginrelease.core.artifact.salvage`), in memory.

    Raises as `resolve`, and `Refused` if the image has no module, or several.
    """
    with ExitStack() as held:
        store = Blobs(Path(held.enter_context(_make_scratch())), MAX_INDEX_DEPTH * access.max_bytes + SCRATCH_BYTES)
        registry = held.enter_context(open_repository(reference, access))
        _, raw, media_type = registry.manifest(reference.question)
        for _ in range(MAX_INDEX_DEPTH):
            if image_manifests.is_index(media_type):
                _, raw, media_type = registry.manifest(str(salvages.find_child(raw).digest))

        def read(layer: Descriptor) -> bytes:
            with registry.layer(layer, store) as file:
                file.seek(0)
                return file.read()

        return salvages.find_module(raw, read, access.max_bytes)


def push(reference: Reference, file: Path, access: Access) -> Digest:
    """Push a module as an image that every gateway reads (`packing.pack`); return its manifest's digest.

    Raises as `resolve`, and `OSError` if the file cannot be read.
    """
    if file.stat().st_size > access.max_bytes:
        raise image_manifests.refuse_too_large(file.name, access.max_bytes)
    image = packing.pack(file.read_bytes())
    if reference.digest and reference.digest != image.digest:
        raise Refused(
            Reason.DIGEST_MISMATCH,
            f"{file.name} packs to {image.digest}, and the reference asks for {reference.digest}",
            "Push to a tag.",
        )
    with open_repository(reference, access) as registry, tempfile.TemporaryDirectory(prefix="pluginrelease-") as folder:
        for name, blob in (("layer", image.layer), ("config", image.config)):
            path = Path(folder, name)
            path.write_bytes(blob)
            entry = {"digest": str(Digest.of(blob)), "size": len(blob)}
            registry.upload_blob(str(path), registry.container, entry)
        registry.put_manifest(image)
    return image.digest


class Attachments:
    """What is stored beside an image: manifests with tags of their own, and referrers. For one call.

    Missing things are None. If something cannot be read now, `Transient` is raised, so that it is never taken for
    missing.
    """

    def __init__(self, registry: Repository) -> None:
        self._registry = registry

    def lineage(self, digest: Digest, index: Digest | None) -> tuple[Digest, ...]:
        """Return the digest of a manifest and those of the indexes from it up to ``index``.

        Raises `Refused` (DigestMismatch) if ``index`` does not lead to it.
        """
        if index is None:
            return (digest,)
        found, _ = self._registry.image(self._registry.reference.pinned(index))
        if found[0] != digest:
            raise mismatch(f"the index {index}", f"one that leads to {found[0]} and not to {digest}")
        return found

    def manifest(self, question: str) -> bytes | None:
        """Return the bytes of a manifest, by tag or digest."""
        try:
            _, raw, _ = self._registry.manifest(question)
        except Waiting:
            return None
        return raw

    def referrers(self, digest: Digest, fallback: str) -> bytes | None:
        """Return the list of referrers of a manifest, from the registry's own list or the tag ``fallback``."""
        listed = self._registry.referrers(digest)
        return listed if listed is not None else self.manifest(fallback)

    def blob(self, descriptor: Descriptor, most: int) -> bytes | None:
        """Return a small blob."""
        try:
            return self._registry.small_blob(descriptor, most)
        except Waiting:
            return None


@contextmanager
def open_attachments(reference: Reference, access: Access) -> Iterator[Attachments]:
    """Open what is stored beside an image. Raises as `resolve`; one deadline is for all reads."""
    with open_repository(reference, access) as registry:
        yield Attachments(registry)


# --- from the registry to a module ---


@contextmanager
def _fetch(reference: Reference, access: Access, blobs: Blobs | None) -> Iterator[tuple[Artifact, BinaryIO]]:
    """Yield an artifact and the file of its module. Layer and module are never in memory as a whole."""
    with ExitStack() as held:
        store = blobs or Blobs(Path(held.enter_context(_make_scratch())), 2 * access.max_bytes + SCRATCH_BYTES)
        with open_repository(reference, access) as registry:
            lineage, raw = registry.image(reference)
            layout, layer = image_manifests.find_layer(raw)
            file = held.enter_context(registry.layer(layer, store))
        wasm_digest, size = layer.digest, layer.size
        if layout.is_archived:
            file, wasm_digest, size = held.enter_context(_unpack(file, access.max_bytes, store))
        index = lineage[-1] if len(lineage) > 1 else None
        yield Artifact(reference, lineage[0], layout, wasm_digest.hex, size, _read_module(file, size), index), file


def _make_scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pluginrelease-")


@contextmanager
def _unpack(layer: BinaryIO, most: int, store: Blobs) -> Iterator[tuple[BinaryIO, Digest, int]]:
    with store.receive() as incoming:
        for piece in image_manifests.unpack(layer.read, most):
            incoming.write(piece)
        yield incoming.done(), incoming.digest, incoming.size


def _read_module(file: BinaryIO, size: int) -> wasm.Module:
    if not size:
        return wasm.read(b"")
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped:
        return wasm.read(mapped)
