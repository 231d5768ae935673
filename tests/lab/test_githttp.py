"""The lab's Git server, with the real Git on both sides."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease_lab import githttp
from pluginrelease_lab.errors import LabError

NAME = "plugins"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the repositories are."""
    made = tmp_path / "repositories"
    made.mkdir()
    return made


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server on a free port of this machine: its host and port."""
    monkeypatch.setattr(githttp.Handler, "root", str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), githttp.Handler) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{one.server_port}"
        one.shutdown()


def test_a_clone_has_every_commit(server: str, folder: Path, tmp_path: Path) -> None:
    """What is committed to a repository is what Git fetches from the server, also with a second commit."""
    githttp.commit(folder, NAME, {"a/one.yaml": "1\n", "gone.yaml": "x\n"}, "First")
    clone = tmp_path / "clone"
    githttp.git("clone", "--quiet", f"http://{server}/{NAME}.git", str(clone))
    assert (clone / "a/one.yaml").read_text() == "1\n"
    newest = githttp.commit(folder, NAME, {"a/one.yaml": "2\n", "gone.yaml": None}, "Second")
    githttp.git("-C", str(clone), "pull", "--quiet")
    assert githttp.git("-C", str(clone), "rev-parse", "HEAD").strip() == newest
    assert (clone / "a/one.yaml").read_text() == "2\n"
    assert not (clone / "gone.yaml").exists()


def test_a_repository_that_is_not_there_is_an_error(server: str, tmp_path: Path) -> None:
    """Git's own message says so."""
    with pytest.raises(LabError, match="not found"):
        githttp.git("clone", f"http://{server}/{NAME}.git", str(tmp_path / "clone"))


def test_a_body_has_a_limit(server: str, folder: Path) -> None:
    """A request that says that it is larger than the limit is refused before it is read."""
    githttp.commit(folder, NAME, {"one": "1"}, "First")
    connection = http.client.HTTPConnection(server, timeout=10)
    headers = {"Content-Length": str(githttp.BODY_LIMIT + 1)}
    connection.request("POST", f"/{NAME}.git/git-upload-pack", headers=headers)
    assert connection.getresponse().status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    connection.close()
