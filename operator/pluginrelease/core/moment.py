"""Points in time as status keeps them."""

from __future__ import annotations

from datetime import UTC, datetime


def written(when: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time is written."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise(when: datetime) -> str:
    """RFC 3339 in UTC with microseconds: log lines are compared with it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read(text: str) -> datetime:
    """The time that `written`, `precise` or the API server wrote."""
    return datetime.fromisoformat(text)
