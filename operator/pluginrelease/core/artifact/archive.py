"""A tar archive, with or without gzip, read once from front to end, with limits.

Its author may be a stranger. There are limits for the unpacked size, the size of each expanded member, the number of
members, and the length of their headers. (A sparse file stores nothing for its holes.) The limits hold whatever sizes
the archive declares.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

MAX_MEMBERS = 10_000
MAX_HEADER_BYTES = 1024 * 1024  # for one member, with its extended headers
MAX_GZIP_MEMBERS = 100_000
PIECE_BYTES = 1024 * 1024
GZIP = b"\x1f\x8b"

# what tarfile and zlib raise for bytes that they cannot read
_TROUBLES = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError, RecursionError, LookupError)


class ArchiveError(Exception):
    """An archive that cannot be used."""


class Malformed(ArchiveError):
    """It is no archive, or a damaged one; the message says what was found."""


class TooLarge(ArchiveError):
    """It unpacks to more bytes than are allowed, or its members expand to more."""


class TooManyMembers(ArchiveError):
    """It has more than `MAX_MEMBERS` members."""


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except _TROUBLES as error:
        raise Malformed(str(error)[:200] or type(error).__name__) from error


def gunzip(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Unpack gzip, with all its members, in pieces of at most 1 MiB. Bytes after the last member are ignored.

    ``read`` returns up to the given number of bytes, and none at the end. Raises `Malformed`.
    """
    pending = read(65536)
    if not pending.startswith(GZIP):
        raise Malformed("it is not gzip data")
    for _ in range(MAX_GZIP_MEMBERS):
        unpacker = zlib.decompressobj(wbits=31)
        while not unpacker.eof:
            pending = pending or read(65536)
            if not pending:
                raise Malformed("the gzip data ends early")
            with _reading():
                piece = unpacker.decompress(pending, PIECE_BYTES)
            pending = unpacker.unconsumed_tail
            if piece:
                yield piece
        pending = unpacker.unused_data
        if len(pending) < len(GZIP):
            pending += read(65536)
        if not pending.startswith(GZIP):
            return
    raise Malformed(f"it has more than {MAX_GZIP_MEMBERS} gzip members")


class ArchiveStream(io.RawIOBase):
    """Pieces of bytes as one file that is read forwards, of at most ``most`` bytes.

    Raises `TooLarge` for a longer stream or a seek beyond the limit, and `Malformed` for a seek backwards.
    """

    def __init__(self, pieces: Iterable[bytes], most: int) -> None:
        self.most = most
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")
        self._unpacked = 0
        self._at = 0
        self._header: int | None = None

    def peek(self, size: int) -> bytes:
        """Return up to ``size`` bytes without consuming them."""
        while len(self._piece) < size and (more := self._next()):
            self._piece = memoryview(self._piece.tobytes() + more)
        return self._piece[:size].tobytes()

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes; fewer only at the end."""
        if size < 0:
            raise Malformed("it has a member of negative size")
        self._count_header(size)
        parts: list[memoryview] = []
        while size and (self._piece or self._fill()):
            parts.append(self._piece[:size])
            self._piece = self._piece[size:]
            size -= len(parts[-1])
            self._at += len(parts[-1])
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Skip to an offset. A wrong size in a header is refused before anything is skipped."""
        if whence != io.SEEK_SET or offset < self._at:
            raise Malformed("its members do not follow one another")
        if offset > self.most:
            raise TooLarge
        while self._at < offset and self.read(min(offset - self._at, PIECE_BYTES)):
            pass
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    @contextmanager
    def heading(self) -> Iterator[None]:
        """Mark that a member's header is being read. Headers can be nested."""
        outermost = self._header is None
        self._header = MAX_HEADER_BYTES if self._header is None else self._header
        try:
            yield
        finally:
            self._header = None if outermost else self._header

    def _count_header(self, size: int) -> None:
        if self._header is None:
            return
        self._header -= size
        if self._header < 0:
            raise Malformed(f"a member's header is longer than {MAX_HEADER_BYTES} bytes")

    def _fill(self) -> bool:
        self._piece = memoryview(self._next())
        return bool(self._piece)

    def _next(self) -> bytes:
        piece = next(self._pieces, b"")
        self._unpacked += len(piece)
        if self._unpacked > self.most:
            raise TooLarge
        return piece


class Budget:
    """The number of bytes that may still be read from members."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, size: int) -> None:
        if size > self._left:
            raise TooLarge
        self._left -= size


class Member:
    """An entry of an archive: its path, its size in bytes, and if it is a regular file.

    It can be read until the next member is requested.
    """

    def __init__(self, name: str, size: int, source: Any, budget: Budget) -> None:
        self.name = name
        self.size = size
        self.regular = source is not None
        self._source = source
        self._left = size
        self._budget = budget

    def read(self, size: int) -> bytes:
        """Return the next bytes of the file; fewer only at its end. Raises `Malformed`, `TooLarge`."""
        size = max(0, min(size, self._left))
        self._budget.spend(size)
        self._left -= size
        with _reading():
            content: bytes = self._source.read(size) if size else b""
        if len(content) < size:
            raise Malformed("a file in it ends early")
        return content


def members(stream: ArchiveStream) -> Iterator[Member]:
    """Yield the entries of a tar archive in order. Together they expand to at most the stream's ``most`` bytes.

    Raises `Malformed`, `TooLarge`, `TooManyMembers`; reading a member raises the same.
    """
    budget = Budget(stream.most)
    with _reading(), _Archive(fileobj=stream, mode="r", tarinfo=_Header) as tar:
        for number, info in enumerate(iter(tar.next, None)):
            if number >= MAX_MEMBERS:
                raise TooManyMembers
            _check_sizes(info)
            tar.members = []  # tarfile keeps every header; drop them
            yield Member(info.name, info.size, tar.extractfile(info) if info.isreg() else None, budget)


def _check_sizes(info: tarfile.TarInfo) -> None:
    """Refuse a negative size, and pieces of a sparse file that overlap or lie outside the file."""
    end = 0
    pieces: list[tuple[int, int]] = getattr(info, "sparse", None) or []  # a short map ends with zeros
    for offset, length in pieces:
        if length < 0 or (length and offset < end):
            raise Malformed("the pieces of a sparse file in it do not follow one another")
        end = offset + length if length else end
    if info.size < end:
        raise Malformed("it has a file that is larger than its size, or of negative size")


class _Archive(tarfile.TarFile):
    """A tar file that forgets global headers, as Istio's agent does (Go, archive/tar).

    Global headers would rename or resize later members, and use up memory.
    """

    members: list[tarfile.TarInfo]

    @property
    def pax_headers(self) -> dict[str, str]:
        return {}

    @pax_headers.setter
    def pax_headers(self, records: object) -> None:
        pass


class _Header(tarfile.TarInfo):
    """A tar header with a small limit, because tarfile keeps long names, records and sparse maps in memory."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        with tarfile.fileobj.heading():  # type: ignore[attr-defined]  # the Stream that `members` opened
            return super().fromtarfile(tarfile)
