"""Modules on HTTP servers: whether they are there, and their bytes. The functions are those of `edges.oci.registry`.

The requests follow the rules of registries: deadlines, limits, retries, and no redirect to plain http or to an address
that is not public. No credentials are sent.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import requests

from pluginrelease import __version__
from pluginrelease.api.reasons import Reason
from pluginrelease.core import wasm
from pluginrelease.core.artifact import downloads, image_manifests
from pluginrelease.core.artifact.downloads import Download
from pluginrelease.core.artifact.image_manifests import Artifact, Digest, Layout
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.core.registry import challenge
from pluginrelease.edges.oci import failures
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.blobs import Blobs
from pluginrelease.edges.oci.connections import Adapter, Deadline, find_authorities
from pluginrelease.edges.oci.exchange import Exchange
from pluginrelease.edges.oci.registry import SCRATCH_BYTES, Resolved

MISSING = (404, 410)
# a server that does not know HEAD says nothing about the file
NO_HEAD = (405, 501)
RETRY = 60.0


def resolve(reference: Download, access: Access) -> Resolved:
    """Return the digest of a module that is there. Raises `Waiting` (ManifestNotFound) as a registry does."""
    if not has_manifest(reference, access):
        raise _missing(reference)
    return Resolved(Digest.parse(reference.question))


def has_manifest(reference: Download, access: Access) -> bool:
    """Return whether the server has the file, with one HEAD."""
    with _open(reference, access) as exchange:
        response = exchange.follow("HEAD", reference.url, None, {})
        response.close()
        if response.status_code not in (200, *MISSING, *NO_HEAD):
            raise _refused(reference, response.status_code)
        return response.status_code not in MISSING


def fetch(reference: Download, access: Access, blobs: Blobs | None = None) -> Artifact:
    """Fetch a module, check every byte and read it. A kept one is used without a request: its digest names it."""
    with ExitStack() as held:
        store = blobs or Blobs(Path(held.enter_context(_make_scratch())), 3 * access.max_bytes + SCRATCH_BYTES)
        digest = Digest.parse(reference.question)
        file = store.find(reference, digest) if has_manifest(reference, access) else None
        if file is not None:
            held.enter_context(file)
            return _describe(reference, file, Path(file.name).stat().st_size)
        file, size = held.enter_context(_receive(reference, access, store))
        return _describe(reference, file, size)


def _describe(reference: Download, file: BinaryIO, size: int) -> Artifact:
    digest = Digest.parse(reference.question)
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else _nothing() as mapped:
        module = wasm.read(mapped)
    return Artifact(reference, digest, Layout.DOWNLOAD, digest.hex, size, module)


@contextmanager
def _nothing() -> Iterator[bytes]:
    yield b""


@contextmanager
def _receive(reference: Download, access: Access, store: Blobs) -> Iterator[tuple[BinaryIO, int]]:
    """Yield the file of the module and its size. What it is packed in is unpacked as the agent does."""
    with ExitStack() as held:
        incoming = held.enter_context(store.receive())
        with _open(reference, access) as exchange:
            response = exchange.follow("GET", reference.url, None, {})
            if response.status_code in MISSING:
                raise _missing(reference)
            if response.status_code != 200:
                raise _refused(reference, response.status_code)
            for piece in exchange.pieces(response):
                incoming.write(piece)
                if incoming.size > access.max_bytes:
                    raise image_manifests.refuse_too_large("The file", access.max_bytes)
        file = incoming.done()
        for _ in range(downloads.MAX_BOXES):
            box = downloads.find_box(file.read(downloads.MAGIC_BYTES))
            file.seek(0)
            if box is None:
                break
            unpacked = held.enter_context(store.receive())
            for piece in box(file.read, access.max_bytes):
                unpacked.write(piece)
            incoming, file = unpacked, unpacked.done()
        downloads.check_digest(reference, incoming.digest)
        incoming.keep(reference)
        yield file, incoming.size


@contextmanager
def _open(reference: Download, access: Access) -> Iterator[Exchange]:
    """Open a server for one call. Errors of the libraries become ours."""
    _check_host(reference)
    with Deadline(access.deadline_seconds) as deadline, requests.Session() as session:
        session.trust_env = False  # else requests would take credentials from ~/.netrc
        session.headers.update({"User-Agent": f"pluginrelease/{__version__}", "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            session.mount(scheme, Adapter(deadline, None, None))
        verify = True if access.usual_only else find_authorities()
        try:
            yield Exchange(reference, access, deadline, session, reference.origin, verify)
        except failures.RAISED as error:
            raise failures.translate(error, reference, deadline) from None


def _check_host(reference: Download) -> None:
    """Raise `Refused` (RegistryRedirectRefused) for this machine and a cloud's metadata service.

    A private address is allowed, as it is for a registry: the server may be in the cluster.
    """
    host = reference.registry.rpartition("@")[2]
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if challenge.is_own_machine(name):
        raise Refused(
            Reason.REGISTRY_REDIRECT_REFUSED,
            f"artifact.http.url names {name}, a loopback or link-local address",
            "Name a server that the operator and the gateways reach in the same way",
        )


def _missing(reference: Download) -> Waiting:
    return Waiting(
        Reason.MANIFEST_NOT_FOUND,
        f"There is no file at {reference.url}",
        "Publish it there, or correct artifact.http.url",
        retry_after=RETRY,
    )


def _refused(reference: Download, status: int) -> Refused:
    return Refused(
        Reason.REGISTRY_REFUSED,
        f"The server {reference.registry} answers {status} for {reference.url}, and gateways take only 200",
        "Let everyone read the file: neither the operator nor Istio's agent sends credentials",
        recheck=RETRY,
    )


def _make_scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pluginrelease-")
