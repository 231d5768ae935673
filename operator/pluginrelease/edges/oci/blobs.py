"""What was fetched, on disk: a blob is fetched once, and is there after a restart.

A file holds the bytes of one blob and is called by their SHA-256, after the repository that gave them: bytes from one
repository are not shown to those who may read another one. Credentials, references and manifests are not kept, so
that every use asks the registry first. A file is read again only when its bytes still have its name.

Several processes may share a folder. Files appear whole, by renaming; those that are being written are locked by their
writer, and whoever needs room takes away the ones that nobody holds. All files together, half-written ones too, stay
below a limit; the one that was used longest ago goes first.

Errors are `Transient` (``CacheUnavailable``).
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
STEP_BYTES = 8 * 1024 * 1024  # how much room a writer takes ahead, at most
PIECE_BYTES = 1024 * 1024


def default_folder() -> Path:
    """In the folder for temporary files, by user: nobody else's is ever used."""
    return Path(tempfile.gettempdir(), f"pluginrelease-{os.getuid()}")


@dataclass(frozen=True)
class Blobs:
    """The blobs below a folder, at most ``most_bytes`` of them."""

    folder: Path
    most_bytes: int

    @property
    def location(self) -> Path:
        """Where the files are: below the folder, as one that is mounted may be somebody else's."""
        return self.folder / FOLDER

    def prepare(self) -> None:
        """Makes the folder, for nobody but us; raises `Transient` when that cannot be."""
        with _translate_errors():
            self.location.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.location.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise PermissionError(0, f"{self.location} belongs to somebody else")

    def find(self, repository: Reference, digest: Digest) -> BinaryIO | None:
        """A blob, open for reading, every byte of it checked; None when it is not there. Whoever gets it closes it."""
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
        """A new file to be written and read; it is gone at the end unless it was kept."""
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
        """Gives a file that is being written this size, once there is room for it."""
        with _translate_errors(), self._locked():
            self._make_room(size - os.fstat(file.fileno()).st_size)
            os.ftruncate(file.fileno(), size)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, threads and processes alike, and for moments only."""
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
    """A file that is being written. ``size`` and ``digest`` are those of what was written until now."""

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
        """Adds bytes, once there is room for them."""
        self.size += len(piece)
        self._hash.update(piece)
        if self.size > self._room:
            ahead = self.size + min(self.size, STEP_BYTES)  # as much again, so that others are not asked each time
            self._room = min(ahead, max(self.size, self._blobs.most_bytes))
            self._blobs.reserve(self._file, self._room)
        with _translate_errors():
            self._file.write(piece)

    def done(self) -> BinaryIO:
        """The file, at its beginning, to be read while this is open."""
        with _translate_errors():
            self._file.truncate(self.size)
            self._file.seek(0)
        return self._file

    def keep(self, repository: Reference) -> None:
        """The file, which is done, is a blob from now on."""
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
    """Takes a half-written file away when its writer is gone."""
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


@contextmanager
def _translate_errors() -> Iterator[None]:
    """What the file system refuses, as one of our errors."""
    try:
        yield
    except OSError as error:
        raise _unavailable(
            str(error.strerror or type(error).__name__),
            "It is tried again; see that the folder of --cache-dir can be written and has room.",
        ) from error


def _unavailable(what: str, remedy: str) -> Transient:
    return Transient(Reason.CACHE_UNAVAILABLE, f"The operator cannot keep what it fetches: {what}", remedy)
