"""A Git server for the lab: ``git http-backend`` behind HTTP, for every bare repository in one folder.

Flux and Argo CD fetch from it as from any host. Whoever has the folder commits to it without the server (`commit`).
CGI variables: https://git-scm.com/docs/git-http-backend.
"""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pluginrelease_lab import network
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab

PORT = 8418
URL = f"http://{network.ADDRESS}:{PORT}"
"""The server, for programs inside the lab's network: a repository NAME is ``URL/NAME.git``."""
BRANCH = "main"
ANSWER_WITHIN = 30.0
START_WITHIN = 20.0
BODY_LIMIT = 16 * 1024 * 1024
_AUTHOR = {"GIT_AUTHOR_NAME": "Lab", "GIT_AUTHOR_EMAIL": "lab@example.com"}
_COMMITTER = {"GIT_COMMITTER_NAME": "Lab", "GIT_COMMITTER_EMAIL": "lab@example.com"}
_OWN_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def start(lab: Lab, folder: Path) -> subprocess.Popen[bytes]:
    """Serve the repositories of ``folder`` inside the lab's network, and return when the server answers."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-m", "pluginrelease_lab.githttp", str(folder)]
    with lab.log("git").open("ab") as lines:
        process = lab.popen(argv, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, env=packages)
    lab.await_answer("git", process, PORT, "/", status=http.HTTPStatus.NOT_FOUND, within=START_WITHIN)
    return process


def commit(folder: Path, name: str, files: Mapping[str, str | None], message: str) -> str:
    """Commit files (path → content, None removes it) to the repository ``name``, and return the commit's hash.

    The repository is made with its first commit. Raises LabError with Git's own message.
    """
    bare = folder / f"{name}.git"
    if not bare.exists():
        git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(bare))
    with tempfile.TemporaryDirectory(prefix="pluginrelease-git-") as made:
        work = Path(made) / "work"
        git("clone", "--quiet", str(bare), str(work))
        for path, content in files.items():
            _place(work / path, content)
        git("-C", str(work), "add", "--all")
        git("-C", str(work), "commit", "--quiet", "--message", message)
        git("-C", str(work), "push", "--quiet", "origin", f"HEAD:{BRANCH}")
        return git("-C", str(work), "rev-parse", "HEAD").strip()


def _place(path: Path, content: str | None) -> None:
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def git(*arguments: str) -> str:
    """Run Git without the user's own settings, and return what it prints. Raises LabError."""
    environ = {**os.environ, **_AUTHOR, **_COMMITTER, **_OWN_SETTINGS}
    argv = ["git", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=ANSWER_WITHIN, env=environ, check=False)
    if done.returncode != 0:
        raise LabError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Handler(http.server.BaseHTTPRequestHandler):
    """One request, which `git http-backend` answers by CGI. ``root`` has the repositories."""

    protocol_version = "HTTP/1.0"
    root = ""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self._body()
        if body is None:
            self.send_error(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        argv, environ = ["git", "http-backend"], self._cgi(len(body))
        done = subprocess.run(argv, input=body, env=environ, stdout=subprocess.PIPE, timeout=ANSWER_WITHIN, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode("latin-1").split("\r\n") if ": " in line]
        status = next((int(value.split()[0]) for name, value in headers if name.lower() == "status"), 200)
        self.send_response(status)
        for name, value in headers:
            if name.lower() != "status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _cgi(self, length: int) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return {
            **_OWN_SETTINGS,
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "REMOTE_ADDR": self.client_address[0],
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }

    def _body(self) -> bytes | None:
        """The request's body, also a chunked one; None if it is larger than `BODY_LIMIT`."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        length = int(self.headers.get("Content-Length", 0) or 0)
        return self.rfile.read(length) if length <= BODY_LIMIT else None

    def _chunks(self) -> bytes | None:
        body = b""
        while size := int(self.rfile.readline(64).split(b";")[0], 16):
            if len(body) + size > BODY_LIMIT:
                return None
            body += self.rfile.read(size)
            self.rfile.readline(64)
        self.rfile.readline(64)
        return body


def serve(folder: str) -> None:
    """Serve until the process is ended."""
    Handler.root = os.path.abspath(folder)
    http.server.ThreadingHTTPServer((network.ADDRESS, PORT), Handler).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
