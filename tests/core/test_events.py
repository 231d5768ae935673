"""What `kubectl describe` tells: every turn once, with the condition's own reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout.report import Report
from tests.reports import (
    APPLIED,
    BACK,
    BLOCKED,
    HELD,
    LOADED,
    NEW,
    NO_PODS,
    NOW,
    PENDING,
    REFUSED,
    SUSPENDED,
    TRANSIENT,
    TRYING,
    UNHEALTHY,
    UNKNOWN,
    WAITING,
    WHY,
    after,
    broken,
    failed,
    knowing,
    running,
    settle,
    taken_off,
    told,
    verdict_of,
    with_entry,
)


@pytest.mark.parametrize(
    ("reports", "expected", "reason"),
    [
        ((PENDING,), [("Normal", "Applied")], "progress is told by its steps, those of one pass together"),
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


DOUBT = Finding(ConditionType.COMPATIBLE, "Unknown", Reason.GATEWAY_VERSION_UNKNOWN, "no pod has told its version")


def test_a_gateway_of_an_unknown_version_is_a_warning() -> None:
    """The release goes on, and what could not be checked is told once."""
    report = with_entry(PENDING, findings=(DOUBT, APPLIED[1]))
    assert told(report) == [("Warning", "GatewayVersionUnknown"), ("Normal", "Applied")]
    assert told(report, report) == []


def test_where_no_gateway_is_none_is_missed_twice() -> None:
    """That no pod tells its version is said by there being none."""
    report = with_entry(NO_PODS, findings=(DOUBT, APPLIED[1]))
    assert told(report) == [("Warning", "NoGatewayPods"), ("Normal", "Applied")]


def test_steps_of_one_pass_are_one_event() -> None:
    """What was fetched is told with what was applied, so that each release costs few Events."""
    [event] = settle(PENDING).events
    conditions = {condition.type: condition for condition in after(PENDING).status.conditions}
    fetched, applied = conditions[ConditionType.ARTIFACT_READY].message, conditions[ConditionType.APPLIED].message
    assert event.message == f"{applied.removesuffix('.')}. {fetched.removesuffix('.')}"


def test_the_next_revision_is_told_again() -> None:
    """That something was applied is news when it is another revision, though the condition was True before."""
    message = "WasmPlugin istio-ingress/auth carries revision fedcba9876"
    newer = with_entry(PENDING, findings=(APPLIED[0], replace(APPLIED[1], message=message)))
    assert told(LOADED, newer) == [("Normal", "Applied")]


def test_other_words_for_the_same_trouble_are_no_news() -> None:
    """A message that counts on, as gateways do one by one, does not fill the events."""
    counting = with_entry(
        UNHEALTHY, verdict=replace(verdict_of(UNHEALTHY), message="2 of 3 gateway pods run the plugin")
    )
    assert told(UNHEALTHY, counting) == []


def test_an_event_fits_into_an_event() -> None:
    """Messages are cut to the 1024 characters that the API server takes."""
    [event] = settle(failed(ConditionType.ARTIFACT_READY, Refused(Reason.UNREADABLE_LAYOUT, "x" * 5000))).events
    assert len(event.message) == 1024


def test_a_release_without_pods_is_told() -> None:
    """A selector that finds nothing is what a person wants to read of, though the operator goes on waiting."""
    assert ("Warning", "NoGatewayPods") in told(NO_PODS)


def story(*reports: Report) -> list[list[tuple[str, str]]]:
    """Type and reason of the events of each of these passes, of a release of which OLD ran."""
    found = knowing(TRYING, conditions=after(LOADED).status.conditions)
    events: list[list[tuple[str, str]]] = []
    for report in reports:
        ending = settle(report, found)
        found = found.model_copy(update={"status": ending.status})
        events.append([(event.type, event.reason) for event in ending.events if event.reason not in ROUTINE])
    return events


ROUTINE = ("Applied", "ArtifactReady")


AGAIN = TRYING.model_copy(update={"started_at": NOW})


SECOND = BACK.model_copy(update={"failure": WHY.model_copy(update={"at": NOW})})


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
            [running(UNHEALTHY, BACK, NEW), taken_off(BACK), taken_off(BACK)],
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
