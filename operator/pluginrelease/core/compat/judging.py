"""Compare a module with gateways, and say the result in Envoy's words: `judge` and `compare`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from pluginrelease.api.reasons import Reason
from pluginrelease.core.compat import instantiation
from pluginrelease.core.compat.answers import (
    Compatibility,
    CompatibilityState,
    Warned,
    abridge,
    format_type,
    incompatible,
    sanitize,
)
from pluginrelease.core.compat.functions import (
    BY_ABI,
    CALLBACKS,
    HEADERS_01,
    HEADERS_02,
    HIGRESS_ONLY,
    HostFunction,
    signature,
    table,
)
from pluginrelease.core.compat.gateway import HIGRESS_ABI, TargetGateway
from pluginrelease.core.compat.hosts import NEWEST_ENVOY, Higress, Host, envoy
from pluginrelease.core.wasm import ExternKind, Import, Module

MAX_FLAWS = 16


def judge(module: Module, versions: Iterable[str], provider: str = "Istio") -> Compatibility:
    """Compare a module with the Envoy versions of a gateway's pods, as /server_info gives them.

    The strictest version counts. If no version is known (no pod yet, or an unreadable version), the result is
    Incompatible for what no Envoy takes, and else Unknown. ``provider`` names the gateway in messages.
    """
    return judge_strictest(module, map(envoy, versions), provider)


def judge_strictest(
    module: Module, hosts: Iterable[Host], provider: str, *, allow_native: bool = False
) -> Compatibility:
    """Compare like `judge`, with gateways as their provider knows them. Duplicates count once."""
    return compare(module, sorted(set(hosts), key=str), provider, allow_native=allow_native)[0]


def find_warnings(
    module: Module, hosts: Iterable[Host], provider: str = "Istio", *, allow_native: bool = False
) -> tuple[Warned, ...]:
    """Return what is odd in a module but does not keep it from loading. The arguments are those of `compare`."""
    return tuple(instantiation.warnings(module, TargetGateway(tuple(hosts), provider, allow_native)))


def compare(
    module: Module, hosts: Iterable[Host], provider: str = "Istio", *, allow_native: bool = False
) -> tuple[Compatibility, ...]:
    """Compare like `judge`, but return all that is wrong, at most `MAX_FLAWS`; first what a gateway would report first.

    There is always at least one answer. ``allow_native``: the owner of the gateways allows native code in modules.
    """
    gateway = TargetGateway(tuple(hosts), provider, allow_native)
    if too_old := _check_too_old(module, gateway):
        return (too_old,)
    abi = next((version for version in module.abis if version in gateway.abis), "")
    if not abi:
        besides = itertools.chain(_shape_flaws(module, gateway), _find_missing_besides(module, gateway))
        return (_report_unknown_abi(module, gateway), *itertools.islice(besides, MAX_FLAWS - 1))
    flaws = tuple(itertools.islice(_find_flaws(module, abi, gateway), MAX_FLAWS))
    imports = _judge_imports(module, abi, gateway)
    if not flaws:
        return (imports,)
    return (*flaws, imports) if imports.state is CompatibilityState.INCOMPATIBLE else flaws


def _check_too_old(module: Module, gateway: TargetGateway) -> Compatibility | None:
    """Return the flaw of a module of plain Go for a Higress that is too old. It counts before all others."""
    older = [host for host in gateway.hosts if isinstance(host, Higress) and host.runs_go() is False]
    if module.toolchain != "Go" or not older:
        return None
    return incompatible(
        Reason.GATEWAY_TOO_OLD,
        f"the module was built with {module.toolchain} {module.toolchain_version}".rstrip()
        + ", and modules of Go 1.24 and newer need Higress 2.1.4 or newer, or an MSE gateway of 2.0.11 or newer: this "
        f"gateway is Higress {', '.join(map(str, older))}",
        "Upgrade the gateway, or build the plugin with TinyGo",
    )


def _report_unknown_abi(module: Module, gateway: TargetGateway) -> Compatibility:
    announced = abridge(abi.replace("_", ".") for abi in module.abis)
    found = f"the module announces {announced}" if announced else "the module announces none"
    accepted = [abi.replace("_", ".") for abi in gateway.abis]
    return Compatibility(
        CompatibilityState.INCOMPATIBLE,
        Reason.UNKNOWN_ABI,
        f"Missing or unknown Proxy-Wasm ABI version: {found}, and {'Higress' if gateway.is_higress else 'Envoy'} "
        f"accepts {', '.join(accepted[:-1])} and {accepted[-1]}",
        _remedy_for_abi(module),
    )


def _find_missing_besides(module: Module, gateway: TargetGateway) -> Iterator[Compatibility]:
    """Yield what would still be missing if the module had ABI 0_2_1, whose functions Higress's ABI has."""
    if HIGRESS_ABI in module.abis:
        imports = _judge_imports(module, "0_2_1", gateway)
        if imports.state is CompatibilityState.INCOMPATIBLE:
            yield imports


def _remedy_for_abi(module: Module) -> str:
    if HIGRESS_ABI in module.abis:
        own = " 0.2.100 is Higress's own ABI; `pluginrelease adapt` makes a copy for previews."
    elif any(imported.module in ("gojs", "go") for imported in module.imports):
        own = " This one was built with GOOS=js, for a browser: build with GOOS=wasip1 -buildmode=c-shared."
    else:
        own = ""
    return "Build the plugin with a Proxy-Wasm SDK for one of these (the export proxy_abi_version_0_2_1)." + own


def _find_flaws(module: Module, abi: str, gateway: TargetGateway) -> Iterator[Compatibility]:
    """Yield what keeps every version of these gateways from loading the module."""
    yield from _shape_flaws(module, gateway)
    yield from _import_flaws(module, abi, gateway)
    yield from _export_flaws(module, abi)


def _shape_flaws(module: Module, gateway: TargetGateway) -> Iterator[Compatibility]:
    """Yield what is wrong in any ABI."""
    yield from instantiation.flaws(module, gateway)
    yield from _start_flaws(module)
    yield from _allocator_flaws(module)


def _start_flaws(module: Module) -> Iterator[Compatibility]:
    """Yield the flaw of a Go command: it runs main and exits, which Envoy forbids while it starts a plugin."""
    command = module.function("_start") is not None and module.function("_initialize") is None
    if command and module.toolchain == "Go":
        yield incompatible(
            Reason.NOT_A_REACTOR,
            "Function: _start failed: Uncaught Error: restricted_callback: the Go module was built as a command"
            " (it exports _start and not _initialize)",
            "Build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared, and set the plugin up in init().",
        )


def _allocator_flaws(module: Module) -> Iterator[Compatibility]:
    allocator = "malloc" if module.function("malloc") else "proxy_on_memory_allocate"
    if module.function(allocator) is None:
        yield incompatible(
            Reason.MISSING_ALLOCATOR,
            "Wasm module is missing malloc function: it exports neither malloc nor proxy_on_memory_allocate",
            "Build the plugin with a Proxy-Wasm SDK, which exports one of them.",
        )
        return
    yield from _wrong_exports(module, {allocator: HostFunction(signature("i:i"))})


def _import_flaws(module: Module, abi: str, gateway: TargetGateway) -> Iterator[Compatibility]:
    """Yield known functions of a wrong type, and imported globals, which Envoy never has (V8::link, v8.cc)."""
    for wanted in module.imports:
        known = gateway.find(wanted, abi)
        if wanted.kind is ExternKind.GLOBAL:
            yield incompatible(
                Reason.MISSING_HOST_FUNCTION,
                f"Failed to load Wasm module due to a missing import: {sanitize(str(wanted))} (a {wanted.kind})",
                "Build the plugin with a Proxy-Wasm SDK; a gateway offers functions only.",
                (sanitize(str(wanted)),),
            )
        elif known is not None and known.type is not None and wanted.type != known.type:
            yield incompatible(
                Reason.IMPORT_TYPE_MISMATCH,
                f"Failed to load Wasm module due to an import type mismatch: {wanted}, want: {format_type(wanted.type)}"
                f", but host exports: {known.type}",
                "Build the plugin with an SDK for the ABI version that it announces.",
            )


def _export_flaws(module: Module, abi: str) -> Iterator[Compatibility]:
    headers = HEADERS_01 if abi == "0_1_0" else HEADERS_02
    yield from _wrong_exports(module, _entry_points(module) | CALLBACKS | headers)


def _entry_points(module: Module) -> dict[str, HostFunction]:
    """Return the exports that Envoy calls at the start: with ``_initialize`` also main, else ``_start``."""
    if module.function("_initialize") is not None:
        return table("_initialize=: main=ii:i __main_void=:i")
    return table("_start=:")


def _wrong_exports(module: Module, wanted: dict[str, HostFunction]) -> Iterator[Compatibility]:
    for export in module.exports:
        known = wanted.get(export.name)
        if export.kind is ExternKind.FUNCTION and known is not None and export.type != known.type:
            yield incompatible(
                Reason.EXPORT_TYPE_MISMATCH,
                f"Bad function signature for: {export.name}, want: {known.type}, "
                f"but the module exports: {format_type(export.type)}",
                "Build the plugin with an SDK for the ABI version that it announces.",
            )


def _judge_imports(module: Module, abi: str, gateway: TargetGateway) -> Compatibility:
    functions = [wanted for wanted in module.imports if wanted.kind is ExternKind.FUNCTION]
    answers = [(wanted, gateway.lacks(gateway.find(wanted, abi))) for wanted in functions]
    surely = [wanted for wanted, answer in answers if answer is True]
    if surely:
        return _report_missing(surely, abi, gateway)
    perhaps = tuple(dict.fromkeys(sanitize(str(wanted)) for wanted, answer in answers if answer is None))
    if (
        perhaps
        or not gateway.hosts
        or any(host.release is None or _is_go_unknown(module, host) for host in gateway.hosts)
    ):
        return _report_unknown(perhaps, gateway)
    return Compatibility(
        CompatibilityState.COMPATIBLE,
        Reason.COMPATIBLE,
        f"Proxy-Wasm ABI {abi.replace('_', '.')}; all {len(functions)} imports are in {gateway.name}",
    )


def _is_go_unknown(module: Module, host: Host) -> bool:
    """Return True if it is not known whether a Higress runs modules of plain Go."""
    return module.toolchain == "Go" and isinstance(host, Higress) and host.runs_go() is None


def _report_missing(wanted: list[Import], abi: str, gateway: TargetGateway) -> Compatibility:
    names = tuple(dict.fromkeys(sanitize(str(function)) for function in wanted))
    since = [known.since if (known := gateway.find(function, abi)) else None for function in wanted]
    message = f"Failed to load Wasm module due to a missing import: {abridge(names)}: not in {gateway.name}"
    if None in since:
        return incompatible(Reason.MISSING_HOST_FUNCTION, message, _remedy_for_unknown(wanted, abi), names)
    needed = "Higress 2.1.4"
    if not gateway.is_higress:
        newest = max(minor for minor in since if minor is not None)
        needed = f"Envoy {newest[0]}.{newest[1]}"
    return incompatible(
        Reason.MISSING_HOST_FUNCTION,
        f"{message}, and in {needed} and newer",
        f"Use a gateway with {needed} or newer, or build the plugin with a toolchain that does not import them"
        + (" (for Go: 1.25 or older)." if "path_filestat_get" in message and not gateway.is_higress else "."),
        names,
    )


def _remedy_for_unknown(wanted: list[Import], abi: str) -> str:
    if any(function.module == "env" and function.name in HIGRESS_ONLY for function in wanted):
        return "Only Higress has these functions: use a plugin that does not need them, or a Higress gateway."
    if any(function.module.startswith("__wbindgen") or function.module == "wbg" for function in wanted):
        return (
            "These are for a browser: some crate of the plugin is built for JavaScript. Switch its feature `js` or "
            "`wasm-bindgen` off; `cargo tree -e features -i wasm-bindgen` names it."
        )
    elsewhere = [
        f"{function} belongs to ABI {other.replace('_', '.')}"
        for function in wanted
        for other, table in BY_ABI.items()
        if other != abi and function.module == "env" and function.name in table
    ]
    if elsewhere:
        return f"Build the plugin with an SDK for one ABI version: {abridge(elsewhere)}."
    return f"No Envoy up to {NEWEST_ENVOY[0]}.{NEWEST_ENVOY[1]} has them: build the plugin with a Proxy-Wasm SDK."


def _report_unknown(perhaps: tuple[str, ...], gateway: TargetGateway) -> Compatibility:
    if not gateway.hosts:
        why = f"no pod of the {gateway.provider} gateway has reported its Envoy version yet"
    else:
        why = f"it is not known for {gateway.name}"
    listed = f": {abridge(perhaps)} may be missing" if perhaps else ""
    return Compatibility(
        CompatibilityState.UNKNOWN,
        Reason.GATEWAY_VERSION_UNKNOWN,
        f"Whether the gateway has all functions that the module imports is not known: {why}{listed}",
        "The release continues with this warning. Check that a gateway pod runs and can be reached.",
        perhaps,
    )
