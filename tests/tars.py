"""Tar archives as nobody's tool writes them, member by member."""

from __future__ import annotations

import itertools
import tarfile

from tests import wasm_modules

MIB = 1 << 20
MODULE = wasm_modules.plugin("0_2_1")
END = bytes(1024)


def head(name: str, length: int, /, *, kind: bytes = tarfile.REGTYPE, **records: str) -> bytes:
    """A member's header, with PAX records before it."""
    member = tarfile.TarInfo(name)
    member.size, member.type, member.pax_headers = length, kind, records
    return member.tobuf(tarfile.PAX_FORMAT)


def padded(content: bytes) -> bytes:
    """What is stored of a file: whole blocks."""
    return content + bytes(-len(content) % 512)


def gnu_sparse(size: int, *pieces: tuple[int, int], name: str = "plugin.wasm", more: bool = False) -> bytes:
    """A sparse file as old GNU tar writes it: (offset, length) of what is stored, which is the module's beginning.
    ``more``: it says that its map goes on in the next block."""
    stored = sum(length for _, length in pieces if length < MIB)
    member = tarfile.TarInfo(name)
    member.size, member.type = stored, tarfile.GNUTYPE_SPARSE
    raw = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    for at, number in enumerate(itertools.chain.from_iterable(pieces)):
        raw[386 + 12 * at : 398 + 12 * at] = number_field(number)
    raw[483:495] = number_field(size)
    raw[482] = more
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + padded((MODULE * 2)[:stored])


def number_field(number: int) -> bytes:
    """12 bytes, of base 256 where octal digits do not do."""
    if 0 <= number < 8**11:
        return b"%011o\0" % number
    return (b"\x80" if number >= 0 else b"\xff") + number.to_bytes(11, "big", signed=True)


def pax_sparse(size: int) -> bytes:
    """A sparse file as newer GNU tar writes it, in records."""
    content = padded(b"1\n0\n8\n") + MODULE[:8]
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "plugin.wasm"}
    return head("x", len(content), **records, **{"GNU.sparse.realsize": str(size)}) + padded(content)
