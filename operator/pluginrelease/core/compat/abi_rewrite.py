"""A module for Higress → the same module for a preview on stock Envoy, and what is another thing there.

Higress's SDK announces an ABI of its own, 0_2_100, whose host functions are those of 0_2_1
(higress-group/proxy-wasm-cpp-host, ``src/bytecode_util.cc``). So the announcement is all that keeps such a module from
loading elsewhere, unless it imports functions that only Higress has. What it does is not the same everywhere.
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
    """A module that announces `STOCK_ABI`, and one sentence for each thing that may be different."""

    content: bytes
    differences: tuple[str, ...]


def adapt(content: bytes, host: Envoy = NEWEST) -> Adapted:
    """The module of ABI 0_2_100 with nothing but its announcement changed, for Envoys like ``host``.

    Raises `Refused`: what `wasm.read` refuses, ``NothingToAdapt``, and in `core.compat`'s words what this Envoy would
    refuse of it all the same: the functions that only Higress has, by name.
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
            f"The module announces {announced}, and only what announces 0.2.100 alone, Higress's own, is adapted",
            "Use it as it is; `pluginrelease inspect` says which gateways take it.",
        )


def _differences(module: Module) -> Iterator[str]:
    """What no look at the module can exclude."""
    if any(module.function(name) for name in _HEADERS):
        # ContextBase::convertVmCallResultToFilterHeadersStatus, proxy-wasm-cpp-host, src/context.cc
        yield (
            "StopIteration (the SDK's HeaderStopIteration) becomes stop-all on stock Envoy: a plugin that stops at the "
            "headers and waits for the body never gets it, and the request hangs until it times out"
        )
    imported = {function.name for function in module.imports if function.module == "env"}
    if "proxy_get_property" in imported:
        # RuleMatcher.GetMatchConfig, higress-group/wasm-go, pkg/matcher; Envoy 1.40 has xds.route_name and the like
        yield (
            "rules for an ingress or a service match no request: Higress's SDK asks for the properties route_name and "
            "cluster_name, which stock Envoy does not have under these names; rules for a domain do match"
        )
    if "proxy_call_foreign_function" in imported:
        yield (
            "it calls foreign functions by names that only show at run time; those that only Higress has (inject_"
            "encoded_data_to_filter_chain, get_log_level, set_global_max_requests_per_io_cycle …) are not found"
        )
    yield "Higress starts the VM of a plugin anew that crashed or has grown; stock Envoy does not, unless it is told to"
