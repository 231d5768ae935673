"""Odd modules: right in ABI and imports, and still ones that kill a gateway, hang it, are refused by it, or are not.

Each has a name, what it is, what Envoy does with it, and what we say of it before. `tests/edges/test_odd_modules.py`
asks real Envoys; docs/modules.md is made of the same table.
"""
# One module a line, as long as it takes.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.odd_drafts import (
    CALL_LOG,
    GLOBAL,
    GRPC,
    LOG,
    MEMORY,
    ONE_PAGE,
    TABLE,
    TAG,
    TICK,
    WASI,
    as_global,
    at_every_request,
    br_table,
    branching,
    callback,
    callee,
    catching,
    const,
    data_in_imported_memory,
    declared,
    empty_table,
    exporting_global,
    exporting_table,
    exporting_type,
    garbage_collected,
    imported_in_table,
    importing,
    in_a_global,
    indirect,
    indirect_passive,
    kept_inside,
    long_body,
    main_after_initialize,
    many_data,
    many_exports,
    many_functions,
    many_globals,
    many_types,
    memory_twice,
    no_memory,
    null,
    parameters,
    plugin,
    reference_to_own_type,
    running,
    starting,
    tail_calls,
    throwing,
    typed_references,
    value,
    with_data,
    with_elements,
    with_tag,
)
from tests.odd_lives import filling, looping_when_done, refusing_memory, streaming_to_nobody
from tests.wasm_modules import configured_once, leb, name, section, vector


class Does(StrEnum):
    """What an Envoy does."""

    LOADS = "loads"
    REFUSES = "refuses it"
    DIES = "dies when it loads it"
    DIES_LATER = "loads it, and dies at the first request"
    HANGS = "hangs"
    FAILS = "loads it, and answers 503 to every request"
    HANGS_LATER = "loads it, and hangs when the plugin is taken off"
    RUNS_NOWHERE = "takes a second configuration, and runs it on no worker: requests pass without the plugin"
    NO_RUNTIME = "has no runtime for plugins"


@dataclass(frozen=True)
class Odd:
    """One module. ``words`` are in Envoy's log where it refuses or dies; ``reason`` is what we refuse it with, and
    ``warnings`` what we say of it besides. ``heavy``: it costs Envoy much memory or time, so it gets one of its own.
    ``mebibytes`` are what the process takes at least while it validates a configuration with the module."""

    name: str
    what: str
    does: Does
    make: Callable[[], bytes]
    words: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = ()
    higress: str = ""  # the reason on Higress, where it is another one
    heavy: bool = False
    mebibytes: int = 0


INSTANCE, BYTECODE, INITIALIZE = (
    "Failed to create new Wasm instance",
    "Failed to load Wasm bytecode",
    "Failed to initialize Wasm code",
)
MISSING_IMPORT = "Failed to load Wasm module due to a missing import"
LOADS, REFUSES, DIES, DIES_LATER, HANGS, FAILS = (
    Does.LOADS,
    Does.REFUSES,
    Does.DIES,
    Does.DIES_LATER,
    Does.HANGS,
    Does.FAILS,
)
SEGV, UNREACHABLE = "Segmentation fault", "unreachable code"
STARTS = ("StartFunction",)
MAX_TABLE = 10_000_000
PAGES = b"\0" + leb(16384)

WRITE = (f"{WASI}.fd_write", "iiii", "i")
START: list[Odd] = [
    Odd("start-nothing", "a start function that does nothing", LOADS, lambda: starting(b""), warnings=STARTS),
    Odd("start-unreachable", "a start function that is `unreachable` at once", REFUSES, lambda: starting(b"\0"), INSTANCE, "StartTraps"),
    Odd("start-traps-later", "one that traps behind a branch", REFUSES, lambda: starting(const(1) + b"\x04\x40\0\x0b"), INSTANCE, warnings=STARTS),
    Odd("start-throws", "one that throws", REFUSES, throwing, INSTANCE, warnings=STARTS),
    Odd("start-recurses", "one that calls itself without end", REFUSES, lambda: starting(b"\x10\1"), INSTANCE, warnings=STARTS),
    Odd("start-logs", "one that calls proxy_log", DIES, lambda: starting(CALL_LOG), SEGV, "StartCallsHost"),
    Odd("start-clock", "one that calls clock_time_get", DIES, lambda: starting(const(0) + b"\x42\0" + const(8) + b"\x10\0\x1a", [(f"{WASI}.clock_time_get", "iIi", "i")]), SEGV, "StartCallsHost"),
    Odd("start-exits", "one that calls proc_exit", DIES, lambda: starting(const(0) + b"\x10\0", [(f"{WASI}.proc_exit", "i", "")]), SEGV, "StartCallsHost"),
    Odd("start-random", "one that calls random_get", DIES, lambda: starting(const(0, 8) + b"\x10\0\x1a", [(f"{WASI}.random_get", "ii", "i")]), SEGV, "StartCallsHost"),
    Odd("start-writes", "one that calls fd_write on stdout", DIES, lambda: starting(const(1, 0, 0, 8) + b"\x10\0\x1a", [WRITE]), SEGV, "StartCallsHost"),
    Odd("start-calls-a-function", "one that calls a function that logs", DIES, lambda: starting(b"\x10\1", more=callee), SEGV, "StartCallsHost"),
    Odd("start-return-call", "one that logs by return_call", DIES, lambda: starting(b"\x12\1", more=callee), SEGV, "StartCallsHost"),
    Odd("start-indirect", "one that logs by call_indirect", DIES, lambda: starting(const(1) + b"\x11\1\0", more=indirect), SEGV, "StartCallsHost"),
    Odd("start-passive-segment", "one that logs through a table that it fills by table.init", DIES, lambda: starting(const(0, 0, 1) + b"\xfc\x0c\0\0" + const(0) + b"\x11\1\0", more=indirect_passive), SEGV, "StartCallsHost"),
    Odd("start-call-ref", "one that logs by call_ref", DIES, lambda: starting(b"\xd2\1\x14\1", more=declared), SEGV, "StartCallsHost"),
    Odd("start-imported-in-table", "one that calls proxy_log itself through a table", DIES, lambda: starting(const(2, 0, 0) + const(1) + b"\x11\0\0\x1a", more=imported_in_table), SEGV, "StartCallsHost"),
    Odd("start-table-set", "one that logs through a table that it fills by table.set", DIES, lambda: starting(const(0) + b"\xd2\1\x26\0" + const(0) + b"\x11\1\0", more=empty_table), SEGV, "StartCallsHost"),
    Odd("start-global-reference", "one that logs by a reference in a global", DIES, lambda: starting(b"\x23\0\x14\1", more=in_a_global), SEGV, "StartCallsHost"),
    Odd("start-branch-taken", "one that logs behind a branch that is taken", DIES, lambda: starting(const(1) + b"\x04\x40" + CALL_LOG + b"\x0b"), SEGV, "StartCallsHost"),
    Odd("start-branch-not-taken", "one that would log behind a branch that is not taken", LOADS, lambda: starting(const(0) + b"\x04\x40" + CALL_LOG + b"\x0b"), reason="StartCallsHost"),
    Odd("start-as-assemblyscript", "one as `asc` makes it: only its abort writes", LOADS, lambda: starting(const(0) + b"\x04\x40" + const(2, 0, 0, 8) + b"\x10\0\x1a\0\x0b", [WRITE]), reason="StartCallsHost"),
    Odd("start-memory-growth", "one that calls emscripten_notify_memory_growth", LOADS, lambda: starting(const(0) + b"\x10\0", [("env.emscripten_notify_memory_growth", "i", "")]), warnings=STARTS),
    Odd("start-pthread-equal", "one that calls pthread_equal", LOADS, lambda: starting(const(0, 0) + b"\x10\0\x1a", [("env.pthread_equal", "ii", "i")]), warnings=STARTS),
    Odd("start-loops", "one that never ends", HANGS, lambda: starting(b"\x03\x40\x0c\0\x0b"), warnings=STARTS),
    Odd("initialize-loops", "an _initialize that never ends", HANGS, lambda: callback("_initialize", b"\x03\x40\x0c\0\x0b")),
]  # fmt: skip
BORDER: list[Odd] = [
    Odd("tag-imported", "an imported exception tag", DIES, lambda: importing(TAG, b"\0\0", "env.__cpp_exception"), UNREACHABLE, "UnsupportedBorderType"),
    Odd("tag-exported", "an exported exception tag", DIES, lambda: with_tag(export=True), UNREACHABLE, "UnsupportedBorderType"),
    Odd("tag-inside", "an exception tag within", LOADS, lambda: with_tag(export=False)),
    Odd("export-v128", "an exported function that takes v128", DIES, lambda: exporting_type("v"), UNREACHABLE, "UnsupportedBorderType"),
    Odd("import-v128", "an imported function that takes v128", DIES, lambda: plugin(needs=[("env.odd", "v", "")]), UNREACHABLE, "UnsupportedBorderType"),
    Odd("export-exnref", "an exported function that gives exnref", DIES, lambda: exporting_type("", "exnref"), UNREACHABLE, "UnsupportedBorderType"),
    Odd("export-eqref", "an exported function that takes eqref", DIES, lambda: exporting_type("eqref"), UNREACHABLE, "UnsupportedBorderType"),
    Odd("export-nullfuncref", "an exported function that takes nullfuncref", DIES, lambda: exporting_type("nullfuncref"), UNREACHABLE, "UnsupportedBorderType"),
    Odd("export-own-type", "an exported function that takes a reference to a declared type", DIES, reference_to_own_type, UNREACHABLE, "UnsupportedBorderType"),
    Odd("global-v128", "an exported global of v128", DIES, lambda: exporting_global(value("v"), b"\xfd\x0c" + bytes(16)), UNREACHABLE, "UnsupportedBorderType"),
    Odd("global-i31ref", "an exported global of i31ref", DIES, lambda: exporting_global(value("i31ref"), null(b"\x6c")), UNREACHABLE, "UnsupportedBorderType"),
    Odd("global-nullexternref", "an exported global of nullexternref", DIES, lambda: exporting_global(value("nullexternref"), null(b"\x72")), UNREACHABLE, "UnsupportedBorderType"),
    Odd("global-imported-v128", "an imported global of v128", DIES, lambda: importing(GLOBAL, b"\x7b\0"), UNREACHABLE, "UnsupportedBorderType"),
    Odd("table-anyref", "an exported table of anyref", DIES, lambda: exporting_table(value("anyref")), UNREACHABLE, "UnsupportedBorderType"),
    Odd("table-imported-exnref", "an imported table of exnref", DIES, lambda: importing(TABLE, b"\x69\0\1"), UNREACHABLE, "UnsupportedBorderType"),
    Odd("export-funcref", "exported functions that take funcref, externref and (ref func)", LOADS, lambda: plugin(lambda draft: [draft.callback(f"odd-{kind}", b"\0", kind) for kind in ("funcref", "externref", "func")] and None)),
    Odd("kept-inside", "v128, anyref, i31ref, exnref, eqref and nullfuncref within", LOADS, kept_inside),
]  # fmt: skip
MEMORIES: list[Odd] = [
    Odd("no-memory-host-call", "no memory, and a host call in _initialize", DIES, lambda: no_memory("_initialize"), SEGV, "NoMemory"),
    Odd("no-memory-later", "no memory, and a host call at each request", DIES_LATER, lambda: no_memory("proxy_on_request_headers"), SEGV, "NoMemory"),
    Odd("no-memory", "no memory and no host call", LOADS, lambda: no_memory(""), warnings=("NoMemory",), higress="NoMemory"),
    Odd("memory-renamed", "a memory that is exported as `heap`", LOADS, lambda: memory_twice(0, ("heap", "pile"))),
    Odd("memory-twice", "one memory exported under two names", LOADS, lambda: memory_twice(0, ("memory", "again"))),
    Odd("memories-exported", "two memories exported: Envoy reads the last one", LOADS, lambda: memory_twice(1, ("memory", "second")), reason="SeveralMemories"),
    Odd("memory-16384", "a memory of 16384 pages at least", LOADS, lambda: plugin(memory=PAGES)),
    Odd("memory-16385", "a memory of 16385 pages at least", REFUSES, lambda: plugin(memory=b"\0" + leb(16385)), INSTANCE, "UnsupportedMemory"),
    Odd("memory-max-65536", "a memory of 65536 pages at most", LOADS, lambda: plugin(memory=b"\1\1" + leb(65536))),
    Odd("memory-imported", "an imported memory", LOADS, lambda: importing(MEMORY, ONE_PAGE, memory=None)),
    Odd("memory-imported-16385", "an imported memory of 16385 pages", REFUSES, lambda: importing(MEMORY, b"\0" + leb(16385), memory=None), INITIALIZE, "UnsupportedMemory"),
    Odd("memory-imported-shared", "an imported shared memory", REFUSES, lambda: importing(MEMORY, b"\3\1\2", memory=None), INITIALIZE, "UnsupportedMemory"),
    Odd("memory-imported-i64", "an imported 64-bit memory", REFUSES, lambda: importing(MEMORY, b"\4\1", memory=None), INITIALIZE, "UnsupportedMemory"),
    Odd("memories-imported", "two imported memories", REFUSES, lambda: importing(MEMORY, ONE_PAGE, count=2, memory=None), INITIALIZE, "UnsupportedMemory"),
    Odd("table-imported", "an imported table", LOADS, lambda: importing(TABLE, b"\x70\0\1")),
    Odd("tables-imported", "two imported tables", REFUSES, lambda: importing(TABLE, b"\x70\0\1", count=2), INITIALIZE, "UnsupportedTable"),
    Odd("memory-shared", "a shared memory of its own, exported", LOADS, lambda: plugin(memory=b"\3\1\2")),
    Odd("memory-i64", "a 64-bit memory of its own, exported", LOADS, lambda: plugin(memory=b"\4\1")),
    Odd("memories-inside", "a second memory, which is not exported", LOADS, lambda: plugin(lambda draft: draft.memories.append(ONE_PAGE))),
    Odd("table-i64", "a table with 64-bit indexes", LOADS, lambda: plugin(lambda draft: draft.tables.append(b"\x70\4\1"))),
    Odd("table-large", "a table of 10,000,000 entries", LOADS, lambda: plugin(lambda draft: draft.tables.append(b"\x70\0" + leb(MAX_TABLE))), warnings=("LargeTable",), heavy=True, mebibytes=450),
    Odd("table-too-large", "a table of 10,000,001 entries", REFUSES, lambda: plugin(lambda draft: draft.tables.append(b"\x70\0" + leb(MAX_TABLE + 1))), BYTECODE, "UnsupportedTable"),
    Odd("data-out-of-bounds", "a data segment over the end of the memory", REFUSES, lambda: with_data(const(65534)), INSTANCE, "SegmentOutOfBounds"),
    Odd("data-at-minus-one", "an empty data segment at -1", REFUSES, lambda: with_data(const(-1), b""), INSTANCE, "SegmentOutOfBounds"),
    Odd("data-at-the-end", "an empty data segment at the end", LOADS, lambda: with_data(const(65536), b"")),
    Odd("data-calculated", "one whose offset is a sum, over the end", REFUSES, lambda: with_data(const(65533) + const(1) + b"\x6a"), INSTANCE, "SegmentOutOfBounds"),
    Odd("data-in-import", "one over the end of an imported memory", REFUSES, data_in_imported_memory, INSTANCE, "SegmentOutOfBounds"),
    Odd("data-without-memory", "a data segment without a memory", REFUSES, lambda: with_data(const(0), memory=None), BYTECODE, "MalformedModule"),
    Odd("elements-out-of-bounds", "an element segment over the end of a table", REFUSES, lambda: with_elements(const(2)), INSTANCE, "SegmentOutOfBounds"),
    Odd("elements-in-import", "one over the end of an imported table", REFUSES, lambda: with_elements(const(2), imported=True), INSTANCE, "SegmentOutOfBounds"),
    Odd("global-imported", "an imported global, as a PIC side module has it", REFUSES, lambda: importing(GLOBAL, b"\x7f\1", "env.__stack_pointer"), MISSING_IMPORT, "MissingHostFunction"),
]  # fmt: skip
LANGUAGE: list[Odd] = [
    Odd("simd", "SIMD", LOADS, lambda: running(b"\xfd\x0c" + bytes(16) + b"\x1a")),
    Odd("relaxed-simd", "relaxed SIMD", LOADS, lambda: running(b"\xfd\x0c" + bytes(16) + b"\xfd\x0c" + bytes(16) + b"\xfd\x80\x02\x1a")),
    Odd("bulk-memory", "bulk memory", LOADS, lambda: running(const(0, 0, 0) + b"\xfc\x0b\0")),
    Odd("tail-calls", "tail calls", LOADS, tail_calls),
    Odd("garbage-collection", "garbage collection with recursive types", LOADS, garbage_collected),
    Odd("typed-references", "typed references and call_ref", LOADS, typed_references),
    Odd("try-table", "exceptions with try_table", LOADS, catching),
    Odd("legacy-exceptions", "exceptions with try and catch_all", LOADS, lambda: running(b"\x06\x40\x19\x0b")),
    Odd("extended-const", "a sum as the offset of a data segment", LOADS, lambda: with_data(const(1, 2) + b"\x6a")),
    Odd("atomics", "atomics", LOADS, lambda: running(const(0) + b"\xfe\x10\2\0\x1a", memory=b"\3\1\2")),
    Odd("wide-arithmetic", "wide arithmetic", REFUSES, lambda: running(b"\x42\0" * 4 + b"\xfc\x13\x1a\x1a"), BYTECODE, "UnsupportedFeature"),
    Odd("stack-switching", "stack switching", REFUSES, lambda: running(b"", lambda draft: draft.types.append(b"\x5d" + leb(draft.type())) and None), BYTECODE, "UnsupportedFeature"),
    Odd("custom-page-size", "a memory with pages of one byte", REFUSES, lambda: plugin(memory=b"\x08" + leb(65536) + b"\0"), BYTECODE, "UnsupportedFeature"),
]  # fmt: skip
LIMITS: list[Odd] = [
    Odd("locals-50000", "50,000 local variables", LOADS, lambda: running(b"", locals_=vector([leb(50_000) + b"\x7f"]))),
    Odd("locals-50001", "50,001 local variables", REFUSES, lambda: running(b"", locals_=vector([leb(50_001) + b"\x7f"])), BYTECODE, "BeyondV8Limits"),
    Odd("parameters-1000", "1,000 parameters", LOADS, lambda: parameters(1000)),
    Odd("parameters-1001", "1,001 parameters", REFUSES, lambda: parameters(1001), BYTECODE, "BeyondV8Limits"),
    Odd("body-7654321", "a function of 7,654,321 bytes", LOADS, lambda: long_body(7_654_321), warnings=("HugeFunction",), heavy=True),
    Odd("body-7654322", "a function of 7,654,322 bytes", REFUSES, lambda: long_body(7_654_322), BYTECODE, "BeyondV8Limits"),
    Odd("br-table-65520", "a br_table of 65,520 labels", LOADS, lambda: br_table(65_520)),
    Odd("br-table-65521", "a br_table of 65,521 labels", REFUSES, lambda: br_table(65_521), BYTECODE, "BeyondV8Limits"),
    Odd("types-20001", "20,001 types: V8 takes them, and we do not read them", LOADS, lambda: many_types(20_001), reason="ModuleNotRead"),
    Odd("types-1000001", "1,000,001 types", REFUSES, lambda: many_types(1_000_001), BYTECODE, "BeyondV8Limits"),
    Odd("functions-1000001", "1,000,001 functions", REFUSES, lambda: many_functions(1_000_001), BYTECODE, "BeyondV8Limits"),
    Odd("exports-1000001", "1,000,001 exports", REFUSES, lambda: many_exports(1_000_001), BYTECODE, "BeyondV8Limits"),
    Odd("globals-1000001", "1,000,001 globals", REFUSES, lambda: many_globals(1_000_001), BYTECODE, "BeyondV8Limits"),
    Odd("data-100001", "100,001 data segments", REFUSES, lambda: many_data(100_001), BYTECODE, "BeyondV8Limits"),
    Odd("name-100001", "an export whose name has 100,001 bytes", LOADS, lambda: callback("n" * 100_001, b"")),
    Odd("name-not-utf8", "an export whose name is not UTF-8", REFUSES, lambda: plugin().replace(b"memory", b"mem\xffry"), BYTECODE, "MalformedModule"),
    Odd("name-twice", "two exports of one name", REFUSES, lambda: plugin(lambda draft: draft.gives("memory", 0, MEMORY)), BYTECODE, "MalformedModule"),
    Odd("name-section-damaged", "a damaged `name` section", REFUSES, lambda: plugin() + b"\0\x80\x80\1\4name", "Failed to parse corrupted Wasm module", "TruncatedModule"),
    Odd("function-500kB", "one function of 510 kB, full of branches", LOADS, lambda: branching(510_000), warnings=("HugeFunction",), heavy=True),
    Odd("function-1600kB", "one function of 1.6 MB, full of branches", LOADS, lambda: branching(1_600_000), warnings=("HugeFunction",), heavy=True, mebibytes=250),
]  # fmt: skip
EXPORTS: list[Odd] = [
    Odd("malloc-global", "`malloc` as a global, and no allocator", REFUSES, lambda: as_global("malloc", allocator=False), "Wasm module is missing malloc function", "MissingAllocator"),
    Odd("abi-global", "the ABI version as a global", REFUSES, lambda: as_global("proxy_abi_version_0_2_1", abi=False), "Missing or unknown Proxy-Wasm ABI version", "UnknownABI"),
    Odd("initialize-global", "`_initialize` as a global, which is never called", LOADS, lambda: as_global("_initialize"), warnings=("IgnoredExport",)),
    Odd("callback-global", "callbacks as a global, which are never called", LOADS, lambda: as_global("proxy_on_configure", "proxy_on_request_headers"), warnings=("IgnoredExport",)),
    Odd("initialize-and-start", "both `_initialize` and `_start`: the latter is never called", LOADS, lambda: plugin(lambda draft: [draft.callback(one, code) for one, code in (("_initialize", b""), ("_start", b"\0"))] and None)),
    Odd("initialize-exits", "an `_initialize` that calls proc_exit", REFUSES, lambda: callback("_initialize", const(0) + b"\x10\0", needs=[(f"{WASI}.proc_exit", "i", "")]), "restricted_callback", "RestrictedCallback"),
    Odd("start-sets-tick", "a `_start` that sets a tick", REFUSES, lambda: callback("_start", const(0) + b"\x10\0\x1a", needs=[TICK]), "restricted_callback", "RestrictedCallback"),
    Odd("main-sets-tick", "a `main` beside `_initialize` that sets a tick", REFUSES, lambda: plugin(main_after_initialize, needs=[TICK]), "restricted_callback", "RestrictedCallback"),
    Odd("initialize-logs", "an `_initialize` that calls proxy_log", LOADS, lambda: callback("_initialize", CALL_LOG, needs=[LOG])),
    Odd("initialize-may-set-tick", "an `_initialize` that would set a tick behind a branch that is not taken", LOADS, lambda: callback("_initialize", const(0) + b"\x04\x40" + const(0) + b"\x10\0\x1a\x0b", needs=[TICK])),
    Odd("native-code", "a custom section with native code for Higress's WAMR", LOADS, lambda: plugin() + section(0, name("wamr-aot") + b"native"), warnings=("NativeCode",), higress="NativeCode"),
    Odd("vm-start-false", "proxy_on_vm_start gives false", REFUSES, lambda: callback("proxy_on_vm_start", const(0), "ii", "i"), "Failed to start base Wasm"),
    Odd("vm-start-traps", "proxy_on_vm_start traps", REFUSES, lambda: callback("proxy_on_vm_start", b"\0", "ii", "i"), "Failed to start base Wasm"),
    Odd("configure-false", "proxy_on_configure gives false", REFUSES, lambda: callback("proxy_on_configure", const(0), "ii", "i"), "Failed to configure base Wasm plugin"),
    Odd("configure-traps", "proxy_on_configure traps", REFUSES, lambda: callback("proxy_on_configure", b"\0", "ii", "i"), "Failed to configure base Wasm plugin"),
    Odd("context-create-traps", "proxy_on_context_create traps", FAILS, at_every_request(b"\0")),
    Odd("allocator-traps", "the allocator traps while the plugin is configured", FAILS, refusing_memory, "Function: proxy_on_memory_allocate failed"),
    Odd("grpc-without-service", "proxy_grpc_call with an empty service, at configure", DIES, lambda: callback("proxy_on_configure", const(*[0] * 12) + b"\x10\0\x1a" + const(1), "ii", "i", [GRPC]), "Aborted"),
    Odd("grpc-stream-without-service", "proxy_grpc_stream with an empty service, at configure", DIES, streaming_to_nobody, "Aborted"),
]  # fmt: skip
LIVES: list[Odd] = [
    Odd("done-loops", "a `proxy_on_done` that never ends for the plugin itself", Does.HANGS_LATER, looping_when_done),
    Odd("configured-twice", "one that takes a configuration once in a VM, and gets a second one", Does.RUNS_NOWHERE, lambda: configured_once("a"), "Failed to configure thread-local Wasm plugin"),
    Odd("fills-400MiB", "an `_initialize` that fills 400 MiB, in each VM", LOADS, lambda: filling(400 << 20), heavy=True, mebibytes=800),
]  # fmt: skip
ALL: tuple[Odd, ...] = (*START, *BORDER, *MEMORIES, *LANGUAGE, *LIMITS, *EXPORTS, *LIVES)


def named(name: str) -> bytes:
    """One of the modules."""
    return next(odd.make() for odd in ALL if odd.name == name)
