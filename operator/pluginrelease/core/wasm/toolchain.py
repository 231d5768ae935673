"""The toolchain that built a module, from its producers section or from the functions of its runtime."""

from __future__ import annotations

from pluginrelease.core.errors import Refused
from pluginrelease.core.wasm.cursor import Cursor
from pluginrelease.core.wasm.module import Export, FunctionType, Import

MAX_PRODUCERS = 100
MAX_VERSION = 80


def find_toolchain(
    custom: list[str], found: dict[str, dict[str, str]], imports: list[Import], exports: tuple[Export, ...]
) -> tuple[str, str]:
    """Return the toolchain's name and version; empty strings if they are not known."""
    name, version = _read_declared(custom, found) or _guess(imports, exports)
    return name, version[:MAX_VERSION]


def read_producers(section: Cursor) -> dict[str, dict[str, str]]:
    """Read the producers section (WebAssembly/tool-conventions, ProducersSection.md): field → name → version.

    It is optional: a section that cannot be read is ignored, and is no error.
    """
    try:
        return {
            section.name(): {section.name(): section.name() for _ in range(section.count(MAX_PRODUCERS, "producers"))}
            for _ in range(section.count(MAX_PRODUCERS, "producer fields"))
        }
    except Refused:
        return {}


def _read_declared(custom: list[str], producers: dict[str, dict[str, str]]) -> tuple[str, str] | None:
    """Return the toolchain's name and version if the module declares them; else None."""
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
    """Return clang's version. Distributions put their own name before it."""
    return next((version for name, version in tools.items() if name.split(" ")[-1] == "clang"), "")


# What only these two leave behind; neither writes a producers section into a release build.
_EMSCRIPTEN = frozenset({"emscripten_stack_get_current", "_emscripten_stack_restore", "emscripten_stack_init"})
_ASSEMBLYSCRIPT = frozenset({"__pin", "__unpin", "__collect", "__rtti_base"})


def _guess(imports: list[Import], exports: tuple[Export, ...]) -> tuple[str, str]:
    """Return the toolchain from the runtime functions that it exports or imports; empty strings if unknown."""
    names = {export.name for export in exports}
    wanted = {function.name: function.type for function in imports if function.module == "env"}
    if names & _EMSCRIPTEN or "emscripten_notify_memory_growth" in wanted:
        return "C++", ""
    if len(names & _ASSEMBLYSCRIPT) > 1 or wanted.get("abort") == FunctionType(("i32",) * 4, ()):
        return "AssemblyScript", ""
    return "", ""
