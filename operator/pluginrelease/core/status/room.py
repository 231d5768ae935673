"""How long the messages of a status may be, so that the status of the largest release stays within 256 KiB.

With few entries each message may be as long as the API allows. With many they share the space. A message that is cut
ends in an ellipsis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pluginrelease import api

# characters of all entries' messages together; each pod's message has as many as an entry's
ENTRIES = 12 * 1024
# the longest message of a condition, times the entries
CONDITIONS = 64 * 1024

Told = TypeVar("Told", api.Condition, api.GatewayStatus, api.PodStatus)


def fit(status: api.Status) -> api.Status:
    """Return the status with messages that are not longer than the number of entries allows."""
    count = max(1, len(status.gateways))
    of_condition = min(api.MESSAGE_MAX, CONDITIONS // count)
    of_row = min(api.ENTRY_MESSAGE_MAX, ENTRIES // count)
    return status.model_copy(
        update={
            "conditions": cut(status.conditions, of_condition),
            "gateways": cut(status.gateways, of_row),
            "pods": cut(status.pods, of_row),
        }
    )


def cut(told: Sequence[Told], room: int) -> list[Told]:
    """Return the same with messages of at most so many characters. One that is cut ends in an ellipsis."""
    return [
        row if len(row.message) <= room else row.model_copy(update={"message": f"{row.message[: room - 1]}…"})
        for row in told
    ]
