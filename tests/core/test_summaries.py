"""The one ending: every state of a pass in kstatus's words; this table is the table of docs/states.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.report import Report
from tests.harness.releases import release
from tests.reports import (
    BACK,
    BLOCKED,
    DELETING,
    HELD,
    JOINED,
    LOADED,
    LOST,
    NEW,
    NO_PODS,
    NOW,
    OLD,
    PENDING,
    PUBLIC,
    REFUSED,
    RESYNC,
    SILENT,
    SUSPENDED,
    TRANSIENT,
    TRYING,
    UNHEALTHY,
    UNKNOWN,
    WAITING,
    WHY,
    after,
    broken,
    by_type,
    knowing,
    running,
    settle,
    taken_off,
    told,
    verdict_of,
    with_entry,
)


@dataclass(frozen=True)
class SummaryCase:
    """One row of docs/states.md."""

    reason: str
    report: Report
    phase: str
    ready: str
    also: str | None
    look_again: float


CROWD = tuple(replace(verdict_of(LOADED).pods[0]) for _ in range(api.MAX_PODS + 1))
CROWDED = with_entry(LOADED, verdict=replace(verdict_of(LOADED), pods=CROWD))
CROWDED_BADLY = with_entry(UNHEALTHY, verdict=replace(verdict_of(UNHEALTHY), pods=CROWD))

TABLE = [
    SummaryCase("seen running everywhere: done", LOADED, "Ready", "True", None, RESYNC),
    SummaryCase("still on its way: the operator goes on", PENDING, "Loading", "False", "Reconciling", 0.3),
    SummaryCase(
        "nobody is there to load it: a pod that comes is told", NO_PODS, "Loading", "False", "Reconciling", RESYNC
    ),
    SummaryCase("a gateway refused it: a person must act", UNHEALTHY, "Unhealthy", "False", "Stalled", 15),
    SummaryCase("it cannot be told: not called healthy, nor broken", UNKNOWN, "Unknown", "Unknown", None, 15),
    SummaryCase(
        "more pods by now than there is room for: not called healthy", CROWDED, "Unknown", "Unknown", "Stalled", 300
    ),
    SummaryCase(
        "a gateway goes wrong beside too many: that is told", CROWDED_BADLY, "Unhealthy", "False", "Stalled", 15
    ),
    SummaryCase("refused before any gateway: a person must act", REFUSED, "Refused", "False", "Stalled", RESYNC),
    SummaryCase("something is missing that may come", WAITING, "Waiting", "False", "Reconciling", 60),
    SummaryCase("the world does not answer: tried again", TRANSIENT, "Retrying", "False", "Reconciling", 1),
    SummaryCase("paused before it ran", SUSPENDED, "Suspended", "False", "Stalled", RESYNC),
    SummaryCase("it is going: the clean-up goes on", DELETING, "Waiting", "False", "Reconciling", 30),
    SummaryCase("nothing was learned yet", Report(), "Pending", "False", "Reconciling", RESYNC),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.reason)
def test_every_state_has_one_reading(case: SummaryCase) -> None:
    """A state is shown by Ready, at most one of Reconciling and Stalled, and a phase; each says the same reason."""
    ending = settle(case.report)
    found = by_type(ending.status)
    assert ending.status.phase == case.phase
    assert found["Ready"].status == case.ready
    assert {kind for kind in ("Reconciling", "Stalled") if kind in found} == ({case.also} - {None})
    assert all(found[kind].reason == found["Ready"].reason for kind in ("Reconciling", "Stalled") if kind in found)
    assert ending.look_again == pytest.approx(case.look_again)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.reason)
def test_every_ending_is_about_the_spec_that_was_read(case: SummaryCase) -> None:
    """observedGeneration is the spec's, also after a failure, in status and in what was found now."""
    ending = settle(case.report, release(metadata__generation=7))
    assert ending.status.observed_generation == 7
    assert by_type(ending.status)["Ready"].observed_generation == 7


def test_a_refusal_says_what_to_do() -> None:
    """The message of Ready and of the step is what was found, then the remedy."""
    found = by_type(settle(REFUSED).status)
    assert REFUSED.failure is not None
    error = REFUSED.failure.error
    assert found["Ready"].message == found["Compatible"].message == error.sentence()
    assert error.sentence().startswith(error.message)
    assert error.remedy in error.sentence()


def test_reconciling_and_stalled_go_when_they_are_over() -> None:
    """kstatus: an abnormal condition is there only while it is True."""
    assert "Stalled" not in by_type(settle(LOADED, after(REFUSED)).status)
    assert "Reconciling" not in by_type(settle(LOADED, after(PENDING)).status)


BY_WORKERS = WHY.model_copy(update={"reason": "PluginRefusedByWorkers"})


def on_detour(**detour: Any) -> api.RolloutStatus:
    """A way back on which the gateways of the one entry are healed."""
    fallback = api.GatewayFallback(name=PUBLIC, detour=api.Detour(**detour))
    return BACK.model_copy(update={"failure": BY_WORKERS, "fallbacks": [fallback]})


HEALED = on_detour(restarted=["uid-1"])


LEFT = on_detour(given_up=True)


JUST_NUDGED = api.Observation(
    revision=NEW,
    since="2026-01-01T11:58:00Z",
    refetch=api.Refetch(count=1, attempts=1, at=times.to_microseconds(NOW)),
)


AFTER_FAILURE = [
    (TRYING, SummaryCase("it is decided", running(UNHEALTHY, BACK, NEW), "RollingBack", "False", "Reconciling", 0)),
    (BACK, SummaryCase("it is written", running(PENDING, BACK), "RollingBack", "False", "Reconciling", 0.3)),
    (BACK, SummaryCase("it runs again", running(LOADED, BACK), "RolledBack", "False", "Stalled", RESYNC)),
    (BACK, SummaryCase("it runs, and a pod comes up", running(JOINED, BACK), "RolledBack", "False", "Stalled", 2)),
    (
        BACK,
        SummaryCase("it is there, and cannot be told", running(UNKNOWN, BACK), "RolledBack", "False", "Stalled", 15),
    ),
    (BACK, SummaryCase("it does not run either", running(UNHEALTHY, BACK), "RollbackFailed", "False", "Stalled", 15)),
    (HEALED, SummaryCase("gateways are healed", running(UNHEALTHY, HEALED), "RollingBack", "False", "Reconciling", 1)),
    (LEFT, SummaryCase("nothing heals them", running(UNHEALTHY, LEFT), "RollbackFailed", "False", "Stalled", 15)),
    (
        BACK,
        SummaryCase("nobody is there any more", running(NO_PODS, BACK), "RollingBack", "False", "Reconciling", RESYNC),
    ),
    (BACK, SummaryCase("its image is gone", broken(BACK, BLOCKED), "RollbackBlocked", "False", "Stalled", 30)),
    (BACK, SummaryCase("the revision is gone", broken(BACK, LOST), "RollbackBlocked", "False", "Stalled", RESYNC)),
    (BACK, SummaryCase("the world does not answer", broken(BACK, SILENT), "RollingBack", "False", "Reconciling", 1)),
    (
        TRYING,
        SummaryCase("a first one is to go", running(UNHEALTHY, BACK, NEW), "RollingBack", "False", "Reconciling", 0),
    ),
    (
        BACK,
        SummaryCase(
            "it cannot be taken off now", broken(BACK, SILENT, Goal.NOTHING), "RollingBack", "False", "Reconciling", 1
        ),
    ),
    (BACK, SummaryCase("it is off", taken_off(BACK), "Removed", "False", "Stalled", RESYNC)),
    (TRYING, SummaryCase("it is held", running(UNHEALTHY, HELD, NEW), "Held", "False", "Stalled", 15)),
    (HELD, SummaryCase("held, still failing", running(UNHEALTHY, HELD, NEW), "Held", "False", "Stalled", 15)),
    (HELD, SummaryCase("held, cannot be told", running(UNKNOWN, HELD, NEW), "Held", "False", "Stalled", 15)),
    (
        HELD,
        SummaryCase("held, the world does not answer", broken(HELD, SILENT, Goal.SPEC), "Held", "False", "Stalled", 1),
    ),
    (
        HELD,
        SummaryCase(
            "held, its gateways fetch anew",
            with_entry(running(UNHEALTHY, HELD, NEW), observation=JUST_NUDGED),
            "Held",
            "False",
            "Stalled",
            2,
        ),
    ),
]


@pytest.mark.parametrize(("known", "case"), AFTER_FAILURE, ids=[case.reason for _, case in AFTER_FAILURE])
def test_every_state_after_a_failure(known: api.RolloutStatus, case: SummaryCase) -> None:
    """Whatever is put back, Ready is False with the failure's reason, and the phase tells how far the way back is."""
    ending = settle(case.report, knowing(known))
    found = by_type(ending.status)
    assert ending.status.phase == case.phase
    why = case.report.rollout.failure if case.report.rollout else None
    assert (found["Ready"].status, found["Ready"].reason) == (case.ready, why.reason if why else None)
    assert found["Ready"].message.startswith(f"Revision {NEW} failed: It says: no. ")
    assert {kind for kind in ("Reconciling", "Stalled") if kind in found} == {case.also}
    assert all(found[kind].reason == found["Ready"].reason for kind in ("Reconciling", "Stalled") if kind in found)
    assert ending.look_again == pytest.approx(case.look_again)
    assert ending.status.stable_revision == OLD, "what ran everywhere last is still that"


def test_what_was_held_and_has_healed_is_ready() -> None:
    """A gateway that could fetch it after all ends the failure, and that is told."""
    healed = TRYING.model_copy(update={"completed_at": times.to_seconds(NOW)})
    ending = settle(running(LOADED, healed, NEW), knowing(HELD))
    assert (ending.status.phase, ending.status.stable_revision) == ("Ready", NEW)
    assert ("Normal", "Loaded") in [(event.type, event.reason) for event in ending.events]


@pytest.mark.parametrize(("report", "reason"), [(CROWDED, "TooManyPods"), (CROWDED_BADLY, "PluginRejected")])
def test_what_is_said_of_too_many_pods(report: Report, reason: str) -> None:
    """That there is no room to tell of all of them, unless one of them fails."""
    assert by_type(settle(report).status)["Ready"].reason == reason


LATE = TRYING.model_copy(update={"started_at": NOW - timedelta(hours=1)})
RAN_ONCE = LATE.model_copy(update={"completed_at": NOW - timedelta(minutes=59)})


@pytest.mark.parametrize(
    ("report", "stalled", "reason"),
    [
        (replace(PENDING, rollout=LATE), "ProgressDeadlineExceeded", "what loads"),
        (replace(WAITING, rollout=LATE), "ProgressDeadlineExceeded", "a tag that does not come"),
        (replace(TRANSIENT, rollout=LATE), "ProgressDeadlineExceeded", "a registry that does not answer"),
        (replace(REFUSED, rollout=LATE), "UnknownABI", "a refusal keeps its own reason"),
        (replace(UNHEALTHY, rollout=LATE), "PluginRejected", "so does what a gateway says"),
        (replace(NO_PODS, rollout=LATE), "NoGatewayPods", "a pod that does not come"),
        (replace(LOADED, rollout=LATE), None, "it runs"),
        (replace(UNKNOWN, rollout=LATE), None, "nothing is known since a moment"),
        (replace(PENDING, rollout=TRYING), None, "in time"),
        (
            replace(PENDING, rollout=LATE.model_copy(update={"completed_at": NOW - timedelta(minutes=59)})),
            None,
            "done once",
        ),
        (SUSPENDED, "Suspended", "paused before it ran"),
        (DELETING, None, "going"),
    ],
)
def test_a_rollout_that_takes_too_long_is_stalled(report: Report, stalled: str | None, reason: str) -> None:
    """Stalled in place of Reconciling: who waits for it may stop, and Ready still says what it waits for."""
    found = by_type(settle(report, knowing(None)).status)
    assert (found["Stalled"].reason if "Stalled" in found else None) == stalled, reason
    if stalled == "ProgressDeadlineExceeded":
        assert found["Ready"].reason != stalled
        assert "Reconciling" not in found
        assert all(part in found["Stalled"].message for part in ("rollout.progressDeadline", "10m"))


def test_a_deadline_that_is_no_time_does_not_break_the_ending() -> None:
    """What is wrong with it is told by the pass; the status is written all the same."""
    unending = knowing(None, spec__rollout__progressDeadline="999999999h")
    assert settle(replace(PENDING, rollout=LATE), unending).status.phase == "Loading"


def test_a_pod_that_comes_up_leaves_ready_alone() -> None:
    """What ran everywhere is Ready while one more pod starts; the counts tell, and it is looked at soon."""
    ending = settle(JOINED, after(LOADED))
    assert by_type(ending.status)["Ready"].status == "True"
    assert ending.status.summary is not None
    assert ending.status.summary.pods == "1/2"
    assert ending.look_again == 2.0
    assert told(LOADED, JOINED) == []


def test_an_old_revision_that_was_asked_for_is_stalled_and_says_so() -> None:
    """rollback-to makes another revision than the spec's run: Ready is False and Stalled, and says by whose wish."""
    asked = TRYING.model_copy(update={"rollback_to": OLD})
    report = replace(with_entry(LOADED, running=OLD, intent=Intent(Goal.REVISION, OLD)), rollout=asked)
    found = settle(report, knowing(asked, stable_revision=NEW)).status
    ready = by_type(found)["Ready"]
    assert (found.phase, ready.status, ready.reason) == ("RolledBack", "False", "RollbackTo")
    assert by_type(found)["Stalled"].reason == "RollbackTo"
    assert OLD in ready.message
    assert api.ROLLBACK_ANNOTATION in ready.message
    assert found.stable_revision == OLD
