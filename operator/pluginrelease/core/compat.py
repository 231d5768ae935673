"""Whether a gateway can load a module: the module's imports and exports against the gateway's own Envoy versions.

Envoy finds out when it loads the plugin, and then a running gateway keeps its old code and a new one answers 500.
`judge` says the same beforehand, in Envoy's words. The rules and the names are those of the Proxy-Wasm host that is
built into Envoy (proxy-wasm/proxy-wasm-cpp-host: include/proxy-wasm/exports.h and wasm.h, src/wasm.cc,
src/bytecode_util.cc, src/v8/v8.cc; Envoy's own addition is in source/extensions/common/wasm/wasm.cc).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pluginrelease.core.wasm import FunctionType, Import, Kind, Module

ACCEPTED_ABIS = ("0_1_0", "0_2_0", "0_2_1")
NEWEST_ENVOY = (1, 40)  # the newest whose tables were read; a newer one may have more functions, not fewer

Version = tuple[int, int]
_ALWAYS: Version = (0, 0)
_GO_HOSTCALLS: Version = (1, 33)  # proxy-wasm-cpp-host c4d7bb0, 2024-12-19
_ALL_WASI: Version = (1, 39)  # proxy-wasm-cpp-host 94091cd, 2026-04-06, after Envoy 1.38 was branched


class State(StrEnum):
    """The three answers."""

    COMPATIBLE = "Compatible"
    INCOMPATIBLE = "Incompatible"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Compatibility:
    """The answer. ``missing`` names the host functions (``module.name``) that some gateway lacks or may lack."""

    state: State
    reason: str
    message: str
    remedy: str = ""
    missing: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What was found, then what to do: the text of a condition."""
        return f"{self.message.rstrip('.')}. {self.remedy}".strip()


@dataclass(frozen=True)
class Envoy:
    """A gateway's Envoy. ``development`` is set for a build from before the release of that number."""

    text: str
    release: Version | None
    development: bool = False

    def __str__(self) -> str:
        return self.text

    def has(self, since: Version) -> bool | None:
        """Whether what came with release ``since`` is in this Envoy; None where that cannot be told."""
        if since == _ALWAYS:
            return True
        if self.release is None or (self.development and self.release == since):
            return None
        return self.release >= since


def envoy(text: str) -> Envoy:
    """Read an Envoy version: ``1.40.0``, or what /server_info says, ``<commit>/1.40.1-dev/Clean/RELEASE/BoringSSL``.

    ``1.40.1-dev`` comes after 1.40.0 and has all that 1.40 has; ``1.41.0-dev`` comes before 1.41.
    """
    match = re.search(r"(?:^|/)v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(-dev)?", text)
    if match is None:
        return Envoy(text[:80] or "unknown", None)
    major, minor, patch, dev = match.groups()
    short = match.group(0).lstrip("/v")
    return Envoy(short, (int(major), int(minor)), bool(dev) and patch in (None, "0"))


@dataclass(frozen=True)
class _HostFunction:
    type: FunctionType
    since: Version = _ALWAYS


_LETTERS = {"i": "i32", "I": "i64"}


def _signature(text: str) -> FunctionType:
    """``iI:i`` → two parameters, i32 and i64, and one i32 result."""
    params, _, results = text.partition(":")
    return FunctionType(tuple(_LETTERS[c] for c in params), tuple(_LETTERS[c] for c in results))


def _table(text: str, since: Version = _ALWAYS, prefix: str = "") -> dict[str, _HostFunction]:
    """One ``name=signature`` a word."""
    pairs = (word.split("=") for word in text.split())
    return {prefix + name: _HostFunction(_signature(types), since) for name, types in pairs}


# FOR_ALL_HOST_FUNCTIONS, exports.h
_PROXY = _table(
    """
    log=iii:i get_status=iii:i set_property=iiii:i get_property=iiii:i send_local_response=iiiiiiii:i
    get_shared_data=iiiii:i set_shared_data=iiiii:i register_shared_queue=iii:i resolve_shared_queue=iiiii:i
    dequeue_shared_queue=iii:i enqueue_shared_queue=iii:i get_header_map_value=iiiii:i add_header_map_value=iiiii:i
    replace_header_map_value=iiiii:i remove_header_map_value=iii:i get_header_map_pairs=iii:i
    set_header_map_pairs=iii:i get_header_map_size=ii:i get_buffer_status=iii:i get_buffer_bytes=iiiii:i
    set_buffer_bytes=iiiii:i http_call=iiiiiiiiii:i grpc_call=iiiiiiiiiiii:i grpc_stream=iiiiiiiii:i
    grpc_close=i:i grpc_cancel=i:i grpc_send=iiii:i set_tick_period_milliseconds=i:i
    get_current_time_nanoseconds=i:i define_metric=iiii:i increment_metric=iI:i record_metric=iI:i get_metric=ii:i
    set_effective_context=i:i done=:i call_foreign_function=iiiiii:i
    """,
    prefix="proxy_",
)
# registerCallbacks, wasm.cc: what only one ABI version gets
_STREAMS = _table("continue_stream=i:i close_stream=i:i", prefix="proxy_")
_BY_ABI = {
    "0_1_0": _table(
        "get_configuration=ii:i continue_request=:i continue_response=:i clear_route_cache=:i", prefix="proxy_"
    ),
    "0_2_0": _STREAMS,
    "0_2_1": _STREAMS | _table("get_log_level=i:i", prefix="proxy_"),
}
_OTHER = _table("pthread_equal=ii:i emscripten_notify_memory_growth=i: envoy_resolve_dns=iii:i")

# FOR_ALL_WASI_FUNCTIONS, exports.h, in the three sizes it has had
_WASI = (
    _table(
        """
        fd_write=iiii:i fd_read=iiii:i fd_seek=iIii:i fd_close=i:i fd_fdstat_get=ii:i environ_get=ii:i
        environ_sizes_get=ii:i args_get=ii:i args_sizes_get=ii:i clock_time_get=iIi:i random_get=ii:i proc_exit=i:
        path_open=iiiiiIIii:i fd_prestat_get=ii:i fd_prestat_dir_name=iii:i
        """
    )
    | _table("fd_fdstat_set_flags=ii:i sched_yield=:i poll_oneoff=iiii:i", _GO_HOSTCALLS)
    | _table(
        """
        fd_fdstat_set_rights=iII:i clock_res_get=ii:i fd_advise=iIIi:i fd_allocate=iII:i fd_datasync=i:i
        fd_filestat_get=ii:i fd_filestat_set_size=iI:i fd_filestat_set_times=iIIi:i fd_pread=iiiIi:i
        fd_pwrite=iiiIi:i fd_readdir=iiiIi:i fd_renumber=ii:i fd_sync=i:i fd_tell=ii:i
        path_create_directory=iii:i path_filestat_get=iiiii:i path_filestat_set_times=iiiiIIi:i path_link=iiiiii:i
        path_readlink=iiiiii:i path_remove_directory=iii:i path_rename=iiiiii:i path_symlink=iiii:i
        path_unlink_file=iii:i sock_accept=iii:i sock_recv=iiiiii:i sock_send=iiiii:i sock_shutdown=ii:i
        """,
        _ALL_WASI,
    )
)
_WASI_MODULES = ("wasi_snapshot_preview1", "wasi_unstable")

# Host functions of Higress's own fork (higress-group/proxy-wasm-cpp-host, exports.h): named so that the message can.
_HIGRESS_ONLY = frozenset(
    f"proxy_{name}"
    for name in (
        "redis_init",
        "redis_call",
        "get_upstream_hosts",
        "set_upstream_override_host",
        "inject_encoded_data_to_filter_chain",
    )
)

# getFunctions and FOR_ALL_MODULE_FUNCTIONS, wasm.cc and wasm.h: exports whose type Envoy checks
_CALLBACKS = _table(
    """
    validate_configuration=ii:i on_vm_start=ii:i on_configure=ii:i on_tick=i: on_context_create=ii:
    on_new_connection=i:i on_downstream_data=iii:i on_upstream_data=iii:i on_downstream_connection_close=ii:
    on_upstream_connection_close=ii: on_request_body=iii:i on_request_trailers=ii:i on_request_metadata=ii:i
    on_response_body=iii:i on_response_trailers=ii:i on_response_metadata=ii:i on_http_call_response=iiiii:
    on_grpc_receive=iii: on_grpc_close=iii: on_grpc_receive_initial_metadata=iii:
    on_grpc_receive_trailing_metadata=iii: on_queue_ready=ii: on_done=i:i on_log=i: on_delete=i:
    """,
    prefix="proxy_",
)
_HEADERS_01 = _table("on_request_headers=ii:i on_response_headers=ii:i", prefix="proxy_")
_HEADERS_02 = _table("on_request_headers=iii:i on_response_headers=iii:i on_foreign_function=iii:", prefix="proxy_")


def judge(module: Module, versions: Iterable[str], provider: str = "Istio") -> Compatibility:
    """Compare a module with the Envoy versions read from a gateway's pods, as /server_info gives them.

    The strictest version counts. What no Envoy takes is Incompatible even if no version is known (no pod yet, or a
    text that is no version); the rest is then Unknown. ``provider`` names the gateway in messages.
    """
    envoys = tuple(envoy(text) for text in sorted(set(versions)))
    abi = next((version for version in module.abis if version in ACCEPTED_ABIS), "")
    if not abi:
        return _unknown_abi(module)
    flaw = next(_flaws(module, abi), None)
    return flaw or _judge_imports(module, abi, envoys, provider)


def _unknown_abi(module: Module) -> Compatibility:
    announced = ", ".join(one.replace("_", ".") for one in module.abis)
    found = f"the module announces {announced}" if announced else "the module announces none"
    return Compatibility(
        State.INCOMPATIBLE,
        "UnknownABI",
        f"Missing or unknown Proxy-Wasm ABI version: {found}, and Envoy accepts 0.1.0, 0.2.0 and 0.2.1",
        "Build the plugin with a Proxy-Wasm SDK for one of these (the export proxy_abi_version_0_2_1)."
        + (" 0.2.100 is Higress's own ABI." if "0_2_100" in module.abis else ""),
    )


def _incompatible(reason: str, message: str, remedy: str, missing: tuple[str, ...] = ()) -> Compatibility:
    return Compatibility(State.INCOMPATIBLE, reason, message, remedy, missing)


def _flaws(module: Module, abi: str) -> Iterator[Compatibility]:
    """What no Envoy version would load, whatever it is."""
    yield from _start_flaws(module)
    yield from _allocator_flaws(module)
    yield from _import_flaws(module, abi)
    yield from _export_flaws(module, abi)


def _start_flaws(module: Module) -> Iterator[Compatibility]:
    """A Go command runs main and exits, which Envoy forbids while it starts a plugin."""
    command = module.function("_start") is not None and module.function("_initialize") is None
    if command and module.toolchain == "Go":
        yield _incompatible(
            "NotAReactor",
            "Function: _start failed: Uncaught Error: restricted_callback: the Go module was built as a command"
            " (it exports _start and not _initialize)",
            "Build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared, and set the plugin up in init().",
        )


def _allocator_flaws(module: Module) -> Iterator[Compatibility]:
    allocator = "malloc" if module.function("malloc") else "proxy_on_memory_allocate"
    if module.function(allocator) is None:
        yield _incompatible(
            "MissingAllocator",
            "Wasm module is missing malloc function: it exports neither malloc nor proxy_on_memory_allocate",
            "Build the plugin with a Proxy-Wasm SDK, which exports one of them.",
        )
        return
    yield from _wrong_exports(module, {allocator: _HostFunction(_signature("i:i"))})


def _import_flaws(module: Module, abi: str) -> Iterator[Compatibility]:
    """Wrong types of known functions, and imported globals, which Envoy never has (V8::link, v8.cc)."""
    for wanted in module.imports:
        known = _find(wanted, abi)
        if wanted.kind in (Kind.GLOBAL, Kind.TAG):
            yield _incompatible(
                "MissingHostFunction",
                f"Failed to load Wasm module due to a missing import: {wanted} (a {wanted.kind})",
                "Build the plugin with a Proxy-Wasm SDK; a gateway offers functions only.",
                (str(wanted),),
            )
        elif known is not None and wanted.type != known.type:
            yield _incompatible(
                "ImportTypeMismatch",
                f"Failed to load Wasm module due to an import type mismatch: {wanted}, want: {wanted.type}, "
                f"but host exports: {known.type}",
                "Build the plugin with an SDK for the ABI version that it announces.",
            )


def _export_flaws(module: Module, abi: str) -> Iterator[Compatibility]:
    headers = _HEADERS_01 if abi == "0_1_0" else _HEADERS_02
    yield from _wrong_exports(module, _entry_points(module) | _CALLBACKS | headers)


def _entry_points(module: Module) -> dict[str, _HostFunction]:
    """With ``_initialize`` a module is a reactor and its main is looked at, else its ``_start``."""
    if module.function("_initialize") is not None:
        return _table("_initialize=: main=ii:i __main_void=:i")
    return _table("_start=:")


def _wrong_exports(module: Module, wanted: dict[str, _HostFunction]) -> Iterator[Compatibility]:
    for export in module.exports:
        known = wanted.get(export.name)
        if export.kind is Kind.FUNCTION and known is not None and export.type != known.type:
            yield _incompatible(
                "ExportTypeMismatch",
                f"Bad function signature for: {export.name}, want: {known.type}, but the module exports: {export.type}",
                "Build the plugin with an SDK for the ABI version that it announces.",
            )


def _find(wanted: Import, abi: str) -> _HostFunction | None:
    if wanted.kind is not Kind.FUNCTION:
        return None
    if wanted.module in _WASI_MODULES:
        return _WASI.get(wanted.name)
    if wanted.module == "env":
        return _PROXY.get(wanted.name) or _BY_ABI[abi].get(wanted.name) or _OTHER.get(wanted.name)
    return None


def _judge_imports(module: Module, abi: str, envoys: tuple[Envoy, ...], provider: str) -> Compatibility:
    functions = [wanted for wanted in module.imports if wanted.kind is Kind.FUNCTION]
    lacking = {str(wanted): _lacking(_find(wanted, abi), envoys) for wanted in functions}
    surely = [name for name, answer in lacking.items() if answer is True]
    if surely:
        return _missing(surely, functions, abi, envoys)
    perhaps = tuple(name for name, answer in lacking.items() if answer is None)
    if perhaps or not envoys or any(one.release is None for one in envoys):
        return _untold(perhaps, envoys, provider)
    return Compatibility(
        State.COMPATIBLE,
        "Compatible",
        f"Proxy-Wasm ABI {abi.replace('_', '.')}; all {len(functions)} imports are in Envoy {_list(envoys)}",
    )


def _lacking(known: _HostFunction | None, envoys: tuple[Envoy, ...]) -> bool | None:
    """True if some Envoy surely lacks the function, False if all have it, None if that cannot be told."""
    if known is None:
        newer = [one.release is not None and one.release > NEWEST_ENVOY for one in envoys]
        return None if newer and all(newer) else True
    answers = [one.has(known.since) for one in envoys] or [known.since == _ALWAYS or None]
    if False in answers:
        return True
    return None if None in answers else False


def _missing(names: list[str], functions: list[Import], abi: str, envoys: tuple[Envoy, ...]) -> Compatibility:
    wanted = [one for one in functions if str(one) in names]
    since = [known.since if (known := _find(one, abi)) else None for one in wanted]
    here = f"Envoy {_list(envoys)}" if envoys else "Envoy"
    message = f"Failed to load Wasm module due to a missing import: {_enough(names)}: not in {here}"
    if None in since:
        return _incompatible("MissingHostFunction", message, _remedy_for_unknown(wanted, abi), tuple(names))
    newest = max(one for one in since if one is not None)
    needed = f"Envoy {newest[0]}.{newest[1]}"
    return _incompatible(
        "MissingHostFunction",
        f"{message}, and in {needed} and newer",
        f"Use a gateway with {needed} or newer, or build the plugin with a toolchain that does not import them"
        + (" (for Go: 1.25 or older)." if "path_filestat_get" in message else "."),
        tuple(names),
    )


def _remedy_for_unknown(wanted: list[Import], abi: str) -> str:
    if any(one.module == "env" and one.name in _HIGRESS_ONLY for one in wanted):
        return "Only Higress has these functions: use a plugin that does without them, or a Higress gateway."
    elsewhere = [
        f"{one} belongs to ABI {other.replace('_', '.')}"
        for one in wanted
        for other, table in _BY_ABI.items()
        if other != abi and one.module == "env" and one.name in table
    ]
    if elsewhere:
        return f"Build the plugin with an SDK for one ABI version: {_enough(elsewhere)}."
    return f"No Envoy up to {NEWEST_ENVOY[0]}.{NEWEST_ENVOY[1]} has them: build the plugin with a Proxy-Wasm SDK."


def _untold(perhaps: tuple[str, ...], envoys: tuple[Envoy, ...], provider: str) -> Compatibility:
    if not envoys:
        why = f"no pod of the {provider} gateway has told its Envoy version yet"
    else:
        why = f"it cannot be told for Envoy {_list(envoys)}"
    named = f": {_enough(perhaps)} may be missing" if perhaps else ""
    return Compatibility(
        State.UNKNOWN,
        "GatewayVersionUnknown",
        f"Whether the gateway has all functions that the module imports is not known, as {why}{named}",
        "The release goes on with this warning; see that a gateway pod runs and can be reached.",
        perhaps,
    )


def _list(envoys: tuple[Envoy, ...]) -> str:
    return ", ".join(dict.fromkeys(str(one) for one in envoys))


def _enough(names: Iterable[str]) -> str:
    """The first few of many, so that a condition stays readable."""
    every = list(names)
    return ", ".join(every[:8]) + (f" and {len(every) - 8} more" if len(every) > 8 else "")
