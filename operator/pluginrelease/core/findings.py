"""What one step of a pass ended with: the content of a condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import AnyReason

TriState = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Finding:
    """What one step of the pass ended with."""

    type: ConditionType
    status: TriState
    reason: AnyReason
    message: str
