"""An explanation of a reason, and a section of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.reasons import Reason


class Then(StrEnum):
    """What the operator does next."""

    STAYS = "stays"
    WAITS = "waits"
    RETRIES = "retries"
    GOES_ON = "continues"
    GOES_ON_OR_PUTS_BACK = "continues, or rolls back"
    STAYS_OR_GOES_ON = "stays, or continues"
    ENDS = "the command ends"


class Elsewhere(StrEnum):
    """Where a reason occurs, other than in conditions."""

    ANY_STEP = "any step"
    GATEWAY_ROW = "`status.gateways`"
    EVENT = "an event"
    LOG = "the log"
    COMMAND_LINE = "the command line"
    NOWHERE = "nothing: it is used within the operator"


@dataclass(frozen=True)
class Explanation:
    """What a reason means, what to do, and where it occurs; if ``where`` is empty, the section says it."""

    then: Then
    meaning: str
    remedy: str
    where: tuple[ConditionType | Elsewhere, ...] = ()


@dataclass(frozen=True)
class Section:
    """Reasons that occur in the same place, in the order of the page."""

    title: str
    where: tuple[ConditionType | Elsewhere, ...]
    rows: Mapping[Reason, Explanation]
    intro: str = ""
