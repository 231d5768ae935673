"""Whether a gateway can load a module: what the module says of itself against the gateway's own Envoy versions.

What a gateway of another name and version has in it, `core.compat.gateway_versions` knows.

Envoy finds out when it loads the plugin, and then a running gateway keeps its old code and a new one answers 500, or
the gateway is gone. `judge` says the same beforehand, in Envoy's words; `warnings` says what is odd and loads. The
rules are those of the Proxy-Wasm host that is built into Envoy (proxy-wasm/proxy-wasm-cpp-host) and of its V8; each
was tried on real Envoys (tests/odd_modules.py, docs/modules.md).
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
