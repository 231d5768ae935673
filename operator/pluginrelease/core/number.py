"""Numbers in a plugin's configuration that do not reach the plugin as they were written.

Istio carries ``pluginConfig`` as a protobuf Struct, in which every number is a double (google/protobuf/struct.proto): a
whole number beyond 2^53 arrives as a neighbour of itself, and nothing says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluginrelease.core.errors import Refused


def check_exact(config: Any) -> None:
    """Raises `Refused` (NumberNotExact) for the first number that a plugin would be given otherwise."""
    for path, number in rounded(config, "plugin.config"):
        raise Refused(
            "NumberNotExact",
            f"{path} is {number}, and the plugin would be given {as_given(number)}: Istio carries numbers as "
            "floating-point numbers of 64 bits, which are exact up to 2^53",
            "Write it as a text, in quotes, and read it as one in the plugin",
        )


def rounded(value: Any, path: str) -> Iterator[tuple[str, int]]:
    """The whole numbers below ``path`` that are not exact, with their own paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from rounded(item, f"{path}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from rounded(item, f"{path}[{place}]")
    elif isinstance(value, int) and not isinstance(value, bool) and as_given(value) != value:
        yield path, value


def as_given(number: int) -> int:
    """The number as a plugin is given it; the API server takes none of more than 64 bits."""
    return int(float(number))
