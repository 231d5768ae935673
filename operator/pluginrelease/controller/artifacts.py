"""Cache of fetched artifacts: a settled release sends its registry no request.

What was read is only in memory. It is not needed after a restart, because the status pins what a release runs. What was
fetched is also on disk (`pluginrelease.edges.oci.blobs`), so a restart fetches nothing again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.questions import SharedQuestions
from pluginrelease.controller.turns import aside
from pluginrelease.core.artifact import downloads
from pluginrelease.core.artifact import image_manifests as artifacts
from pluginrelease.core.artifact.downloads import Download
from pluginrelease.core.artifact.image_manifests import Artifact, Digest, Reference
from pluginrelease.core.artifact.pulled import PulledArtifact
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.registry import allowlist, tags
from pluginrelease.core.registry.transport import Transport
from pluginrelease.core.signing.signature import Verified
from pluginrelease.core.status import census
from pluginrelease.edges import metrics
from pluginrelease.edges.metrics import Metrics
from pluginrelease.edges.oci import blobs, registry
from pluginrelease.edges.oci import downloads as http_files
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.blobs import Blobs
from pluginrelease.edges.oci.registry import Resolved
from pluginrelease.settings import Settings

if TYPE_CHECKING:
    from pluginrelease.edges.signing.signatures import SignatureTrust

REMEMBERED = 1000

Key = tuple[str, str]
Value = TypeVar("Value")


@dataclass
class ArtifactCache:
    """Artifacts and refusals, by question and credentials.

    At most ``parallel`` pulls run at a time for one registry, so that a registry that hangs delays only its own images.
    At most ``parallel_in_all`` run in all. Two pulls of one image run one after the other: the second finds the bytes
    in ``blobs``. Only ``allowed`` registries are asked.
    """

    parallel: int = 4
    parallel_in_all: int = 16
    allowed: tuple[str, ...] = ()
    blobs: Blobs | None = None
    metrics: Metrics = field(default_factory=Metrics)
    _pulls: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)
    _images: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _found: dict[Key, PulledArtifact] = field(default_factory=dict)
    _refusals: dict[Key, Refused] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._questions = SharedQuestions()
        self._threads = ThreadPoolExecutor(self.parallel_in_all, "pull")

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics) -> ArtifactCache:
        """Make the cache from the settings. Raises `Transient` if its folder cannot be used."""
        kept = Blobs(settings.cache_dir or blobs.default_folder(), settings.cache_bytes)
        kept.prepare()
        return cls(settings.parallel_pulls, settings.parallel_pulls_in_all, settings.allowed_registries, kept, metrics)

    async def obtain(self, reference: Reference, access: Access, since: float | None = None) -> PulledArtifact:
        """Return the artifact of a reference, with every byte checked.

        A tag is resolved again, unless another release resolved it after ``since`` (`SharedQuestions`). The bytes of a
        digest are fetched once. A digest that was refused for its content is refused again without a fetch.
        """
        index = None
        if reference.digest is None:
            resolved = await self.ask(reference, access, since)
            reference, index = reference.pinned(resolved.digest), resolved.index
        else:
            allowlist.check(self.allowed, reference)
        found = self._found.get((str(reference), access.fingerprint))
        if found is None:
            async with aside(), self._images.setdefault(str(reference), asyncio.Lock()):
                found = await self._fetched(reference, access)
        return replace(found, artifact=replace(found.artifact, index=index or found.artifact.index))

    async def ask(self, reference: Reference, access: Access, since: float | None = None) -> Resolved:
        """Return the digest that the registry has now, or had after ``since``. Raises as `registry.resolve`."""
        allowlist.check(self.allowed, reference)
        return await self._share("Resolve", reference, access, lambda: resolve(reference, access), since)

    async def has(self, reference: Reference, access: Access, since: float | None = None) -> bool:
        """Return whether the registry has this digest's manifest now, or had it after ``since``. Raises as `ask`.

        It costs one HEAD request.
        """
        allowlist.check(self.allowed, reference)
        return await self._share("HasManifest", reference, access, lambda: has_manifest(reference, access), since)

    async def list_tags(self, repository: Reference, access: Access, since: float | None = None) -> tags.Listed:
        """Return the tags that the registry lists now, or listed after ``since``. Raises as `registry.tags`."""
        allowlist.check(self.allowed, repository)
        return await self._share("ListTags", repository, access, lambda: registry.list_tags(repository, access), since)

    async def _share(
        self, what: str, reference: Reference, access: Access, act: Callable[[], Value], since: float | None
    ) -> Value:
        async def send(leave: Callable[[], None]) -> Value:
            async with self._turn(reference):
                leave()
                return await self._in_a_thread(what, act)

        key = (what, str(reference), access.fingerprint, access.deadline_seconds)
        return await self._questions.ask(key, send, since)

    async def verify(self, image: Artifact, access: Access, trust: SignatureTrust) -> Verified:
        """Return whose signature of the image counts. Raises as `signatures.verify`. Each call asks the registry."""
        allowlist.check(self.allowed, image.pinned)
        async with self._turn(image.pinned):
            return await self._in_a_thread("Verify", partial(verify, image, access, trust))

    async def door(self, reference: Reference, access: Access) -> Transport:
        """Return what Istio's agents meet at the registry now. Raises as `registry.resolve`."""
        async with self._turn(reference):
            return await self._in_a_thread("FindTransport", lambda: find_transport(reference, access))

    async def _fetched(self, reference: Reference, access: Access) -> PulledArtifact:
        key = (str(reference), access.fingerprint)
        if key in self._refusals:
            raise self._refusals[key]
        if key not in self._found:
            try:
                async with self._turn(reference):
                    found = await self._in_a_thread("Pull", lambda: pull(reference, access, self.blobs))
                remember(self._found, key, found)
            except Refused as refused:
                if refused.reason.is_permanent and not isinstance(reference, Download):
                    remember(self._refusals, key, refused)
                raise
        return self._found[key]

    @asynccontextmanager
    async def _turn(self, reference: Reference) -> AsyncIterator[None]:
        pulls = self._pulls.setdefault(reference.registry, asyncio.Semaphore(self.parallel))
        async with aside(), pulls:
            yield

    async def _in_a_thread(self, operation: str, act: Callable[[], Value]) -> Value:
        began, result = time.monotonic(), "InternalError"
        try:
            value = await asyncio.get_running_loop().run_in_executor(self._threads, act)
            result = metrics.OK
        except asyncio.CancelledError:
            result = metrics.GIVEN_UP
            raise
        except ReleaseError as error:
            result = census.name_reason(error.reason)
            raise
        finally:
            self.metrics.pulls.labels(operation, result).observe(time.monotonic() - began)
        return value


def pull(reference: Reference, access: Access, kept: Blobs | None = None) -> PulledArtifact:
    """Return the artifact, and the registry's challenge to an agent without credentials.

    Both calls together take at most ``access.deadline_seconds``.
    """
    if isinstance(reference, Download):
        return PulledArtifact(http_files.fetch(reference, access, kept), ())
    end = time.monotonic() + access.deadline_seconds
    found = registry.fetch(reference, access, kept)
    left = max(end - time.monotonic(), 1.0)
    return PulledArtifact(found, registry.read_challenge(reference, replace(access, deadline_seconds=left)))


def resolve(reference: Reference, access: Access) -> Resolved:
    """Return the digest of what a reference names. Raises as `registry.resolve`."""
    if isinstance(reference, Download):
        return http_files.resolve(reference, access)
    return registry.resolve(reference, access)


def has_manifest(reference: Reference, access: Access) -> bool:
    """Return whether what a reference names is there. Raises as `registry.has_manifest`."""
    if isinstance(reference, Download):
        return http_files.has_manifest(reference, access)
    return registry.has_manifest(reference, access)


def find_transport(reference: Reference, access: Access) -> Transport:
    """Return what Istio's agents meet. Raises as `registry.find_transport`."""
    if isinstance(reference, Download):
        return Transport.TRUSTED
    return registry.find_transport(reference, access)


def verify(image: Artifact, access: Access, trust: SignatureTrust) -> Verified:
    """Return whose signature counts. Raises as `signatures.verify`.

    The import is late: it takes 18 MiB, and most operators verify nothing.
    """
    from pluginrelease.edges.signing import signatures

    return signatures.verify(image.pinned, image.index, access, trust)


def remember(shelf: dict[Key, Value], key: Key, value: Value) -> None:
    """Add a value, and drop the oldest ones beyond `REMEMBERED`."""
    shelf[key] = value
    while len(shelf) > REMEMBERED:
        shelf.pop(next(iter(shelf)))


def check_bytes(found: Artifact, wasm_sha256: str | None) -> None:
    """Raise `Refused` (WasmMismatch) if ``artifact.wasmSha256`` names other bytes."""
    if wasm_sha256 is not None and found.wasm_sha256 != wasm_sha256:
        raise Refused(
            Reason.WASM_MISMATCH,
            f"artifact.wasmSha256 is {wasm_sha256}, and plugin.wasm in the image has {found.wasm_sha256}",
            "Correct the field, or find out who replaced the module",
        )


def reference_of(ref: str, pinned: str | None) -> Reference:
    """Return the reference to ask for: by the pinned digest if there is one. A file's reference has its own."""
    download = downloads.read_name(ref)
    if download is not None:
        return download
    return artifacts.parse_repository(ref).pinned(Digest.parse(pinned)) if pinned else artifacts.parse(ref)
