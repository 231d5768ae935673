"""What only Higress's Envoy writes to its log, beside its counters (higress-group/envoy, source/extensions/common/wasm
/wasm.cc, 9e54c67 of Higress 2.2.4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from pluginrelease.core import placeholders
from pluginrelease.core.gateway.logs import read_records, shorten

if TYPE_CHECKING:
    from pluginrelease.core.gateway.identity import DesiredPlugin

_WORKER = re.compile(r"wasm worker initialization failed: plugin='([^']*)'(.*)", re.DOTALL)


def find_start_failure(lines: Iterable[str], wanted: DesiredPlugin, secrets: Collection[str] = ()) -> str:
    """Why our plugin did not come up in a worker, in the gateway's newest words without ``secrets``; "" for none.

    Whether one still lacks it is said by the gauge ``worker_uninitialized``, and not by the log.
    """
    newest = ""
    for record in read_records(lines):
        match = _WORKER.match(record.message)
        if match and wanted.plugin_name_matches(match.group(1)):
            newest = shorten(placeholders.hide(record.message, secrets))
    return newest
