"""Reading a module: what it says of itself, and that strange bytes are refused and never more than that."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pluginrelease.core import wasm
from pluginrelease.core.errors import Refused
from tests import wasm_modules as made


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
    assert [str(one) for one in module.imports] == ["env.proxy_done", "env.proxy_log"]
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
    assert [one.kind.value for one in module.imports] == ["table", "memory", "global", "tag", "function"]


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
    with pytest.raises(Refused, match="a text file"):
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
    with pytest.raises(Refused, match=r"5242880 bytes long, more than the \d+ that are read"):
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
