"""What has been fetched and read, so that a settled release costs the registry nothing.

What was read is in memory and does not matter after a restart: what a release runs is pinned in its status. What was
fetched is on disk as well (`pluginrelease.edges.oci.blobs`), so that a restart fetches nothing anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar
from weakref import WeakValueDictionary

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import image_manifests as artifacts
from pluginrelease.core.artifact.image_manifests import Artifact, Digest, Reference
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import allowlist, tags
from pluginrelease.core.registry.transport import Transport
from pluginrelease.core.signing.signature import Verified
from pluginrelease.edges.oci import blobs, registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.blobs import Blobs
from pluginrelease.edges.oci.registry import Resolved
from pluginrelease.edges.signing import signatures
from pluginrelease.edges.signing.signatures import SignatureTrust
from pluginrelease.settings import Settings

REMEMBERED = 1000

Key = tuple[str, str]
Value = TypeVar("Value")


@dataclass(frozen=True)
class PulledArtifact:
    """An artifact, and how its registry asks for credentials (WWW-Authenticate values): gateways judge that too."""

    artifact: Artifact
    challenges: tuple[str, ...]


@dataclass
class ArtifactCache:
    """Artifacts and refusals by what was asked and with which credentials.

    At most ``parallel`` pulls at a time from one registry, so that one that hangs holds up nobody else's, and at most
    ``parallel_in_all`` at all. One image is pulled once at a time: the second finds what the first one kept in
    ``blobs``. Only registries that are ``allowed`` are asked.
    """

    parallel: int = 4
    parallel_in_all: int = 16
    allowed: tuple[str, ...] = ()
    blobs: Blobs | None = None
    _pulls: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)
    _images: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _found: dict[Key, PulledArtifact] = field(default_factory=dict)
    _refusals: dict[Key, Refused] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.parallel_in_all, "pull")

    @classmethod
    def of(cls, settings: Settings) -> ArtifactCache:
        """As the settings say; raises `Transient` when what is fetched cannot be kept where they say."""
        kept = Blobs(settings.cache_dir or blobs.default_folder(), settings.cache_bytes)
        kept.prepare()
        return cls(settings.parallel_pulls, settings.parallel_pulls_in_all, settings.allowed_registries, kept)

    async def obtain(self, reference: Reference, access: Access) -> PulledArtifact:
        """The artifact behind a reference, every byte checked.

        A tag is asked for again each time, which costs one request; the bytes of a digest are fetched once, and a
        digest that was refused for what it is, is refused again without fetching it.
        """
        index = None
        if reference.digest is None:
            resolved = await self.ask(reference, access)
            reference, index = reference.pinned(resolved.digest), resolved.index
        else:
            allowlist.check(self.allowed, reference)
        async with self._images.setdefault(str(reference), asyncio.Lock()):
            found = await self._fetched(reference, access)
        return replace(found, artifact=replace(found.artifact, index=index or found.artifact.index))

    async def ask(self, reference: Reference, access: Access) -> Resolved:
        """The digest that the registry has for it now, whatever was fetched before; raises as `registry.resolve`."""
        allowlist.check(self.allowed, reference)
        async with self._turn(reference):
            return await self._in_a_thread(lambda: registry.resolve(reference, access))

    async def list_tags(self, repository: Reference, access: Access) -> tags.Listed:
        """The tags that the registry lists now; raises as `registry.tags`."""
        allowlist.check(self.allowed, repository)
        async with self._turn(repository):
            return await self._in_a_thread(lambda: registry.list_tags(repository, access))

    async def verify(self, image: Artifact, access: Access, trust: SignatureTrust) -> Verified:
        """Whose signature of an image counts; raises as `signatures.verify`. The registry is asked each time."""
        allowlist.check(self.allowed, image.pinned)
        async with self._turn(image.pinned):
            return await self._in_a_thread(lambda: signatures.verify(image.pinned, image.index, access, trust))

    async def door(self, reference: Reference, access: Access) -> Transport:
        """What agents meet at the registry now; raises as `registry.resolve`."""
        async with self._turn(reference):
            return await self._in_a_thread(lambda: registry.find_transport(reference, access))

    async def _fetched(self, reference: Reference, access: Access) -> PulledArtifact:
        key = (str(reference), access.fingerprint)
        if key in self._refusals:
            raise self._refusals[key]
        if key not in self._found:
            try:
                async with self._turn(reference):
                    found = await self._in_a_thread(lambda: pull(reference, access, self.blobs))
                remember(self._found, key, found)
            except Refused as refused:
                if refused.reason.is_permanent:
                    remember(self._refusals, key, refused)
                raise
        return self._found[key]

    @asynccontextmanager
    async def _turn(self, reference: Reference) -> AsyncIterator[None]:
        async with self._pulls.setdefault(reference.registry, asyncio.Semaphore(self.parallel)):
            yield

    async def _in_a_thread(self, act: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act)


def pull(reference: Reference, access: Access, kept: Blobs | None = None) -> PulledArtifact:
    """The artifact, and the registry's challenge as an agent without credentials meets it, in the time for one call."""
    end = time.monotonic() + access.deadline_seconds
    found = registry.fetch(reference, access, kept)
    left = max(end - time.monotonic(), 1.0)
    return PulledArtifact(found, registry.read_challenge(reference, replace(access, deadline_seconds=left)))


def remember(shelf: dict[Key, Value], key: Key, value: Value) -> None:
    """Keeps the newest; the oldest goes first."""
    shelf[key] = value
    while len(shelf) > REMEMBERED:
        shelf.pop(next(iter(shelf)))


def check_bytes(found: Artifact, wasm_sha256: str | None) -> None:
    """Raises `Refused` (WasmMismatch) when the release names other bytes."""
    if wasm_sha256 is not None and found.wasm_sha256 != wasm_sha256:
        raise Refused(
            Reason.WASM_MISMATCH,
            f"artifact.wasmSha256 is {wasm_sha256}, and plugin.wasm in the image has {found.wasm_sha256}",
            "Correct the field, or find out who replaced the module",
        )


def reference_of(ref: str, pinned: str | None) -> Reference:
    """The reference to ask for: by the digest that was settled on before, where there is one."""
    return artifacts.parse_repository(ref).pinned(Digest.parse(pinned)) if pinned else artifacts.parse(ref)
