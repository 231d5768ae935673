"""What is noted before an act, and what the ending keeps of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pluginrelease import api
from pluginrelease.core.rollout import history
from pluginrelease.core.status import settlement
from pluginrelease.core.status.report import Report
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
    knowing,
    running,
    settle,
    with_entry,
)


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
