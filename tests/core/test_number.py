"""What a plugin is given is what was written, or it is said."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease.core import number
from pluginrelease.core.errors import Refused

EXACT = [
    None,
    {},
    {"account": 2**53, "text": str(2**53 + 1), "flag": True, "part": 0.1},
    {"even": 2**53 + 2, "list": [1, {"below": -(2**53)}]},
]

ROUNDED = [
    (
        {"account": 2**53 + 1},
        "plugin.config.account is 9007199254740993, and the plugin would be given 9007199254740992",
    ),
    ({"list": [1, {"id": -(2**63) + 1}]}, "plugin.config.list[1].id is -9223372036854775807"),
    ({"max": 2**63 - 1}, "would be given 9223372036854775808"),
]


@pytest.mark.parametrize("config", EXACT)
def test_exact(config: Any) -> None:
    """Numbers that a double holds, texts and truth values are right."""
    number.check_exact(config)


@pytest.mark.parametrize(("config", "told"), ROUNDED)
def test_rounded(config: Any, told: str) -> None:
    """The first number that would arrive as another one is refused, by its path and both values."""
    with pytest.raises(Refused) as refused:
        number.check_exact(config)
    assert refused.value.reason == "NumberNotExact"
    assert told in refused.value.message
