"""Decide if a container's log is complete since a time, or begins with a rotation.

The API server serves only the current file of a log (kubernetes#11046, #115701). After a rotation, by default at 10
MiB, the file begins with new lines, and nothing says that older ones are gone. An *answer* that begins late proves
nothing, because a quiet gateway writes nothing for hours. The beginning of the *file* decides, whatever time was
requested. The log is complete if the file begins before the wanted time, or as it did at an earlier check, or with the
container. Istio's agent and Envoy write a dozen lines while they start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# from when Envoy has read its bootstrap: the agent has written by then, and Envoy its warnings about the bootstrap
START = timedelta(seconds=10)


@dataclass(frozen=True)
class Beginning:
    """How a container's log file begins: the time of its first line, None for an empty file.

    ``unbroken_since``: there was no rotation since then. Both are by the gateway's clock.
    """

    first: datetime | None
    unbroken_since: datetime


def carry(before: Beginning | None, now: Beginning) -> Beginning:
    """Combine two checks of one container: a file that begins as before was not rotated in between."""
    if before is None:
        return now
    was_empty = before.first is None and now.first is not None and now.first >= before.unbroken_since
    if was_empty or before.first == now.first:
        return replace(now, unbroken_since=before.unbroken_since)
    return now


def is_whole(found: Beginning, since: datetime, started: datetime | None) -> bool:
    """Return True if every line since a time is there.

    ``started``: when this container's Envoy started, None if unknown.

    A running Envoy has written something. So an empty file is a new one, unless it was empty before.
    """
    if found.unbroken_since <= since:
        return True
    if found.first is None:
        return False
    return found.first <= since or (started is not None and found.first <= started + START)
