"""Whole numbers in a plugin's configuration that may not be what was written.

Istio carries ``pluginConfig`` as a protobuf Struct, in which every number is a double (google/protobuf/struct.proto).
``kubectl apply`` makes doubles of them too when it changes an object. Beyond 2^53 - 1 a double is not told from its
neighbours: a plugin is given another number, and nothing says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

LARGEST = 2**53 - 1


def check_exact(config: Any, path: str = "plugin.config") -> None:
    """Raises `Refused` (NumberNotExact) for the first number that a plugin may be given otherwise."""
    for place, number in find_inexact(config, path):
        raise Refused(
            Reason.NUMBER_NOT_EXACT,
            f"{place} is {number}: whole numbers beyond {LARGEST} (2^53 - 1) are rounded on their way to the plugin, "
            "by Istio and by kubectl, which carry numbers as doubles",
            "Write it as a text, in quotes, and read it as one in the plugin",
        )


def find_inexact(value: Any, path: str) -> Iterator[tuple[str, int]]:
    """The whole numbers below ``path`` that a double does not tell from their neighbours, with their own paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from find_inexact(item, f"{path}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from find_inexact(item, f"{path}[{place}]")
    elif isinstance(value, int) and abs(value) > LARGEST:
        yield path, value
