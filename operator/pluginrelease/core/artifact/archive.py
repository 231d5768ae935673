"""A tar archive, with gzip or without, read once from front to end and within bounds.

Its author may be anybody. What it unpacks to, what a member expands to (a sparse file stores nothing for its holes),
how many members there are and how long their headers are is all bounded, whatever the archive says of itself.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

MAX_MEMBERS = 10_000
MAX_HEADER_BYTES = 1024 * 1024  # of one member, with the records before it
MAX_GZIP_MEMBERS = 100_000
PIECE_BYTES = 1024 * 1024
GZIP = b"\x1f\x8b"

# what tarfile and zlib raise on bytes that are none of theirs
_TROUBLES = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError, RecursionError, LookupError)


class ArchiveError(Exception):
    """What is wrong with an archive."""


class Malformed(ArchiveError):
    """It is no archive, or a damaged one; the text says what was found."""


class TooLarge(ArchiveError):
    """It unpacks, or its members expand, to more bytes than are allowed."""


class TooManyMembers(ArchiveError):
    """It has more than `MAX_MEMBERS` members."""


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except _TROUBLES as error:
        raise Malformed(str(error)[:200] or type(error).__name__) from error


def gunzip(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Unpack gzip, all its members, in pieces of at most 1 MiB. What follows the last member is not looked at.

    ``read`` gives up to so many bytes, none at the end. Raises `Malformed`.
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
    """Pieces as one file that is read forwards, of at most ``most`` bytes. Raises `TooLarge` where it is longer, or
    where one wants to go further, and `Malformed` where one wants to go back."""

    def __init__(self, pieces: Iterable[bytes], most: int) -> None:
        self.most = most
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")
        self._unpacked = 0
        self._at = 0
        self._header: int | None = None

    def peek(self, size: int) -> bytes:
        """Up to so many bytes, which are read again."""
        while len(self._piece) < size and (more := self._next()):
            self._piece = memoryview(self._piece.tobytes() + more)
        return self._piece[:size].tobytes()

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end."""
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
        """Read on to there. A size that is a lie is refused before it is followed."""
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
        """While a member's header is read; headers are nested in one another."""
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
    """How many bytes may still be read out of members."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, size: int) -> None:
        if size > self._left:
            raise TooLarge
        self._left -= size


class Member:
    """An entry of an archive: its path, and whether it is a regular file of so many bytes. It can be read until the
    next one is asked for."""

    def __init__(self, name: str, size: int, source: Any, budget: Budget) -> None:
        self.name = name
        self.size = size
        self.regular = source is not None
        self._source = source
        self._left = size
        self._budget = budget

    def read(self, size: int) -> bytes:
        """The next bytes of the file, fewer only at its end. Raises `Malformed`, `TooLarge`."""
        size = max(0, min(size, self._left))
        self._budget.spend(size)
        self._left -= size
        with _reading():
            content: bytes = self._source.read(size) if size else b""
        if len(content) < size:
            raise Malformed("a file in it ends early")
        return content


def members(stream: ArchiveStream) -> Iterator[Member]:
    """The entries of a tar archive in their order. All together expand to no more than the stream's ``most``.

    Raises `Malformed`, `TooLarge`, `TooManyMembers`, as does reading a member.
    """
    budget = Budget(stream.most)
    with _reading(), _Archive(fileobj=stream, mode="r", tarinfo=_Header) as tar:
        for number, info in enumerate(iter(tar.next, None)):
            if number >= MAX_MEMBERS:
                raise TooManyMembers
            _check_sizes(info)
            tar.members = []  # headers must not pile up in memory
            yield Member(info.name, info.size, tar.extractfile(info) if info.isreg() else None, budget)


def _check_sizes(info: tarfile.TarInfo) -> None:
    """A size is not negative, and the stored pieces of a sparse file are within it, one after the other."""
    end = 0
    pieces: list[tuple[int, int]] = getattr(info, "sparse", None) or []  # with zeros where a header has no more of them
    for offset, length in pieces:
        if length < 0 or (length and offset < end):
            raise Malformed("the pieces of a sparse file in it do not follow one another")
        end = offset + length if length else end
    if info.size < end:
        raise Malformed("it has a file that is larger than its size, or of negative size")


class _Archive(tarfile.TarFile):
    """Forgets global records, as the agent's reader does (Go, archive/tar): they would rename or resize what follows,
    and pile up."""

    members: list[tarfile.TarInfo]

    @property
    def pax_headers(self) -> dict[str, str]:
        return {}

    @pax_headers.setter
    def pax_headers(self, records: object) -> None:
        pass


class _Header(tarfile.TarInfo):
    """Headers are small: tarfile keeps long names, records and maps of sparse files in memory."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        with tarfile.fileobj.heading():  # type: ignore[attr-defined]  # the Stream that `members` opened
            return super().fromtarfile(tarfile)
