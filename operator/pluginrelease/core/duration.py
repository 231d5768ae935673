"""Durations as Kubernetes writes them: ``90s``, ``2m``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = timedelta(days=365)
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def parse(text: str) -> timedelta:
    """The length of time, at most a year; raises `Refused` (InvalidDuration) for what is none."""
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Refused(Reason.INVALID_DURATION, f"{text!r} is not a duration", "Write it as 90s, 2m or 1h30m")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST.total_seconds():
        raise Refused(Reason.INVALID_DURATION, f"{text} is longer than a year", "Write a time that somebody would wait")
    return timedelta(seconds=seconds)
