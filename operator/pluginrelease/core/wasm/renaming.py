"""Rename one export of a module."""

from __future__ import annotations

from pluginrelease.core.wasm.cursor import Cursor
from pluginrelease.core.wasm.reader import EXPORTS, HEADER_BYTES


def rename_export(data: bytes, old: str, new: str) -> bytes:
    """Return the module with one export renamed; every byte outside the export section stays the same.

    ``data`` is a module that `read` accepts, with an export called ``old`` and none called ``new``.
    """
    cursor = Cursor(data, HEADER_BYTES, len(data), "a section", truncated=True)
    while True:
        start, number, length = cursor.at, cursor.byte(), cursor.u32()
        section = cursor.part(length, "the export section")
        if number == EXPORTS:
            payload = _rename(section, old, new)
            return data[:start] + bytes([EXPORTS]) + _u32(len(payload)) + payload + data[cursor.at :]


def _rename(section: Cursor, old: str, new: str) -> bytes:
    """Return the payload of an export section with one name changed; kinds and indexes are copied unchanged."""
    count = section.u32()
    payload = bytearray(_u32(count))
    for _ in range(count):
        name = section.name()
        start = section.at
        section.byte()
        section.u32()
        label = (new if name == old else name).encode()
        payload += _u32(len(label)) + label + section.data[start : section.at]
    return bytes(payload)


def _u32(number: int) -> bytes:
    """Return an unsigned LEB128."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
