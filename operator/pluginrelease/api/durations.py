"""Durations in Kubernetes' form: ``90s``, ``2m``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

LONGEST = timedelta(days=365)
PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
MAX_CHARACTERS = 32
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


class Duration(timedelta):
    """A length of time. ``str()`` and JSON return the text as the user wrote it.

    Longer than a year counts as a year, and `is_too_long` says so. A release with such a duration can still be read,
    because a rollback needs no valid spec.
    """

    text: str
    is_too_long: bool

    def __new__(cls, text: str) -> Duration:
        """Read the text. Raises ValueError if it is not a duration."""
        seconds = _sum_up(text)
        duration = super().__new__(cls, seconds=min(seconds, LONGEST.total_seconds()))
        duration.text, duration.is_too_long = text, seconds > LONGEST.total_seconds()
        return duration

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read a text of the command line. Raises ValueError, also for more than a year."""
        duration = cls(text)
        if duration.is_too_long:
            raise ValueError(f"{text} is longer than a year: write a shorter time")
        return duration

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"

    def __reduce__(self) -> tuple[type[Duration], tuple[str]]:
        return Duration, (self.text,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validate, serialization=core_schema.to_string_ser_schema(when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"maxLength": MAX_CHARACTERS, "pattern": PATTERN, "type": "string"}


def _sum_up(text: str) -> float:
    """Return the seconds of a text. Raises ValueError."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write it as 90s, 2m or 1h30m")
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def _validate(given: object) -> Duration:
    if isinstance(given, Duration):
        return given
    if not isinstance(given, str) or len(given) > MAX_CHARACTERS:
        raise ValueError(f"a duration is a text of at most {MAX_CHARACTERS} characters, such as 90s, 2m or 1h30m")
    return Duration(given)
