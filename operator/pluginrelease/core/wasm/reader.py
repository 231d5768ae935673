"""Read bytes into a `Module`: the sections of the binary format, one after the other."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.wasm import reach, toolchain
from pluginrelease.core.wasm.code import Bodies, Scan
from pluginrelease.core.wasm.constants import Constants
from pluginrelease.core.wasm.cursor import Bytes, Cursor, malformed, not_read, truncated
from pluginrelease.core.wasm.instructions import Feature
from pluginrelease.core.wasm.module import Export, ExternKind, FunctionType, Import, Limits, Module, Table
from pluginrelease.core.wasm.segments import Segments
from pluginrelease.core.wasm.types import Types

MAGIC = b"\0asm"
CORE_VERSION = b"\x01\0\0\0"
COMPONENT_VERSION = b"\x0d\0\x01\0"
HEADER_BYTES = len(MAGIC) + len(CORE_VERSION)

# Far above what any plugin needs, but low enough for a hostile module: under a second and under 64 MiB together
# (tests/core/test_wasm.py). V8's own limits are higher: a million of each (v8/src/wasm/wasm-limits.h).
MAX_IMPORTS = 10_000
MAX_FUNCTIONS = 200_000
MAX_EXPORTS = 20_000
MAX_GLOBALS = 20_000
MAX_TABLES = 1_000
MAX_MEMORIES = 1_000
MAX_CUSTOM_SECTIONS = 1_000
MAX_CUSTOM_NAME = 200  # characters kept of it
MAX_PRODUCERS_BYTES = 64 * 1024
V8_EACH = 1_000_000
V8_TABLES = 100_000
# Sections that are read completely. The largest plugins need a tenth of these; code and data are never copied whole.
MAX_SECTION_BYTES = {1: 1 << 20, 2: 1 << 21, 3: 1 << 20, 4: 1 << 16, 5: 1 << 16, 6: 1 << 19, 7: 1 << 21, 9: 1 << 21}


def read(data: Bytes) -> Module:
    """Read a module from its bytes.

    Raises `Refused`:

    * ``NotWasm``: something else; ``ComponentNotModule``: a component.
    * ``TruncatedModule``: bytes are missing at the end; ``MalformedModule``: a section is invalid.
    * ``BeyondV8Limits``: more than V8 accepts; ``ModuleNotRead``: more than is read here, or something unknown.
    """
    _check_header(data)
    sections = _Sections()
    cursor = Cursor(data, 8, len(data), "a section", truncated=True)
    while not cursor.done():
        sections.read(cursor)
    return sections.module(len(data))


def _check_header(data: Bytes) -> None:
    if data[:4] != MAGIC[: len(data)] or not len(data):
        raise Refused(
            Reason.NOT_WASM,
            f"The file is not a WebAssembly module: it is {_describe(data[:512])}",
            "Push the .wasm file that the compiler wrote; it starts with the bytes \\0asm.",
        )
    if len(data) < 8:
        truncated("the header")
    if data[4:8] == COMPONENT_VERSION:
        raise Refused(
            Reason.COMPONENT_NOT_MODULE,
            "The file is a WebAssembly component, and Envoy loads core modules only",
            "Build a core module: for Rust the target wasm32-wasip1, for Go GOOS=wasip1.",
        )
    if data[4:8] != CORE_VERSION:
        malformed(f"its version field is {data[4:8].hex()}, and only 01000000 is valid")


def _describe(head: bytes) -> str:
    known = {
        b"\x1f\x8b": "gzip data (was the archive pushed instead of the file in it?)",
        b"\x7fELF": "a native program (was it built for this machine and not for wasm?)",
        b"(module": "the text format, .wat (run wat2wasm first)",
        b"PK\x03\x04": "a zip archive",
    }
    if not head:
        return "empty"
    for magic, name in known.items():
        if head.startswith(magic):
            return name
    printable = sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
    return "a text file" if printable == len(head) else "of an unknown kind"


_KINDS = (ExternKind.FUNCTION, ExternKind.TABLE, ExternKind.MEMORY, ExternKind.GLOBAL, ExternKind.TAG)

# Section numbers in the order in which a module must have them; 0 (custom) may be anywhere.
_ORDER = {number: place for place, number in enumerate((1, 2, 3, 4, 5, 13, 6, 14, 7, 8, 9, 12, 10, 11))}
EXPORTS = 7
_NAMES = {
    1: "the type section",
    2: "the import section",
    3: "the function section",
    4: "the table section",
    5: "the memory section",
    6: "the global section",
    7: "the export section",
    8: "the start section",
    9: "the element section",
    10: "the code section",
    11: "the data section",
    12: "the data count section",
}


class _Sections:
    """What has been read so far, section by section."""

    def __init__(self) -> None:
        self.types = Types()
        self.constants = Constants(self.types)
        self.segments = Segments(self.constants, self.types)
        self.imports: list[Import] = []
        self.imported: list[Import] = []  # the function index space begins with these …
        self.functions = array("I")  # … and continues with these, by the index of their type
        self.tables: list[Table] = []
        self.memories: list[Limits] = []
        self.globals: list[str] = []
        self.exports: list[tuple[str, ExternKind, int]] = []
        self.start: int | None = None
        self.bodies = Bodies()
        self.data_count = 0
        self.data_segments = 0
        self.custom: list[str] = []
        self.producers: dict[str, dict[str, str]] = {}
        self.last = -1

    def read(self, cursor: Cursor) -> None:
        number = cursor.byte()
        length = cursor.u32()
        where = _NAMES.get(number, f"section {number}")
        if number == 0:
            self._custom(cursor.part(length, where))
            return
        self._check_order(number)
        reader = self._readers().get(number)
        if reader is None:
            cursor.skip(length)
        elif number in MAX_SECTION_BYTES:
            reader(_whole(cursor, length, where, MAX_SECTION_BYTES[number]))
        else:
            reader(cursor.part(length, where))

    def _readers(self) -> dict[int, Callable[[Cursor], None]]:
        return {
            1: self.types.read,
            2: self._imports,
            3: self._functions,
            4: self._tables,
            5: self._memories,
            6: self._globals,
            7: self._exports,
            8: self._start,
            9: self._elements,
            10: self.bodies.read,
            11: self._data,
            12: self._data_count,
        }

    def _check_order(self, number: int) -> None:
        if number not in _ORDER:
            malformed(f"there is no section of number {number}")
        if _ORDER[number] <= self.last:
            malformed(f"section {number} is there twice or out of order")
        self.last = _ORDER[number]

    def _imports(self, section: Cursor) -> None:
        for _ in range(section.count(MAX_IMPORTS, "imports", V8_EACH)):
            self.imports.append(self._import(section))
        self.imported = [imported for imported in self.imports if imported.kind is ExternKind.FUNCTION]
        section.close()

    def _import(self, section: Cursor) -> Import:
        module, name = section.name(), section.name()
        kind = self._kind(section)
        if kind is ExternKind.FUNCTION:
            return Import(module, name, kind, self.types.function(section.u32()))
        if kind is ExternKind.TABLE:
            self.tables.append(table := self.types.table(section))
            return Import(module, name, kind, value=table.value, limits=table.limits)
        if kind is ExternKind.MEMORY:
            self.memories.append(self.types.limits(section))
            return Import(module, name, kind, limits=self.memories[-1])
        if kind is ExternKind.GLOBAL:
            return Import(module, name, kind, value=self._global(section))
        section.byte()
        section.u32()
        return Import(module, name, kind)

    def _kind(self, section: Cursor) -> ExternKind:
        code = section.byte()
        if code >= len(_KINDS):
            malformed(f"{section.where} names kind {code}")
        return _KINDS[code]

    def _global(self, section: Cursor) -> str:
        self.globals.append(self.types.value(section))
        self.constants.globals.append(None)
        section.byte()
        return self.globals[-1]

    def _functions(self, section: Cursor) -> None:
        self.functions = section.numbers(section.count(MAX_FUNCTIONS, "functions", V8_EACH))
        section.close()
        for number in set(self.functions):
            self.types.function(number)

    def _tables(self, section: Cursor) -> None:
        for _ in range(section.count(MAX_TABLES, "tables", V8_TABLES)):
            initial = section.peek(2) == b"\x40\0"
            if initial:
                section.skip(2)
                self.types.features.add(Feature.REFERENCES)
            self.tables.append(self.types.table(section))
            if initial:
                self.constants.read(section)
        section.close()

    def _memories(self, section: Cursor) -> None:
        for _ in range(section.count(MAX_MEMORIES, "memories", V8_TABLES)):
            self.memories.append(self.types.limits(section))
        section.close()

    def _globals(self, section: Cursor) -> None:
        for _ in range(section.count(MAX_GLOBALS, "globals", V8_EACH)):
            self._global(section)
            self.constants.globals[-1] = self.constants.read(section)
        section.close()

    def _exports(self, section: Cursor) -> None:
        for _ in range(section.count(MAX_EXPORTS, "exports", V8_EACH)):
            name = section.name()
            self.exports.append((name, self._kind(section), section.u32()))
        section.close()
        if len({name for name, _, _ in self.exports}) != len(self.exports):
            malformed("two exports have one name")

    def _start(self, section: Cursor) -> None:
        self.start = section.u32()
        self.segments.keep = True
        total = len(self.imported) + len(self.functions)
        if self.start >= total:
            malformed(f"the start section names function {self.start} of {total}")
        section.close()

    def _elements(self, section: Cursor) -> None:
        self.segments.read_elements(section, self.tables)

    def _data(self, section: Cursor) -> None:
        self.data_segments = self.segments.read_data(section, self.memories)

    def _data_count(self, section: Cursor) -> None:
        self.data_count = section.u32()

    def _custom(self, section: Cursor) -> None:
        if len(self.custom) >= MAX_CUSTOM_SECTIONS:
            not_read(f"it has more than {MAX_CUSTOM_SECTIONS} custom sections")
        name = section.name()
        self.custom.append(name[:MAX_CUSTOM_NAME])
        if name == "producers" and not self.producers and section.end - section.at <= MAX_PRODUCERS_BYTES:
            self.producers = toolchain.read_producers(section)

    def module(self, size: int) -> Module:
        """Return the module, after all parts were read."""
        self._check_whole()
        exports = tuple(Export(name, kind, *self._exported(kind, index), index) for name, kind, index in self.exports)
        name, version = toolchain.find_toolchain(self.custom, self.producers, self.imports, exports)
        scan = Scan()
        scan.read(self.bodies)
        return Module(
            imports=tuple(self.imports),
            exports=exports,
            custom_sections=tuple(self.custom),
            toolchain=name,
            toolchain_version=version,
            size=size,
            memories=tuple(self.memories),
            tables=tuple(self.tables),
            start=None if self.start is None else reach.start(self.start, self._known(), whole=self.segments.whole),
            entry_calls=self._entry_calls(),
            features=self._features(scan),
            misplaced=tuple(self.segments.misplaced),
            beyond=tuple(scan.beyond),
            largest_body=self.bodies.largest,
            code_read=scan.whole,
        )

    def _check_whole(self) -> None:
        defined = len(self.functions)
        if len(self.bodies) < defined or self.data_segments < self.data_count:
            truncated("the code or data that its other sections announce")
        if len(self.bodies) > defined:
            malformed(f"it has {len(self.bodies)} function bodies for {defined} functions")

    def _features(self, scan: Scan) -> frozenset[Feature]:
        several = {Feature.MULTI_MEMORY} if len(self.memories) > 1 else set()
        return frozenset(self.types.features | scan.features | several)

    def _entry_calls(self) -> tuple[Import, ...]:
        functions = {name: index for name, kind, index in self.exports if kind is ExternKind.FUNCTION}
        first = ("_initialize", "main", "__main_void") if "_initialize" in functions else ("_start",)
        called = [functions[name] for name in first if name in functions]
        return reach.certain(called, self._known()) if called else ()

    def _known(self) -> reach.Functions:
        return reach.Functions(
            imported=self.imported,
            types=self.types.declared,
            own=self.functions,
            bodies=self.bodies,
            tables=self.segments.placed,
            referenced=frozenset(self.segments.referenced | self.constants.functions),
        )

    def _exported(self, kind: ExternKind, index: int) -> tuple[FunctionType | None, str]:
        """Return the type of an exported function, and the value type of a global or a table."""
        if kind is ExternKind.FUNCTION:
            _check_index(kind, index, len(self.imported) + len(self.functions))
            own = index - len(self.imported)
            return self.imported[index].type if own < 0 else self.types.declared[self.functions[own]], ""
        if kind is ExternKind.GLOBAL:
            _check_index(kind, index, len(self.globals))
            return None, self.globals[index]
        if kind is ExternKind.TABLE:
            _check_index(kind, index, len(self.tables))
            return None, self.tables[index].value
        if kind is ExternKind.MEMORY:
            _check_index(kind, index, len(self.memories))
        return None, ""


def _check_index(kind: ExternKind, index: int, total: int) -> None:
    if index >= total:
        malformed(f"an export names {kind} {index} of {total}")


def _whole(cursor: Cursor, length: int, where: str, most: int) -> Cursor:
    """Return a section that is read completely, in memory."""
    start = cursor.skip(length)
    if length > most:
        Cursor(cursor.data[start : start + 5], 0, min(length, 5), where).count(
            0xFFFFFFFF, f"entries in {where}", V8_EACH
        )
        not_read(f"{where} is {length} bytes long, more than the {most} that are read")
    return Cursor(cursor.data[start : cursor.at], 0, length, where)
