"""Events as the API server keeps them: what was done, once, and how often it was said again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pluginrelease.api.reasons import Reason, StoredReason
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.status import event_records
from pluginrelease.core.status.event_records import SERIES, WRITTEN_EVERY, EventRecord, Regarding

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
RELEASE = Regarding("team", "auth", "uid-1", "7")
EVENT = Event("Warning", Reason.PLUGIN_REJECTED, "the gateway refuses it")
BODY = {"metadata": {"name": "auth.1", "uid": "event-1", "resourceVersion": "9"}}


def rendered(event: Event = EVENT, regarding: Regarding = RELEASE, now: datetime = NOW) -> dict[str, object]:
    return event_records.render(regarding, event, action="Apply", instance="pod_1", now=now)


def test_an_event_names_the_release_and_what_was_done() -> None:
    """An Event is about one release by its uid, and says who did what, when, and why."""
    found = rendered()
    assert found["regarding"] == {**RELEASE.reference(), "uid": "uid-1"}
    assert {found[key] for key in ("type", "reason", "action", "note")} == {
        "Warning",
        "PluginRejected",
        "Apply",
        "the gateway refuses it",
    }
    assert (found["reportingController"], found["reportingInstance"]) == ("pluginrelease.io/operator", "pod_1")
    assert found["eventTime"] == "2026-11-30T12:00:00.000000Z"


def test_two_events_have_two_names() -> None:
    """What is said at another time, or in other words, is another object; a long name of a release is cut."""
    later, other = rendered(now=NOW + timedelta(seconds=1)), rendered(replace(EVENT, message="another"))
    names = {found["metadata"]["name"] for found in (rendered(), later, other)}  # type: ignore[index]
    assert len(names) == 3
    long = rendered(regarding=replace(RELEASE, name="a." * 126))["metadata"]["name"]  # type: ignore[index]
    assert len(long) <= 253
    assert ".." not in long


def test_what_is_too_long_is_cut() -> None:
    """The API server takes 1,024 characters of a note and 128 of an instance."""
    found = event_records.render(
        RELEASE, replace(EVENT, message="x" * 5000), action="Apply", instance="p" * 300, now=NOW
    )
    assert (len(found["note"]), len(found["reportingInstance"])) == (1024, 128)


@pytest.mark.parametrize(
    ("reason", "action"),
    [
        (Reason.ARTIFACT_READY, "Fetch"),
        (Reason.UNTRUSTED_SIGNER, "Verify"),
        (Reason.MISSING_HOST_FUNCTION, "Check"),
        (Reason.OBJECT_NOT_OURS, "Apply"),
        (Reason.LOADED, "Observe"),
        (Reason.SUSPENDED, "Reconcile"),
        (StoredReason("OfAnotherVersion"), "Reconcile"),
    ],
)
def test_the_action_is_the_step(reason: Reason, action: str) -> None:
    """The action says which step found it."""
    assert event_records.name_action(Event("Normal", reason, "")) == action


# reason, count, seconds since it was said last, seconds since that was written; is it the same Event, is it written
SERIES_CASES = [
    ("said a second time", 1, 1.0, 1.0, True, True),
    ("said a third time soon", 2, 1.0, 1.0, True, False),
    ("said again and again for a minute", 9, 1.0, WRITTEN_EVERY.total_seconds(), True, True),
    ("said again much later", 2, SERIES.total_seconds() + 1, SERIES.total_seconds() + 1, False, True),
]


@pytest.mark.parametrize(
    ("reason", "count", "said", "written", "same", "due"), SERIES_CASES, ids=[row[0] for row in SERIES_CASES]
)
def test_a_series(reason: str, count: int, said: float, written: float, same: bool, due: bool) -> None:
    """What is said again soon is counted in the same Event, which is not written at each repetition."""
    record = EventRecord(BODY, count, NOW - timedelta(seconds=said), NOW - timedelta(seconds=written))
    assert event_records.is_of_series(record, NOW) is same, reason
    assert event_records.is_due(record, NOW) is due, reason


def test_a_series_is_written_to_the_event_that_was_seen() -> None:
    """A repetition names the Event's uid and version, and its number."""
    patch = event_records.render_series(EventRecord(BODY, 1, NOW, NOW), NOW)
    assert patch["metadata"] == {"uid": "event-1", "resourceVersion": "9"}
    assert patch["series"]["count"] == 2
