"""The host functions of Envoy and of Higress with their types, and the callbacks whose types Envoy checks.

They are those of the built-in Proxy-Wasm host (proxy-wasm/proxy-wasm-cpp-host: include/proxy-wasm/exports.h and wasm.h,
src/wasm.cc). Envoy's own addition is in source/extensions/common/wasm/wasm.cc.
"""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease.core.compat.hosts import ALWAYS, Envoy, HigressVersion, Host, Version
from pluginrelease.core.wasm import FunctionType

GO_HOSTCALLS: Version = (1, 33)  # proxy-wasm-cpp-host c4d7bb0, 2024-12-19
ALL_WASI: Version = (1, 39)  # proxy-wasm-cpp-host 94091cd, 2026-04-06, after Envoy 1.38 was branched


@dataclass(frozen=True)
class HostFunction:
    """A host function. ``type`` None: not known, so not compared.

    ``higress`` is set if only Higress has it: the release from which on it is surely there.
    """

    type: FunctionType | None
    since: Version = ALWAYS
    higress: HigressVersion | None = None

    def within(self, host: Host) -> bool | None:
        """Return whether a gateway has the function; None if that is not known."""
        if self.higress is None:
            return host.has(self.since)
        if isinstance(host, Envoy):
            return False
        return True if host.release is not None and host.release >= self.higress else None


_LETTERS = {"i": "i32", "I": "i64"}


def signature(text: str) -> FunctionType:
    """Read a type: ``iI:i`` is two parameters, i32 and i64, and one i32 result."""
    params, _, results = text.partition(":")
    return FunctionType(tuple(_LETTERS[c] for c in params), tuple(_LETTERS[c] for c in results))


def table(text: str, since: Version = ALWAYS, prefix: str = "") -> dict[str, HostFunction]:
    """Read a table of functions: each word is ``name=signature``."""
    pairs = (word.split("=") for word in text.split())
    return {prefix + name: HostFunction(signature(types), since) for name, types in pairs}


# FOR_ALL_HOST_FUNCTIONS, exports.h
PROXY = table(
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
# registerCallbacks, wasm.cc: functions of a single ABI version
_STREAMS = table("continue_stream=i:i close_stream=i:i", prefix="proxy_")
BY_ABI = {
    "0_1_0": table(
        "get_configuration=ii:i continue_request=:i continue_response=:i clear_route_cache=:i", prefix="proxy_"
    ),
    "0_2_0": _STREAMS,
    "0_2_1": _STREAMS | table("get_log_level=i:i", prefix="proxy_"),
}
OTHER = table("pthread_equal=ii:i emscripten_notify_memory_growth=i: envoy_resolve_dns=iii:i")

# FORALL_WASI_FUNCTIONS, exports.h, in its three versions
WASI = (
    table(
        """
        fd_write=iiii:i fd_read=iiii:i fd_seek=iIii:i fd_close=i:i fd_fdstat_get=ii:i environ_get=ii:i
        environ_sizes_get=ii:i args_get=ii:i args_sizes_get=ii:i clock_time_get=iIi:i random_get=ii:i proc_exit=i:
        path_open=iiiiiIIii:i fd_prestat_get=ii:i fd_prestat_dir_name=iii:i
        """
    )
    | table("fd_fdstat_set_flags=ii:i sched_yield=:i poll_oneoff=iiii:i", GO_HOSTCALLS)
    | table(
        """
        fd_fdstat_set_rights=iII:i clock_res_get=ii:i fd_advise=iIIi:i fd_allocate=iII:i fd_datasync=i:i
        fd_filestat_get=ii:i fd_filestat_set_size=iI:i fd_filestat_set_times=iIIi:i fd_pread=iiiIi:i
        fd_pwrite=iiiIi:i fd_readdir=iiiIi:i fd_renumber=ii:i fd_sync=i:i fd_tell=ii:i
        path_create_directory=iii:i path_filestat_get=iiiii:i path_filestat_set_times=iiiiIIi:i path_link=iiiiii:i
        path_readlink=iiiiii:i path_remove_directory=iii:i path_rename=iiiiii:i path_symlink=iiii:i
        path_unlink_file=iii:i sock_accept=iii:i sock_recv=iiiiii:i sock_send=iiiii:i sock_shutdown=ii:i
        """,
        ALL_WASI,
    )
)
WASI_MODULES = ("wasi_snapshot_preview1", "wasi_unstable")

# Host functions of Higress's own fork (higress-group/proxy-wasm-cpp-host, exports.h). Those for Redis were added on
# 2024-05-18, so every 2.x has them (types: as published plugins import them). The others were added between 2025-04-14
# and 2025-06-04, during 2.1.
HIGRESS_ONLY = {
    "proxy_redis_init": HostFunction(signature("iiiiiii:i"), higress=(2, 0, 0)),
    "proxy_redis_call": HostFunction(signature("iiiii:i"), higress=(2, 0, 0)),
    "proxy_get_upstream_hosts": HostFunction(None, higress=(2, 2, 0)),
    "proxy_set_upstream_override_host": HostFunction(None, higress=(2, 2, 0)),
    "proxy_inject_encoded_data_to_filter_chain": HostFunction(None, higress=(2, 2, 0)),
}

# getFunctions and FOR_ALL_MODULE_FUNCTIONS, wasm.cc and wasm.h: exports whose type Envoy checks
CALLBACKS = table(
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
HEADERS_01 = table("on_request_headers=ii:i on_response_headers=ii:i", prefix="proxy_")
HEADERS_02 = table("on_request_headers=iii:i on_response_headers=iii:i on_foreign_function=iii:", prefix="proxy_")
