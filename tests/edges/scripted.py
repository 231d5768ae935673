"""Registries that answer by a script, to misbehave in one way at a time."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pluginrelease.core.artifact import image_manifests, packing
from pluginrelease.core.artifact.image_manifests import Digest, Reference
from tests import wasm_modules as made

WASM = made.plugin("0_2_1")
IMAGE = packing.pack(WASM)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedAnswer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None  # what Content-Length says, if it is to lie; -1: nothing
    pace: float = 0.0  # seconds between two bytes
    more: Iterable[bytes] = ()  # after the body
    before: bytes | None = None  # instead of everything else: written again and again, or never
    hangs: bool = False  # after the body, until the test ends


Script = Callable[[Request], ScriptedAnswer]


@dataclass
class Scripted:
    host: str
    script: Script
    seen: list[Request] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def reference(self, name: str = "team/plugin:1") -> Reference:
        return image_manifests.parse(f"{self.host}/{name}")

    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.seen]

    def asked(self, part: str) -> int:
        """How many requests had this in their path."""
        return sum(part in request.path for request in self.seen)


class Handler(BaseHTTPRequestHandler):
    scripted: Scripted

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Request(self.command, self.path, dict(self.headers), body)
        self.scripted.seen.append(asked)
        said = self.scripted.script(asked)
        if said.before is not None:
            self.stall(said.before)
            return
        self.send_response(said.status)
        for key, value in said.headers.items():
            self.send_header(key, value)
        if said.length != -1:
            self.send_header("Content-Length", str(len(said.body) if said.length is None else said.length))
        self.end_headers()
        self.say(said)

    def stall(self, text: bytes) -> None:
        while not self.scripted.stopped.wait(0.01 if text else 60):
            self.wfile.write(text)

    def say(self, said: ScriptedAnswer) -> None:
        if said.pace:
            for number in range(len(said.body)):
                self.wfile.write(said.body[number : number + 1])
                if self.scripted.stopped.wait(said.pace):
                    return
        else:
            self.wfile.write(said.body)
        for piece in said.more:
            self.wfile.write(piece)
        if said.hangs:
            self.scripted.stopped.wait(120)

    # the names that http.server calls
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextlib.contextmanager
def serving() -> Iterator[Callable[..., Scripted]]:
    """Starts servers that answer by a script; ends them all."""
    servers: list[tuple[ThreadingHTTPServer, Scripted]] = []

    def start(script: Script, tls: Path | None = None) -> Scripted:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {}))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        one = Scripted(f"127.0.0.1:{server.server_address[1]}", script)
        server.RequestHandlerClass.scripted = one  # type: ignore[attr-defined]
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients break off here on purpose
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append((server, one))
        return one

    try:
        yield start
    finally:
        for server, one in servers:
            one.stopped.set()
            server.shutdown()
            server.server_close()


def good(asked: Request) -> ScriptedAnswer:
    """A registry that has one image under every name."""
    if "/manifests/" in asked.path:
        return ScriptedAnswer(200, IMAGE.manifest, {"Content-Type": image_manifests.OCI_MANIFEST})
    if "/blobs/" in asked.path:
        return ScriptedAnswer(200, IMAGE.layer)
    return ScriptedAnswer(200, b"{}")


def with_layer(layer: bytes, media_type: str = image_manifests.OCI_LAYER) -> Script:
    """A registry whose image has this layer, with the right digest and length."""
    entry = {"mediaType": media_type, "digest": str(Digest.of(layer)), "size": len(layer)}
    manifest = manifest_of([entry])

    def script(asked: Request) -> ScriptedAnswer:
        if "/manifests/" in asked.path:
            return ScriptedAnswer(200, manifest, {"Content-Type": image_manifests.OCI_MANIFEST})
        return ScriptedAnswer(200, layer) if "/blobs/" in asked.path else ScriptedAnswer(200, b"{}")

    return script


def manifest_of(layers: list[dict[str, Any]]) -> bytes:
    config = {"mediaType": image_manifests.OCI_CONFIG, "digest": str(Digest.of(b"{}")), "size": 2}
    return packing._json(
        {"schemaVersion": 2, "mediaType": image_manifests.OCI_MANIFEST, "config": config, "layers": layers}
    )


def on_blobs(change: Callable[[ScriptedAnswer], ScriptedAnswer]) -> Script:
    """A good registry, but for its blobs."""
    return on("/blobs/", change)


def on_manifests(change: Callable[[ScriptedAnswer], ScriptedAnswer]) -> Script:
    """A good registry, but for its manifests."""
    return on("/manifests/", change)


def on(part: str, change: Callable[[ScriptedAnswer], ScriptedAnswer]) -> Script:
    return lambda asked: change(good(asked)) if part in asked.path else good(asked)
