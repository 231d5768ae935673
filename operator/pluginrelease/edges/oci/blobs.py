"""Fetched blobs on disk: each blob is fetched once, and is still there after a restart.

A file holds the bytes of one blob. Its path is the repository and the bytes' SHA-256, so that a user who may read one
repository gets no bytes of another. Credentials, references and manifests are not kept, so every use asks the registry
first. A file is used only if its bytes still match its name.

Several processes may share a folder. Files appear whole, by renaming. A writer locks its unfinished file, and a process
that needs room deletes unfinished files without a lock. All files together, unfinished ones too, stay below a limit.
The file that was not used for the longest time is deleted first.

Errors are `Transient` (CacheUnavailable).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import Digest, Reference
from pluginrelease.core.errors import Transient

FOLDER = "blobs"
LOCK = "lock"
INCOMING = "incoming-"
STEP_BYTES = 8 * 1024 * 1024  # how much room a writer reserves at a time, at most
PIECE_BYTES = 1024 * 1024


def default_folder() -> Path:
    """Return a folder for this user below the system's folder for temporary files."""
    return Path(tempfile.gettempdir(), f"pluginrelease-{os.getuid()}")


@dataclass(frozen=True)
class Blobs:
    """The blobs below a folder, at most ``most_bytes`` of them."""

    folder: Path
    most_bytes: int

    @property
    def location(self) -> Path:
        """Return the folder of the files: a subfolder, because another user may own a mounted folder."""
        return self.folder / FOLDER

    def prepare(self) -> None:
        """Create the folder with access for this user only. Raises `Transient`."""
        with _translate_errors():
            self.location.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.location.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise PermissionError(0, f"{self.location} belongs to another user")

    def find(self, repository: Reference, digest: Digest) -> BinaryIO | None:
        """Return a blob, open for reading, with every byte checked; None if it is not there. The caller closes it."""
        path = self.location / _name(repository, digest)
        with _translate_errors():
            try:
                file = path.open("rb")
            except FileNotFoundError:
                return None
            with ExitStack() as failing:
                failing.enter_context(file)
                if _digest(file) != digest:
                    path.unlink(missing_ok=True)
                    return None
                file.seek(0)
                with suppress(FileNotFoundError):
                    os.utime(path)
                failing.pop_all()
                return file

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """Open a new file for writing and reading. It is deleted at the end unless it was kept."""
        self.prepare()
        with _translate_errors(), self._locked():
            self._make_room(0)
            handle, name = tempfile.mkstemp(prefix=INCOMING, dir=self.location)
            file = os.fdopen(handle, "w+b")
            fcntl.flock(file, fcntl.LOCK_EX)
        with file:
            incoming = Incoming(self, Path(name), file)
            try:
                yield incoming
            finally:
                incoming.path.unlink(missing_ok=True)

    def reserve(self, file: BinaryIO, size: int) -> None:
        """Give a file this size, after making room for it."""
        with _translate_errors(), self._locked():
            self._make_room(size - os.fstat(file.fileno()).st_size)
            os.ftruncate(file.fileno(), size)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder for one thread of one process, for a short time."""
        with (self.location / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self, wanted: int) -> None:
        used, kept = 0, []
        for path in self.location.iterdir():
            if path.name.startswith(INCOMING) and _remove_abandoned(path):
                continue
            with suppress(FileNotFoundError):
                found = path.lstat()
                used += found.st_size
                if not path.name.startswith(INCOMING) and path.name != LOCK:
                    kept.append((found.st_mtime_ns, path, found.st_size))
        for _, path, size in sorted(kept):
            if used + wanted <= self.most_bytes:
                return
            path.unlink(missing_ok=True)
            used -= size
        if used + wanted > self.most_bytes:
            raise _unavailable(
                f"what is being fetched at this moment does not fit into {self.most_bytes} bytes",
                "It is tried again; if this stays, give the operator a larger --cache-size.",
            )


class Incoming:
    """A file that is being written. ``size`` and ``digest`` are those of the bytes so far."""

    def __init__(self, blobs: Blobs, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.size = 0
        self._blobs = blobs
        self._file = file
        self._hash = hashlib.sha256()
        self._room = 0

    @property
    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())

    def write(self, piece: bytes) -> None:
        """Add bytes, after making room for them."""
        self.size += len(piece)
        self._hash.update(piece)
        if self.size > self._room:
            ahead = self.size + min(self.size, STEP_BYTES)  # double it, so that the lock is rarely needed
            self._room = min(ahead, max(self.size, self._blobs.most_bytes))
            self._blobs.reserve(self._file, self._room)
        with _translate_errors():
            self._file.write(piece)

    def done(self) -> BinaryIO:
        """Return the file, rewound, for reading while it is open."""
        with _translate_errors():
            self._file.truncate(self.size)
            self._file.seek(0)
        return self._file

    def keep(self, repository: Reference) -> None:
        """Turn the complete file into a blob."""
        with _translate_errors():
            os.replace(self.path, self.path.with_name(_name(repository, self.digest)))


def _name(repository: Reference, digest: Digest) -> str:
    return f"{hashlib.sha256(repository.name.encode()).hexdigest()[:16]}-{digest.hex}"


def _digest(file: BinaryIO) -> Digest:
    found = hashlib.sha256()
    while piece := file.read(PIECE_BYTES):
        found.update(piece)
    return Digest(found.hexdigest())


def _remove_abandoned(path: Path) -> bool:
    """Delete an unfinished file if its writer is gone."""
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate errors of the file system into ours."""
    try:
        yield
    except OSError as error:
        raise _unavailable(
            str(error.strerror or type(error).__name__),
            "It is tried again; see that the folder of --cache-dir can be written and has room.",
        ) from error


def _unavailable(what: str, remedy: str) -> Transient:
    return Transient(Reason.CACHE_UNAVAILABLE, f"The operator cannot keep what it fetches: {what}", remedy)
