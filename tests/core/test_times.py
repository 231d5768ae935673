"""Points in time, in the models and as JSON has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api import times

NOON = datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC)
DATES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


class Moments(api.Model):
    """A model with both kinds of time."""

    coarse: times.Time
    precise: times.MicroTime


@pytest.mark.parametrize(
    ("when", "coarse", "precise", "reason"),
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
def test_times_are_written_as_kubernetes_does(when: datetime, coarse: str, precise: str, reason: str) -> None:
    """RFC 3339 in UTC: metav1.Time in whole seconds, metav1.MicroTime with microseconds."""
    assert Moments(coarse=when, precise=when).wire() == {"coarse": coarse, "precise": precise}, reason


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00:00.000000Z",
        "2026-01-01T14:00:00+02:00",
        "2026-01-01T12:00:00.000000999Z",
    ],
)
def test_a_time_of_the_api_server_is_read(text: str) -> None:
    """Whole seconds, microseconds, nanoseconds and offsets are one time, with its zone."""
    read = Moments.model_validate({"coarse": text, "precise": text})
    assert read.coarse == read.precise == datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-01-01T12:00:00", "2026-01-01"])
def test_what_is_no_time_is_not_read(text: str) -> None:
    """A time without a zone could be any of 24: it is none."""
    with pytest.raises(ValidationError):
        Moments.model_validate({"coarse": text, "precise": NOON})


@given(DATES, ZONES)
def test_what_is_written_is_read_again(when: datetime, zone: timezone) -> None:
    """A precise time is the same time when it is read; a coarse one is less than a second earlier."""
    local = when.replace(tzinfo=zone)
    moments = Moments(coarse=local, precise=local)
    assert Moments.model_validate(moments.wire()) == moments
    assert moments.precise == local
    assert timedelta() <= local - moments.coarse < timedelta(seconds=1)
