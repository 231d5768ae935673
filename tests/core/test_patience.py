"""What may last is Stalled when its time is over: no state makes a pipeline wait for ever."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease.core.rollout.report import Report
from tests import reports, states
from tests.reports import BACK, LOADED, NEW, NOW, OLD, SUSPENDED, by_type, knowing, settle
from tests.states import LATE_BEGIN, STATES, State, settled, under_way, unknown

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.name}: {state.case}")
def test_who_waits_is_told_one_thing(state: State) -> None:
    """Reconciling and Stalled are never True together, and whoever is not Ready has one of the two."""
    found = {condition["type"]: condition["status"] for condition in state.found["status"]["conditions"]}
    also = [kind for kind in ("Reconciling", "Stalled") if found.get(kind) == "True"]
    assert len(also) <= 1
    assert bool(also) != (found["Ready"] == "True") or state.name == "New"


def read_page() -> dict[str, str]:
    """The state and the kstatus column of the table."""
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| **")]
    return {re.sub(r"^\*\*([^*]+)\*\*.*$", r"\1", row[1].strip()): row[6].strip() for row in rows}


def test_the_page_says_what_kstatus_makes_of_each_state() -> None:
    """docs/states.md has every state, and of each what the table of `tests.states` has, whose rows kstatus computed."""
    expected: dict[str, list[str]] = {}
    for state in STATES:
        known = expected.setdefault(state.name, [])
        known += [state.kstatus] if state.kstatus not in known else []
    words = {name: " or " if name == "Suspended" else ", then " for name in expected}
    assert read_page() == {name: words[name].join(found) for name, found in expected.items()}


DONE = settled().status.rollout
assert DONE is not None


@pytest.mark.parametrize(
    ("before", "ready", "stalled", "reason"),
    [
        (settled(), "True", False, "what runs is what the spec wants"),
        (
            settled(gateways=[reports.stood_before(revision=NEW)]),
            "False",
            True,
            "an entry was seen running another one",
        ),
        (settled(target_revision=None), "False", True, "nobody knows yet what is wanted"),
        (knowing(reports.TRYING, target_revision=NEW), "False", True, "it was never seen everywhere"),
        (knowing(BACK, target_revision=OLD), "False", True, "something else runs, as that failed"),
        (knowing(DONE.model_copy(update={"rollback_to": OLD})), "False", True, "something else was asked for"),
        (settled(spec__artifact__image__ref="registry.example.com/plugins/auth:2"), "False", True, "another image"),
    ],
)
def test_a_suspended_release_keeps_ready_while_it_runs_what_is_wanted(
    before: api.Release, ready: str, stalled: bool, reason: str
) -> None:
    """Suspended is no failure of what runs; but what will not come by itself makes nobody wait."""
    found = by_type(settle(SUSPENDED, before).status)
    assert (found["Ready"].status, found["Ready"].reason, "Stalled" in found) == (ready, "Suspended", stalled), reason


@pytest.mark.parametrize(("state", "ready"), [("Loaded", "True"), ("Unknown", "Unknown"), ("Unhealthy", "False")])
def test_a_suspended_release_is_as_well_as_it_was_seen_last(state: str, ready: str) -> None:
    """Nobody looks any more, so that what was seen last stays; what was not well is Stalled."""
    [row] = settled().status.gateways
    before = settled(gateways=[row.model_copy(update={"state": state})])
    for _ in range(2):  # the second pass knows the first one's Ready
        before = before.model_copy(update={"status": settle(SUSPENDED, before).status})
        found = by_type(before.status)
        assert (found["Ready"].status, "Stalled" in found) == (ready, ready != "True")


READY_SINCE = by_type(settle(LOADED).status)["Ready"]


def turned_bad(status: str, at: datetime) -> api.Release:
    """A release that was Ready, and is not since."""
    turned = READY_SINCE.model_copy(update={"status": status, "last_transition_time": at})
    return settled(conditions=[turned])


COMPLETED = settled().status.rollout


@pytest.mark.parametrize(
    ("report", "before", "stalled", "reason"),
    [
        (under_way(reports.NO_PODS), knowing(None), None, "for a first pod one may wait a while"),
        (under_way(reports.NO_PODS, late=True), knowing(None), "NoGatewayPods", "and not for ever"),
        (unknown(timedelta(minutes=1)), knowing(None), None, "a sign may come yet"),
        (unknown(timedelta(minutes=3)), knowing(None), "NoPositiveSign", "no sign comes after load.timeout"),
        (replace(reports.UNKNOWN, rollout=COMPLETED), turned_bad("True", LATE_BEGIN), None, "a gateway is just silent"),
        (
            replace(reports.UNKNOWN, rollout=COMPLETED),
            turned_bad("Unknown", NOW - timedelta(minutes=3)),
            "NoPositiveSign",
            "it stays silent",
        ),
        (replace(reports.NO_PODS, rollout=COMPLETED), turned_bad("True", LATE_BEGIN), None, "just scaled to nothing"),
        (replace(reports.NO_PODS, rollout=COMPLETED), turned_bad("False", LATE_BEGIN), "NoGatewayPods", "it stays so"),
        (
            replace(reports.TRANSIENT, rollout=COMPLETED),
            turned_bad("False", LATE_BEGIN),
            "ProgressDeadlineExceeded",
            "after Ready, too, a registry may be silent for ever",
        ),
    ],
)
def test_what_lasts_is_stalled(report: Report, before: api.Release, stalled: str | None, reason: str) -> None:
    """Each wait has a length; when it is over Stalled says so in place of Reconciling, and it is noticed in time."""
    ending = settle(report, before)
    found = by_type(ending.status)
    assert (found["Stalled"].reason if "Stalled" in found else None) == stalled, reason
    assert ("Reconciling" in found) == (stalled is None), reason


def test_the_end_of_a_wait_is_noticed_in_time() -> None:
    """A release that is looked at every five minutes is Stalled a moment after its deadline, not at the next look."""
    begun = reports.TRYING.model_copy(update={"started_at": NOW - timedelta(minutes=9, seconds=59)})
    assert settle(replace(reports.NO_PODS, rollout=begun)).look_again == pytest.approx(1.1, abs=0.01)


def test_a_way_back_that_does_not_end_is_stalled_and_goes_on() -> None:
    """Who waits for it may stop waiting; it is looked at as soon as before."""
    ending = settle(reports.running(reports.PENDING, states.OVERDUE_BACK), knowing(states.OVERDUE_BACK))
    found = by_type(ending.status)
    assert (found["Stalled"].reason, ending.status.phase) == ("PluginRejected", "RollingBack")
    assert ending.look_again == pytest.approx(0.3)


def test_the_end_of_a_wait_is_an_event() -> None:
    """What was still awaited was no event; that it has taken too long is one, once."""
    waiting = reports.settle(unknown(timedelta(minutes=1)), knowing(None))
    before = knowing(None).model_copy(update={"status": waiting.status})
    assert "NoPositiveSign" not in [event.reason for event in waiting.events]
    ending = settle(unknown(timedelta(minutes=3)), before)
    assert ("Warning", "NoPositiveSign") in [(event.type, event.reason) for event in ending.events]
    again = settle(unknown(timedelta(minutes=3)), before.model_copy(update={"status": ending.status}))
    assert again.events == ()
