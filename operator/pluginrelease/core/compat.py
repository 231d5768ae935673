"""Whether a gateway can load a module: the module's imports and exports against the gateway's own Envoy versions.

What a gateway of another name and version has in it, `core.pairing` knows.

Envoy finds out when it loads the plugin, and then a running gateway keeps its old code and a new one answers 500.
`judge` says the same beforehand, in Envoy's words. The rules and the names are those of the Proxy-Wasm host that is
built into Envoy (proxy-wasm/proxy-wasm-cpp-host: include/proxy-wasm/exports.h and wasm.h, src/wasm.cc,
src/bytecode_util.cc, src/v8/v8.cc; Envoy's own addition is in source/extensions/common/wasm/wasm.cc).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pluginrelease.core.wasm import FunctionType, Import, Kind, Module

ACCEPTED_ABIS = ("0_1_0", "0_2_0", "0_2_1")
HIGRESS_ABI = (
    "0_2_100"  # higress-group/proxy-wasm-cpp-host, src/bytecode_util.cc; its host functions are those of 0.2.1
)
MAX_FLAWS = 16
SHOWN_NAME = 120
NEWEST_ENVOY = (1, 40)  # the newest whose tables were read; a newer one may have more functions, not fewer
NEWEST_HIGRESS = (2, 2)
# the first that takes modules of plain Go, by Higress's own documentation (docs, user/wasm-go)
HIGRESS_GO = (2, 1, 4)
HIGRESS_ABI_SINCE = (2, 1, 0)  # in its Proxy-Wasm host since 2025-04

Version = tuple[int, int]
HigressVersion = tuple[int, int, int]
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

    @property
    def newer(self) -> bool:
        """Whether it may have functions that no table here knows."""
        return self.release is not None and self.release > NEWEST_ENVOY


@dataclass(frozen=True)
class Higress:
    """A gateway of Higress, whose Envoy has a Proxy-Wasm host of its own: its Envoy's number says little of it.

    Its WASI functions came in three steps from 2025-03-25 to 2025-04-28 (higress-group/proxy-wasm-cpp-host), after 2.0
    (2.0.4 lacks sched_yield: alibaba/higress#4233) and within 2.1; its documentation names 2.1.4 as the first for
    modules of plain Go, which import them.
    """

    text: str
    release: HigressVersion | None
    exact: bool = True  # False: the patch number is not known, and stands as 0

    def __str__(self) -> str:
        return self.text

    def has(self, since: Version) -> bool | None:
        """Whether what came to Envoy with release ``since`` is in this gateway; None where that cannot be told."""
        if since == _ALWAYS:
            return True
        if self.release is None:
            return None
        if self.release >= HIGRESS_GO:
            return True
        return None if self.release >= (2, 1, 0) else False

    def runs_go(self) -> bool | None:
        """Whether it takes what plain Go builds (`HIGRESS_GO`); None where that cannot be told."""
        if self.release is None or (not self.exact and self.release[:2] == HIGRESS_GO[:2]):
            return None
        return self.release >= HIGRESS_GO

    @property
    def newer(self) -> bool:
        """Whether it may have functions that no table here knows."""
        return self.release is not None and self.release[:2] > NEWEST_HIGRESS


Host = Envoy | Higress


def higress(image: str, envoy_version: str | None) -> Higress:
    """Read Higress's version of its gateway's image (``…/gateway:2.1.4``); without one, of its Envoy's.

    Higress 2.2 came with Envoy 1.36 and all before it with 1.27 (higress, .gitmodules), which tells no more. A release
    candidate comes before its release.
    """
    tag = re.search(r":v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(-(?:rc|alpha|beta)[\w.-]*)?[^/:@]*(?:@|$)", image)
    if tag is not None:
        major, minor, patch, early = tag.groups()
        text = f"{major}.{minor}.{patch}{early or ''}"
        return Higress(text, (int(major), int(minor), int(patch) - bool(early)))
    if envoy_version is not None and envoy(envoy_version).has((1, 36)):
        return Higress("2.2", (2, 2, 0), exact=False)
    return Higress("of an unknown version", None)


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
    """``type`` None: not known, so not compared. ``higress``: only Higress has it, surely from that release on."""

    type: FunctionType | None
    since: Version = _ALWAYS
    higress: HigressVersion | None = None

    def within(self, host: Host) -> bool | None:
        """Whether a gateway has the function; None where that cannot be told."""
        if self.higress is None:
            return host.has(self.since)
        if isinstance(host, Envoy):
            return False
        return True if host.release is not None and host.release >= self.higress else None


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

# Host functions of Higress's own fork (higress-group/proxy-wasm-cpp-host, exports.h). Those for Redis are of 2024-05-18
# and so in every 2.x (their types: as published plugins import them); the others came between 2025-04-14 and
# 2025-06-04, somewhere within 2.1.
_HIGRESS_ONLY = {
    "proxy_redis_init": _HostFunction(_signature("iiiiiii:i"), higress=(2, 0, 0)),
    "proxy_redis_call": _HostFunction(_signature("iiiii:i"), higress=(2, 0, 0)),
    "proxy_get_upstream_hosts": _HostFunction(None, higress=(2, 2, 0)),
    "proxy_set_upstream_override_host": _HostFunction(None, higress=(2, 2, 0)),
    "proxy_inject_encoded_data_to_filter_chain": _HostFunction(None, higress=(2, 2, 0)),
}

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


@dataclass(frozen=True)
class _Gateway:
    """All the gateways that are meant, as one: the strictest counts. ``hosts`` may be empty: nothing is known yet."""

    hosts: tuple[Host, ...]
    provider: str

    @property
    def higress(self) -> bool:
        return bool(self.hosts) and all(isinstance(host, Higress) for host in self.hosts)

    @property
    def abis(self) -> tuple[str, ...]:
        older = any(isinstance(one, Higress) and one.release and one.release < HIGRESS_ABI_SINCE for one in self.hosts)
        return (*ACCEPTED_ABIS, HIGRESS_ABI) if self.higress and not older else ACCEPTED_ABIS

    @property
    def name(self) -> str:
        """``Envoy 1.38.0, 1.40.0``; ``Higress 2.2``; ``Envoy`` where none is known."""
        listed = ", ".join(dict.fromkeys(str(one) for one in self.hosts))
        return f"{'Higress' if self.higress else 'Envoy'} {listed}".rstrip()

    def find(self, wanted: Import, abi: str) -> _HostFunction | None:
        if wanted.kind is not Kind.FUNCTION:
            return None
        if wanted.module in _WASI_MODULES:
            return _WASI.get(wanted.name)
        if wanted.module != "env":
            return None
        own = _HIGRESS_ONLY if self.higress else {}
        tables = (_PROXY, _BY_ABI["0_2_1" if abi == HIGRESS_ABI else abi], _OTHER, own)
        return next((table[wanted.name] for table in tables if wanted.name in table), None)

    def lacks(self, known: _HostFunction | None) -> bool | None:
        """True if some gateway surely lacks the function, False if all have it, None if that cannot be told."""
        if known is None:
            return None if self.hosts and all(host.newer for host in self.hosts) else True
        answers = [known.within(one) for one in self.hosts] or [known.since == _ALWAYS or None]
        if False in answers:
            return True
        return None if None in answers else False


def judge(module: Module, versions: Iterable[str], provider: str = "Istio") -> Compatibility:
    """Compare a module with the Envoy versions read from a gateway's pods, as /server_info gives them.

    The strictest version counts. What no Envoy takes is Incompatible even if no version is known (no pod yet, or a
    text that is no version); the rest is then Unknown. ``provider`` names the gateway in messages.
    """
    return strictest(module, map(envoy, versions), provider)


def strictest(module: Module, hosts: Iterable[Host], provider: str) -> Compatibility:
    """As `judge`, with the gateways as their provider knows them; one that is there twice counts once."""
    return compare(module, sorted(set(hosts), key=str), provider)[0]


def compare(module: Module, hosts: Iterable[Host], provider: str = "Istio") -> tuple[Compatibility, ...]:
    """As `judge`, with all that is wrong (at most `MAX_FLAWS`), what a gateway would name first at the front.

    There is always one answer at least.
    """
    gateway = _Gateway(tuple(hosts), provider)
    if too_old := _too_old(module, gateway):
        return (too_old,)
    abi = next((version for version in module.abis if version in gateway.abis), "")
    if not abi:
        besides = itertools.chain(_shape_flaws(module), _missing_besides(module, gateway))
        return (_unknown_abi(module, gateway), *itertools.islice(besides, MAX_FLAWS - 1))
    flaws = tuple(itertools.islice(_flaws(module, abi, gateway), MAX_FLAWS))
    imports = _judge_imports(module, abi, gateway)
    if not flaws:
        return (imports,)
    return (*flaws, imports) if imports.state is State.INCOMPATIBLE else flaws


def _too_old(module: Module, gateway: _Gateway) -> Compatibility | None:
    """What plain Go builds runs on no older Higress, whatever else may be wrong."""
    older = [one for one in gateway.hosts if isinstance(one, Higress) and one.runs_go() is False]
    if module.toolchain != "Go" or not older:
        return None
    return _incompatible(
        "GatewayTooOld",
        f"the module was built with {module.toolchain} {module.toolchain_version}".rstrip()
        + ", and modules of Go 1.24 and newer need Higress 2.1.4 or newer, or an MSE gateway of 2.0.11 or newer: this "
        f"gateway is Higress {', '.join(map(str, older))}",
        "Upgrade the gateway, or build the plugin with TinyGo",
    )


def _unknown_abi(module: Module, gateway: _Gateway) -> Compatibility:
    announced = _enough(one.replace("_", ".") for one in module.abis)
    found = f"the module announces {announced}" if announced else "the module announces none"
    accepted = [one.replace("_", ".") for one in gateway.abis]
    return Compatibility(
        State.INCOMPATIBLE,
        "UnknownABI",
        f"Missing or unknown Proxy-Wasm ABI version: {found}, and {'Higress' if gateway.higress else 'Envoy'} accepts "
        f"{', '.join(accepted[:-1])} and {accepted[-1]}",
        _remedy_for_abi(module),
    )


def _missing_besides(module: Module, gateway: _Gateway) -> Iterator[Compatibility]:
    """What would be missing if Higress's ABI were announced as 0_2_1, whose functions it has."""
    if HIGRESS_ABI in module.abis:
        imports = _judge_imports(module, "0_2_1", gateway)
        if imports.state is State.INCOMPATIBLE:
            yield imports


def _remedy_for_abi(module: Module) -> str:
    if HIGRESS_ABI in module.abis:
        own = " 0.2.100 is Higress's own ABI; `pluginrelease adapt` makes a copy for previews."
    elif any(one.module in ("gojs", "go") for one in module.imports):
        own = " This one was built with GOOS=js, for a browser: build with GOOS=wasip1 -buildmode=c-shared."
    else:
        own = ""
    return "Build the plugin with a Proxy-Wasm SDK for one of these (the export proxy_abi_version_0_2_1)." + own


def _incompatible(reason: str, message: str, remedy: str, missing: tuple[str, ...] = ()) -> Compatibility:
    return Compatibility(State.INCOMPATIBLE, reason, message, remedy, missing)


def _flaws(module: Module, abi: str, gateway: _Gateway) -> Iterator[Compatibility]:
    """What no version of these gateways would load."""
    yield from _shape_flaws(module)
    yield from _import_flaws(module, abi, gateway)
    yield from _export_flaws(module, abi)


def _shape_flaws(module: Module) -> Iterator[Compatibility]:
    """What is wrong in any ABI."""
    yield from _start_flaws(module)
    yield from _allocator_flaws(module)


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


def _import_flaws(module: Module, abi: str, gateway: _Gateway) -> Iterator[Compatibility]:
    """Wrong types of known functions, and imported globals, which Envoy never has (V8::link, v8.cc)."""
    for wanted in module.imports:
        known = gateway.find(wanted, abi)
        if wanted.kind in (Kind.GLOBAL, Kind.TAG):
            yield _incompatible(
                "MissingHostFunction",
                f"Failed to load Wasm module due to a missing import: {_shown(str(wanted))} (a {wanted.kind})",
                "Build the plugin with a Proxy-Wasm SDK; a gateway offers functions only.",
                (_shown(str(wanted)),),
            )
        elif known is not None and known.type is not None and wanted.type != known.type:
            yield _incompatible(
                "ImportTypeMismatch",
                f"Failed to load Wasm module due to an import type mismatch: {wanted}, want: {_type(wanted.type)}, "
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
                f"Bad function signature for: {export.name}, want: {known.type}, "
                f"but the module exports: {_type(export.type)}",
                "Build the plugin with an SDK for the ABI version that it announces.",
            )


def _judge_imports(module: Module, abi: str, gateway: _Gateway) -> Compatibility:
    functions = [wanted for wanted in module.imports if wanted.kind is Kind.FUNCTION]
    answers = [(wanted, gateway.lacks(gateway.find(wanted, abi))) for wanted in functions]
    surely = [wanted for wanted, answer in answers if answer is True]
    if surely:
        return _missing(surely, abi, gateway)
    perhaps = tuple(dict.fromkeys(_shown(str(wanted)) for wanted, answer in answers if answer is None))
    if perhaps or not gateway.hosts or any(host.release is None or _untold_go(module, host) for host in gateway.hosts):
        return _untold(perhaps, gateway)
    return Compatibility(
        State.COMPATIBLE,
        "Compatible",
        f"Proxy-Wasm ABI {abi.replace('_', '.')}; all {len(functions)} imports are in {gateway.name}",
    )


def _untold_go(module: Module, host: Host) -> bool:
    """Whether it cannot be told if a Higress takes what plain Go builds."""
    return module.toolchain == "Go" and isinstance(host, Higress) and host.runs_go() is None


def _missing(wanted: list[Import], abi: str, gateway: _Gateway) -> Compatibility:
    names = tuple(dict.fromkeys(_shown(str(one)) for one in wanted))
    since = [known.since if (known := gateway.find(one, abi)) else None for one in wanted]
    message = f"Failed to load Wasm module due to a missing import: {_enough(names)}: not in {gateway.name}"
    if None in since:
        return _incompatible("MissingHostFunction", message, _remedy_for_unknown(wanted, abi), names)
    needed = "Higress 2.1.4"
    if not gateway.higress:
        newest = max(one for one in since if one is not None)
        needed = f"Envoy {newest[0]}.{newest[1]}"
    return _incompatible(
        "MissingHostFunction",
        f"{message}, and in {needed} and newer",
        f"Use a gateway with {needed} or newer, or build the plugin with a toolchain that does not import them"
        + (" (for Go: 1.25 or older)." if "path_filestat_get" in message and not gateway.higress else "."),
        names,
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


def _untold(perhaps: tuple[str, ...], gateway: _Gateway) -> Compatibility:
    if not gateway.hosts:
        why = f"no pod of the {gateway.provider} gateway has told its Envoy version yet"
    else:
        why = f"it cannot be told for {gateway.name}"
    named = f": {_enough(perhaps)} may be missing" if perhaps else ""
    return Compatibility(
        State.UNKNOWN,
        "GatewayVersionUnknown",
        f"Whether the gateway has all functions that the module imports is not known, as {why}{named}",
        "The release goes on with this warning; see that a gateway pod runs and can be reached.",
        perhaps,
    )


def _enough(names: Iterable[str]) -> str:
    """The first few of many, so that a condition stays readable."""
    every = [_shown(name) for name in names]
    return ", ".join(every[:8]) + (f" and {len(every) - 8} more" if len(every) > 8 else "")


def _shown(name: str) -> str:
    """A name out of a stranger's module, as it may stand in a condition or on a terminal."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in name[:SHOWN_NAME])
    return clean if len(name) <= SHOWN_NAME else clean[:-1] + "…"


def _type(found: FunctionType | None) -> str:
    """A function's type; a module may give it a thousand parameters."""
    text = str(found)
    return text if len(text) <= SHOWN_NAME else text[: SHOWN_NAME - 1] + "…"
