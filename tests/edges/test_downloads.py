"""Modules on real HTTP servers: what Istio's agent would make of an answer, and what the operator refuses."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pluginrelease.controller import artifacts
from pluginrelease.core.artifact import downloads
from pluginrelease.core.artifact.downloads import Download
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.oci import downloads as http_files
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.blobs import Blobs
from tests import wasm_modules

MODULE = wasm_modules.answering("downloaded")
SHA256 = hashlib.sha256(MODULE).hexdigest()
ACCESS = Access(insecure=True, deadline_seconds=20, max_bytes=1_000_000, usual_only=True)


@dataclass
class Served:
    """A server: path → status, headers and body. ``asked``: the requests with their headers."""

    host: str
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def put(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> Download:
        self.answers[path] = (status, headers, body)
        found = downloads.read_name(f"http://{self.host}{path}@sha256:{SHA256}")
        assert found is not None
        return found

    def verbs(self) -> list[str]:
        return [verb for verb, _, _ in self.asked]


@pytest.fixture(scope="module")
def address() -> str:
    """An address of this machine that is not loopback, because the operator asks no server there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


@pytest.fixture
def served(address: str) -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            one.asked.append((self.command, self.path, dict(self.headers)))
            status, headers, body = one.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  # a name of http.server

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        one = Served(f"{address}:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield one
        server.shutdown()


def tar(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


BOXES: list[tuple[str, bytes]] = [
    ("as it is", MODULE),
    ("gzip", gzip.compress(MODULE)),
    ("tar, whatever its name", tar(("module.bin", MODULE))),
    ("tar and gzip", gzip.compress(tar(("plugin.wasm", MODULE), ("README", b"text")))),
    ("gzip in tar", tar(("plugin.wasm.gz", gzip.compress(MODULE)))),
]


@pytest.mark.parametrize(("reason", "body"), BOXES, ids=[row[0] for row in BOXES])
def test_a_module_is_unpacked_as_the_agent_does(reason: str, body: bytes, served: Served) -> None:
    """The SHA-256 is that of the module, whatever it is packed in."""
    found = http_files.fetch(served.put("/auth.wasm", body), ACCESS)
    assert (found.wasm_sha256, found.size, str(found.layout)) == (SHA256, len(MODULE), "Download")
    assert str(found.pinned) == f"http://{served.host}/auth.wasm@sha256:{SHA256}"
    assert not any("authorization" in {name.lower() for name in headers} for _, _, headers in served.asked)


REFUSED: list[tuple[str, bytes, int, dict[str, str], str]] = [
    ("other bytes", MODULE + b"\0", 200, {}, "WasmMismatch"),
    (
        "the first file of a tar is not the module",
        tar(("README", b"text"), ("plugin.wasm", MODULE)),
        200,
        {},
        "WasmMismatch",
    ),
    ("damaged gzip", gzip.compress(MODULE)[:-20], 200, {}, "MalformedLayer"),
    ("too large", b"\0" * 1_000_001, 200, {}, "ArtifactTooLarge"),
    ("too large when unpacked", gzip.compress(b"\0" * 1_000_001), 200, {}, "ArtifactTooLarge"),
    ("not there", b"", 404, {}, "ManifestNotFound"),
    ("not for everyone", b"", 403, {}, "RegistryRefused"),
    ("a part of it", MODULE, 206, {}, "RegistryRefused"),
    (
        "sent to the metadata service",
        b"",
        302,
        {"location": "http://169.254.169.254/latest"},
        "RegistryRedirectRefused",
    ),
    ("sent to this machine", b"", 302, {"location": "http://127.0.0.1:1/"}, "RegistryRedirectRefused"),
    ("sent to a file", b"", 302, {"location": "file:///etc/passwd"}, "RegistryRedirectRefused"),
]


@pytest.mark.parametrize(("reason", "body", "status", "headers", "told"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_gateways_could_not_take_is_refused(
    reason: str, body: bytes, status: int, headers: dict[str, str], told: str, served: Served
) -> None:
    """Before anything is written, with the reason."""
    with pytest.raises(ReleaseError) as refused:
        http_files.fetch(served.put("/auth.wasm", body, status, **headers), ACCESS)
    assert refused.value.reason == told


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:8080", "localhost", "169.254.169.254", "[fe80::1]"])
def test_this_machine_and_the_metadata_service_are_not_asked(host: str) -> None:
    """The operator's own pod is no server of plugins."""
    named = downloads.read_name(f"http://{host}/auth.wasm@sha256:{SHA256}")
    assert named is not None
    with pytest.raises(ReleaseError) as refused:
        http_files.has_manifest(named, ACCESS)
    assert refused.value.reason == "RegistryRedirectRefused"


def test_a_redirect_within_the_server_is_followed(served: Served) -> None:
    """As the agent does."""
    served.put("/there.wasm", MODULE)
    found = http_files.fetch(served.put("/auth.wasm", b"", 302, location="/there.wasm"), ACCESS)
    assert found.wasm_sha256 == SHA256


def test_what_was_fetched_is_fetched_once(served: Served, tmp_path: Path) -> None:
    """The second time a HEAD is enough, and a file that is gone is not taken from the cache."""
    blobs = Blobs(tmp_path / "blobs", 100_000_000)
    named = served.put("/auth.wasm", MODULE)
    for _ in range(2):
        assert http_files.fetch(named, ACCESS, blobs).size == len(MODULE)
    assert served.verbs() == ["HEAD", "GET", "HEAD"]
    del served.answers["/auth.wasm"]
    assert not http_files.has_manifest(named, ACCESS)
    with pytest.raises(ReleaseError) as refused:
        http_files.fetch(named, ACCESS, blobs)
    assert refused.value.reason == "ManifestNotFound"


def test_a_server_without_head_is_asked_by_get(served: Served) -> None:
    """An answer that HEAD is not known says nothing about the file."""
    named = served.put("/auth.wasm", b"", 405)
    assert http_files.has_manifest(named, ACCESS)


async def test_a_refusal_is_not_remembered(served: Served) -> None:
    """The digest names the module and not the archive, so another archive may be good."""
    shelf = artifacts.ArtifactCache()
    with pytest.raises(ReleaseError):
        await shelf.obtain(served.put("/auth.wasm", gzip.compress(MODULE)[:-20]), ACCESS)
    found = await shelf.obtain(served.put("/auth.wasm", MODULE), ACCESS)
    assert found.artifact.wasm_sha256 == SHA256


async def test_a_list_of_registries_holds_for_servers(served: Served) -> None:
    """`--allowed-registries` names hosts, and a server is one."""
    named = served.put("/team/auth.wasm", MODULE)
    with pytest.raises(ReleaseError) as refused:
        await artifacts.ArtifactCache(allowed=("registry.example.com",)).obtain(named, ACCESS)
    assert (refused.value.reason, served.asked) == ("RegistryNotAllowed", [])
    assert await artifacts.ArtifactCache(allowed=(f"{served.host}/team",)).has(named, ACCESS)
