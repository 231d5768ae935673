"""When istiod is made to send a plugin again: only for what a push can heal, and less and less often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway import refetch
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from tests.harness.reasons import give_reason

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def verdict(*reasons: str) -> Verdict:
    rows = [
        PodVerdict(
            PodRef("apps", f"pod-{n}", f"uid-{n}", ready=True),
            State.UNHEALTHY,
            give_reason("Unhealthy", reason),
            "it says",
        )
        for n, reason in enumerate(reasons)
    ]
    return Verdict(State.UNHEALTHY, reasons[0] if reasons else Reason.NO_GATEWAY_PODS, "because", tuple(rows))


def last(seconds_ago: float, attempts: int = 1) -> api.Refetch:
    return api.Refetch(count=7, attempts=attempts, at=times.to_microseconds(NOW - timedelta(seconds=seconds_ago)))


STUCK = verdict("FetchFailed")


@pytest.mark.parametrize(
    ("judged", "before", "due", "reason"),
    [
        (STUCK, None, True, "the first trouble is answered at once"),
        (verdict("RunningUnprotected"), None, True, "FAIL_OPEN hides the same"),
        (verdict("ConfigNotDelivered"), None, True, "what never came may come"),
        (verdict("ListenerRejected"), None, True, "a listener is sent again with the plugin"),
        (verdict("Loaded", "Loaded", "FetchFailed"), None, True, "one pod of many is enough"),
        (verdict("PluginRejected"), None, False, "what Envoy refused it refuses again"),
        (verdict("PluginCrashed"), None, False, "what crashed crashes again"),
        (verdict("ProbeFailed"), None, False, "a wrong answer is the plugin's"),
        (verdict(), None, False, "nobody is there"),
        (STUCK, last(29), False, "the agent may still be at it"),
        (STUCK, last(30), True, "half a minute after the first"),
        (STUCK, last(59, attempts=2), False, "a minute after the second"),
        (STUCK, last(60, attempts=2), True, "not longer"),
        (STUCK, last(599, attempts=50), False, "ten minutes between the late ones"),
        (STUCK, last(600, attempts=50), True, "and never longer than that"),
        (STUCK, last(1, attempts=0), True, "everything ran meanwhile: this is a new trouble"),
        (STUCK, last(-86400, attempts=3), True, "a clock that was set back does not hold it up for a day"),
    ],
)
def test_when_a_push_is_due(judged: Verdict, before: api.Refetch | None, due: bool, reason: str) -> None:
    """Some gateway lacks what a push can bring, and the last push is long enough ago."""
    assert refetch.is_due(judged, before, NOW) is due, reason


def test_pushes_become_rare() -> None:
    """Half a minute, then twice as long each time, up to ten minutes."""
    waits = [refetch.compute_pause(attempts).total_seconds() for attempts in range(8)]
    assert waits == [0, 30, 60, 120, 240, 480, 600, 600]


@given(st.integers(0, 10**9))
def test_a_pause_has_a_bound(attempts: int) -> None:
    """However often it was in vain, it is tried again within ten minutes."""
    assert timedelta() <= refetch.compute_pause(attempts) <= refetch.LONGEST_PAUSE
    assert refetch.compute_pause(attempts) <= refetch.compute_pause(attempts + 1)


def test_every_push_has_a_number_of_its_own() -> None:
    """The count only rises, as the WasmPlugin must change; what ran meanwhile makes the attempts begin anew."""
    first = refetch.make_next(None, NOW)
    second = refetch.make_next(first, NOW)
    third = refetch.make_next(refetch.reset_attempts(second), NOW)
    assert [(refetch.count, refetch.attempts) for refetch in (first, second, third)] == [(1, 1), (2, 2), (3, 1)]
    assert third.at == NOW


@pytest.mark.parametrize(
    ("before", "fresh", "reason"),
    [
        (last(0), True, "just pushed"),
        (last(34), True, "the agent gives a fetch 30 s"),
        (last(35), False, "then it has given up"),
        (last(1, attempts=0), False, "everything runs"),
        (last(-86400), False, "a clock that was set back does not keep the gateways at debug for a day"),
    ],
)
def test_how_long_a_push_is_looked_at_closely(before: api.Refetch, fresh: bool, reason: str) -> None:
    """After a push the gateways are looked at often, for as long as they can be at work on it."""
    assert refetch.is_fresh(before, NOW) is fresh, reason


def test_a_plugin_that_no_listener_uses_is_pushed_after_a_moment() -> None:
    """The listener's update may have been refused for what was there before; a moment after the write it may only be
    on its way."""
    unused = verdict("AwaitingListener")
    assert not refetch.is_due(unused, None, NOW, NOW - timedelta(seconds=4))
    assert refetch.is_due(unused, None, NOW, NOW - timedelta(seconds=5))
