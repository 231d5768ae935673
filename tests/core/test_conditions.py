"""The conditions of the steps: what each pass found, what stays, and when a time moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout import settled
from pluginrelease.core.rollout.report import Report
from tests.harness.releases import release
from tests.reports import (
    APPLIED,
    BACK,
    LOADED,
    NEW,
    NO_PODS,
    NOW,
    OLD,
    PENDING,
    READY,
    REFUSED,
    UNHEALTHY,
    UNKNOWN,
    after,
    by_type,
    entry,
    failed,
    knowing,
    running,
    settle,
    verdict_of,
    with_entry,
)


def test_the_steps_after_a_failure_are_not_claimed() -> None:
    """What was true of an earlier spec is not said of this one: later steps turn Unknown, NotReached."""
    found = by_type(settle(REFUSED, after(LOADED)).status)
    assert (found["ArtifactReady"].status, found["Compatible"].status) == ("True", "False")
    assert {(found[kind].status, found[kind].reason) for kind in ("Applied", "Loaded")} == {("Unknown", "NotReached")}


@pytest.mark.parametrize(
    ("report", "expected"),
    [(LOADED, "True"), (PENDING, "False"), (UNHEALTHY, "False"), (UNKNOWN, "Unknown"), (NO_PODS, "False")],
)
def test_loaded_is_what_was_seen(report: Report, expected: str) -> None:
    """The condition Loaded is True only when every pod was seen running the plugin."""
    assert by_type(settle(report).status)["Loaded"].status == expected


def test_a_short_pass_keeps_what_it_did_not_ask_again() -> None:
    """A settled release is only looked at: the conditions of its earlier steps stay."""
    look = Report(entries=(entry(verdict=verdict_of(LOADED), findings=()),), target_revision=NEW)
    found = by_type(settle(look, after(LOADED)).status)
    assert {found[kind].reason for kind in ("ArtifactReady", "Compatible", "Applied")} == {
        "ArtifactReady",
        "Compatible",
        "Applied",
    }


def test_conditions_are_always_in_one_order() -> None:
    """`kubectl describe` reads from the summary to the steps in their order."""
    kinds = [condition.type for condition in settle(replace(REFUSED, findings=(READY,))).status.conditions]
    assert kinds == ["Ready", "Stalled", "ArtifactReady", "Compatible", "Applied", "Loaded"]


def test_a_transition_time_moves_with_the_status_alone() -> None:
    """Another reason or message is no transition; a turn of the status is one."""
    before = after(PENDING)
    waiting = with_entry(PENDING, verdict=replace(verdict_of(PENDING), reason=Reason.POD_NOT_READY))
    same, turned = (
        by_type(settle(report, before, now=NOW + timedelta(minutes=1)).status)["Ready"] for report in (waiting, LOADED)
    )
    assert (same.reason, same.last_transition_time) == ("PodNotReady", times.to_seconds(NOW))
    assert turned.last_transition_time == times.to_seconds(NOW + timedelta(minutes=1))


def test_a_long_message_is_cut() -> None:
    """A gateway's or a registry's endless words do not make a status that the API server refuses."""
    wordy = failed(ConditionType.ARTIFACT_READY, Refused(Reason.UNREADABLE_LAYOUT, "x" * 100_000))
    assert all(len(condition.message) <= api.MESSAGE_MAX for condition in settle(wordy).status.conditions)


def stood(**changes: tuple[str, str]) -> api.Status:
    """The status of a release that is well, with some conditions changed to (status, reason)."""
    well = {
        "ArtifactReady": ("True", "ArtifactReady"),
        "Compatible": ("True", "Compatible"),
        "Applied": ("True", "Applied"),
    }
    found = [
        api.Condition(type=kind, status=state, reason=reason, last_transition_time="2026-01-01T00:00:00Z")
        for kind, (state, reason) in {**well, **changes}.items()
    ]
    counted = api.GatewaysSummary(gateways="1/1", pods="2/2", desired=2, loaded=2, failed=0)
    return api.Status(conditions=found, summary=counted)


@pytest.mark.parametrize(
    ("before", "stands", "reason"),
    [
        (stood(), True, "a release that is well costs no registry anything"),
        (stood(Applied=("False", "Conflict")), True, "whether an object could be written is an entry's own affair"),
        (stood(ArtifactReady=("False", "X")), False, "a step that failed once would say so for ever"),
        (stood(Compatible=("Unknown", "NotReached")), False, "a step that was never reached is not done"),
        (stood(Compatible=("Unknown", "GatewayVersionUnknown")), True, "an Envoy of unknown version stays unknown"),
        (
            stood(Compatible=("Unknown", "GatewayVersionUnknown")).model_copy(update={"summary": None}),
            False,
            "the first pods tell what nobody knew",
        ),
        (api.Status(), False, "a new release has done nothing yet"),
    ],
)
def test_when_nothing_needs_a_second_thought(before: api.Status, stands: bool, reason: str) -> None:
    """Only a release whose every step held is looked at without being checked anew."""
    assert settled.checks_still_valid(release().model_copy(update={"status": before})) is stands, reason


def test_without_a_pod_nothing_new_is_to_be_learned() -> None:
    """A release that waits for its first pod is not checked anew at each look, but when there is one."""
    waiting = stood(Compatible=("Unknown", "GatewayVersionUnknown")).model_copy(update={"summary": None})
    waits = release().model_copy(update={"status": waiting})
    assert settled.awaits_first_pod(waits)
    assert settled.checks_still_valid(waits, has_pods=False)
    assert not settled.checks_still_valid(waits, has_pods=True)
    assert not settled.awaits_first_pod(release().model_copy(update={"status": stood()}))


def test_what_runs_in_place_of_the_failed_one_is_not_called_loaded() -> None:
    """The condition Loaded is about the wanted revision; the rows of the pods tell what they do run."""
    found = settle(running(LOADED, BACK), knowing(BACK)).status
    loaded = by_type(found)["Loaded"]
    assert (loaded.status, loaded.reason) == ("False", "PluginRejected")
    assert loaded.message.index(OLD) < loaded.message.index(NEW)
    assert [pod.revision for pod in found.pods] == [OLD]


PROBED = Finding(ConditionType.PROBED, "True", Reason.PROBED, "as expected")


PROBES = {"spec__checks__probes": [{"name": "login"}]}


@pytest.mark.parametrize(
    ("parts", "report", "expected", "reason"),
    [
        (PROBES, with_entry(LOADED, findings=(*APPLIED, PROBED)), "Probed", "they passed"),
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
        update={"status": settle(with_entry(LOADED, findings=(*APPLIED, PROBED)), passed).status},
    )
    found = by_type(settle(report, release(**parts).model_copy(update={"status": passed.status})).status)
    assert (found["Probed"].reason if "Probed" in found else None) == expected, reason
