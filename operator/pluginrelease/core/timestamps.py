"""Points in time as status keeps them."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def metav1_time(when: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time is written."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def metav1_micro_time(when: datetime) -> str:
    """RFC 3339 in UTC with microseconds: log lines are compared with it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The time that `written`, `precise` or the API server wrote."""
    return datetime.fromisoformat(text)


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds, from either form that the header Retry-After has (RFC 9110, 10.2.3); None for what is neither."""
    if re.fullmatch(r"[0-9]{1,6}", value):
        return float(value)
    try:
        then = datetime.strptime(value, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None
    return max((then - now).total_seconds(), 0.0)
