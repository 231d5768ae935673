"""Predict what happens when Envoy instantiates a module: it kills the gateway, is refused, or is only odd.

A gateway can die although ABI, imports and exports are right. V8 ends the process at types that its C API does not
have. Envoy crashes at a host call before the plugin has a context, or at one that needs a memory that does not exist.
Every rule was tried on real Envoys of 1.36 to 1.40 (tests/odd_modules.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pluginrelease.api.reasons import Reason
from pluginrelease.core.compat.answers import Compatibility, Warned, abridge, incompatible, sanitize
from pluginrelease.core.compat.functions import CALLBACKS, HEADERS_01, HEADERS_02
from pluginrelease.core.compat.gateway import TargetGateway
from pluginrelease.core.compat.hosts import Envoy, Higress, Host
from pluginrelease.core.wasm import Export, ExternKind, Feature, Import, Limits, Module, OutOfBounds
from pluginrelease.core.wording import count_noun

# These use neither a context nor the module's memory, in any version (proxy-wasm-cpp-host, src/exports.cc).
HARMLESS = frozenset({("env", "emscripten_notify_memory_growth"), ("env", "pthread_equal")})
# V8's C API knows only these (v8/src/wasm/c-api.cc, V8ValueTypeToWasm).
BORDER_TYPES = frozenset({"i32", "i64", "f32", "f64", "funcref", "externref", "(ref func)", "(ref extern)"})
MAX_MEMORY = 1 << 30  # bytes: proxy-wasm-cpp-host, include/proxy-wasm/limits.h
MAX_ENTRIES = 10_000_000  # of a table: v8/src/wasm/wasm-limits.h
ENTRY_BYTES = 23  # measured: 763 MiB for 10,000,000 entries in three VMs
NO_V8 = frozenset({Feature.WIDE_ARITHMETIC, Feature.STACK_SWITCHING, Feature.PAGE_SIZES})
# Envoy's V8 is 10.7 up to 1.31 and 13.8 in 1.36; between them it depends on the patch release.
OLD_V8, NEW_V8 = (1, 31), (1, 36)
HIGRESS_NEW_V8 = (2, 2, 0)  # the first with Envoy 1.36
LARGE_TABLE = 1_000_000
HUGE_BODY = 500_000
_SMALLER = "Make the plugin smaller."
_CALLED = frozenset({"_initialize", "_start", "malloc", "proxy_on_memory_allocate"}) | frozenset(
    CALLBACKS | HEADERS_01 | HEADERS_02
)


def flaws(module: Module, gateway: TargetGateway) -> Iterator[Compatibility]:
    """Yield what keeps the module from running, first what kills a gateway."""
    yield from _start_flaws(module)
    yield from _border_flaws(module)
    yield from _no_memory(module, gateway)
    yield from _entry_flaws(module)
    yield from _memory_flaws(module)
    yield from _table_flaws(module)
    yield from (_report_misplaced(segment) for segment in module.misplaced[:1])
    yield from _feature_flaws(module, gateway)
    yield from (_beyond(what) for what in module.beyond)
    if module.native and gateway.runs_native and not gateway.allow_native:
        yield incompatible(
            Reason.NATIVE_CODE,
            f"The custom section {sanitize(module.native)} has native code. Higress would run it in the gateway's "
            "process instead of the module, without a sandbox, and the operator cannot inspect it",
            "Build the plugin without it, or run the operator with --allow-native-code.",
        )


def harmful(imports: Iterable[Import]) -> tuple[str, ...]:
    """Return the imported functions that must not be called before there is a context, by name."""
    return tuple(
        str(imported_item)
        for imported_item in imports
        if imported_item.kind is ExternKind.FUNCTION and (imported_item.module, imported_item.name) not in HARMLESS
    )


_START_REMEDY = (
    'Let Envoy call it when the plugin has its context: for AssemblyScript `"exportStart": "_start"` in asconfig.json '
    "(before 0.20: --explicitStart), else export as _initialize what it runs."
)
_DIES = "Caught Segmentation fault: the plugin has no context yet, and Envoy crashes with all that it serves"


def _start_flaws(module: Module) -> Iterator[Compatibility]:
    start = module.start
    if start is None:
        return
    if certain := harmful(start.certain):
        message = f"The module's start section calls {abridge(certain)}. {_DIES}"
        yield incompatible(Reason.START_CALLS_HOST, message, _START_REMEDY)
    elif possible := harmful(start.possible if start.whole else module.imports):
        may = "may call" if start.whole else "is too long to be read, and may call"
        message = f"The module's start section {may} {abridge(possible)}. If it does: {_DIES}"
        yield incompatible(Reason.START_CALLS_HOST, message, _START_REMEDY)
    elif start.traps:
        yield incompatible(
            Reason.START_TRAPS,
            "Failed to create new Wasm instance: the module's start section traps at once (unreachable)",
            "Correct what the start section runs.",
        )


def _entry_flaws(module: Module) -> Iterator[Compatibility]:
    """Yield what Envoy forbids while it runs _initialize or _start (proxy-wasm-cpp-host, src/wasm.cc, startVm)."""
    denied = [
        str(function)
        for function in module.entry_calls
        if function.name.startswith("proxy_") and function.name != "proxy_log"
    ]
    denied += [str(function) for function in module.entry_calls if function.name == "proc_exit"]
    if denied:
        yield incompatible(
            Reason.RESTRICTED_CALLBACK,
            f"Uncaught Error: restricted_callback: the module calls {abridge(denied)} in its _initialize, main or "
            "_start, where Envoy does not allow it",
            "Call it in proxy_on_vm_start or proxy_on_configure.",
        )


def _border_flaws(module: Module) -> Iterator[Compatibility]:
    """Yield imports and exports of types that V8's C API does not have: V8 ends the process at them."""
    every: list[Import | Export] = [*module.imports, *module.exports]
    odd = [f"{_name(item)} ({what})" for item in every if (what := _explain_unfit(item))]
    if odd:
        yield incompatible(
            Reason.UNSUPPORTED_BORDER_TYPE,
            f"# Fatal error, unreachable code: V8 ends the gateway's process, as it knows no such type of an import or "
            f"an export: {abridge(odd)}",
            "Keep such types within the module; build C++ with -fno-exceptions.",
        )


def _name(item: Import | Export) -> str:
    return str(item) if isinstance(item, Import) else item.name


def _explain_unfit(item: Import | Export) -> str:
    """Say what V8 does not know in an import or export; an empty string if it knows all."""
    if item.kind is ExternKind.TAG:
        return "a tag"
    values = (*item.type.params, *item.type.results) if item.type else (item.value,) if item.value else ()
    return next((value for value in values if value not in BORDER_TYPES), "")


def exports_memory(module: Module) -> bool:
    """Return True if Envoy finds a memory: an exported one, or an imported one, which Envoy creates."""
    every: list[Import | Export] = [*module.imports, *module.exports]
    return any(item.kind is ExternKind.MEMORY for item in every)


def _no_memory(module: Module, gateway: TargetGateway) -> Iterator[Compatibility]:
    if exports_memory(module):
        return
    remedy = "Build the plugin with a Proxy-Wasm SDK, or export its memory."
    if calls := [str(imported_item) for imported_item in module.imports if imported_item.kind is ExternKind.FUNCTION]:
        message = (
            "Caught Segmentation fault: the module exports no memory, and Envoy crashes when it calls "
            f"{abridge(calls)}, "
            "at load or at a request"
        )
        yield incompatible(Reason.NO_MEMORY, message, remedy)
    elif gateway.runs_native:
        message = "The module exports no memory, and Higress crashes when it reads its size"
        yield incompatible(Reason.NO_MEMORY, message, remedy)


def _memory_flaws(module: Module) -> Iterator[Compatibility]:
    imported = [
        imported_item.limits
        for imported_item in module.imports
        if imported_item.kind is ExternKind.MEMORY and imported_item.limits is not None
    ]
    remedy = "Build the plugin with one memory of its own, of at most 1 GiB to begin with, and export it."
    for what in _unfit_imports(imported):
        yield incompatible(
            Reason.UNSUPPORTED_MEMORY, f"Failed to initialize Wasm code: the module imports {what}", remedy
        )
    large = max((memory.minimum * memory.page for memory in module.memories), default=0)
    if large > MAX_MEMORY:
        words = "Failed to initialize Wasm code" if imported else "Failed to create new Wasm instance"
        message = f"{words}: a memory begins with {large >> 16} pages of 64 KiB, and {MAX_MEMORY >> 16} are the most"
        yield incompatible(Reason.UNSUPPORTED_MEMORY, message, remedy)
    exported = {export.index for export in module.exports if export.kind is ExternKind.MEMORY}
    if len(exported) > 1:
        found = count_noun(len(exported), "memory", "memories")
        message = f"The module exports {found}, and Envoy reads and writes the last one, whichever the plugin means"
        yield incompatible(Reason.SEVERAL_MEMORIES, message, "Export the one that the plugin works with.")


def _unfit_imports(imported: list[Limits]) -> Iterator[str]:
    if len(imported) > 1:
        yield count_noun(len(imported), "memory", "memories")
    if any(limits.shared for limits in imported):
        yield "a shared memory"
    if any(limits.wide for limits in imported):
        yield "a 64-bit memory"


def _table_flaws(module: Module) -> Iterator[Compatibility]:
    imported = [imported_item for imported_item in module.imports if imported_item.kind is ExternKind.TABLE]
    if len(imported) > 1:
        message = f"Failed to initialize Wasm code: the module imports {count_noun(len(imported), 'table')}"
        yield incompatible(Reason.UNSUPPORTED_TABLE, message, "Build the plugin with tables of its own.")
    large = max((table.limits.minimum for table in module.tables), default=0)
    if large > MAX_ENTRIES:
        message = f"Failed to load Wasm bytecode: a table begins with {large} entries, and V8 takes {MAX_ENTRIES}"
        yield incompatible(Reason.UNSUPPORTED_TABLE, message, _SMALLER)


def _report_misplaced(segment: OutOfBounds) -> Compatibility:
    place = f"a memory of {segment.size} bytes" if segment.kind == "data" else f"a table of {segment.size} entries"
    return incompatible(
        Reason.SEGMENT_OUT_OF_BOUNDS,
        f"Failed to create new Wasm instance: {segment.kind} segment {segment.number} puts {segment.length} "
        f"at {segment.offset} into {place}",
        "Make the memory or the table large enough for what is put into it (for wasm-ld: --initial-memory).",
    )


def _feature_flaws(module: Module, gateway: TargetGateway) -> Iterator[Compatibility]:
    """Yield language features that the gateway's V8 surely lacks."""
    newer = bool(gateway.hosts) and all(host.is_newer for host in gateway.hosts)
    none_has = () if newer else sorted(module.features & NO_V8)
    old = [host for host in gateway.hosts if _has_old_v8(host)]
    lacking = [*none_has, *(sorted(module.features - NO_V8) if old else ())]
    if lacking:
        whose = ", ".join(map(_name_functions, old)) if old and not none_has else "any Envoy"
        yield incompatible(
            Reason.UNSUPPORTED_FEATURE,
            f"Failed to load Wasm bytecode: the module needs {', '.join(lacking)}, which the V8 of {whose} lacks",
            "Build the plugin without it" + (", or use a gateway with Envoy 1.36 or newer." if old else "."),
        )


def _name_functions(host: Host) -> str:
    return f"{'Higress' if isinstance(host, Higress) else 'Envoy'} {host}"


def _has_old_v8(host: Host) -> bool:
    return isinstance(host, Envoy) and host.release is not None and host.release <= OLD_V8


def _check_old_v8(host: Host) -> bool:
    if isinstance(host, Higress):
        return host.release is not None and host.release < HIGRESS_NEW_V8
    return host.release is not None and OLD_V8 < host.release < NEW_V8


def _beyond(what: str) -> Compatibility:
    return incompatible(Reason.BEYOND_V8_LIMITS, f"Failed to load Wasm bytecode: {what}", _SMALLER)


def warnings(module: Module, gateway: TargetGateway) -> Iterator[Warned]:
    """Yield what loads but is odd, costs much, or shows only when it runs."""
    yield from _start_warnings(module)
    yield from _export_warnings(module)
    yield from _cost_warnings(module)
    doubtful = [_name_functions(host) for host in gateway.hosts if _check_old_v8(host)]
    if doubtful and (needed := sorted(module.features - NO_V8)):
        yield Warned(
            Reason.UNSUPPORTED_FEATURE,
            f"the module needs {', '.join(needed)}, and whether the V8 of {', '.join(doubtful)} has it depends on the "
            "patch release: from Envoy 1.36 on it is there",
        )
    if not module.code_read:
        yield Warned(
            Reason.CODE_NOT_READ,
            "the module has more code than is read, or instructions that are not known here. So it is not known "
            "which language features it needs",
        )
    if module.native and (gateway.allow_native or not gateway.runs_native):
        fate = (
            "Higress runs instead of the module" if gateway.runs_native else "only Higress would run; Istio ignores it"
        )
        yield Warned(Reason.NATIVE_CODE, f"the custom section {sanitize(module.native)} has native code, which {fate}")


def _start_warnings(module: Module) -> Iterator[Warned]:
    start = module.start
    if start is not None and start.whole and not harmful(start.possible) and not start.traps:
        yield Warned(
            Reason.START_FUNCTION,
            "the module has a start section, which runs in each VM while it is made. It calls nothing of the "
            "gateway. Only a gateway shows if it traps, and if it ends at all",
        )


def _export_warnings(module: Module) -> Iterator[Warned]:
    ignored = [
        export.name for export in module.exports if export.kind is not ExternKind.FUNCTION and export.name in _CALLED
    ]
    if ignored:
        yield Warned(Reason.IGNORED_EXPORT, f"Envoy never calls {abridge(ignored)}, as it is exported and no function")
    if not exports_memory(module) and not any(
        imported_item.kind is ExternKind.FUNCTION for imported_item in module.imports
    ):
        yield Warned(
            Reason.NO_MEMORY,
            "the module exports no memory, so the gateway can pass it no data; it loads because it makes no call",
        )


def _cost_warnings(module: Module) -> Iterator[Warned]:
    if module.largest_body > HUGE_BODY:
        yield Warned(
            Reason.HUGE_FUNCTION,
            f"one function has {module.largest_body} bytes of code. Compiling it blocks the gateway's main thread for "
            "seconds and takes hundreds of MiB (1.6 MB with branches: 4 to 7 s, 500 MiB)",
        )
    entries = sum(table.limits.minimum for table in module.tables)
    if entries > LARGE_TABLE:
        yield Warned(
            Reason.LARGE_TABLE,
            f"its tables begin with {entries} entries, about {entries * ENTRY_BYTES >> 20} MiB in each VM, and a "
            "gateway has one for each worker and two more",
        )
