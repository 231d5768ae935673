"""buildah with its own storage in the cache. No other process sees its mounts."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pluginrelease.edges.toolchain import golang
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.node import packages
from pluginrelease_lab.processes import Argv

BUILD_SECONDS = 1200.0
_LAST_LINES = 20


@dataclass(frozen=True)
class Buildah:
    """``folder`` is kept, so that an image is built only once."""

    folder: Path

    def run(self, *arguments: str | Path, within: float = BUILD_SECONDS, stdin: str | None = None) -> str:
        """Run one command of buildah; return its output. Raises LabError with its last lines."""
        with tempfile.TemporaryDirectory(prefix="buildah-") as scratch:
            own: list[str | Path] = [
                "--root",
                self.folder / "storage",
                "--runroot",
                scratch,
                "--storage-driver",
                "overlay",
            ]
            argv: Argv = ["unshare", "--mount", "--propagation", "private", "buildah", *own, *arguments]
            try:
                done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=within, check=False)
            except subprocess.TimeoutExpired:
                raise LabError(f"buildah {arguments[0]}: no end after {within:.0f} s") from None
        if done.returncode != 0:
            said = "\n".join((done.stderr or done.stdout).splitlines()[-_LAST_LINES:])
            raise LabError(f"buildah {arguments[0]} failed:\n{said}")
        return str(done.stdout).strip()

    def has(self, reference: str) -> bool:
        """Return whether an image of this name was built here."""
        return bool(self.run("images", "--quiet", "--filter", f"reference={reference}"))

    def build(self, context: Path, reference: str, *, file: Path, base: str) -> None:
        """Build ``file`` with ``base`` as its argument PYTHON, on the machine's network."""
        options = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--format", "oci"]
        named = ["--build-arg", f"PYTHON={base}", "--file", str(file), "--tag", reference]
        self.run("bud", *options, *named, context)

    def export(self, reference: str, archive: Path, name: str) -> Path:
        """Write an image as a Docker archive with the name ``name``. Unlike an OCI archive it is not compressed."""
        archive.unlink(missing_ok=True)
        self.run("push", reference, f"docker-archive:{archive}:{name}")
        return archive

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time build here. The kernel releases the lock when its holder ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def in_cache() -> Buildah:
    """Return the buildah of the lab's cache. Raises LabError if a package is missing."""
    packages.require({**packages.IMAGES}, "building images")
    return Buildah(golang.cache_folder() / "images")
