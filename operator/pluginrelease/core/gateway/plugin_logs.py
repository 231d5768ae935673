"""Read what a plugin itself logged. It is no evidence for a verdict, and all the more for the plugin's author."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pluginrelease.core.gateway.logs import PLUGIN_LOG, read_records


def read_plugin_lines(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield level and text of each line that a plugin logged, in order. Envoy adds the plugin's name; it is removed."""
    for record in read_records(lines):
        if match := PLUGIN_LOG.match(record.message):
            yield record.level, record.message[match.end() :].rstrip()
