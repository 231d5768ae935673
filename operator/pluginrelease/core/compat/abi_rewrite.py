"""Rewrite a module for Higress so that stock Envoy loads it for a preview, and say what behaves differently there.

Higress's SDK exports an ABI version of its own, 0_2_100, whose host functions are those of 0_2_1
(higress-group/proxy-wasm-cpp-host, ``src/bytecode_util.cc``). So only that export keeps such a module from loading
elsewhere, unless it imports functions that only Higress has. It may still behave differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pluginrelease.api.reasons import Reason
from pluginrelease.core import compat, wasm
from pluginrelease.core.compat import HIGRESS_ABI, CompatibilityState, Envoy
from pluginrelease.core.errors import Refused
from pluginrelease.core.wasm import ABI_PREFIX, Module

STOCK_ABI = "0_2_1"
NEWEST = compat.envoy(".".join(str(part) for part in compat.NEWEST_ENVOY))
_HEADERS = ("proxy_on_request_headers", "proxy_on_response_headers")


@dataclass(frozen=True)
class Adapted:
    """A module that exports `STOCK_ABI`, and one sentence for each thing that may behave differently."""

    content: bytes
    differences: tuple[str, ...]


def adapt(content: bytes, host: Envoy = NEWEST) -> Adapted:
    """Return a module of ABI 0_2_100 with only its ABI export changed, for Envoys like ``host``.

    Raises `Refused`: what `wasm.read` refuses, ``NothingToAdapt``, and with the reasons of `core.compat` whatever this
    Envoy would still refuse, such as functions that only Higress has, by name.
    """
    module = wasm.read(content)
    _check_announced(module)
    adapted = wasm.rename_export(content, ABI_PREFIX + HIGRESS_ABI, ABI_PREFIX + STOCK_ABI)
    answer = compat.compare(wasm.read(adapted), [host])[0]
    if answer.state is CompatibilityState.INCOMPATIBLE:
        raise Refused(answer.reason, answer.message, answer.remedy)
    return Adapted(adapted, tuple(_differences(module)))


def _check_announced(module: Module) -> None:
    if any(abi in compat.ACCEPTED_ABIS for abi in module.abis) or HIGRESS_ABI not in module.abis:
        announced = ", ".join(abi.replace("_", ".") for abi in module.abis[:8]) or "no ABI version"
        raise Refused(
            Reason.NOTHING_TO_ADAPT,
            f"The module announces {announced}, and only a module that announces only 0.2.100, Higress's own, can be "
            "adapted",
            "Use it as it is; `pluginrelease inspect` says which gateways take it.",
        )


def _differences(module: Module) -> Iterator[str]:
    """Yield the differences in behaviour that cannot be excluded by reading the module."""
    if any(module.function(name) for name in _HEADERS):
        # ContextBase::convertVmCallResultToFilterHeadersStatus, proxy-wasm-cpp-host, src/context.cc
        yield (
            "StopIteration (the SDK's HeaderStopIteration) stops everything on stock Envoy. If a plugin stops at the "
            "headers and waits for the body, the request hangs until it times out"
        )
    imported = {function.name for function in module.imports if function.module == "env"}
    if "proxy_get_property" in imported:
        # RuleMatcher.GetMatchConfig, higress-group/wasm-go, pkg/matcher; Envoy 1.40 has xds.route_name and the like
        yield (
            "rules for an ingress or a service match no request. Higress's SDK reads the properties route_name and "
            "cluster_name, and stock Envoy has other names for them. Rules for a domain do match"
        )
    if "proxy_call_foreign_function" in imported:
        yield (
            "it calls foreign functions by names that are known only at run time. Stock Envoy lacks Higress's own "
            "(inject_encoded_data_to_filter_chain, get_log_level, set_global_max_requests_per_io_cycle …)"
        )
    yield "Higress restarts the VM of a plugin that crashed or has grown; stock Envoy does so only if it is configured"
