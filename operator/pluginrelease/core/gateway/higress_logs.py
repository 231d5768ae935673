"""What only Higress's Envoy writes to its log, beside its counters.

Source: higress-group/envoy, source/extensions/common/wasm/wasm.cc, 9e54c67 of Higress 2.2.4.
"""

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
    """Return why our plugin did not start in a worker: the newest log line without ``secrets``; "" if there is none.

    The gauge ``worker_uninitialized`` says whether some worker still lacks the plugin; the log does not.
    """
    newest = ""
    for record in read_records(lines):
        match = _WORKER.match(record.message)
        if match and wanted.plugin_name_matches(match.group(1)):
            newest = shorten(placeholders.hide(record.message, secrets))
    return newest
