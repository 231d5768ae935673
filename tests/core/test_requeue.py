"""When a release is looked at again after a pass, unless an event comes first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused, Transient, Waiting
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.rollout.report import EntryReport, Failure, Report
from pluginrelease.core.status import requeue, settlement
from tests.harness.releases import release
from tests.reports import (
    BACK,
    INTERNAL,
    LOADED,
    NEW,
    NOT_ALLOWED,
    NOW,
    PENDING,
    PUBLIC,
    REFUSED,
    RESYNC,
    SILENT,
    SUSPENDED,
    TRANSIENT,
    UNHEALTHY,
    UNKNOWN,
    WAITING,
    after,
    broken,
    entry,
    failed,
    judged,
    knowing,
    left_out,
    row,
    settle,
    whole,
    with_entry,
)


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
        busy = failed(ConditionType.ARTIFACT_READY, Transient(Reason.REGISTRY_UNAVAILABLE, "busy", retry_after=asked))
        assert settle(busy).look_again == expected


def test_a_raised_log_level_is_not_left_until_the_resync() -> None:
    """A gateway that could not be given its log level back is asked again soon, once it is no longer waited for."""
    raised = [api.RaisedLoggers(namespace="istio-ingress", level="warning", pods=["a 0123456"])]
    observation = api.Observation(
        name=PUBLIC, revision="0123456789", since="2026-01-01T00:00:00Z", raised_loggers=raised
    )
    assert settle(with_entry(LOADED, observation=observation)).look_again == 5.0
    assert settle(with_entry(SUSPENDED, observation=observation)).look_again == 5.0
    assert settle(with_entry(PENDING, observation=observation)).look_again < 0.5
    assert (
        settle(with_entry(LOADED, observation=observation.model_copy(update={"raised_loggers": []}))).look_again
        == RESYNC
    )


def test_a_wait_is_never_longer_than_the_resync() -> None:
    """Somebody who sets a short resync gets it."""
    for report in (WAITING, UNHEALTHY, UNKNOWN, LOADED, REFUSED, SUSPENDED):
        assert settlement.settle(release(), report, now=NOW, attempt=0, resync=5.0).look_again == 5.0


def test_a_refusal_that_is_cheap_to_see_lifted_is_looked_at_soon() -> None:
    """Who allows a namespace, or deletes an object that stood in the way, does not wait for the resync."""
    refused = Refused(Reason.NAMESPACE_NOT_ALLOWED, "no", "allow it", recheck=30.0)
    report = Report(failure=Failure(ConditionType.APPLIED, refused))
    assert settle(report).look_again == 30.0


LONG_AGO = api.Refetch(count=1, attempts=1, at="2026-01-01T11:00:00Z")
JUST_NUDGED = api.Refetch(count=1, attempts=1, at=times.to_microseconds(NOW))


@pytest.mark.parametrize(
    ("report", "observation", "expected", "reason"),
    [
        (LOADED, {}, RESYNC, "all is well"),
        (LOADED, {"probes_failing_since": "2026-01-01T11:59:59Z"}, 2, "a probe has begun to fail"),
        (LOADED, {"refetch": JUST_NUDGED}, RESYNC, "it has helped"),
        (UNHEALTHY, {"refetch": JUST_NUDGED}, 2, "gateways may be fetching"),
        (
            UNHEALTHY,
            {"refetch": LONG_AGO},
            15,
            "they gave up long ago",
        ),
    ],
)
def test_what_moves_after_ready_is_looked_at_soon(
    report: Report, observation: dict[str, Any], expected: float, reason: str
) -> None:
    """Two seconds while a probe fails or a gateway was just made to fetch; then the usual pace."""
    noted = api.Observation(name=PUBLIC, revision=NEW, since="2026-01-01T11:58:00Z", **observation)
    assert settle(with_entry(report, observation=noted), after(LOADED)).look_again == expected, reason


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
    begun = api.RolloutStatus(spec_hash="h", started_at=times.to_seconds(NOW - elapsed))
    waiting = Report(rollout=begun, failure=Failure(ConditionType.ARTIFACT_READY, Waiting("TagNotFound", "no tag")))
    assert settle(waiting).look_again == pytest.approx(expected, abs=1.1), reason


def test_a_way_back_that_was_cut_short_is_tried_again_soon() -> None:
    """However long the rollout was looked at before, as its gateways are down meanwhile."""
    put_back = api.GatewayFallback(name=PUBLIC, loaded_at=times.to_seconds(NOW))
    done = BACK.model_copy(update={"fallbacks": [put_back]})
    error = Transient(Reason.CONFLICT, "the object changed meanwhile")
    assert settle(broken(BACK, error), knowing(BACK), attempt=20).look_again == 5.0
    assert settle(broken(done, error), knowing(done), attempt=20).look_again == 60.0
    busy = Transient(Reason.TOO_MANY_REQUESTS, "busy", retry_after=20.0)
    assert settle(broken(BACK, busy), knowing(BACK), attempt=20).look_again == 20.0


MOVES = entry(PUBLIC, judged(State.PENDING, "AwaitingConfig", row("a", State.PENDING)))
RUNS = entry(PUBLIC, judged(State.LOADED, "Loaded", row("a", State.LOADED)))


@pytest.mark.parametrize(
    ("first", "second", "expected", "reason"),
    [
        (RUNS, replace(RUNS, name=INTERNAL), RESYNC, "both are well"),
        (RUNS, replace(MOVES, name=INTERNAL), 0.3, "one is awaited"),
        (RUNS, left_out(INTERNAL, NOT_ALLOWED), 30.0, "one is left out, and it is cheap to see that lifted"),
        (MOVES, left_out(INTERNAL, NOT_ALLOWED), 0.3, "the sooner of the two"),
        (RUNS, left_out(INTERNAL, SILENT), 1.0, "one could not be asked"),
        (RUNS, left_out(INTERNAL, Refused(Reason.PODS_OVERLAP, "both")), RESYNC, "nobody is asked for a sign of it"),
    ],
)
def test_the_entry_that_needs_it_soonest_is_looked_at(
    first: EntryReport, second: EntryReport, expected: float, reason: str
) -> None:
    """Of several entries the earliest look counts."""
    assert settle(whole(first, second)).look_again == pytest.approx(expected), reason


def test_releases_on_the_same_pods_look_at_once() -> None:
    """At rest they wake at one time, whenever they settled; those on other pods wake at other times."""
    wakes = {round(now + requeue.until_slot(300.0, "apps/istio", now), 3) for now in (1000.0, 1031.0, 1077.7)}
    assert len({wake % 270.0 for wake in wakes}) == 1
    others = {round(requeue.until_slot(300.0, f"apps/{number}", 1000.0)) for number in range(50)}
    assert len(others) > 25


def test_no_look_is_later_than_it_was_to_be() -> None:
    """Nor does one follow the last one at once."""
    waits = [requeue.until_slot(300.0, "apps/istio", 1000.0 + second) for second in range(600)]
    assert min(waits) >= 30.0
    assert max(waits) <= 300.0
