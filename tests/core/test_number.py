"""What a plugin is given is what was written, or it is said."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease.core import json_numbers
from pluginrelease.core.errors import Refused

EXACT = [
    None,
    {},
    {"account": 2**53 - 1, "text": str(2**53 + 1), "flag": True, "part": 0.1, "large": 1e300},
    {"below": -(2**53) + 1, "list": [1, {"two": 2}]},
]

INEXACT = [
    ({"account": 2**53 + 1}, "plugin.config.account is 9007199254740993"),
    ({"account": 2**53}, "plugin.config.account is 9007199254740992"),  # what kubectl makes of the one before
    ({"list": [1, {"id": -(2**63)}]}, "plugin.config.list[1].id is -9223372036854775808"),
]


@pytest.mark.parametrize("config", EXACT)
def test_exact(config: Any) -> None:
    """Numbers that a double tells from their neighbours, fractions, texts and truth values are right."""
    json_numbers.check_exact(config)


@pytest.mark.parametrize(("config", "told"), INEXACT)
def test_inexact(config: Any, told: str) -> None:
    """The first number that may arrive as another one is refused, by its path."""
    with pytest.raises(Refused) as refused:
        json_numbers.check_exact(config)
    assert refused.value.reason == "NumberNotExact"
    assert told in refused.value.message
