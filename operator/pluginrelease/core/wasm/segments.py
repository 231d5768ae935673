"""Element and data segments: what is put into tables and memories while a module is instantiated."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from pluginrelease.core.wasm import instructions
from pluginrelease.core.wasm.constants import Constants
from pluginrelease.core.wasm.cursor import Cursor, malformed
from pluginrelease.core.wasm.module import Limits, OutOfBounds, Table
from pluginrelease.core.wasm.types import Types

MAX_SEGMENTS = 20_000  # that are read
MAX_PLAIN_SEGMENTS = 40_000  # of data, which a pattern reads
MAX_ENTRIES = 300_000  # of element segments, that are stored
MAX_MISPLACED = 8
V8_DATA_SEGMENTS = 100_000
V8_ELEMENT_SEGMENTS = 10_000_000
# An active data segment of the first memory at a constant place, as all compilers write them: Go writes ten thousands.
_NUMBER = rb"([\x80-\xff]{0,4}[\x00-\x7f])"
_PLAIN = re.compile(rb"\x00\x41" + _NUMBER + rb"\x0b" + _NUMBER)
_PLAIN_BYTES = 13


@dataclass
class Segments:
    """What is known of the segments. ``keep``: a start section needs the functions in element segments.

    ``whole`` is False if some of these were not read.
    """

    constants: Constants
    types: Types
    keep: bool = False
    placed: dict[int, list[tuple[int, array[int]]]] = field(default_factory=dict)
    referenced: set[int] = field(default_factory=set)
    misplaced: list[OutOfBounds] = field(default_factory=list)
    whole: bool = True
    _entries: int = 0

    def read_elements(self, section: Cursor, tables: Sequence[Table]) -> None:
        """Read the element section."""
        for number in range(section.count(V8_ELEMENT_SEGMENTS, "element segments", V8_ELEMENT_SEGMENTS)):
            if number >= MAX_SEGMENTS:
                self.whole = False
                return
            self._element(section, tables, number)
        section.close()

    def _element(self, section: Cursor, tables: Sequence[Table], number: int) -> None:
        kind = section.u32()
        if kind > 7:
            malformed(f"an element segment is of the kind {kind}")
        active = not kind & 1
        table = section.u32() if active and kind & 2 else 0
        if active and table >= len(tables):
            malformed(f"an element segment is for table {table} of {len(tables)}")
        offset = self.constants.read(section) if active else None
        self._skip_type(section, kind)
        count = section.u32()
        kept = self._expressions(section, count) if kind & 4 else self._functions(section, count)
        if offset is not None:
            self.placed.setdefault(table, []).append((offset, kept))
            self._check("element", number, offset, count, tables[table].limits.minimum)

    def _skip_type(self, section: Cursor, kind: int) -> None:
        """Skip the type of a segment. Only a segment for table 0 has none: it contains functions."""
        if not kind & 3:
            return
        if kind & 4:
            self.types.value(section)
        else:
            section.byte()

    def _functions(self, section: Cursor, count: int) -> array[int]:
        self._entries += count
        if not self.keep or self._entries > MAX_ENTRIES:
            self.whole = self.whole and not self.keep
            section.skip_numbers(count)
            return array("I")
        found = section.numbers(count)
        self.referenced.update(found)
        return found

    def _expressions(self, section: Cursor, count: int) -> array[int]:
        """Read expressions. The functions in them are known afterwards, but not their places."""
        for _ in range(count):
            self.constants.read(section)
        return array("I")

    def read_data(self, section: Cursor, memories: Sequence[Limits]) -> int:
        """Read the data section; return the number of segments."""
        count = section.count(V8_DATA_SEGMENTS, "data segments", V8_DATA_SEGMENTS)
        others = 0
        for number in range(min(count, MAX_PLAIN_SEGMENTS)):
            if section.done() or others >= MAX_SEGMENTS:
                break  # the reader compares the counts
            if not self._plain(section, memories, number):
                others += 1
                self._data(section, memories, number)
        return count

    def _plain(self, section: Cursor, memories: Sequence[Limits], number: int) -> bool:
        """Read a segment that a pattern matches; return True if it was one."""
        if not memories or (found := _PLAIN.match(section.peek(_PLAIN_BYTES))) is None:
            return False
        offset, length = (instructions.number_at(group, 0)[0] for group in found.groups())
        if len(found[1]) < 5 and found[1][-1] & 0x40:
            offset += -1 << 7 * len(found[1])
        section.skip(found.end() + length)
        self._check("data", number, offset & 0xFFFFFFFF, length, memories[0].minimum * memories[0].page)
        return True

    def _data(self, section: Cursor, memories: Sequence[Limits], number: int) -> None:
        kind = section.u32()
        if kind > 2:
            malformed(f"a data segment is of the kind {kind}")
        memory = section.u32() if kind == 2 else 0
        if kind != 1 and memory >= len(memories):
            malformed(f"a data segment is for memory {memory} of {len(memories)}")
        offset = self.constants.read(section) if kind != 1 else None
        length = section.u32()
        section.skip(length)
        if offset is not None:
            self._check("data", number, offset, length, memories[memory].minimum * memories[memory].page)

    def _check(self, kind: str, number: int, offset: int, length: int, size: int) -> None:
        if offset + length > size and len(self.misplaced) < MAX_MISPLACED:
            self.misplaced.append(OutOfBounds(kind, number, offset, length, size))
