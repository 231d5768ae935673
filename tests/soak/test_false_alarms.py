"""Which changes are played, and what is counted as a false alarm."""

from __future__ import annotations

import pytest

from tests.soak import alarm_page, disturbances, false_alarms
from tests.soak.disturbances import Disturbance, Moment
from tests.soak.false_alarms import AlarmRow

SEED = 4


def test_a_number_is_one_change() -> None:
    """The seed alone decides what happens and when, whatever was played before; another seed is another series."""
    series = [false_alarms.draw(SEED, number) for number in range(200)]
    assert series[7] == false_alarms.draw(SEED, 7)
    assert series != [false_alarms.draw(SEED + 1, number) for number in range(200)]
    assert {change.what for change in series} == set(Disturbance)
    assert {change.is_first for change in series} == {True, False}


@pytest.mark.parametrize(
    ("happened", "written", "ready", "when"),
    [
        ((0.9,), 2.0, 3.0, Moment.BEFORE),
        ((1.5,), 2.0, 3.0, Moment.BESIDE),
        ((2.5,), 2.0, 3.0, Moment.LOADING),
        ((2.5,), 2.0, None, Moment.LOADING),
        ((3.5,), 2.0, 3.0, Moment.WATCHED),
        ((0.5, 3.5), 2.0, 3.0, Moment.BEFORE),
        ((1.0,), None, None, Moment.BEFORE),
    ],
)
def test_when_it_happened(
    happened: tuple[float, ...], written: float | None, ready: float | None, when: Moment
) -> None:
    """A disturbance belongs to the time in which it began."""
    assert disturbances.find_moment(happened, written, ready) is when


ROWS: list[tuple[str, Disturbance, Moment, str, bool]] = [
    ("a fault after the write is a sign", Disturbance.FAULT, Moment.LOADING, "GatewayCrashed", False),
    ("so is too much memory", Disturbance.OUT_OF_MEMORY, Moment.WATCHED, "GatewayCrashed", False),
    ("two ends are no accident", Disturbance.KILLED_TWICE, Moment.WATCHED, "GatewayCrashed", False),
    ("one may be one", Disturbance.KILLED, Moment.LOADING, "GatewayCrashed", True),
    ("nothing before the write counts", Disturbance.FAULT, Moment.BEFORE, "GatewayCrashed", True),
    ("a pod that was asked to go", Disturbance.EVICTED, Moment.LOADING, "GatewayCrashed", True),
    ("all is well", Disturbance.FAULT, Moment.LOADING, "", False),
]


@pytest.mark.parametrize(("why", "what", "when", "put_back", "wrong"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_a_false_alarm(why: str, what: Disturbance, when: Moment, put_back: str, wrong: bool) -> None:
    """What is put back for something else than the signs have is one."""
    assert AlarmRow(1, False, what, when, put_back).is_wrong is wrong, why


def test_the_page_says_what_was_recorded() -> None:
    """docs/false-alarms.md is what `make false-alarms` wrote, and nothing was put back wrongly in it."""
    assert alarm_page.PAGE.read_text(encoding="utf-8") == alarm_page.render()
    rows = alarm_page.recorded()
    assert [row.number for row in rows] == list(range(len(rows)))
    assert list(false_alarms.wrong(rows)) == []


def test_what_comes_to_no_end_counts_as_wrong() -> None:
    """A good release that is neither Ready nor put back is wrong, too."""
    assert AlarmRow(1, False, Disturbance.EVICTED, Moment.LOADING, trouble="Loading").is_wrong
