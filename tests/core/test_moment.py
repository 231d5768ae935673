"""Points in time as status keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease.core import timestamps

NOON = datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC)
DATES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("when", "written", "precise", "reason"),
    [
        (NOON, "2026-01-01T12:00:00Z", "2026-01-01T12:00:00.999999Z", "never rounded up: nothing happened later"),
        (
            NOON.replace(microsecond=0),
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:00:00.000000Z",
            "always of one length, so that texts sort as times do",
        ),
        (
            datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            "2025-12-31T23:00:00Z",
            "2025-12-31T23:00:00.000000Z",
            "another zone's time is told in UTC",
        ),
    ],
)
def test_times_are_written_as_kubernetes_does(when: datetime, written: str, precise: str, reason: str) -> None:
    """RFC 3339 in UTC: metav1.Time in whole seconds, metav1.MicroTime with microseconds."""
    assert (timestamps.metav1_time(when), timestamps.metav1_micro_time(when)) == (written, precise), reason


@pytest.mark.parametrize("text", ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00.000000Z", "2026-01-01T14:00:00+02:00"])
def test_a_time_of_the_api_server_is_read(text: str) -> None:
    """Whole seconds, microseconds and offsets are one time, with its zone."""
    assert timestamps.parse_time(text) == datetime(2026, 1, 1, 12, tzinfo=UTC)


@given(DATES, ZONES)
def test_what_is_written_is_read_again(when: datetime, zone: timezone) -> None:
    """A precise time is the same time when it is read; a written one is less than a second earlier."""
    local = when.replace(tzinfo=zone)
    assert timestamps.parse_time(timestamps.metav1_micro_time(local)) == local
    assert timedelta() <= local - timestamps.parse_time(timestamps.metav1_time(local)) < timedelta(seconds=1)
