"""Decide if a gateway can load a module: what the module needs is compared with the gateway's Envoy versions.

`core.compat.gateway_versions` knows which Envoy a gateway of another name and version has.

Envoy itself finds out only when it loads the plugin. Then a running gateway keeps its old code, a new one answers 500,
or the gateway dies. `judge` says the same in advance, in Envoy's words; `warnings` reports what is odd but loads. The
rules are those of the Proxy-Wasm host in Envoy (proxy-wasm/proxy-wasm-cpp-host) and of its V8. Each was tried on real
Envoys (tests/odd_modules.py, docs/modules.md).
"""

from pluginrelease.core.compat.answers import Compatibility, CompatibilityState, Warned
from pluginrelease.core.compat.gateway import ACCEPTED_ABIS, HIGRESS_ABI
from pluginrelease.core.compat.hosts import (
    HIGRESS_GO,
    NEWEST_ENVOY,
    NEWEST_HIGRESS,
    Envoy,
    Higress,
    HigressVersion,
    Host,
    envoy,
    higress,
)
from pluginrelease.core.compat.judging import MAX_FLAWS, compare, find_warnings, judge, judge_strictest

__all__ = [
    "ACCEPTED_ABIS",
    "HIGRESS_ABI",
    "HIGRESS_GO",
    "MAX_FLAWS",
    "NEWEST_ENVOY",
    "NEWEST_HIGRESS",
    "Compatibility",
    "CompatibilityState",
    "Envoy",
    "Higress",
    "HigressVersion",
    "Host",
    "Warned",
    "compare",
    "envoy",
    "find_warnings",
    "higress",
    "judge",
    "judge_strictest",
]
