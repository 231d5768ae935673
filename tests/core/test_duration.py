"""Durations are read as Kubernetes writes them, and nothing is guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pluginrelease.core import duration
from pluginrelease.core.errors import Refused


@pytest.mark.parametrize(
    ("text", "seconds", "reason"),
    [
        ("90s", 90, "one unit"),
        ("2m", 120, "m is minutes"),
        ("500ms", 0.5, "ms is not minutes followed by s"),
        ("1h30m", 5400, "units add up"),
        ("1.5h", 5400, "a fraction is allowed, as in Go"),
        ("0s", 0, "no time at all is a time"),
        ("8760h", 365 * 86400, "a year is the longest"),
    ],
)
def test_what_kubernetes_writes_is_read(text: str, seconds: float, reason: str) -> None:
    """`checks.load.timeout` means the time that its text says."""
    assert duration.parse(text) == timedelta(seconds=seconds), reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing"),
        ("90", "a number without a unit could be anything"),
        ("2 m", "white space"),
        ("-5s", "a time cannot run backwards"),
        ("5d", "Kubernetes has no days"),
        ("2mm", "something is left over"),
        ("x2m", "something stands before it"),
        ("8761h", "nobody waits for longer than a year"),
        ("9" * 31 + "h", "a number beyond every clock, which the CRD's pattern lets through"),
    ],
)
def test_everything_else_is_refused_with_the_remedy(text: str, reason: str) -> None:
    """A time that is none ends in InvalidDuration and an example, not in a crash of the operator."""
    with pytest.raises(Refused) as refused:
        duration.parse(text)
    assert refused.value.reason == "InvalidDuration", reason
    assert refused.value.remedy, reason
