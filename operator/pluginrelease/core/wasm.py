"""A WebAssembly module, as far as it can be known without running it.

`read` walks the sections of the binary format (https://webassembly.github.io/spec/core/binary/modules.html) and
gives a `Module`: what it imports, what it exports, with the function types that Envoy compares when it links, the
Proxy-Wasm ABI versions it announces, and the toolchain that made it. Nothing is compiled and no code is looked at.

The bytes come from a stranger: every count has a cap, every read is checked against its section, and the only
exception that leaves this module is `Refused`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, Protocol

from pluginrelease.core.errors import Refused

MAGIC = b"\0asm"
CORE_VERSION = b"\x01\0\0\0"
COMPONENT_VERSION = b"\x0d\0\x01\0"
ABI_PREFIX = "proxy_abi_version_"

# Far above what any plugin needs, and low enough for a module that wants to cost much: under a second and under 64 MiB
# together (tests/core/test_wasm.py). V8's own limits are higher, but for the values of a type and the bytes of a name
# (v8/src/wasm/wasm-limits.h).
MAX_TYPES = 20_000
MAX_IMPORTS = 10_000
MAX_FUNCTIONS = 300_000
MAX_EXPORTS = 20_000
MAX_VALUES = 1_000
MAX_NAME_BYTES = 100_000
MAX_CUSTOM_SECTIONS = 1_000
MAX_CUSTOM_NAME = 200  # characters kept of it
MAX_PRODUCERS = 100
MAX_PRODUCERS_BYTES = 64 * 1024
MAX_VERSION = 80
# Sections whose every byte is read. The largest plugins need a tenth of these; code and data are stepped over.
MAX_SECTION_BYTES = {1: 1 << 20, 2: 1 << 21, 3: 1 << 20, 7: 1 << 21}

_REBUILD = "Build and push the plugin again."


class Bytes(Protocol):
    """A module's bytes: ``bytes``, or a file that is mapped and of which only what is read comes into memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class Kind(StrEnum):
    """What an import or an export is."""

    FUNCTION = "function"
    TABLE = "table"
    MEMORY = "memory"
    GLOBAL = "global"
    TAG = "tag"


@dataclass(frozen=True)
class FunctionType:
    """Value types in and out, by their names in the text format: ``i32``, ``i64``, ``f32`` …"""

    params: tuple[str, ...] = ()
    results: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As Envoy's log writes it: ``i32 i32 -> i32``, ``void -> void``."""
        return f"{' '.join(self.params) or 'void'} -> {' '.join(self.results) or 'void'}"


@dataclass(frozen=True)
class Import:
    """One import; ``type`` is set for functions only."""

    module: str
    name: str
    kind: Kind
    type: FunctionType | None = None

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Export:
    """One export; ``type`` is set for functions only."""

    name: str
    kind: Kind
    type: FunctionType | None = None


@dataclass(frozen=True)
class Module:
    """What a module says of itself. ``size`` is in bytes."""

    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    custom_sections: tuple[str, ...]
    toolchain: str
    toolchain_version: str
    size: int

    @property
    def abis(self) -> tuple[str, ...]:
        """The Proxy-Wasm ABI versions announced by function exports, in their order: ``("0_2_1",)``."""
        return tuple(
            export.name.removeprefix(ABI_PREFIX)
            for export in self.exports
            if export.kind is Kind.FUNCTION and export.name.startswith(ABI_PREFIX)
        )

    @property
    def abi(self) -> str:
        """The first announced ABI version, or an empty string."""
        return next(iter(self.abis), "")

    def function(self, name: str) -> FunctionType | None:
        """The type of the exported function called ``name``, None where there is none."""
        return next((e.type for e in self.exports if e.kind is Kind.FUNCTION and e.name == name), None)


def read(data: Bytes) -> Module:
    """Read a module from its bytes.

    Raises `Refused`: ``NotWasm`` (something else altogether), ``ComponentNotModule`` (a component), ``TruncatedModule``
    (bytes are missing at the end), ``MalformedModule`` (a section says what cannot be).
    """
    _check_header(data)
    sections = _Sections()
    cursor = _Cursor(data, 8, len(data), "a section", truncated=True)
    while not cursor.done():
        sections.read(cursor)
    return sections.module(len(data))


def rename_export(data: bytes, old: str, new: str) -> bytes:
    """The module with one export called otherwise; every byte outside the export section stays as it is.

    ``data`` is a module that `read` takes, with an export called ``old`` and none called ``new``.
    """
    cursor = _Cursor(data, len(MAGIC) + len(CORE_VERSION), len(data), "a section", truncated=True)
    while True:
        start, number, length = cursor.at, cursor.byte(), cursor.u32()
        section = cursor.part(length, _NAMES.get(number, f"section {number}"))
        if number == _EXPORTS:
            payload = _renamed(section, old, new)
            return data[:start] + bytes([_EXPORTS]) + _u32(len(payload)) + payload + data[cursor.at :]


def _renamed(section: _Cursor, old: str, new: str) -> bytes:
    """The payload of an export section with one name changed; kinds and indexes are taken over as they stand."""
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
    """An unsigned LEB128."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _check_header(data: Bytes) -> None:
    if data[:4] != MAGIC[: len(data)] or not len(data):
        raise Refused(
            "NotWasm",
            f"The file is not a WebAssembly module: it is {_describe(data[:512])}",
            "Push the .wasm file that the compiler wrote; it starts with the bytes \\0asm.",
        )
    if len(data) < 8:
        _truncated("the header")
    if data[4:8] == COMPONENT_VERSION:
        raise Refused(
            "ComponentNotModule",
            "The file is a WebAssembly component, and Envoy loads core modules only",
            "Build a core module: for Rust the target wasm32-wasip1, for Go GOOS=wasip1.",
        )
    if data[4:8] != CORE_VERSION:
        _malformed(f"its version field is {data[4:8].hex()}, and 01000000 is the only one there is")


def _describe(head: bytes) -> str:
    known = {
        b"\x1f\x8b": "gzip data (was the archive pushed in place of the file in it?)",
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


def _malformed(what: str) -> NoReturn:
    raise Refused("MalformedModule", f"The WebAssembly module is malformed: {what}", _REBUILD)


def _truncated(where: str) -> NoReturn:
    raise Refused(
        "TruncatedModule",
        f"The WebAssembly module is cut short: it ends within {where}",
        _REBUILD + " Compare the size of the pushed file with the one the compiler wrote.",
    )


@dataclass(slots=True)
class _Cursor:
    """A place in the bytes and the end that no read may pass."""

    data: Bytes
    at: int
    end: int
    where: str
    truncated: bool = False

    def done(self) -> bool:
        return self.at >= self.end

    def take(self, length: int) -> bytes:
        start = self.skip(length)
        return self.data[start : self.at]

    def skip(self, length: int) -> int:
        """Go past so many bytes without reading them; gives where they begin."""
        start, stop = self.at, self.at + length
        if stop > self.end:
            if self.truncated:
                _truncated(self.where)
            _malformed(f"{self.where} holds more than its length says")
        self.at = stop
        return start

    def byte(self) -> int:
        return self.take(1)[0]

    def peek(self, length: int) -> bytes:
        """The next bytes, at most ``length``, which stay to be read."""
        return self.data[self.at : min(self.at + length, self.end)]

    def numbers(self, count: int) -> array[int]:
        """``count`` unsigned numbers of 32 bits in a row; for when there are a million of them."""
        found, value, shift, read = array("I"), 0, 0, 0
        for byte in self.peek(5 * count):
            if len(found) == count:
                break
            read += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 and value <= 0xFFFFFFFF:
                found.append(value)
                value = shift = 0
            elif shift >= 35 or byte < 0x80:
                _malformed(f"a number in {self.where} does not fit into 32 bits")
        self.at += read
        if len(found) < count:
            _malformed(f"{self.where} holds less than its count says")
        return found

    def u32(self) -> int:
        """An unsigned LEB128 of at most 32 bits in at most five bytes."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > 0xFFFFFFFF:
                    break
                return value
        _malformed(f"a number in {self.where} does not fit into 32 bits")

    def skip_leb(self, most: int) -> None:
        """Skip a LEB128 of at most ``most`` bytes whose value does not matter."""
        for _ in range(most):
            if self.byte() < 0x80:
                return
        _malformed(f"a number in {self.where} is too long")

    def count(self, most: int, what: str) -> int:
        number = self.u32()
        if number > most:
            _malformed(f"it declares {number} {what}, more than the {most} that are read")
        return number

    def name(self) -> str:
        length = self.u32()
        if length > MAX_NAME_BYTES:
            _malformed(f"a name in {self.where} is {length} bytes long")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            _malformed(f"a name in {self.where} is not UTF-8")

    def part(self, length: int, where: str) -> _Cursor:
        start = self.skip(length)
        return _Cursor(self.data, start, self.at, where)

    def close(self) -> None:
        if not self.done():
            _malformed(f"{self.where} has {self.end - self.at} bytes too many")


_VALUE_TYPES = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
    0x69: "exnref",
}
_ONE_BYTE = bytes(_VALUE_TYPES)
_KINDS = (Kind.FUNCTION, Kind.TABLE, Kind.MEMORY, Kind.GLOBAL, Kind.TAG)

# Section numbers in the order in which a module has to have them; 0 (custom) may stand anywhere.
_ORDER = {number: place for place, number in enumerate((1, 2, 3, 4, 5, 13, 6, 14, 7, 8, 9, 12, 10, 11))}
_EXPORTS = 7
_NAMES = {
    1: "the type section",
    2: "the import section",
    3: "the function section",
    7: "the export section",
    10: "the code section",
    11: "the data section",
    12: "the data count section",
}


class _Sections:
    """What has been read so far, section by section."""

    def __init__(self) -> None:
        self.types: list[FunctionType] = []
        self.known_types: dict[FunctionType, FunctionType] = {}  # one object for all that are alike
        self.imports: list[Import] = []
        self.imported: list[FunctionType] = []  # the function index space begins with these …
        self.functions = array("I")  # … and goes on with these, by the index of their type
        self.exports: list[tuple[str, Kind, int]] = []
        self.bodies = 0
        self.data_count = 0
        self.data_segments = 0
        self.custom: list[str] = []
        self.producers: dict[str, dict[str, str]] = {}
        self.last = -1

    def read(self, cursor: _Cursor) -> None:
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

    def _readers(self) -> dict[int, Callable[[_Cursor], None]]:
        return {
            1: self._types,
            2: self._imports,
            3: self._functions,
            7: self._exports,
            10: self._code,
            11: self._data,
            12: self._data_count,
        }

    def _check_order(self, number: int) -> None:
        if number not in _ORDER:
            _malformed(f"there is no section of number {number}")
        if _ORDER[number] <= self.last:
            _malformed(f"section {number} is there twice or out of order")
        self.last = _ORDER[number]

    def _types(self, section: _Cursor) -> None:
        for _ in range(section.count(MAX_TYPES, "types")):
            if section.byte() != 0x60:
                _malformed("a type is not a function type; no Proxy-Wasm SDK makes such modules")
            found = FunctionType(self._values(section), self._values(section))
            self.types.append(self.known_types.setdefault(found, found))
        section.close()

    def _values(self, section: _Cursor) -> tuple[str, ...]:
        count = section.count(MAX_VALUES, "values in a type")
        raw = section.peek(count)
        if len(raw) == count and not raw.translate(None, _ONE_BYTE):
            section.skip(count)
            return tuple(_VALUE_TYPES[code] for code in raw)
        return tuple([self._value(section) for _ in range(count)])

    def _value(self, section: _Cursor) -> str:
        code = section.byte()
        if code in (0x63, 0x64):  # a reference to a type that follows; nothing here compares such
            section.skip_leb(5)
            return "ref"
        if code not in _VALUE_TYPES:
            _malformed(f"0x{code:02x} is no value type")
        return _VALUE_TYPES[code]

    def _type_at(self, index: int) -> FunctionType:
        if index >= len(self.types):
            _malformed(f"a function has type {index} of {len(self.types)}")
        return self.types[index]

    def _imports(self, section: _Cursor) -> None:
        for _ in range(section.count(MAX_IMPORTS, "imports")):
            module, name = section.name(), section.name()
            kind = self._kind(section)
            self.imports.append(Import(module, name, kind, self._described(section, kind)))
        self.imported = [imported.type for imported in self.imports if imported.type is not None]
        section.close()

    def _kind(self, section: _Cursor) -> Kind:
        code = section.byte()
        if code >= len(_KINDS):
            _malformed(f"{section.where} names kind {code}")
        return _KINDS[code]

    def _described(self, section: _Cursor, kind: Kind) -> FunctionType | None:
        """Read what follows an import's kind; only a function's type is kept."""
        if kind is Kind.FUNCTION:
            return self._type_at(section.u32())
        if kind is Kind.TABLE:
            self._value(section)
            self._limits(section)
        elif kind is Kind.MEMORY:
            self._limits(section)
        elif kind is Kind.GLOBAL:
            self._value(section)
            section.byte()
        else:
            section.byte()
            section.u32()
        return None

    def _limits(self, section: _Cursor) -> None:
        flags = section.byte()
        section.skip_leb(10)
        if flags & 1:
            section.skip_leb(10)

    def _functions(self, section: _Cursor) -> None:
        self.functions = section.numbers(section.count(MAX_FUNCTIONS, "functions"))
        section.close()
        if self.functions:
            self._type_at(max(self.functions))

    def _exports(self, section: _Cursor) -> None:
        for _ in range(section.count(MAX_EXPORTS, "exports")):
            name = section.name()
            self.exports.append((name, self._kind(section), section.u32()))
        section.close()
        if len({name for name, _, _ in self.exports}) != len(self.exports):
            _malformed("two exports have one name")

    def _code(self, section: _Cursor) -> None:
        self.bodies = section.u32()

    def _data(self, section: _Cursor) -> None:
        self.data_segments = section.u32()

    def _data_count(self, section: _Cursor) -> None:
        self.data_count = section.u32()

    def _custom(self, section: _Cursor) -> None:
        if len(self.custom) >= MAX_CUSTOM_SECTIONS:
            _malformed(f"it has more than {MAX_CUSTOM_SECTIONS} custom sections")
        name = section.name()
        self.custom.append(name[:MAX_CUSTOM_NAME])
        if name == "producers" and not self.producers and section.end - section.at <= MAX_PRODUCERS_BYTES:
            self.producers = _read_producers(section)

    def module(self, size: int) -> Module:
        """The whole, once nothing is missing."""
        defined = len(self.functions)
        if self.bodies < defined or self.data_segments < self.data_count:
            _truncated("the code or data that its other sections announce")
        if self.bodies > defined:
            _malformed(f"it has {self.bodies} function bodies for {defined} functions")
        exports = tuple(Export(name, kind, self._exported(kind, index)) for name, kind, index in self.exports)
        toolchain, version = _toolchain(self.custom, self.producers) or _guessed(self.imports, exports)
        return Module(tuple(self.imports), exports, tuple(self.custom), toolchain, version[:MAX_VERSION], size)

    def _exported(self, kind: Kind, index: int) -> FunctionType | None:
        if kind is not Kind.FUNCTION:
            return None
        if index < len(self.imported):
            return self.imported[index]
        total = len(self.imported) + len(self.functions)
        if index >= total:
            _malformed(f"an export names function {index} of {total}")
        return self.types[self.functions[index - len(self.imported)]]


def _whole(cursor: _Cursor, length: int, where: str, most: int) -> _Cursor:
    """A section of which every byte is read, in memory."""
    start = cursor.skip(length)
    if length > most:
        _malformed(f"{where} is {length} bytes long, more than the {most} that are read")
    return _Cursor(cursor.data[start : cursor.at], 0, length, where)


def _read_producers(section: _Cursor) -> dict[str, dict[str, str]]:
    """The producers section (WebAssembly/tool-conventions, ProducersSection.md): field → name → version.

    It is only a remark; one that cannot be read is no remark, not an error.
    """
    try:
        return {
            section.name(): {section.name(): section.name() for _ in range(section.count(MAX_PRODUCERS, "producers"))}
            for _ in range(section.count(MAX_PRODUCERS, "producer fields"))
        }
    except Refused:
        return {}


def _toolchain(custom: list[str], producers: dict[str, dict[str, str]]) -> tuple[str, str] | None:
    """The toolchain's name and version, as far as the module tells; None where it does not."""
    language = producers.get("language", {})
    tools = producers.get("processed-by", {})
    if "TinyGo" in tools:
        return "TinyGo", tools["TinyGo"]
    if "go:buildid" in custom or "Go cmd/compile" in tools:
        return "Go", language.get("Go", tools.get("Go cmd/compile", "")).removeprefix("go")
    if "Rust" in language or "rustc" in tools:
        return "Rust", tools.get("rustc", "").split(" ")[0]
    if any(name.startswith("C_plus_plus") for name in language):  # clang's spelling, with the standard's year
        return "C++", _clang(tools).split(" ")[0]
    for name in ("clang", "AssemblyScript", "Zig"):
        if name in tools or name in language:
            return name, tools.get(name, language.get(name, "")).split(" ")[0]
    return None


def _clang(tools: dict[str, str]) -> str:
    """clang's version; distributions put their own name before its."""
    return next((version for name, version in tools.items() if name.split(" ")[-1] == "clang"), "")


# What only these two leave behind; neither writes a producers section into a release build.
_EMSCRIPTEN = frozenset({"emscripten_stack_get_current", "_emscripten_stack_restore", "emscripten_stack_init"})
_ASSEMBLYSCRIPT = frozenset({"__pin", "__unpin", "__collect", "__rtti_base"})


def _guessed(imports: list[Import], exports: tuple[Export, ...]) -> tuple[str, str]:
    """The toolchain by the runtime functions that it exports or asks for; empty strings where nothing is told."""
    names = {export.name for export in exports}
    wanted = {one.name: one.type for one in imports if one.module == "env"}
    if names & _EMSCRIPTEN or "emscripten_notify_memory_growth" in wanted:
        return "C++", ""
    if len(names & _ASSEMBLYSCRIPT) > 1 or wanted.get("abort") == FunctionType(("i32",) * 4, ()):
        return "AssemblyScript", ""
    return "", ""
