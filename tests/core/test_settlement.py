"""What is noted before an act, and what the ending keeps of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout import history
from pluginrelease.core.rollout.report import Report
from pluginrelease.core.status import room, settlement
from tests.reports import (
    BACK,
    HELD,
    INTERNAL,
    LOADED,
    NEW,
    OLD,
    PARTNERS,
    PENDING,
    PUBLIC,
    SILENT,
    SUSPENDED,
    TRYING,
    UNHEALTHY,
    broken,
    by_type,
    entry,
    knowing,
    running,
    settle,
    verdict_of,
    whole,
    with_entry,
)


def condition(message: str) -> api.Condition:
    """One that says this."""
    at = "2026-01-01T12:00:00Z"
    return api.Condition(type="Ready", status="False", reason="Pending", message=message, last_transition_time=at)


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
    assert settlement.checkpoint(knowing(TRYING), Report(handled=asked)).handled is None


@pytest.mark.parametrize(
    ("known", "news", "reason"),
    [
        (None, TRYING, "a rollout is told when its pass has ended"),
        (BACK, TRYING, "a new one does not wipe out what is told of the last"),
        (TRYING, HELD, "a failure is told with its event"),
    ],
)
def test_what_is_noted_of_a_rollout(known: api.RolloutStatus | None, news: api.RolloutStatus, reason: str) -> None:
    """In the middle of a pass no decision is written; it is told at the end."""
    assert settlement.checkpoint(knowing(known), Report(rollout=news)).rollout == known, reason


def test_the_notes_of_an_entry() -> None:
    """This pass's, else those from before; of an entry that is gone only log levels that are still to be put back."""
    raised = [api.RaisedLoggers(namespace="edge", level="warning", pods=["a 0123456"])]
    old = [
        api.Observation(name=PUBLIC, revision=OLD, since="2026-01-01T11:00:00Z"),
        api.Observation(name=INTERNAL, revision=OLD, since="2026-01-01T11:00:00Z", raised_loggers=raised),
        api.Observation(name=PARTNERS, revision=OLD, since="2026-01-01T11:00:00Z"),
    ]
    before = knowing(TRYING, checkpoint=api.Checkpoint(gateways=old))
    found = settle(LOADED, before).status
    assert found.checkpoint == api.Checkpoint(gateways=old[:2])
    noted = api.Observation(name=PUBLIC, revision=NEW, since="2026-01-01T11:58:00Z")
    assert settle(with_entry(LOADED, observation=noted), before).status.observation(PUBLIC) == noted


@pytest.mark.parametrize(
    ("entries", "of_row", "of_condition", "reason"),
    [
        (1, 512, 2048, "one entry has all the room"),
        (24, 512, 2048, "so have two dozen"),
        (32, 384, 2048, "the rows share what there is"),
        (64, 192, 1024, "as many entries as there may be"),
    ],
)
def test_messages_share_the_room(entries: int, of_row: int, of_condition: int, reason: str) -> None:
    """The more entries, the shorter is what is said of each; one that is cut ends in an ellipsis."""
    text = "x" * 512
    long = api.Status(
        gateways=[
            api.GatewayStatus(name=f"e{number}", state="Pending", reason="Pending", message=text)
            for number in range(entries)
        ],
        pods=[api.PodStatus(name="p", namespace="n", state="Pending", reason="Pending", message=text)],
        conditions=[condition(message="x" * 2048), condition(message="short")],
    )
    fitted = room.fit(long)
    assert {len(row.message) for row in (*fitted.gateways, *fitted.pods)} == {of_row}, reason
    assert [len(found.message) for found in fitted.conditions] == [of_condition, 5]
    assert fitted.gateways[0].message.endswith("…") == (of_row < 512)
    assert room.fit(fitted) == fitted


@pytest.mark.parametrize(
    ("reason", "warned"),
    [("DuplicatePlugin", True), ("ForeignFields", True), ("Applied", False), ("RolledBack", False)],
)
def test_what_a_person_should_know_stands_beside_ready(reason: str, warned: bool) -> None:
    """A warning of one of two entries is the reason of Applied, and is in Ready's message; the Event is a warning."""
    found = Finding(ConditionType.APPLIED, "True", Reason(reason), "it carries more than it should")
    other = entry(INTERNAL, verdict_of(LOADED))
    report = whole(entry(verdict=verdict_of(LOADED), findings=(found,)), other, rollout=TRYING)
    ending = settle(report)
    conditions = by_type(ending.status)
    assert not warned or conditions["Applied"].reason == reason
    assert ("Warning: " in conditions["Ready"].message) is warned
    assert (("Warning", reason) in [(event.type, event.reason) for event in ending.events]) is warned
    assert conditions["Ready"].status == "True"
