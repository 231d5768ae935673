"""The one ending: every state of a pass in kstatus's words; this table is the table of docs/states.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import timestamps
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.status.report import Report
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
    with_entry,
)


@dataclass(frozen=True)
class Case:
    """One row of docs/states.md."""

    reason: str
    report: Report
    phase: str
    ready: str
    also: str | None
    look_again: float


TABLE = [
    Case("seen running everywhere: done", LOADED, "Ready", "True", None, RESYNC),
    Case("still on its way: the operator goes on", PENDING, "Loading", "False", "Reconciling", 0.3),
    Case("nobody is there to load it: a pod that comes is told", NO_PODS, "Loading", "False", "Reconciling", RESYNC),
    Case("a gateway refused it: a person must act", UNHEALTHY, "Unhealthy", "False", "Stalled", 15),
    Case("it cannot be told: not called healthy, nor broken", UNKNOWN, "Unknown", "Unknown", None, 15),
    Case("refused before any gateway: a person must act", REFUSED, "Refused", "False", "Stalled", RESYNC),
    Case("something is missing that may come", WAITING, "Waiting", "False", "Reconciling", 60),
    Case("the world does not answer: tried again", TRANSIENT, "Retrying", "False", "Reconciling", 1),
    Case("a person has paused it", SUSPENDED, "Suspended", "Unknown", None, RESYNC),
    Case("it is going: the clean-up goes on", DELETING, "Waiting", "False", "Reconciling", 30),
    Case("nothing was learned yet", Report(), "Pending", "False", "Reconciling", RESYNC),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.reason)
def test_every_state_has_one_reading(case: Case) -> None:
    """A state is shown by Ready, at most one of Reconciling and Stalled, and a phase; each says the same reason."""
    ending = settle(case.report)
    found = by_type(ending.status)
    assert ending.status.phase == case.phase
    assert found["Ready"].status == case.ready
    assert {kind for kind in ("Reconciling", "Stalled") if kind in found} == ({case.also} - {None})
    assert all(found[kind].reason == found["Ready"].reason for kind in ("Reconciling", "Stalled") if kind in found)
    assert ending.look_again == pytest.approx(case.look_again)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.reason)
def test_every_ending_is_about_the_spec_that_was_read(case: Case) -> None:
    """observedGeneration is the spec's, also after a failure, in status and in what was found now."""
    ending = settle(case.report, release(metadata__generation=7))
    assert ending.status.observed_generation == 7
    assert by_type(ending.status)["Ready"].observed_generation == 7


def test_a_refusal_says_what_to_do() -> None:
    """The message of Ready and of the step is what was found, then the remedy."""
    found = by_type(settle(REFUSED).status)
    assert found["Ready"].message == found["Compatible"].message == "no ABI that Envoy knows. Build it anew"


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
    refetch=api.Refetch(count=1, attempts=1, at=timestamps.metav1_micro_time(NOW)),
)


AFTER_FAILURE = [
    (TRYING, Case("it is decided", running(UNHEALTHY, BACK, NEW), "RollingBack", "False", "Reconciling", 0)),
    (BACK, Case("it is written", running(PENDING, BACK), "RollingBack", "False", "Reconciling", 0.3)),
    (BACK, Case("it runs again", running(LOADED, BACK), "RolledBack", "False", "Stalled", RESYNC)),
    (BACK, Case("it runs, and a pod comes up", running(JOINED, BACK), "RolledBack", "False", "Stalled", 2)),
    (BACK, Case("it is there, and cannot be told", running(UNKNOWN, BACK), "RolledBack", "False", "Stalled", 15)),
    (BACK, Case("it does not run either", running(UNHEALTHY, BACK), "RollbackFailed", "False", "Stalled", 15)),
    (HEALED, Case("gateways are healed", running(UNHEALTHY, HEALED), "RollingBack", "False", "Reconciling", 1)),
    (LEFT, Case("nothing heals them", running(UNHEALTHY, LEFT), "RollbackFailed", "False", "Stalled", 15)),
    (BACK, Case("nobody is there any more", running(NO_PODS, BACK), "RollingBack", "False", "Reconciling", RESYNC)),
    (BACK, Case("its image is gone", broken(BACK, BLOCKED), "RollbackBlocked", "False", "Stalled", 30)),
    (BACK, Case("the revision is gone", broken(BACK, LOST), "RollbackBlocked", "False", "Stalled", RESYNC)),
    (BACK, Case("the world does not answer", broken(BACK, SILENT), "RollingBack", "False", "Reconciling", 1)),
    (TRYING, Case("a first one is to go", running(UNHEALTHY, BACK, NEW), "RollingBack", "False", "Reconciling", 0)),
    (
        BACK,
        Case(
            "it cannot be taken off now", broken(BACK, SILENT, Goal.NOTHING), "RollingBack", "False", "Reconciling", 1
        ),
    ),
    (BACK, Case("it is off", taken_off(BACK), "Removed", "False", "Stalled", RESYNC)),
    (TRYING, Case("it is held", running(UNHEALTHY, HELD, NEW), "Held", "False", "Stalled", 15)),
    (HELD, Case("held, still failing", running(UNHEALTHY, HELD, NEW), "Held", "False", "Stalled", 15)),
    (HELD, Case("held, cannot be told", running(UNKNOWN, HELD, NEW), "Held", "False", "Stalled", 15)),
    (HELD, Case("held, the world does not answer", broken(HELD, SILENT, Goal.SPEC), "Held", "False", "Stalled", 1)),
    (
        HELD,
        Case(
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
def test_every_state_after_a_failure(known: api.RolloutStatus, case: Case) -> None:
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


def test_a_rollback_that_hangs_is_not_stalled_by_the_deadline() -> None:
    """progressDeadline is about a rollout: the way back from it goes on for as long as it takes."""
    long_ago = BACK.model_copy(update={"started_at": "2025-01-01T00:00:00Z"})
    assert "Stalled" not in by_type(settle(running(PENDING, long_ago), knowing(long_ago)).status)


def test_what_was_held_and_has_healed_is_ready() -> None:
    """A gateway that could fetch it after all ends the failure, and that is told."""
    healed = TRYING.model_copy(update={"completed_at": timestamps.metav1_time(NOW)})
    ending = settle(running(LOADED, healed, NEW), knowing(HELD))
    assert (ending.status.phase, ending.status.stable_revision) == ("Ready", NEW)
    assert ("Normal", "Loaded") in [(event.type, event.reason) for event in ending.events]


LATE = TRYING.model_copy(update={"started_at": "2026-01-01T11:00:00Z"})


@pytest.mark.parametrize(
    ("report", "stalled", "reason"),
    [
        (replace(PENDING, rollout=LATE), "ProgressDeadlineExceeded", "what loads"),
        (replace(WAITING, rollout=LATE), "ProgressDeadlineExceeded", "a tag that does not come"),
        (replace(TRANSIENT, rollout=LATE), "ProgressDeadlineExceeded", "a registry that does not answer"),
        (replace(REFUSED, rollout=LATE), "UnknownABI", "a refusal keeps its own reason"),
        (replace(UNHEALTHY, rollout=LATE), "PluginRejected", "so does what a gateway says"),
        (replace(NO_PODS, rollout=LATE), None, "for a first pod one may wait for ever"),
        (replace(LOADED, rollout=LATE), None, "it runs"),
        (replace(UNKNOWN, rollout=LATE), None, "nothing goes on"),
        (replace(PENDING, rollout=TRYING), None, "in time"),
        (replace(PENDING, rollout=LATE.model_copy(update={"completed_at": "2026-01-01T11:01:00Z"})), None, "done once"),
        (SUSPENDED, None, "paused"),
        (DELETING, None, "going"),
    ],
)
def test_a_rollout_that_takes_too_long_is_stalled_and_goes_on(report: Report, stalled: str | None, reason: str) -> None:
    """Reconciling and Stalled: who waits for it may stop, and Ready still says what it waits for."""
    found = by_type(settle(report, knowing(None)).status)
    assert (found["Stalled"].reason if "Stalled" in found else None) == stalled, reason
    if stalled == "ProgressDeadlineExceeded":
        assert found["Reconciling"].reason == found["Ready"].reason != stalled
        assert "longer than rollout.progressDeadline (10m)" in found["Stalled"].message


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
    assert f"Revision {OLD} was asked for by pluginrelease.io/rollback-to" in ready.message
    assert found.stable_revision == OLD
