"""Find whole numbers in a plugin's configuration that may reach the plugin with another value.

Istio carries ``pluginConfig`` as a protobuf Struct, in which every number is a double (google/protobuf/struct.proto).
``kubectl apply`` also turns them into doubles when it changes an object. Beyond 2^53 - 1 neighbouring numbers become
the same double: a plugin receives another number, and nothing reports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

LARGEST = 2**53 - 1


def check_exact(config: Any, path: str = "plugin.config") -> None:
    """Raise `Refused` (``NumberNotExact``) for the first number that a plugin may receive with another value."""
    for place, number in find_inexact(config, path):
        raise Refused(
            Reason.NUMBER_NOT_EXACT,
            f"{place} is {number}: whole numbers beyond {LARGEST} (2^53 - 1) are rounded on their way to the plugin, "
            "by Istio and by kubectl, which carry numbers as doubles",
            "Write it as a string, in quotes, and parse the string in the plugin",
        )


def find_inexact(value: Any, path: str) -> Iterator[tuple[str, int]]:
    """Yield whole numbers below ``path`` that share a double with a neighbour, with their own paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from find_inexact(item, f"{path}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from find_inexact(item, f"{path}[{place}]")
    elif isinstance(value, int) and abs(value) > LARGEST:
        yield path, value
