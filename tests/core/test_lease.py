"""Who may take the Lease, until when its holder may write, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pluginrelease.core.apiserver import lease
from pluginrelease.core.apiserver.lease import DURATION, RENEWED_WITHIN, WRITE_SECONDS, LeaseRecord, ObservedLease

NOW = 1000.0
TODAY = datetime(2026, 11, 30, 12, tzinfo=UTC)
PLACE = ("kube-system", "pluginrelease")
THEIRS = LeaseRecord("other", 3, renewed="2026-11-30T11:00:00.000000Z", version="7")


def seen(record: LeaseRecord, seconds: float) -> ObservedLease:
    """Unchanged for so long."""
    return ObservedLease(record, NOW - seconds)


# reason, what is known, may it be taken
TAKING: list[tuple[str, ObservedLease | None, bool]] = [
    ("there is none", None, True),
    ("it was given back", seen(replace(THEIRS, holder=""), 0.0), True),
    ("it is held", seen(THEIRS, 0.0), False),
    ("its holder may still write, and the API server may still end that", seen(THEIRS, DURATION), False),
    ("it was not renewed in time", seen(THEIRS, DURATION + 0.1), True),
    ("its holder asks for longer", seen(replace(THEIRS, duration=60), DURATION + 0.1), False),
    ("its holder asks for less than this version takes for a write", seen(replace(THEIRS, duration=1), 5.0), False),
    ("a container of the same pod held it, and has ended", seen(replace(THEIRS, holder="me"), 0.0), True),
]


@pytest.mark.parametrize(("reason", "observed", "may"), TAKING, ids=[row[0] for row in TAKING])
def test_who_may_take_it(reason: str, observed: ObservedLease | None, may: bool) -> None:
    """A Lease that somebody holds is left alone until it stood still for as long as it lasts."""
    assert lease.may_take(observed, "me", NOW) is may, reason


def test_a_renewal_is_a_change_and_a_label_is_none() -> None:
    """A Lease counts as renewed when its holder wrote it, not when somebody else put a label on it."""
    first = lease.observe(None, THEIRS, 100.0)
    assert lease.observe(first, replace(THEIRS, version="8"), 105.0).since == 100.0
    assert lease.observe(first, replace(THEIRS, renewed="later"), 105.0).since == 105.0
    assert lease.observe(first, replace(THEIRS, transitions=4), 105.0).since == 105.0


# reason, seconds since the last renewal had been sent (None: never), may a write begin
WRITING: list[tuple[str, float | None, bool]] = [
    ("it was never held", None, False),
    ("it has just been renewed", 0.0, True),
    ("one renewal failed", 4.0, True),
    ("until the last moment", RENEWED_WITHIN - 0.01, True),
    ("not renewed in time", RENEWED_WITHIN, False),
    ("the process was stopped meanwhile", 3600.0, False),
]


@pytest.mark.parametrize(("reason", "since", "may"), WRITING, ids=[row[0] for row in WRITING])
def test_when_a_write_may_begin(reason: str, since: float | None, may: bool) -> None:
    """A write begins only for a while after the last renewal that was answered."""
    assert lease.may_begin_write(None if since is None else NOW - since, NOW) is may, reason


def test_the_last_write_is_over_before_another_may_begin() -> None:
    """The API server ends a write that began at the last moment before the Lease can be anybody else's."""
    assert RENEWED_WITHIN + WRITE_SECONDS < DURATION


def test_each_taking_counts() -> None:
    """Who held the Lease before sees that it was taken, also by a container of the same pod; a renewal is no taking."""
    held = lease.take(seen(replace(THEIRS, holder="me"), 0.0), "me", TODAY)
    assert (held.holder, held.transitions, held.version) == ("me", 4, "7")
    assert lease.is_still_held(held, lease.renew(held, TODAY))
    assert not lease.is_still_held(replace(THEIRS, holder="me"), held)
    assert not lease.is_still_held(held, replace(held, holder="other", transitions=5))
    assert lease.take(None, "me", TODAY).transitions == 0


def test_one_that_is_given_back_is_nobodys() -> None:
    """A holder that ends lets the next one begin at once."""
    held = lease.take(None, "me", TODAY)
    assert lease.may_take(seen(lease.give_back(held, TODAY), 0.0), "other", NOW)


def test_it_is_read_as_it_is_written() -> None:
    """What this version writes it reads again; what is not there, or odd, is nobody's."""
    held = replace(lease.take(None, "me", TODAY), version="9")
    assert lease.read(lease.render(PLACE, held)) == held
    assert lease.read({"metadata": {}}) == LeaseRecord("", 0)
    assert lease.read({"metadata": {}, "spec": {"leaseTransitions": "x", "leaseDurationSeconds": None}}).holder == ""
    assert "resourceVersion" not in lease.render(PLACE, replace(held, version=""))["metadata"]


@pytest.mark.parametrize(
    ("watched", "places"),
    [
        ((), (("kube-system", "pluginrelease"),)),
        (("b", "a", "b"), (("a", "pluginrelease"), ("b", "pluginrelease"))),
    ],
)
def test_where_it_is(watched: tuple[str, ...], places: tuple[tuple[str, str], ...]) -> None:
    """A Lease belongs to what is watched; several are taken in one order by everybody."""
    assert lease.choose_places(watched, "kube-system") == places
