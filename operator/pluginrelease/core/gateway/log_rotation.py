"""Whether a container's log is there since a time, or begins with a rotation.

The API server serves the current file of a log alone (kubernetes#11046, #115701): after a rotation, by default at
10 MiB, it begins anew, and what was before is gone without a word. That the *answer* begins late shows nothing: a quiet
gateway writes nothing for hours. It shows in how the *file* begins, whatever time is asked for: not after the wanted
one, or as it did at an earlier look, or with the container, as Istio's agent and Envoy write a dozen lines while they
start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# from when Envoy has read its bootstrap: the agent, and Envoy's own warnings about it, have written by then
START = timedelta(seconds=10)


@dataclass(frozen=True)
class Beginning:
    """How a container's log file begins: the time of its first line, None for an empty file.

    ``unbroken_since``: no rotation since then. Both by the gateway's clock.
    """

    first: datetime | None
    unbroken_since: datetime


def carry(before: Beginning | None, now: Beginning) -> Beginning:
    """What is known after a look at the same container: a file that begins as before was not rotated in between."""
    if before is None:
        return now
    was_empty = before.first is None and now.first is not None and now.first >= before.unbroken_since
    if was_empty or before.first == now.first:
        return replace(now, unbroken_since=before.unbroken_since)
    return now


def is_whole(found: Beginning, since: datetime, started: datetime | None) -> bool:
    """Whether every line since a time is there; ``started``: when this container's Envoy did, None if unknown.

    An Envoy that runs has written: an empty file is a new one, unless it was empty before.
    """
    if found.unbroken_since <= since:
        return True
    if found.first is None:
        return False
    return found.first <= since or (started is not None and found.first <= started + START)
