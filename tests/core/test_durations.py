"""Durations are read as Kubernetes writes them, and nothing is guessed."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.core.errors import Refused
from pluginrelease.core.rollout import plan
from tests.harness.releases import release


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
    """`checks.load.timeout` means the time that its text says, and is told as it was written."""
    check = api.LoadCheck.model_validate({"timeout": text})
    assert check.timeout == timedelta(seconds=seconds), reason
    assert check.wire() == {"timeout": text}
    assert f"{check.timeout}" == text
    assert copy.deepcopy(check) == check
    assert str(copy.deepcopy(check).timeout) == text


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
        ("9" * 32 + "h", "longer than the CRD lets it be"),
    ],
)
def test_everything_else_is_refused_with_an_example(text: str, reason: str) -> None:
    """A text that is no duration is a fault of the field, with an example of one that is."""
    with pytest.raises(ValidationError, match="90s") as refused:
        api.LoadCheck.model_validate({"timeout": text})
    assert refused.value.errors()[0]["loc"] == ("timeout",), reason


def test_two_texts_of_one_length_are_equal() -> None:
    """What somebody writes otherwise is no other spec, and sums are plain lengths of time."""
    assert api.LoadCheck(timeout=api.Duration("60s")) == api.LoadCheck(timeout=api.Duration("1m"))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert now + api.Duration("1m") == now + timedelta(minutes=1)


@pytest.mark.parametrize(
    "path", ["spec__rollout__progressDeadline", "spec__checks__load__timeout", "spec__artifact__image__interval"]
)
@pytest.mark.parametrize("text", ["8761h", "9" * 31 + "h"])
def test_nobody_waits_for_longer_than_a_year(path: str, text: str) -> None:
    """Such a release can be read, so that its way back is open; nothing is rolled out by it, and the field is named."""
    found = release(**{path: text})
    with pytest.raises(Refused, match=path.removeprefix("spec__").replace("__", ".")) as refused:
        plan.check_durations(found.spec)
    assert (refused.value.reason, bool(refused.value.remedy)) == ("InvalidDuration", True)
    with pytest.raises(ValueError, match="a year"):
        api.Duration.parse(text)
