"""The one ending: every state of a pass in kstatus's words, what is told, and when it is looked at again.

The table here is the table of docs/states.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.core import timestamps
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout import history
from pluginrelease.core.status import settlement
from pluginrelease.core.status.conditions import checks_still_valid
from pluginrelease.core.status.report import Failure, Report
from tests.harness.releases import ARTIFACT, release

NOW = datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
RESYNC = 300.0

APPLIED = (
    Finding(ConditionType.ARTIFACT_READY, "True", "ArtifactReady", "auth:1.2 is sha256:abab"),
    Finding(ConditionType.COMPATIBLE, "True", "Compatible", "all imports are there"),
    Finding(ConditionType.APPLIED, "True", "Applied", "WasmPlugin istio-ingress/auth carries revision 0123456789"),
)


def row(name: str, state: State, reason: str = "Loaded", *evidence: str) -> PodVerdict:
    return PodVerdict(PodRef("istio-ingress", name, f"uid-{name}", ready=True), state, reason, f"{name} says", evidence)


def seen(state: State, reason: str, *rows: PodVerdict) -> Report:
    """A whole pass that ended with this verdict."""
    verdict = Verdict(state, reason, f"because of {reason}", rows)
    return Report(
        findings=APPLIED, verdict=verdict, target_revision="0123456789", running="0123456789", artifact=ARTIFACT
    )


def failed(step: ConditionType, error: ReleaseError) -> Report:
    return Report(failure=Failure(step, error))


LOADED = seen(State.LOADED, "Loaded", row("a", State.LOADED))
PENDING = seen(State.PENDING, "AwaitingConfig", row("a", State.PENDING, "AwaitingConfig"))
UNHEALTHY = seen(State.UNHEALTHY, "PluginRejected", row("a", State.UNHEALTHY, "PluginRejected"))
UNKNOWN = seen(State.UNKNOWN, "NoPositiveSign", row("a", State.UNKNOWN, "NoPositiveSign"))
NO_PODS = seen(State.PENDING, "NoGatewayPods")
REFUSED = failed(ConditionType.COMPATIBLE, Refused("UnknownABI", "no ABI that Envoy knows", "Build it anew"))
WAITING = failed(ConditionType.ARTIFACT_READY, Waiting("ManifestNotFound", "no such tag", "Push it", retry_after=60))
TRANSIENT = failed(ConditionType.ARTIFACT_READY, Transient("RegistryUnavailable", "it does not answer"))
DELETING = failed(ConditionType.APPLIED, Waiting("Deleting", "the PluginRelease is being deleted"))
SUSPENDED = Report(suspended=True)


def settle(
    report: Report, before: api.Release | None = None, *, attempt: int = 0, now: datetime = NOW
) -> settlement.Ending:
    return settlement.settle(before or release(), report, now=now, attempt=attempt, resync=RESYNC)


def after(*reports: Report) -> api.Release:
    """The release once these passes have ended, one after the other."""
    found = release()
    for report in reports:
        found = found.model_copy(update={"status": settle(report, found).status})
    return found


def conditions(found: api.Status) -> dict[str, api.Condition]:
    return {condition.type: condition for condition in found.conditions}


# ------------------------------------------------------------------------------------------------ the table of states


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
    found = conditions(ending.status)
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
    assert conditions(ending.status)["Ready"].observed_generation == 7


def test_a_refusal_says_what_to_do() -> None:
    """The message of Ready and of the step is what was found, then the remedy."""
    found = conditions(settle(REFUSED).status)
    assert found["Ready"].message == found["Compatible"].message == "no ABI that Envoy knows. Build it anew"


def test_reconciling_and_stalled_go_when_they_are_over() -> None:
    """kstatus: an abnormal condition is there only while it is True."""
    assert "Stalled" not in conditions(settle(LOADED, after(REFUSED)).status)
    assert "Reconciling" not in conditions(settle(LOADED, after(PENDING)).status)


# -------------------------------------------------------------------------------------------------- the steps


def test_the_steps_after_a_failure_are_not_claimed() -> None:
    """What was true of an earlier spec is not said of this one: later steps turn Unknown, NotReached."""
    found = conditions(settle(REFUSED, after(LOADED)).status)
    assert (found["ArtifactReady"].status, found["Compatible"].status) == ("True", "False")
    assert {(found[kind].status, found[kind].reason) for kind in ("Applied", "Loaded")} == {("Unknown", "NotReached")}


@pytest.mark.parametrize(
    ("report", "expected"),
    [(LOADED, "True"), (PENDING, "False"), (UNHEALTHY, "False"), (UNKNOWN, "Unknown"), (NO_PODS, "False")],
)
def test_loaded_is_what_was_seen(report: Report, expected: str) -> None:
    """The condition Loaded is True only when every pod was seen running the plugin."""
    assert conditions(settle(report).status)["Loaded"].status == expected


def test_a_short_pass_keeps_what_it_did_not_ask_again() -> None:
    """A settled release is only looked at: the conditions of its earlier steps stay."""
    look = Report(verdict=LOADED.verdict, target_revision="0123456789", running="0123456789")
    found = conditions(settle(look, after(LOADED)).status)
    assert {found[kind].reason for kind in ("ArtifactReady", "Compatible", "Applied")} == {
        "ArtifactReady",
        "Compatible",
        "Applied",
    }


def test_conditions_are_always_in_one_order() -> None:
    """`kubectl describe` reads from the summary to the steps in their order."""
    kinds = [condition.type for condition in settle(replace(REFUSED, findings=APPLIED[:1])).status.conditions]
    assert kinds == ["Ready", "Stalled", "ArtifactReady", "Compatible", "Applied", "Loaded"]


def test_a_transition_time_moves_with_the_status_alone() -> None:
    """Another reason or message is no transition; a turn of the status is one."""
    before = after(PENDING)
    waiting = replace(PENDING, verdict=replace(PENDING.verdict, reason="PodNotReady"))
    same, turned = (conditions(settle(one, before, now=LATER).status)["Ready"] for one in (waiting, LOADED))
    assert (same.reason, same.last_transition_time) == ("PodNotReady", "2026-01-01T12:00:00Z")
    assert turned.last_transition_time == "2026-01-01T12:01:00Z"


def test_a_long_message_is_cut() -> None:
    """A gateway's or a registry's endless words do not make a status that the API server refuses."""
    wordy = failed(ConditionType.ARTIFACT_READY, Refused("UnreadableLayout", "x" * 100_000))
    assert all(len(condition.message) <= api.MESSAGE_MAX for condition in settle(wordy).status.conditions)


# ------------------------------------------------------------------------------------------- revisions and gateways


def test_the_stable_revision_is_one_that_was_seen_running() -> None:
    """While another revision loads or fails, stableRevision stays what was last Loaded everywhere."""
    newer = replace(UNHEALTHY, target_revision="fedcba9876")
    found = settle(newer, after(LOADED)).status
    assert (found.stable_revision, found.target_revision) == ("0123456789", "fedcba9876")
    assert settle(UNHEALTHY).status.stable_revision is None


def test_a_failure_does_not_forget_what_is_known() -> None:
    """Artifact, target and the gateways' last rows stay when a later pass could not get so far."""
    before = after(replace(LOADED, observation=api.Observation(revision="0123456789", since="2026-01-01T00:00:00Z")))
    found = settle(TRANSIENT, before).status
    assert found.artifact == ARTIFACT
    assert found.gateways == before.status.gateways
    assert found.observation == before.status.observation


def test_the_counts_are_exact_and_the_rows_are_few() -> None:
    """Of a thousand pods all are counted and twenty are shown, in the verdict's order: failures first."""
    rows = [row(f"bad-{n}", State.UNHEALTHY, "PluginRejected") for n in range(5)]
    rows += [row(f"new-{n}", State.PENDING, "PodNotReady") for n in range(3)]
    rows += [row(f"good-{n}", State.LOADED) for n in range(992)]
    shown = settle(seen(State.UNHEALTHY, "PluginRejected", *rows)).status.gateways
    assert shown is not None
    assert (shown.desired, shown.loaded, shown.failed, shown.summary) == (1000, 992, 5, "992/1000")
    assert [pod.name for pod in shown.pods] == [one.pod.name for one in rows[:20]]


def test_no_pods_are_shown_as_none() -> None:
    """A selector that matches nothing shows 0/0, not the rows of pods that are gone."""
    shown = settle(NO_PODS, after(LOADED)).status.gateways
    assert shown is not None
    assert (shown.summary, shown.pods) == ("0/0", [])


def test_a_pod_names_a_revision_only_if_it_runs_it() -> None:
    """A row of a pod that has not loaded the plugin says no revision; its message has the gateway's own words."""
    rows = [row("bad", State.UNHEALTHY, "PluginRejected", "Failed to load", "rejected"), row("good", State.LOADED)]
    shown = settle(seen(State.UNHEALTHY, "PluginRejected", *rows)).status.gateways
    assert shown is not None
    assert [pod.revision for pod in shown.pods] == [None, "0123456789"]
    assert shown.pods[0].message == "bad says [Failed to load; rejected]"


# ---------------------------------------------------------------------------------------------------- when again


def looks(report: Report, attempts: int) -> list[float]:
    return [settle(report, attempt=attempt).look_again for attempt in range(attempts)]


def test_what_moves_is_looked_at_soon_and_then_less_often() -> None:
    """A rollout is seen within a moment, and one that takes minutes does not hammer the gateways."""
    waits = looks(PENDING, 40)
    assert waits[0] < 0.5
    assert waits == sorted(waits)
    assert waits[-1] == settle(PENDING, attempt=100_000).look_again == 5.0


def test_what_does_not_answer_is_asked_with_back_off() -> None:
    """A registry or API server that is down is tried after 1, 2, 4 … and at most 60 seconds, for ever."""
    assert looks(TRANSIENT, 8) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert settle(TRANSIENT, attempt=10_000).look_again == 60


def test_who_asks_for_time_gets_it() -> None:
    """A Retry-After longer than our own back-off is kept to; a shorter one does not make us faster."""
    for asked, expected in ((120.0, 120.0), (0.1, 1.0)):
        busy = failed(ConditionType.ARTIFACT_READY, Transient("RegistryUnavailable", "busy", retry_after=asked))
        assert settle(busy).look_again == expected


def test_a_raised_log_level_is_not_left_until_the_resync() -> None:
    """A gateway that could not be given its log level back is asked again soon, once it is no longer waited for."""
    raised = [api.RaisedLogger(namespace="istio-ingress", pod="a", uid="uid-a", level="warning")]
    observation = api.Observation(revision="0123456789", since="2026-01-01T00:00:00Z", raised_loggers=raised)
    assert settle(replace(LOADED, observation=observation)).look_again == 5.0
    assert settle(replace(SUSPENDED, observation=observation)).look_again == 5.0
    assert settle(replace(PENDING, observation=observation)).look_again < 0.5
    assert (
        settle(replace(LOADED, observation=observation.model_copy(update={"raised_loggers": []}))).look_again == RESYNC
    )


def test_a_wait_is_never_longer_than_the_resync() -> None:
    """Somebody who sets a short resync gets it."""
    for report in (WAITING, UNHEALTHY, UNKNOWN, LOADED, REFUSED, SUSPENDED):
        assert settlement.settle(release(), report, now=NOW, attempt=0, resync=5.0).look_again == 5.0


# -------------------------------------------------------------------------------------------------------- events


def told(*reports: Report) -> list[tuple[str, str]]:
    """Type and reason of the events of the last of these passes."""
    return [(event.type, event.reason) for event in settle(reports[-1], after(*reports[:-1])).events]


@pytest.mark.parametrize(
    ("reports", "expected", "reason"),
    [
        ((PENDING,), [("Normal", "ArtifactReady"), ("Normal", "Applied")], "progress is told by its steps"),
        ((PENDING, LOADED), [("Normal", "Loaded")], "then that it runs"),
        ((LOADED, LOADED), [], "nothing new"),
        ((PENDING, PENDING), [], "waiting is not told again and again"),
        ((LOADED, UNHEALTHY), [("Warning", "PluginRejected")], "trouble after Ready"),
        ((UNHEALTHY, LOADED), [("Normal", "Loaded")], "and its end"),
        ((LOADED, UNKNOWN), [("Warning", "NoPositiveSign")], "doubt is told"),
        ((REFUSED,), [("Warning", "UnknownABI")], "a refusal once, not for Ready and for the step"),
        ((WAITING,), [("Warning", "ManifestNotFound")], "what is missing once"),
        ((TRANSIENT,), [("Warning", "RegistryUnavailable")], "an outage once"),
        ((TRANSIENT, TRANSIENT), [], "and not at each try"),
        ((TRANSIENT, WAITING), [("Warning", "ManifestNotFound")], "another cause is news"),
        ((LOADED, SUSPENDED), [("Normal", "Suspended")], "a pause that a person asked for is no warning"),
        ((SUSPENDED, SUSPENDED), [], "once"),
    ],
)
def test_what_kubectl_describe_tells(reports: tuple[Report, ...], expected: list[tuple[str, str]], reason: str) -> None:
    """Each turn is one event, with the condition's own reason."""
    assert told(*reports) == expected, reason


def test_a_gateway_of_an_unknown_version_is_a_warning() -> None:
    """The release goes on, and what could not be checked is told once."""
    doubt = Finding(ConditionType.COMPATIBLE, "Unknown", "GatewayVersionUnknown", "no pod has told its version")
    report = replace(NO_PODS, findings=(APPLIED[0], doubt, APPLIED[2]))
    assert told(report) == [
        ("Warning", "NoGatewayPods"),
        ("Normal", "ArtifactReady"),
        ("Warning", "GatewayVersionUnknown"),
        ("Normal", "Applied"),
    ]
    assert told(report, report) == []


def test_the_next_revision_is_told_again() -> None:
    """That something was applied is news when it is another revision, though the condition was True before."""
    message = "WasmPlugin istio-ingress/auth carries revision fedcba9876"
    newer = replace(PENDING, findings=(*APPLIED[:2], replace(APPLIED[2], message=message)))
    assert told(LOADED, newer) == [("Normal", "Applied")]


def test_other_words_for_the_same_trouble_are_no_news() -> None:
    """A message that counts on, as gateways do one by one, does not fill the events."""
    counting = replace(UNHEALTHY, verdict=replace(UNHEALTHY.verdict, message="2 of 3 gateway pods run the plugin"))
    assert told(UNHEALTHY, counting) == []


def test_an_event_fits_into_an_event() -> None:
    """Messages are cut to the 1024 characters that the API server takes."""
    [event] = settle(failed(ConditionType.ARTIFACT_READY, Refused("UnreadableLayout", "x" * 5000))).events
    assert len(event.message) == 1024


def test_a_refusal_that_is_cheap_to_see_lifted_is_looked_at_soon() -> None:
    """Who allows a namespace, or deletes an object that stood in the way, does not wait for the resync."""
    refused = Refused("NamespaceNotAllowed", "no", "allow it", recheck=30.0)
    report = Report(failure=Failure(ConditionType.APPLIED, refused))
    assert settle(report).look_again == 30.0


def stood(**changes: tuple[str, str]) -> api.Status:
    """The status of a release that is well, with some conditions changed to (status, reason)."""
    well = {
        "ArtifactReady": ("True", "ArtifactReady"),
        "Compatible": ("True", "Compatible"),
        "Applied": ("True", "Applied"),
    }
    conditions = [
        api.Condition(type=kind, status=state, reason=reason, last_transition_time="2026-01-01T00:00:00Z")
        for kind, (state, reason) in {**well, **changes}.items()
    ]
    return api.Status(conditions=conditions, gateways=api.GatewaysStatus(desired=2, loaded=2, failed=0, summary="2/2"))


@pytest.mark.parametrize(
    ("before", "stands", "reason"),
    [
        (stood(), True, "a release that is well costs no registry anything"),
        (stood(Applied=("False", "Conflict")), False, "a step that failed once would say so for ever"),
        (stood(Compatible=("Unknown", "NotReached")), False, "a step that was never reached is not done"),
        (stood(Compatible=("Unknown", "GatewayVersionUnknown")), True, "an Envoy of unknown version stays unknown"),
        (
            stood(Compatible=("Unknown", "GatewayVersionUnknown")).model_copy(update={"gateways": None}),
            False,
            "the first pods tell what nobody knew",
        ),
        (api.Status(), False, "a new release has done nothing yet"),
    ],
)
def test_when_nothing_needs_a_second_thought(before: api.Status, stands: bool, reason: str) -> None:
    """Only a release whose every step held is looked at without being checked anew."""
    assert checks_still_valid(release().model_copy(update={"status": before})) is stands, reason


def test_a_release_without_pods_is_told() -> None:
    """A selector that finds nothing is what a person wants to read of, though the operator goes on waiting."""
    alone = Verdict(State.PENDING, "NoGatewayPods", "No gateway pod is there to load the plugin.")
    ending = settle(Report(verdict=alone, target_revision="0123456789"))
    assert ("Warning", "NoGatewayPods") in [(event.type, event.reason) for event in ending.events]


# ------------------------------------------------------------------------------------------------- after a failure

OLD, NEW = "aaaaaaaaaa", "0123456789"
WHY = api.RolloutFailure(revision=NEW, reason="PluginRejected", message="It says: no.", at="2026-01-01T11:59:00Z")
TRYING = api.RolloutStatus(generation=1, started_at="2026-01-01T11:58:00Z")
HELD = TRYING.model_copy(update={"failure": WHY})
BACK = HELD.model_copy(update={"puts_back": OLD})
GONE = HELD.model_copy(update={"puts_back": ""})
BY_WORKERS = WHY.model_copy(update={"reason": "PluginRefusedByWorkers"})
HEALED = BACK.model_copy(update={"failure": BY_WORKERS, "detour": api.Detour(restarted=["uid-1"])})
LEFT = HEALED.model_copy(update={"detour": api.Detour(given_up=True)})
JUST_NUDGED = api.Observation(
    revision=NEW, since="2026-01-01T11:58:00Z", nudge=api.Nudge(count=1, tries=1, at=timestamps.metav1_micro_time(NOW))
)
BLOCKED = Waiting("RollbackBlocked", "it could not be fetched", "Push it again", retry_after=30)
LOST = Refused("RevisionNotFound", "revision aaaaaaaaaa is not kept", "See which are")
SILENT = Transient("APIServerUnavailable", "it does not answer")
JOINED = replace(
    seen(State.LOADED, "Loaded", row("new", State.PENDING, "PodNotReady"), row("a", State.LOADED)),
    observation=api.Observation(revision=NEW, since="2026-01-01T11:58:00Z"),
)


def running(report: Report, decided: api.RolloutStatus, revision: str | None = OLD) -> Report:
    """The same, seen of the revision that is to run by this decision."""
    return replace(report, running=revision, rollout=decided)


def broken(decided: api.RolloutStatus, error: ReleaseError) -> Report:
    """A pass that did not come to its look."""
    return replace(failed(ConditionType.APPLIED, error), rollout=decided)


def knowing(known: api.RolloutStatus | None, **given: Any) -> api.Release:
    """A release with this rollout in its status; ``given``: more of the status, or parts of the manifest by path."""
    parts = {path: given.pop(path) for path in list(given) if "__" in path}
    fields = {"rollout": known, "stable_revision": OLD, **given}
    return release(**parts).model_copy(update={"status": api.Status(**fields)})


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
    (TRYING, Case("a first one is to go", running(UNHEALTHY, GONE, NEW), "RollingBack", "False", "Reconciling", 0)),
    (GONE, Case("it cannot be taken off now", broken(GONE, SILENT), "RollingBack", "False", "Reconciling", 1)),
    (GONE, Case("it is off", Report(rollout=GONE), "Removed", "False", "Stalled", RESYNC)),
    (TRYING, Case("it is held", running(UNHEALTHY, HELD, NEW), "Held", "False", "Stalled", 15)),
    (HELD, Case("held, still failing", running(UNHEALTHY, HELD, NEW), "Held", "False", "Stalled", 15)),
    (HELD, Case("held, cannot be told", running(UNKNOWN, HELD, NEW), "Held", "False", "Stalled", 15)),
    (HELD, Case("held, the world does not answer", broken(HELD, SILENT), "Held", "False", "Stalled", 1)),
    (
        HELD,
        Case(
            "held, its gateways fetch anew",
            replace(running(UNHEALTHY, HELD, NEW), observation=JUST_NUDGED),
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
    found = conditions(ending.status)
    assert ending.status.phase == case.phase
    why = case.report.rollout.failure if case.report.rollout else None
    assert (found["Ready"].status, found["Ready"].reason) == (case.ready, why.reason if why else None)
    assert found["Ready"].message.startswith(f"Revision {NEW} failed: It says: no. ")
    assert {kind for kind in ("Reconciling", "Stalled") if kind in found} == {case.also}
    assert all(found[kind].reason == found["Ready"].reason for kind in ("Reconciling", "Stalled") if kind in found)
    assert ending.look_again == pytest.approx(case.look_again)
    assert ending.status.stable_revision == OLD, "what ran everywhere last is still that"


def test_what_runs_in_place_of_the_failed_one_is_not_called_loaded() -> None:
    """The condition Loaded is about the wanted revision; the rows of the pods tell what they do run."""
    found = settle(running(LOADED, BACK), knowing(BACK)).status
    loaded = conditions(found)["Loaded"]
    assert (loaded.status, loaded.reason) == ("False", "PluginRejected")
    assert loaded.message.startswith(f"Revision {OLD} is to run in place of {NEW}. ")
    assert found.gateways is not None
    assert [pod.revision for pod in found.gateways.pods] == [OLD]


def test_a_plugin_that_was_taken_off_shows_no_gateways() -> None:
    """Rows of what ran before the removal would read as if it ran still."""
    counted = api.GatewaysStatus(desired=1, loaded=0, failed=1, summary="0/1")
    assert settle(Report(rollout=GONE), knowing(GONE, gateways=counted)).status.gateways is None
    assert settle(broken(GONE, SILENT), knowing(GONE, gateways=counted)).status.gateways == counted


def test_a_rollback_that_hangs_is_not_stalled_by_the_deadline() -> None:
    """progressDeadline is about a rollout: the way back from it goes on for as long as it takes."""
    long_ago = BACK.model_copy(update={"started_at": "2025-01-01T00:00:00Z"})
    assert "Stalled" not in conditions(settle(running(PENDING, long_ago), knowing(long_ago)).status)


def test_what_was_held_and_has_healed_is_ready() -> None:
    """A gateway that could fetch it after all ends the failure, and that is told."""
    healed = TRYING.model_copy(update={"completed_at": timestamps.metav1_time(NOW)})
    ending = settle(running(LOADED, healed, NEW), knowing(HELD))
    assert (ending.status.phase, ending.status.stable_revision) == ("Ready", NEW)
    assert ("Normal", "Loaded") in [(event.type, event.reason) for event in ending.events]


# ------------------------------------------------------------------------------------------- longer than it may take

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
    found = conditions(settle(report, knowing(None)).status)
    assert (found["Stalled"].reason if "Stalled" in found else None) == stalled, reason
    if stalled == "ProgressDeadlineExceeded":
        assert found["Reconciling"].reason == found["Ready"].reason != stalled
        assert "longer than rollout.progressDeadline (10m)" in found["Stalled"].message


def test_a_deadline_that_is_no_time_does_not_break_the_ending() -> None:
    """What is wrong with it is told by the pass; the status is written all the same."""
    unending = knowing(None, spec__rollout__progressDeadline="999999999h")
    assert settle(replace(PENDING, rollout=LATE), unending).status.phase == "Loading"


# ------------------------------------------------------------------------------------- pods that come, probes, wishes


def test_a_pod_that_comes_up_leaves_ready_alone() -> None:
    """What ran everywhere is Ready while one more pod starts; the counts tell, and it is looked at soon."""
    ending = settle(JOINED, after(LOADED))
    assert conditions(ending.status)["Ready"].status == "True"
    assert ending.status.gateways is not None
    assert ending.status.gateways.summary == "1/2"
    assert ending.look_again == 2.0
    assert told(LOADED, JOINED) == []


@pytest.mark.parametrize(
    ("report", "observation", "expected", "reason"),
    [
        (LOADED, {}, RESYNC, "all is well"),
        (LOADED, {"probes_failing_since": "2026-01-01T11:59:59Z"}, 2, "a probe has begun to fail"),
        (LOADED, {"nudge": JUST_NUDGED.nudge}, RESYNC, "it has helped"),
        (UNHEALTHY, {"nudge": JUST_NUDGED.nudge}, 2, "gateways may be fetching"),
        (UNHEALTHY, {"nudge": api.Nudge(count=1, tries=1, at="2026-01-01T11:00:00Z")}, 15, "they gave up long ago"),
    ],
)
def test_what_moves_after_ready_is_looked_at_soon(
    report: Report, observation: dict[str, Any], expected: float, reason: str
) -> None:
    """Two seconds while a probe fails or a gateway was just made to fetch; then the usual pace."""
    noted = api.Observation(revision=NEW, since="2026-01-01T11:58:00Z", **observation)
    assert settle(replace(report, observation=noted), after(LOADED)).look_again == expected, reason


def test_an_old_revision_that_was_asked_for_is_ready_and_says_so() -> None:
    """rollback-to makes another revision than the spec's run: Ready says by whose wish."""
    asked = TRYING.model_copy(update={"rollback_to": OLD})
    found = settle(running(LOADED, asked), knowing(asked, stable_revision=NEW)).status
    ready = conditions(found)["Ready"]
    assert ready.status == "True"
    assert f"Revision {OLD} was asked for by pluginrelease.io/rollback-to" in ready.message
    assert found.stable_revision == OLD


PROBED = Finding(ConditionType.PROBED, "True", "Probed", "as expected")
PROBES = {"spec__checks__probes": [{"name": "login"}]}


@pytest.mark.parametrize(
    ("parts", "report", "expected", "reason"),
    [
        (PROBES, replace(LOADED, findings=(*APPLIED, PROBED)), "Probed", "they passed"),
        (PROBES, PENDING, "Probed", "not asked now: what was seen last stays"),
        (PROBES, REFUSED, "NotReached", "another artifact: what passed says nothing of it"),
        ({}, REFUSED, None, "without probes there is no such step"),
        ({}, LOADED, None, "probes that were taken out of the spec leave nothing behind"),
    ],
)
def test_probed_is_there_with_probes_alone(
    parts: dict[str, Any], report: Report, expected: str | None, reason: str
) -> None:
    """The condition Probed belongs to spec.checks.probes."""
    passed = release(**PROBES)
    passed = passed.model_copy(
        update={"status": settle(replace(LOADED, findings=(*APPLIED, PROBED)), passed).status},
    )
    found = conditions(settle(report, release(**parts).model_copy(update={"status": passed.status})).status)
    assert (found["Probed"].reason if "Probed" in found else None) == expected, reason


# ------------------------------------------------------------------------------------------- what is told of a rollout


def story(*reports: Report) -> list[list[tuple[str, str]]]:
    """Type and reason of the events of each of these passes, of a release of which OLD ran."""
    found = knowing(TRYING, conditions=stood().conditions)
    events: list[list[tuple[str, str]]] = []
    for report in reports:
        ending = settle(report, found)
        found = found.model_copy(update={"status": ending.status})
        events.append([(event.type, event.reason) for event in ending.events if event.reason not in ROUTINE])
    return events


ROUTINE = ("Applied", "ArtifactReady")
AGAIN = TRYING.model_copy(update={"started_at": "2026-01-01T12:00:00Z"})
SECOND = BACK.model_copy(update={"failure": WHY.model_copy(update={"at": "2026-01-01T12:00:00Z"})})
FAILS, ENDS = [("Warning", "PluginRejected")], [("Warning", "RolledBack")]


@pytest.mark.parametrize(
    ("reports", "expected", "reason"),
    [
        (
            [running(UNHEALTHY, BACK, NEW), running(PENDING, BACK), running(LOADED, BACK), running(LOADED, BACK)],
            [FAILS, [], ENDS, []],
            "the failure, then what came of it, each once",
        ),
        (
            [running(UNHEALTHY, BACK, NEW), running(LOADED, BACK), running(UNHEALTHY, BACK), running(LOADED, BACK)],
            [FAILS, ENDS, [("Warning", "RollbackFailed")], ENDS],
            "trouble with what was put back, and its end",
        ),
        (
            [running(UNHEALTHY, BACK, NEW), broken(BACK, BLOCKED), broken(BACK, BLOCKED), running(LOADED, BACK)],
            [FAILS, [("Warning", "RollbackBlocked")], [], ENDS],
            "a rollback that is blocked, once",
        ),
        (
            [running(UNHEALTHY, GONE, NEW), Report(rollout=GONE), Report(rollout=GONE)],
            [FAILS, [("Warning", "Removed")], []],
            "a first release",
        ),
        ([running(UNHEALTHY, HELD, NEW)] * 2, [[*FAILS, ("Warning", "Held")], []], "what is held"),
        (
            [running(UNHEALTHY, BACK, NEW), running(LOADED, BACK), running(UNHEALTHY, SECOND, NEW)],
            [FAILS, ENDS, FAILS],
            "the same failure of another try is told again",
        ),
        (
            [running(UNHEALTHY, BACK, NEW), running(LOADED, BACK), running(LOADED, AGAIN, NEW)],
            [FAILS, ENDS, [("Normal", "Loaded")]],
            "a second try that runs",
        ),
    ],
)
def test_what_is_told_of_a_failure(reports: list[Report], expected: list[list[tuple[str, str]]], reason: str) -> None:
    """Once that it failed, and once what came of it."""
    assert story(*reports) == expected, reason


def test_a_failure_is_told_with_its_revision() -> None:
    """Who reads the events later knows which one it was."""
    [event, *_] = settle(running(UNHEALTHY, BACK, NEW), knowing(TRYING)).events
    assert event.message == f"Revision {NEW} failed: It says: no."


# ------------------------------------------------------------------------------------ what is noted before an act

ADOPTED = TRYING.model_copy(update={"adopted": True})


@pytest.mark.parametrize(
    ("known", "report", "noted", "reason"),
    [
        (None, Report(rollout=TRYING), None, "a rollout is told when its pass has ended"),
        (BACK, Report(rollout=AGAIN), BACK, "a new one does not wipe out what is told of the last"),
        (None, Report(rollout=ADOPTED), ADOPTED, "that the object was somebody's must not be forgotten"),
        (BACK, Report(rollout=ADOPTED), ADOPTED, "also with the second rollout"),
        (
            ADOPTED,
            Report(rollout=HELD.model_copy(update={"adopted": True})),
            ADOPTED,
            "a failure is told with its event",
        ),
    ],
)
def test_what_is_noted_of_a_rollout(
    known: api.RolloutStatus | None, report: Report, noted: api.RolloutStatus | None, reason: str
) -> None:
    """In the middle of a pass only what an act could make untellable is written; decisions are told at its end."""
    assert settlement.checkpoint(knowing(known).status, report).rollout == noted, reason


def test_a_failure_of_what_was_taken_over_is_told_though_gateways_are_nudged() -> None:
    """The nudge is noted in the middle of the pass that decides: the failure's event must not be lost by that."""
    failing = running(UNHEALTHY, HELD.model_copy(update={"adopted": True}), NEW)
    nudged = replace(failing, observation=JUST_NUDGED)
    before = knowing(ADOPTED)
    before = before.model_copy(update={"status": settlement.checkpoint(before.status, nudged)})
    assert [event.reason for event in settle(nudged, before).events][:2] == ["PluginRejected", "Held"]


def test_the_history_follows_what_is_seen() -> None:
    """A pass tells the history what it deployed; what became of it follows from the failure and the stable revision."""
    tried = history.Deployed(NEW, 2, ref="auth:2", digest="sha256:00")
    first = settle(replace(running(PENDING, TRYING, NEW), deployed=tried), knowing(TRYING)).status
    assert [(entry.revision, entry.state) for entry in first.history] == [(NEW, "Deploying")]
    then = knowing(TRYING, history=first.history)
    assert [entry.state for entry in settle(running(LOADED, TRYING, NEW), then).status.history] == ["Stable"]
    failed_one = settle(running(UNHEALTHY, BACK, NEW), then).status.history
    assert [(entry.state, entry.reason) for entry in failed_one] == [("Failed", "PluginRejected")]
    assert [entry.state for entry in settle(broken(BACK, SILENT), then).status.history] == ["Failed"]


def test_a_wish_is_echoed_when_its_pass_has_ended() -> None:
    """status.handled says which tokens were acted on, and stays while nothing else is asked."""
    asked = api.Handled(retry="1")
    found = settle(replace(PENDING, handled=asked), knowing(TRYING)).status
    assert found.handled == asked
    assert settle(SUSPENDED, knowing(TRYING, handled=asked)).status.handled == asked
    assert settlement.checkpoint(knowing(TRYING).status, Report(handled=asked)).handled is None


# ------------------------------------------------------------------------------------------- the deadline of a rollout


@pytest.mark.parametrize(
    ("reason", "elapsed", "expected"),
    [
        ("long before it", timedelta(), 30.0),
        ("it is over before the next look", timedelta(minutes=9, seconds=50), 10.1),
        ("it is over", timedelta(minutes=11), 30.0),
    ],
)
def test_a_deadline_is_noticed_in_time(reason: str, elapsed: timedelta, expected: float) -> None:
    """A release that waits, and is looked at now and then only, is said to be overdue when it is."""
    begun = api.RolloutStatus(generation=1, started_at=timestamps.metav1_time(NOW - elapsed))
    waiting = Report(rollout=begun, failure=Failure(ConditionType.ARTIFACT_READY, Waiting("TagNotFound", "no tag")))
    assert settle(waiting).look_again == pytest.approx(expected, abs=1.1), reason


def test_a_way_back_that_was_cut_short_is_tried_again_soon() -> None:
    """However long the rollout was looked at before, as its gateways are down meanwhile."""
    failure = api.RolloutFailure(revision="b" * 10, reason="GatewayCrashed", message="", at=timestamps.metav1_time(NOW))
    begun = {"generation": 1, "started_at": timestamps.metav1_time(NOW), "failure": failure, "puts_back": "a" * 10}
    going, back = (api.RolloutStatus(**begun, put_back_at=at) for at in (None, timestamps.metav1_time(NOW)))
    error = Failure(ConditionType.APPLIED, Transient("Conflict", "the object changed meanwhile"))
    decided = release().model_copy(update={"status": api.Status(rollout=going)})
    assert settle(Report(failure=error, rollout=going), decided, attempt=20).look_again == 5.0
    assert settle(Report(failure=error, rollout=back), decided, attempt=20).look_again == 60.0
    busy = Failure(ConditionType.APPLIED, Transient("TooManyRequests", "busy", retry_after=20.0))
    assert settle(Report(failure=busy, rollout=going), decided, attempt=20).look_again == 20.0
