"""The result of one step of a pass: the content of a condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import AnyReason

TriState = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Finding:
    """The result of one step of a pass."""

    type: ConditionType
    status: TriState
    reason: AnyReason
    message: str
