"""Whether a log is there since a time, told by how its file begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease.core.gateway import log_rotation, logs
from pluginrelease.core.gateway.log_rotation import Beginning

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("first", "unbroken", "since", "started", "whole", "reason"),
    [
        (-60.0, 30.0, 20.0, -60.0, True, "a quiet gateway: its file is old, and says nothing of late"),
        (20.0, 30.0, 20.0, -60.0, True, "the file begins just then"),
        (21.0, 30.0, 20.0, -60.0, False, "rotated since the write: what Envoy said of it may be gone"),
        (21.0, 30.0, 22.0, -60.0, True, "rotated before what is wanted now"),
        (21.0, 19.0, 20.0, -60.0, True, "it began so before the write, too: nothing was rotated since"),
        (25.0, 30.0, 20.0, 25.0, True, "a new container, whose log begins with it"),
        (25.1, 30.0, 20.0, 25.0, True, "and which takes a moment to speak"),
        (24.9, 30.0, 20.0, 25.0, True, "Istio's agent speaks before Envoy has started"),
        (26.0, 30.0, 20.0, 25.0, False, "a new container, whose log was rotated after its start"),
        (None, 30.0, 20.0, -60.0, False, "an empty file: rotated, and nothing written since"),
        (None, 19.0, 20.0, -60.0, True, "it was empty before the write, and is"),
        (21.0, 30.0, 20.0, None, False, "nobody knows when Envoy started"),
        (19.0, 30.0, 20.0, None, True, "which does not matter here"),
    ],
)
def test_a_whole_log(
    first: float | None, unbroken: float, since: float, started: float | None, whole: bool, reason: str
) -> None:
    """Only evidence of a rotation, and never silence, makes a log incomplete."""
    found = Beginning(None if first is None else at(first), at(unbroken))
    assert log_rotation.is_whole(found, at(since), None if started is None else at(started)) is whole, reason


@pytest.mark.parametrize(
    ("before", "now", "unbroken", "reason"),
    [
        (None, (1.0, 10.0), 10.0, "the first look"),
        ((1.0, 10.0), (1.0, 20.0), 10.0, "it begins as before"),
        ((1.0, 10.0), (15.0, 20.0), 20.0, "it begins later: rotated"),
        ((1.0, 10.0), (None, 20.0), 20.0, "it is empty: rotated"),
        ((None, 10.0), (None, 20.0), 10.0, "it is still empty"),
        ((None, 10.0), (15.0, 20.0), 10.0, "its first line came"),
        ((None, 10.0), (5.0, 20.0), 20.0, "a first line from before it was empty: whatever that is, it is no proof"),
    ],
)
def test_what_is_carried_on(
    before: tuple[float | None, float] | None, now: tuple[float | None, float], unbroken: float, reason: str
) -> None:
    """A file that begins as it did is the same file."""

    def beginning(first: float | None, seen: float) -> Beginning:
        return Beginning(None if first is None else at(first), at(seen))

    found = log_rotation.carry(beginning(*before) if before else None, beginning(*now))
    assert found == Beginning(None if now[0] is None else at(now[0]), at(unbroken)), reason


@given(st.lists(st.tuples(st.none() | st.integers(0, 100), st.integers(0, 10)), min_size=1, max_size=8))
def test_it_is_never_called_unbroken_from_after_the_look(looks: list[tuple[int | None, int]]) -> None:
    """Whatever comes in whatever order: unbroken since some look, and the newest beginning."""
    found: Beginning | None = None
    clock = 0
    seen = []
    for first, later in looks:
        clock += later
        now = Beginning(None if first is None else at(first), at(clock))
        found = log_rotation.carry(found, now)
        seen.append(at(clock))
        assert found.first == now.first
        assert found.unbroken_since in seen


@pytest.mark.parametrize(
    ("text", "since", "reaches", "reason"),
    [
        ("2026-01-01T12:01:00.000001Z\tinfo\ta\tx", 2, True, "a line from before"),
        ("2026-01-01T12:03:00.000001Z\tinfo\ta\tx", 2, False, "the first line is later"),
        ("x\n[2026-01-01T12:01:00.000Z] GET\n2026-01-01T12:03:00Z\tinfo\ta\tx", 2, False, "strangers' times count not"),
        ('{"level":"info","time":"2026-01-01T12:01:00Z"}', 2, True, "as JSON"),
        ("", 2, False, "nothing"),
    ],
)
def test_a_line_from_before(text: str, since: float, reaches: bool, reason: str) -> None:
    """Where the answer has one, nothing between it and the time is missing, and no more is asked."""
    assert logs.reaches_back(text, at(since)) is reaches, reason


@pytest.mark.parametrize(
    ("head", "left", "reason"),
    [
        ("2026-01-01T12:01:00.5Z old\n2026-01-01T12:02:00Z new", "new", "a line that is as old as the time stays"),
        ("2026-01-01T12:03:00Z a\u2028b\n2026-01-01T12:04:00Z ", "a\u2028b\n", "only a line feed ends a line"),
        ("no time", "time", "a line whose time cannot be read is kept"),
        ("", "", "nothing"),
    ],
)
def test_of_a_whole_log_what_is_older_is_cut(head: str, left: str, reason: str) -> None:
    """It is what the API server would have sent for the time, by the kubelet's clock and not by what is in a line."""
    assert logs.cut_before(head, at(2)) == left, reason
