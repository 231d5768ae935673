"""A tiny encoder for odd modules, and the ones that `tests.odd_modules` lists.

The layout is the binary format's own: https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests import wasm_modules as made
from tests.wasm_modules import leb, name, section, vector

VALUES = {
    "i": b"\x7f",
    "I": b"\x7e",
    "v": b"\x7b",
    "funcref": b"\x70",
    "externref": b"\x6f",
    "exnref": b"\x69",
    "anyref": b"\x6e",
    "eqref": b"\x6d",
    "i31ref": b"\x6c",
    "nullfuncref": b"\x73",
    "nullexternref": b"\x72",
    "func": b"\x64\x70",
}
FUNCTION, TABLE, MEMORY, GLOBAL, TAG = b"\0", b"\1", b"\2", b"\3", b"\4"
ONE_PAGE = b"\0\1"
WASI = "wasi_snapshot_preview1"


def value(kind: str) -> bytes:
    return VALUES[kind]


def signature(takes: str = "", gives: str = "") -> bytes:
    """A function type; values by one letter each, or by a word where there is one of them."""
    return b"\x60" + b"".join(
        vector(VALUES[value_type] for value_type in ([text] if text in VALUES else text)) for text in (takes, gives)
    )


@dataclass
class Draft:
    """A module in the making; everything is added in the order of its index."""

    types: list[bytes] = field(default_factory=list)
    imports: list[bytes] = field(default_factory=list)
    imported: int = 0
    functions: list[tuple[int, bytes]] = field(default_factory=list)
    tables: list[bytes] = field(default_factory=list)
    memories: list[bytes] = field(default_factory=list)
    tags: list[bytes] = field(default_factory=list)
    globals: list[bytes] = field(default_factory=list)
    exports: list[bytes] = field(default_factory=list)
    start: int | None = None
    elements: list[bytes] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    data_count: bool = False
    after: bytes = b""

    def type(self, takes: str = "", gives: str = "") -> int:
        return self.raw_type(signature(takes, gives))

    def raw_type(self, raw: bytes) -> int:
        if raw not in self.types:
            self.types.append(raw)
        return self.types.index(raw)

    def needs(self, path: str, takes: str = "", gives: str = "") -> int:
        """An imported function and its index."""
        module, _, label = path.partition(".")
        self.imports.append(name(module) + name(label) + FUNCTION + leb(self.type(takes, gives)))
        self.imported += 1
        return self.imported - 1

    def needs_other(self, path: str, kind: bytes, described: bytes) -> None:
        module, _, label = path.partition(".")
        self.imports.append(name(module) + name(label) + kind + described)

    def function(self, code: bytes, takes: str = "", gives: str = "", locals_: bytes = b"\0") -> int:
        return self.typed(self.type(takes, gives), code, locals_)

    def typed(self, kind: int, code: bytes, locals_: bytes = b"\0") -> int:
        self.functions.append((kind, name(locals_ + code + b"\x0b")))
        return self.imported + len(self.functions) - 1

    def gives(self, label: str, index: int, kind: bytes = FUNCTION) -> None:
        self.exports.append(name(label) + kind + leb(index))

    def callback(self, label: str, code: bytes, takes: str = "", gives: str = "") -> None:
        self.gives(label, self.function(code, takes, gives))

    def bytes(self) -> bytes:
        parts = [
            (1, self.types),
            (2, self.imports),
            (3, [leb(kind) for kind, _ in self.functions]),
            (4, self.tables),
            (5, self.memories),
            (13, self.tags),
            (6, self.globals),
            (7, self.exports),
        ]
        out = [section(number, vector(items)) for number, items in parts if items]
        out += [section(8, leb(self.start))] if self.start is not None else []
        out += [section(9, vector(self.elements))] if self.elements else []
        out += [section(12, leb(len(self.data)))] if self.data_count else []
        out += [section(10, vector(body for _, body in self.functions))]
        out += [section(11, vector(self.data))] if self.data else []
        return made.module(*out) + self.after


def plugin(
    add: Callable[[Draft], None] = lambda draft: None,
    *,
    needs: Iterable[tuple[str, str, str]] = (),
    memory: bytes | None = ONE_PAGE,
    export_memory: bool = True,
    allocator: bool = True,
    abi: bool = True,
) -> bytes:
    """The least that Envoy takes, and what ``add`` adds to it. Imports in ``needs`` get the first indexes."""
    draft = Draft()
    for path, takes, gives in needs:
        draft.needs(path, takes, gives)
    if memory is not None:
        draft.memories.append(memory)
    if memory is not None and export_memory:
        draft.gives("memory", 0, MEMORY)
    add(draft)
    if abi:
        draft.callback("proxy_abi_version_0_2_1", b"")
    if allocator:
        draft.callback("proxy_on_memory_allocate", b"\x41\0", "i", "i")
    return draft.bytes()


def const(*numbers: int) -> bytes:
    return b"".join(b"\x41" + _signed(number) for number in numbers)


def _signed(number: int) -> bytes:
    out = bytearray()
    while True:
        byte = number & 0x7F
        number >>= 7
        if (number == 0 and not byte & 0x40) or (number == -1 and byte & 0x40):
            return bytes([*out, byte])
        out.append(byte | 0x80)


LOG = ("env.proxy_log", "iii", "i")
CALL_LOG = const(2, 0, 0) + b"\x10\0\x1a"


def starting(
    code: bytes, needs: Iterable[tuple[str, str, str]] = (LOG,), more: Callable[[Draft], None] | None = None
) -> bytes:
    """A module whose start section runs ``code``."""

    def add(draft: Draft) -> None:
        if more:
            more(draft)
        draft.start = draft.function(code)

    return plugin(add, needs=needs)


def indirect(draft: Draft) -> None:
    """A table whose entry 1 is a function that logs."""
    logs = draft.function(CALL_LOG)
    draft.tables.append(b"\x70\0\2")
    draft.elements.append(b"\0" + const(1) + b"\x0b" + vector([leb(logs)]))


def indirect_passive(draft: Draft) -> None:
    logs = draft.function(CALL_LOG)
    draft.tables.append(b"\x70\0\2")
    draft.elements.append(b"\1\0" + vector([leb(logs)]))


def declared(draft: Draft) -> None:
    logs = draft.function(CALL_LOG)
    draft.elements.append(b"\3\0" + vector([leb(logs)]))


def imported_in_table(draft: Draft) -> None:
    """A table whose entry 1 is the imported function itself."""
    draft.tables.append(b"\x70\0\2")
    draft.elements.append(b"\0" + const(1) + b"\x0b" + vector([leb(0)]))


def empty_table(draft: Draft) -> None:
    """A table that is filled by code, and a function that logs for it."""
    logs = draft.function(CALL_LOG)
    draft.tables.append(b"\x70\0\2")
    draft.elements.append(b"\3\0" + vector([leb(logs)]))


def in_a_global(draft: Draft) -> None:
    """A global that refers to a function that logs."""
    logs = draft.function(CALL_LOG)
    draft.globals.append(b"\x64" + leb(draft.type()) + b"\0\xd2" + leb(logs) + b"\x0b")


def callee(draft: Draft) -> None:
    draft.function(CALL_LOG)


def exporting_type(takes: str = "", gives: str = "", code: bytes = b"\0") -> bytes:
    return plugin(lambda draft: draft.callback("odd", code, takes, gives))


def exporting_global(kind: bytes, first: bytes) -> bytes:
    def add(draft: Draft) -> None:
        draft.globals.append(kind + b"\0" + first + b"\x0b")
        draft.gives("odd", 0, GLOBAL)

    return plugin(add)


def null(heap: bytes) -> bytes:
    return b"\xd0" + heap


def exporting_table(kind: bytes) -> bytes:
    def add(draft: Draft) -> None:
        draft.tables.append(kind + b"\0\1")
        draft.gives("odd", 0, TABLE)

    return plugin(add)


def importing(kind: bytes, described: bytes, path: str = "env.odd", count: int = 1, **options: object) -> bytes:
    def add(draft: Draft) -> None:
        draft.type()
        for number in range(count):
            draft.needs_other(f"{path}{number or ''}", kind, described)
        if kind == MEMORY:
            draft.gives("memory", 0, MEMORY)

    return plugin(add, **options)  # type: ignore[arg-type]


def with_tag(*, export: bool) -> bytes:
    def add(draft: Draft) -> None:
        draft.tags.append(b"\0" + leb(draft.type()))
        if export:
            draft.gives("__cpp_exception", 0, TAG)

    return plugin(add)


def reference_to_own_type() -> bytes:
    def add(draft: Draft) -> None:
        kind = draft.type()
        draft.gives("odd", draft.typed(draft.raw_type(b"\x60\1\x63" + leb(kind) + b"\0"), b""))

    return plugin(add)


def kept_inside() -> bytes:
    """All that kills at the border, within."""

    def add(draft: Draft) -> None:
        draft.function(b"\0", "v", "v")
        for kind, heap in ((b"\x6e", b"\x6e"), (b"\x6c", b"\x6c"), (b"\x69", b"\x69"), (b"\x73", b"\x73")):
            draft.globals.append(kind + b"\0" + null(heap) + b"\x0b")
        draft.tables.append(b"\x6d\0\1")

    return plugin(add)


def memory_twice(number: int, labels: tuple[str, str]) -> bytes:
    def add(draft: Draft) -> None:
        if number:
            draft.memories.append(ONE_PAGE)
        draft.gives(labels[0], 0, MEMORY)
        draft.gives(labels[1], number, MEMORY)

    return plugin(add, export_memory=False)


def no_memory(where: str) -> bytes:
    """Without a memory, and with a host call in a callback."""
    takes, code = {"_initialize": ("", b""), "proxy_on_request_headers": ("iii", const(0)), "": ("", b"")}[where]

    def add(draft: Draft) -> None:
        if where:
            call = const(2, 0, 1) + b"\x10\0\x1a"
            draft.callback(where, call + code, takes, "i" if takes else "")

    return plugin(add, needs=[LOG] if where else [], memory=None)


def with_data(offset: bytes, content: bytes = b"odd", **options: object) -> bytes:
    return plugin(lambda draft: draft.data.append(b"\0" + offset + b"\x0b" + name(content)), **options)  # type: ignore[arg-type]


def with_elements(offset: bytes, *, imported: bool = False) -> bytes:
    def add(draft: Draft) -> None:
        if imported:
            draft.needs_other("env.table", TABLE, b"\x70\0\2")
        else:
            draft.tables.append(b"\x70\0\2")
        draft.elements.append(b"\0" + offset + b"\x0b" + vector([leb(draft.function(b""))]))

    return plugin(add)


def data_in_imported_memory() -> bytes:
    def add(draft: Draft) -> None:
        draft.needs_other("env.memory", MEMORY, ONE_PAGE)
        draft.gives("memory", 0, MEMORY)
        draft.data.append(b"\0" + const(65534) + b"\x0b" + name(b"odd"))

    return plugin(add, memory=None)


def running(
    code: bytes, more: Callable[[Draft], None] | None = None, locals_: bytes = b"\0", **options: object
) -> bytes:
    """A module with this code in a function that nobody calls."""

    def add(draft: Draft) -> None:
        if more:
            more(draft)
        draft.function(code, locals_=locals_)

    return plugin(add, **options)  # type: ignore[arg-type]


def garbage_collected() -> bytes:
    """A group of two structs that name each other, an array with room for subtypes, and code that makes a struct."""
    first, second, plain, allocator = 0, 1, 3, 4
    structs = [b"\x5f" + vector([b"\x63" + leb(other) + b"\1"]) for other in (second, first)]
    draft = Draft(types=[b"\x4e" + vector(structs), b"\x50\0\x5e\x7f\1", signature(), signature("i", "i")])
    draft.memories.append(ONE_PAGE)
    draft.gives("memory", 0, MEMORY)
    draft.gives("proxy_abi_version_0_2_1", draft.typed(plain, b"\xfb\1" + leb(first) + b"\x1a"))
    draft.gives("proxy_on_memory_allocate", draft.typed(allocator, const(0)))
    return draft.bytes()


def typed_references() -> bytes:
    def add(draft: Draft) -> None:
        target = draft.function(b"")
        draft.elements.append(b"\3\0" + vector([leb(target)]))
        draft.function(b"\xd2" + leb(target) + b"\x14" + leb(draft.type()))

    return plugin(add)


def tail_calls() -> bytes:
    def add(draft: Draft) -> None:
        draft.function(b"\x12" + leb(draft.function(b"")))

    return plugin(add)


def catching() -> bytes:
    """A try_table that catches everything."""

    def add(draft: Draft) -> None:
        draft.tags.append(b"\0" + leb(draft.type()))
        draft.function(b"\x02\x40\x1f\x40\1\2\0\x08\0\x0b\x0b")

    return plugin(add)


def throwing() -> bytes:
    def more(draft: Draft) -> None:
        draft.tags.append(b"\0" + leb(draft.type()))

    return starting(b"\x08\0", (), more)


def many(number: int, item: bytes, count: int) -> bytes:
    """A plugin with so many entries in one of its sections."""
    whole = plugin()
    out = []
    for kind, payload, _ in made.sections(whole):
        if kind == number:
            old, at = made.read_leb(payload, 0)
            payload = leb(old + count) + payload[at:] + item * count
        out.append(section(kind, payload))
    return made.module(*out)


def many_types(total: int) -> bytes:
    return many(1, signature(), total - 2)


def many_functions(total: int) -> bytes:
    whole = many(3, b"\0", total - 2)
    parts = []
    for kind, payload, _ in made.sections(whole):
        if kind == 10:
            old, at = made.read_leb(payload, 0)
            payload = leb(total) + payload[at:] + b"\2\0\x0b" * (total - old)
        parts.append(section(kind, payload))
    return made.module(*parts)


def many_exports(total: int) -> bytes:
    more = b"".join(name(f"{number:07}") + FUNCTION + b"\0" for number in range(total - 3))
    parts = []
    for kind, payload, whole in made.sections(plugin()):
        if kind == made.EXPORT:
            _, at = made.read_leb(payload, 0)
            whole = section(kind, leb(total) + payload[at:] + more)
        parts.append(whole)
    return made.module(*parts)


def many_globals(total: int) -> bytes:
    return plugin(lambda draft: draft.globals.extend([b"\x7f\0\x41\0\x0b"] * total))


def many_data(total: int) -> bytes:
    return plugin(lambda draft: draft.data.extend([b"\1\0"] * total))


def long_body(total: int) -> bytes:
    """A function of so many bytes, its locals and its end among them."""
    return running(b"\1" * (total - 2))


def branching(total: int) -> bytes:
    """A function of about so many bytes, full of branches."""
    turn = b"\x20\0\x04\x40\x20\0\x41\1\x6a\x21\0\x0b"
    return running(turn * (total // len(turn)), locals_=vector([b"\1\x7f"]))


def br_table(labels: int) -> bytes:
    return running(b"\x02\x40" + const(0) + b"\x0e" + leb(labels) + b"\0" * (labels + 1) + b"\x0b")


def parameters(count: int) -> bytes:
    return plugin(lambda draft: draft.function(b"", "i" * count) and None)


def as_global(*labels: str, **options: object) -> bytes:
    """These names exported as a global."""

    def add(draft: Draft) -> None:
        draft.globals.append(b"\x7f\0\x41\0\x0b")
        for label in labels:
            draft.gives(label, 0, GLOBAL)

    return plugin(add, **options)  # type: ignore[arg-type]


def callback(
    label: str, code: bytes, takes: str = "", gives: str = "", needs: Iterable[tuple[str, str, str]] = ()
) -> bytes:
    return plugin(lambda draft: draft.callback(label, code, takes, gives), needs=needs)


GRPC = ("env.proxy_grpc_call", "i" * 12, "i")


def at_every_request(code: bytes) -> Callable[[], bytes]:
    return lambda: callback("proxy_on_context_create", code, "ii")


TICK = ("env.proxy_set_tick_period_milliseconds", "i", "i")


def main_after_initialize(draft: Draft) -> None:
    """Envoy calls main, too, once _initialize has come back."""
    draft.callback("_initialize", b"")
    draft.callback("main", const(0) + b"\x10\0\x1a" + const(0), "ii", "i")
