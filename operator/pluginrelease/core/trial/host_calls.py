"""Read which host calls failed for a plugin, from Envoy's trace of its VMs.

proxy-wasm-cpp-host traces each call: ``[vm->host] env.proxy_http_call(…)`` and ``[vm<-host] env.proxy_http_call return:
2`` (src/v8/v8.cc, level trace of Envoy's logger wasm).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pluginrelease.core.gateway.logs import read_records
from pluginrelease.core.trial.revisions import PLACE_CALLS

_TRACED = re.compile(r"^\[host->vm\] ")
_RETURNED = re.compile(r"^\[vm<-host\] env\.(\w+) return: (\d+)")
# WasmResult (proxy-wasm spec, abi-versions/v0.2.1)
_RESULTS = {
    1: "NotFound",
    2: "BadArgument",
    3: "SerializationFailure",
    4: "ParseFailure",
    5: "BadExpression",
    6: "InvalidMemoryAccess",
    7: "Empty",
    8: "CasMismatch",
    9: "ResultMismatch",
    10: "InternalFailure",
    11: "BrokenConnection",
    12: "Unimplemented",
}


def read_failed(lines: Iterable[str]) -> tuple[str, ...] | None:
    """Return the calls that depend on the gateway and failed, such as ``proxy_http_call (BadArgument)``.

    None: the trace has no call of a VM, so nothing is known.
    """
    messages = [record.message for record in read_records(lines) if record.level == "trace"]
    if not any(map(_TRACED.match, messages)):
        return None
    returned = [match.groups() for match in map(_RETURNED.match, messages) if match]
    failed = (
        f"{name} ({_RESULTS.get(int(result), result)})"
        for name, result in returned
        if name in PLACE_CALLS and int(result) != 0
    )
    return tuple(dict.fromkeys(failed))
