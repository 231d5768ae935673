"""The short form of `make false-alarms`: good changes while their gateways are disturbed, none of which is put back."""

from __future__ import annotations

from pathlib import Path

from pluginrelease_lab import Lab
from tests.harness.cluster import Operator
from tests.soak import false_alarms
from tests.soak.disturbances import Disturbance, Moment
from tests.soak.false_alarms import AlarmRow, GoodChange

CHANGES = [
    GoodChange(number, number in (3, 6), f"v{number % 2 + 1}", what, after, delay, number % 2, 1.0)
    for number, (what, after, delay) in enumerate(
        [
            (Disturbance.REPLACED, Moment.LOADING, 0.2),
            (Disturbance.RESTARTED, Moment.LOADING, 0.5),
            (Disturbance.KILLED, Moment.LOADING, 0.8),
            (Disturbance.SCALED_UP, Moment.LOADING, 0.0),
            (Disturbance.FAULT, Moment.BEFORE, -1.5),
            (Disturbance.SCALED_DOWN, Moment.BEFORE, 0.0),
            (Disturbance.KILLED, Moment.WATCHED, 1.0),
            (Disturbance.EVICTED, Moment.WATCHED, 1.0),
        ]
    )
]


def test_no_good_change_is_put_back(lab: Lab, running_operator: Operator, tmp_path: Path) -> None:
    """Pods that go, come or are replaced, one SIGKILL, and what happened before the write are no signs."""
    rows: list[AlarmRow] = []
    false_alarms.run(lab, running_operator, tmp_path, CHANGES, print, rows.append)
    assert len(rows) == len(CHANGES)
    assert list(false_alarms.wrong(rows)) == []
    assert [row.number for row in rows if row.put_back] == []
