"""Reading a module: what it says of itself, and that strange bytes are refused and never more than that."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pluginrelease.core import compat, wasm
from pluginrelease.core.errors import Refused
from tests import wasm_modules as made
from tests.odd_drafts import Draft, const


def reason(data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        wasm.read(data)
    assert refused.value.remedy, "every refusal says what to do"
    return refused.value.reason


def producers(**fields: dict[str, str]) -> bytes:
    """A producers section; a field's underscore stands for a hyphen."""
    listed = [
        made.name(key.replace("_", "-")) + made.vector(made.name(n) + made.name(v) for n, v in tools.items())
        for key, tools in fields.items()
    ]
    return made.section(0, made.name("producers") + made.vector(listed))


def with_type(types: bytes) -> bytes:
    return made.module(made.section(made.TYPE, types))


def test_imports_exports_and_their_types() -> None:
    """A module's functions carry the types that the gateway will compare, imported ones included."""
    module = wasm.read(made.plugin("0_2_1", imports=[("env", "proxy_done"), ("env", "proxy_log")]))
    assert [str(imported) for imported in module.imports] == ["env.proxy_done", "env.proxy_log"]
    assert module.imports[0].type == wasm.FunctionType((), ("i32",))
    assert module.function("proxy_on_memory_allocate") == wasm.FunctionType(("i32",), ("i32",))
    assert str(module.function("_initialize")) == "void -> void"
    assert module.function("memory") is None, "a memory is not a function"
    assert (module.abi, module.abis) == ("0_2_1", ("0_2_1",))


def test_no_abi_is_no_error() -> None:
    """What a gateway makes of a module is not judged here."""
    assert wasm.read(made.without_abi()).abi == ""


def test_every_kind_of_import() -> None:
    """Tables, memories, globals and tags may be imported; they are skipped at their right length."""
    imports = made.section(
        made.IMPORT,
        made.vector(
            [
                made.name("env") + made.name("t") + b"\x01\x70\x01\x01\x80\x02",
                made.name("env") + made.name("m") + b"\x02\x00\x01",
                made.name("env") + made.name("g") + b"\x03\x7f\x01",
                made.name("env") + made.name("x") + b"\x04\x00\x00",
                made.name("env") + made.name("f") + b"\x00\x00",
            ]
        ),
    )
    module = wasm.read(made.module(made.section(made.TYPE, made.vector([b"\x60\0\0"])), imports))
    assert [imported.kind.value for imported in module.imports] == ["table", "memory", "global", "tag", "function"]


@pytest.mark.parametrize(
    ("sections", "toolchain"),
    [
        ([producers(language={"Go": "go1.26.8"}, processed_by={"Go cmd/compile": "go1.26.8"})], ("Go", "1.26.8")),
        ([made.section(0, made.name("go:buildid") + b"xyz")], ("Go", "")),
        ([producers(language={"C99": ""}, processed_by={"TinyGo": "0.37.0"})], ("TinyGo", "0.37.0")),
        ([producers(language={"Rust": ""}, processed_by={"rustc": "1.90.0 (abc 2026-01-01)"})], ("Rust", "1.90.0")),
        ([producers(processed_by={"clang": "20.1.0"})], ("clang", "20.1.0")),
        ([producers(language={"C_plus_plus_17": ""}, processed_by={"clang": "20.1.0"})], ("C++", "20.1.0")),
        ([producers(language={"C_plus_plus_14": ""}, processed_by={"Debian clang": "14.0.6"})], ("C++", "14.0.6")),
        (
            [producers(language={"C_plus_plus_14": "", "Rust": ""}, processed_by={"rustc": "1.90.0"})],
            ("Rust", "1.90.0"),
        ),
        ([producers(language={"Rust": ""}, processed_by={"rustc": "9" * 500})], ("Rust", "9" * 80)),
        ([made.section(0, made.name("producers") + made.leb(1) + bytes(70_000))], ("", "")),
        ([made.section(0, made.name("producers") + b"\xff\xff\xff")], ("", "")),
        ([], ("", "")),
    ],
    ids=[
        "go",
        "go without producers",
        "tinygo",
        "rust",
        "clang",
        "c++",
        "c++ by a distribution's clang",
        "rust with some c++",
        "a long version",
        "a large remark",
        "an unreadable remark",
        "none",
    ],
)
def test_toolchain(sections: list[bytes], toolchain: tuple[str, str]) -> None:
    """The toolchain is what the custom sections say, and a remark that cannot be read is no remark."""
    module = wasm.read(made.plugin() + b"".join(sections))
    assert (module.toolchain, module.toolchain_version) == toolchain


@pytest.mark.parametrize(
    ("imports", "exports", "toolchain"),
    [
        ([("env", "emscripten_notify_memory_growth", 1, 0)], [], "C++"),
        ([], ["emscripten_stack_get_current"], "C++"),
        ([("env", "abort", 4, 0)], [], "AssemblyScript"),
        ([], ["__pin", "__unpin"], "AssemblyScript"),
        ([("env", "abort", 0, 0)], ["malloc", "__pin"], ""),
    ],
)
def test_toolchain_by_its_runtime(imports: list[tuple[str, str, int, int]], exports: list[str], toolchain: str) -> None:
    """Emscripten and AssemblyScript leave no remark in a release build; their runtime's functions give them away."""
    module = wasm.read(made.composed(imports, [(name, 0, 0, b"") for name in exports]))
    assert (module.toolchain, module.toolchain_version) == (toolchain, "")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (made.text_file(), "NotWasm"),
        (made.empty_file(), "NotWasm"),
        (b"\x1f\x8b\x08\x00", "NotWasm"),
        (b"\x7fELF\x02", "NotWasm"),
        (b"<html>", "NotWasm"),
        (b"\0as", "TruncatedModule"),
        (made.HEADER[:6], "TruncatedModule"),
        (made.truncated(), "TruncatedModule"),
        (made.HEADER + b"\x01", "TruncatedModule"),
        (made.component(), "ComponentNotModule"),
        (b"\0asm\x02\0\0\0", "MalformedModule"),
        (made.plugin() + b"\x63\x00", "MalformedModule"),
        (made.plugin() + b"\0", "TruncatedModule"),
        (made.plugin() + made.section(made.TYPE, b"\0"), "MalformedModule"),
        (with_type(b"\x01\x60\xff\xff\xff\xff\xff\x0f"), "MalformedModule"),
        (with_type(b"\xff\xff\xff\xff\x0f"), "BeyondV8Limits"),
        (with_type(b"\xff\xff\x02"), "ModuleNotRead"),
        (with_type(b"\x01\x22\x00"), "ModuleNotRead"),
        (with_type(b"\x01\x60\x01\x22\x00"), "MalformedModule"),
        (with_type(b"\x00\x00"), "MalformedModule"),
        (made.module(made.section(made.IMPORT, b"\x01\x01\xff\x01a\x00\x00")), "MalformedModule"),
        (made.module(made.section(made.EXPORT, made.vector([made.name("f") + b"\x00\x07"]))), "MalformedModule"),
        (made.module(made.section(made.EXPORT, made.vector([made.name("m") + b"\x02\0"] * 2))), "MalformedModule"),
        (made.module(made.section(made.FUNCTION, b"\x01\x00")), "MalformedModule"),
        (made.module(made.section(0, b"\x05ab")), "MalformedModule"),
    ],
)
def test_refusals(data: bytes, expected: str) -> None:
    """What is not a whole, well-formed core module is refused by name, with a remedy."""
    assert reason(data) == expected


def test_references_in_types() -> None:
    """A type may have references to other types, which only the newest compilers write."""
    assert wasm.read(with_type(b"\x01\x60\x02\x64\x00\x7f\x01\x63\x70")).exports == ()


def test_what_a_wrong_file_is() -> None:
    """The message says what was pushed in place of a module."""
    with pytest.raises(Refused, match="text"):
        wasm.read(made.text_file())
    with pytest.raises(Refused, match="gzip data"):
        wasm.read(b"\x1f\x8b\x08\x00")


def test_no_truncation_passes_for_the_whole() -> None:
    """A module cut anywhere is refused, unless what is left announces nothing that is missing."""
    whole = made.plugin("0_2_1", imports=[("env", "proxy_done")])
    for length in range(len(whole)):
        with suppress(Refused):
            assert not wasm.read(whole[:length]).exports, f"cut at {length} of {len(whole)}, and taken for a plugin"


def test_counts_are_capped_before_they_cost_anything() -> None:
    """A number that announces millions of entries is refused at once, not walked or allocated for."""
    for number, what in ((made.TYPE, "types"), (made.IMPORT, "imports"), (made.EXPORT, "exports")):
        with pytest.raises(Refused, match=what):
            wasm.read(made.module(made.section(number, b"\xff\xff\xff\x7f" + bytes(64))))


@pytest.mark.parametrize("number", [made.TYPE, made.IMPORT, made.FUNCTION, made.EXPORT])
def test_a_section_is_capped_before_it_is_read(number: int) -> None:
    """A section of many megabytes of which every byte would be read is refused by its length."""
    with pytest.raises(Refused, match=str(5 << 20)):
        wasm.read(made.module(made.section(number, bytes(5 << 20))))


def test_a_custom_section_is_stepped_over() -> None:
    """A section for other tools is neither read nor copied."""
    large = made.plugin() + made.section(0, made.name("code") + bytes(32 << 20))
    tracemalloc.start()
    wasm.read(large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@given(st.binary(max_size=200))
@example(b"")
def test_any_bytes(tail: bytes) -> None:
    """Whatever follows a header, the answer is a module or a refusal."""
    for data in (tail, made.HEADER + tail):
        with suppress(Refused):
            wasm.read(data)


@settings(max_examples=300)
@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    """Bytes of a real module changed, dropped or doubled: a module or a refusal, never another exception."""
    damaged = bytearray(
        made.plugin("0_2_1", imports=[("env", "proxy_log"), ("wasi_snapshot_preview1", "fd_write")])
        + producers(language={"Go": "go1.26"})
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not damaged:
            break
    with suppress(Refused):
        wasm.read(bytes(damaged))


# --- what instantiating it would do ---


def drafted(**parts: Any) -> wasm.Module:
    draft = Draft(**parts)
    if not draft.functions:
        draft.function(b"")
    return wasm.read(draft.bytes())


@pytest.mark.parametrize(
    ("raw", "limits"),
    [
        (b"\0\1", wasm.Limits(1)),
        (b"\1\1\2", wasm.Limits(1, 2)),
        (b"\3\1\2", wasm.Limits(1, 2, shared=True)),
        (b"\4\x80\x80\x80\x80\x10", wasm.Limits(1 << 32, wide=True)),
        (b"\5\1\2", wasm.Limits(1, 2, wide=True)),
        (b"\x08\2\0", wasm.Limits(2, page=1)),
    ],
)
def test_memories(raw: bytes, limits: wasm.Limits) -> None:
    """A memory's size is read in every form that it is written in."""
    assert drafted(memories=[raw]).memories == (limits,)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\x70", "funcref"),
        (b"\x63\x70", "funcref"),
        (b"\x64\x70", "(ref func)"),
        (b"\x64\0", "(ref $0)"),
        (b"\x63\x05", "(ref null $5)"),
        (b"\x63\x6e", "anyref"),
        (b"\x6c", "i31ref"),
        (b"\x74", "nullexnref"),
    ],
)
def test_value_types(raw: bytes, value: str) -> None:
    """A value type has the name that the text format gives it; the long form of a short one has the same."""
    assert drafted(tables=[raw + b"\0\1"]).tables[0].value == value


@pytest.mark.parametrize(
    ("offset", "fits", "reason"),
    [
        (const(65535), True, "the last byte"),
        (const(65536), False, "one beyond"),
        (const(-1), False, "the largest number there is"),
        (const(65535) + const(1) + b"\x6b", True, "a difference"),
        (const(3) + const(21846) + b"\x6c", False, "a product"),
        (b"\x23\0", False, "a global of the module's own"),
        (b"\x23\1", True, "a global whose value is not known"),
    ],
)
def test_where_segments_are_put(offset: bytes, fits: bool, reason: str) -> None:
    """An offset is worked out where it can be, and nothing is said where it cannot."""
    globals_ = [b"\x7f\0" + const(70_000) + b"\x0b", b"\x7f\0" + b"\x23\7\x0b"]
    module = drafted(memories=[b"\0\1"], globals=globals_, data=[b"\0" + offset + b"\x0b\1x"])
    assert (module.misplaced == ()) is fits, reason


def test_passive_segments_are_put_nowhere() -> None:
    """A passive segment has no place, so it fits."""
    module = drafted(memories=[b"\0\0"], data=[b"\1\1x"], tables=[b"\x70\0\0"], elements=[b"\1\0\1\0"])
    assert module.misplaced == ()


def names(imports: Iterable[wasm.Import]) -> list[str]:
    return [imported.name for imported in imports]


@pytest.mark.parametrize(
    ("code", "certain", "possible", "reason"),
    [
        (b"\x10\0", ["a"], ["a"], "a call"),
        (b"\x02\x40\x10\0\x0b", ["a"], ["a"], "in a block, which everybody enters"),
        (b"\x03\x40\x10\0\x0b", ["a"], ["a"], "in a loop"),
        (const(1) + b"\x04\x40\x10\0\x0b", [], ["a"], "behind an if"),
        (b"\x02\x40" + const(1) + b"\x0d\0\x0b\x10\0", [], ["a"], "behind a br_if"),
        (b"\x0f\x10\0", [], ["a"], "behind a return"),
        (b"\0\x10\0", [], ["a"], "behind a trap"),
        (b"\x02\x40" + const(0) + b"\x0e\0\0\x0b\x10\0", [], ["a"], "behind a br_table"),
        (b"\x10\2\x10\0", ["b", "a"], ["a", "b"], "behind a call of a function that comes back"),
        (b"\x10\3\x10\0", [], ["a"], "behind a call of one that may not"),
        (b"\x12\2\x10\0", ["b"], ["a", "b"], "behind a call that does not come back"),
        (const(0) + b"\x11\0\0", ["b"], ["b"], "by a table, at a place that is known"),
        (const(0) + b"\x45\x11\0\0", [], ["b"], "by a table, at a place that is not"),
        (const(0) + b"\x45\x11\1\0", [], [], "by a table, of a type that nothing in it has"),
        (b"\xd2\2\x14\0", ["b"], ["b"], "by a reference"),
        (b"\x1f\x40\1\2\0\x10\0\x0b", [], ["a"], "in a try_table"),
        (b"", [], [], "nothing"),
    ],
)
def test_what_a_start_section_reaches(code: bytes, certain: list[str], possible: list[str], reason: str) -> None:
    """What is called before any branch is certain, what some way leads to is possible, and the rest is neither."""
    draft = Draft()
    for name in "ab":
        draft.needs(f"env.{name}")
    draft.type("i")
    assert draft.function(b"\x10\1") == 2
    assert draft.function(const(1) + b"\x04\x40\0\x0b") == 3
    draft.tables.append(b"\x70\0\1")
    draft.elements.append(b"\0" + const(0) + b"\x0b\1\2")
    draft.start = draft.function(code)
    start = wasm.read(draft.bytes()).start
    assert start is not None
    assert (names(start.certain), sorted(names(start.possible))) == (certain, possible), reason
    assert start.whole


def test_an_instruction_that_is_not_known() -> None:
    """Code that cannot be read is said to be so, and what a start section reaches there is not known as a whole."""
    draft = Draft()
    draft.start = draft.function(b"\xff\xff")
    module = wasm.read(draft.bytes())
    assert not module.code_read
    assert module.start is not None
    assert not module.start.whole
    assert [warned.reason for warned in compat.find_warnings(module, ())] == ["NoMemory", "CodeNotRead"]
