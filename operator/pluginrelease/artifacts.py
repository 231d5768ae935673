"""What has been fetched and read in this process, so that a settled release costs the registry nothing.

Nothing here matters after a restart: what a release runs is pinned in its status.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TypeVar

from pluginrelease.core import artifact as artifacts
from pluginrelease.core.artifact import Artifact, Digest, Reference
from pluginrelease.core.errors import Refused
from pluginrelease.edges import registry
from pluginrelease.edges.registry import Access

REMEMBERED = 1000

Key = tuple[str, str]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Found:
    """An artifact, and how its registry asks for credentials (WWW-Authenticate values): gateways judge that too."""

    artifact: Artifact
    challenges: tuple[str, ...]


@dataclass
class Shelf:
    """Artifacts and refusals by what was asked and with which credentials.

    At most ``parallel`` pulls at a time from one registry: one that hangs holds up nobody else's.
    """

    parallel: int = 4
    _pulls: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _found: dict[Key, Found] = field(default_factory=dict)
    _refusals: dict[Key, Refused] = field(default_factory=dict)

    async def obtain(self, reference: Reference, access: Access) -> Found:
        """The artifact behind a reference, every byte checked.

        A tag is asked for again each time, which costs one request; the bytes of a digest are fetched once, and a
        digest that was refused for what it is, is refused again without fetching it.
        """
        async with self._pulls.setdefault(reference.registry, asyncio.Semaphore(self.parallel)):
            digest = reference.digest
            if digest is None:
                digest = await asyncio.to_thread(registry.resolve, reference, access)
            return await self._fetched(reference.pinned(digest), access)

    async def ask(self, reference: Reference, access: Access) -> None:
        """Returns when the registry has the manifest now, whatever was fetched before; raises as `registry.resolve`."""
        async with self._pulls.setdefault(reference.registry, asyncio.Semaphore(self.parallel)):
            await asyncio.to_thread(registry.resolve, reference, access)

    async def _fetched(self, reference: Reference, access: Access) -> Found:
        key = (str(reference), access.fingerprint)
        if key in self._refusals:
            raise self._refusals[key]
        if key not in self._found:
            try:
                remember(self._found, key, await asyncio.to_thread(pull, reference, access))
            except Refused as refused:
                remember(self._refusals, key, refused)
                raise
        return self._found[key]


def pull(reference: Reference, access: Access) -> Found:
    """The artifact, and the registry's challenge as an agent without credentials meets it."""
    return Found(registry.fetch(reference, access), registry.challenge(reference, access))


def remember(shelf: dict[Key, Value], key: Key, value: Value) -> None:
    """Keeps the newest; the oldest goes first."""
    shelf[key] = value
    while len(shelf) > REMEMBERED:
        shelf.pop(next(iter(shelf)))


def check_bytes(found: Artifact, wasm_sha256: str | None) -> None:
    """Raises `Refused` (WasmMismatch) when the release names other bytes."""
    if wasm_sha256 is not None and found.wasm_sha256 != wasm_sha256:
        raise Refused(
            "WasmMismatch",
            f"artifact.wasmSha256 is {wasm_sha256}, and plugin.wasm in the image has {found.wasm_sha256}",
            "Correct the field, or find out who replaced the module",
        )


def reference_of(ref: str, pinned: str | None) -> Reference:
    """The reference to ask for: by the digest that was settled on before, where there is one."""
    reference = artifacts.parse(ref)
    return reference.pinned(Digest.parse(pinned)) if pinned else reference
