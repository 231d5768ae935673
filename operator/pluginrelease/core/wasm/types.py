"""The type section, value types, and the limits of memories and tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pluginrelease.core.wasm.cursor import Cursor, beyond, malformed, not_read
from pluginrelease.core.wasm.instructions import Feature
from pluginrelease.core.wasm.module import FunctionType, Limits, Table

# Far above what any plugin needs. V8's own limits (v8/src/wasm/wasm-limits.h) are higher for types and their members.
MAX_TYPES = 20_000
MAX_MEMBERS = 1_000
V8_TYPES = 1_000_000
V8_PARAMETERS = 1_000

_ABSTRACT = {
    0x74: "noexn",
    0x73: "nofunc",
    0x72: "noextern",
    0x71: "none",
    0x70: "func",
    0x6F: "extern",
    0x6E: "any",
    0x6D: "eq",
    0x6C: "i31",
    0x6B: "struct",
    0x6A: "array",
    0x69: "exn",
}
_SHORT = {"noexn": "nullexnref", "nofunc": "nullfuncref", "noextern": "nullexternref", "none": "nullref"}
_CONTINUATIONS = (0x68, 0x75)
_NUMERIC = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
_VALUES = _NUMERIC | {code: _SHORT.get(name, f"{name}ref") for code, name in _ABSTRACT.items()}
_OLD = frozenset(_NUMERIC) | {0x70, 0x6F}
_ONE_BYTE = bytes(_OLD)
_REF_NULL, _REF = 0x63, 0x64


class Types:
    """The types that a module declares, and the features that the types which were read need."""

    def __init__(self) -> None:
        self.declared: list[FunctionType | None] = []  # None: a struct, an array
        self.features: set[Feature] = set()
        self._known: dict[FunctionType, FunctionType] = {}  # one object for all equal ones

    def read(self, section: Cursor) -> None:
        """Read the type section."""
        for _ in range(section.count(MAX_TYPES, "types", V8_TYPES)):
            for found in self._group(section):
                self.declared.append(found)
                if len(self.declared) > MAX_TYPES:
                    not_read(f"it declares more than the {MAX_TYPES} types that are read")
        section.close()

    def _group(self, section: Cursor) -> Iterator[FunctionType | None]:
        if section.peek(1) != b"\x4e":
            yield self._declared(section)
            return
        section.byte()
        self.features.add(Feature.GC)
        for _ in range(section.count(MAX_TYPES, "types in a group", V8_TYPES)):
            yield self._declared(section)

    def _declared(self, section: Cursor) -> FunctionType | None:
        code = section.byte()
        if code in (0x50, 0x4F):
            self.features.add(Feature.GC)
            section.skip_numbers(section.count(MAX_MEMBERS, "supertypes"))
            code = section.byte()
        if code == 0x60:
            return self._function(section)
        self.features.add(Feature.STACK_SWITCHING if code == 0x5D else Feature.GC)
        if code == 0x5F:
            for _ in range(section.count(MAX_MEMBERS, "fields in a struct")):
                self._field(section)
        elif code == 0x5E:
            self._field(section)
        elif code == 0x5D:
            section.u32()
        else:
            not_read(f"a type of the kind 0x{code:02x} is not known here")
        return None

    def _function(self, section: Cursor) -> FunctionType:
        found = FunctionType(self._values(section), self._values(section))
        return self._known.setdefault(found, found)

    def _values(self, section: Cursor) -> tuple[str, ...]:
        count = section.u32()
        if count > V8_PARAMETERS:
            beyond(f"a function type has {count} parameters or results, more than the {V8_PARAMETERS} that V8 takes")
        raw = section.peek(count)
        if len(raw) == count and not raw.translate(None, _ONE_BYTE):
            section.skip(count)
            return tuple([_VALUES[code] for code in raw])
        return tuple([self.value(section) for _ in range(count)])

    def _field(self, section: Cursor) -> None:
        if section.peek(1) in (b"\x78", b"\x77"):  # i8 and i16, in structs and arrays only
            section.byte()
        else:
            self.value(section)
        section.byte()

    def value(self, section: Cursor) -> str:
        """Read one value type; return its name in the text format."""
        code = section.byte()
        if code in (_REF_NULL, _REF):
            return self._reference(section, nullable=code == _REF_NULL)
        if code in _CONTINUATIONS:
            self.features.add(Feature.STACK_SWITCHING)
            return "contref"
        if code not in _VALUES:
            malformed(f"0x{code:02x} is no value type")
        if code not in _OLD:
            self.features.add(Feature.EXCEPTIONS if _VALUES[code] in ("exnref", "nullexnref") else Feature.GC)
        return _VALUES[code]

    def _reference(self, section: Cursor, *, nullable: bool) -> str:
        self.features.add(Feature.REFERENCES)
        heap = self.heap(section)
        if nullable and not heap.startswith("$"):
            return _SHORT.get(heap, f"{heap}ref")
        return f"(ref {'null ' if nullable else ''}{heap})"

    def heap(self, section: Cursor) -> str:
        """Read what a reference refers to: ``func``, ``extern`` …, or ``$3`` for a declared type."""
        number = section.signed(33)
        if number >= 0:
            return f"${number}"
        if (name := _ABSTRACT.get(number & 0x7F)) is None:
            not_read(f"references to 0x{number & 0x7F:02x} are not known here")
        return name

    def function(self, index: int) -> FunctionType:
        """Return the function type of this number."""
        if index >= len(self.declared):
            malformed(f"a function has type {index} of {len(self.declared)}")
        found = self.declared[index]
        if found is None:
            malformed(f"a function has type {index}, which is no function type")
        return found

    def table(self, section: Cursor) -> Table:
        """Read a table's type."""
        return Table(self.value(section), self.limits(section))

    def limits(self, section: Cursor) -> Limits:
        """Read the size of a memory or a table."""
        flags = section.byte()
        if flags > 0x0F:
            not_read(f"{section.where} has limits of the kind 0x{flags:02x}")
        wide, bounded = bool(flags & 4), bool(flags & 1)
        minimum = section.u64()
        maximum = section.u64() if bounded else None
        if wide:
            self.features.add(Feature.MEMORY64)
        limits = Limits(minimum, maximum, bool(flags & 2), wide)
        if flags & 8:
            self.features.add(Feature.PAGE_SIZES)
            return replace(limits, page=1 << min(section.u32(), 16))
        return limits
