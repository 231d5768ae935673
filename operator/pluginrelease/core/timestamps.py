"""Times in HTTP headers."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds, from both forms of the header Retry-After (RFC 9110, 10.2.3); None for any other text."""
    if re.fullmatch(r"[0-9]{1,6}", value):
        return float(value)
    try:
        then = datetime.strptime(value, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None
    return max((then - now).total_seconds(), 0.0)
