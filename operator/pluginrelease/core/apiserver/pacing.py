"""How long to wait after the API server refused a request because it has too many. Times are in seconds."""

from __future__ import annotations

# for one request, with all its tries
PATIENCE = 60.0
FIRST, LONGEST = 1.0, 15.0


def pause(retry_after: float | None, tries: int) -> float:
    """Return the seconds without requests after the ``tries``-th refusal in a row.

    At least as long as the API server asks for, and longer after each further refusal.
    """
    return max(retry_after or 0.0, min(LONGEST, FIRST * 2.0 ** min(tries - 1, 10)))
