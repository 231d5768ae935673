"""The upstream of a trial: it answers 200 with the request as JSON, on a thread of its own."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_BODY = 64 * 1024
IDLE_SECONDS = 60.0


class _EchoHandler(BaseHTTPRequestHandler):
    """Answers ``{"method", "path", "headers": {name in lower case: value}, "body"}``."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def _answer(self) -> None:
        body = self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = {"method": self.command, "path": self.path, "headers": headers, "body": body.decode(errors="replace")}
        answer = json.dumps(said, indent=2).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def _read_body(self) -> bytes:
        """Return the beginning of the body, and read all of it."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunks()
        length = int(self.headers.get("content-length") or 0)
        kept = self.rfile.read(min(length, MAX_BODY))
        while (length := length - MAX_BODY) > 0:
            self.rfile.read(min(length, MAX_BODY))
        return kept

    def _read_chunks(self) -> bytes:
        kept = bytearray()
        while size := int(self.rfile.readline(128).partition(b";")[0] or b"0", 16):
            piece = self.rfile.read(size)
            kept += piece[: MAX_BODY - len(kept)]
            self.rfile.readline(8)
        while self.rfile.readline(MAX_BODY).strip():
            pass
        return bytes(kept)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has
        """Log nothing."""


class _EchoServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing about a connection that Envoy broke, as it does when it ends."""


@contextlib.contextmanager
def serve(port: int = 0) -> Iterator[int]:
    """Serve on loopback, and yield the port; 0 takes a free one."""
    with _EchoServer(("127.0.0.1", port), _EchoHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
