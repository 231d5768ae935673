"""Points in time as Kubernetes writes them: metav1.Time in whole seconds, metav1.MicroTime with microseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer, WithJsonSchema


def to_seconds(when: datetime) -> datetime:
    """Return what a metav1.Time keeps of a time: UTC, whole seconds. It never rounds up."""
    return when.astimezone(UTC).replace(microsecond=0)


def to_microseconds(when: datetime) -> datetime:
    """Return what a metav1.MicroTime keeps of a time: all of it, in UTC."""
    return when.astimezone(UTC)


def format_time(when: datetime) -> str:
    """Return RFC 3339 in UTC with whole seconds, as metav1.Time is written."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(when: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds, as metav1.MicroTime is written: log lines are compared with it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time"})

Time = Annotated[
    AwareDatetime, AfterValidator(to_seconds), PlainSerializer(format_time, return_type=str, when_used="json"), _SCHEMA
]
MicroTime = Annotated[
    AwareDatetime,
    AfterValidator(to_microseconds),
    PlainSerializer(format_micro_time, return_type=str, when_used="json"),
    _SCHEMA,
]
