"""What the verdicts on many pods come to, and what each pod has time for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway import checkpoint
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.verdict import judging, values
from pluginrelease.core.gateway.verdict.values import PodVerdict, State
from pluginrelease.core.rollout import decisions
from tests.core.gateway_signs import (
    BEFORE,
    COUNTED,
    GIVEN,
    POD,
    QUIET,
    REFUSED_ONCE,
    STARTED,
    TIMEOUT,
    WANTED,
    WRITE,
    after,
    judged,
)
from tests.harness.reasons import give_reason

# --------------------------------------------------------------------------------------------------------- many pods


def pod(number: int, **changes: Any) -> PodRef:
    return replace(POD, name=f"gateway-{number}", uid=f"uid-{number}", **changes)


def test_no_pods_is_never_loaded() -> None:
    """Nothing seen is nothing proved, also when the only pod is on its way out."""
    for sightings in ([], [replace(COUNTED, pod=pod(1, deleting=True))]):
        found = judging.judge(WANTED, sightings, **GIVEN)
        assert (found.state, found.reason, found.pods) == (State.PENDING, "NoGatewayPods", ())


def test_the_worst_pod_speaks_for_all() -> None:
    """Unhealthy before Unknown before Pending before Loaded; failures are the first rows."""
    sightings = [
        replace(COUNTED, pod=pod(1)),
        replace(QUIET, pod=pod(2)),
        replace(COUNTED, pod=pod(3), log=REFUSED_ONCE),
        replace(COUNTED, pod=pod(4), unknown=("x",)),
        replace(COUNTED, pod=pod(5, deleting=True)),
    ]
    baselines = [replace(BEFORE, incarnation=Incarnation.of(f"uid-{number}", STARTED)) for number in range(6)]
    found = judging.judge(WANTED, sightings, **{**GIVEN, "baselines": baselines})
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRejected")
    assert [row.pod.name for row in found.pods] == ["gateway-3", "gateway-4", "gateway-2", "gateway-1"]
    assert found.message.startswith("1 of 4 gateway pods")
    assert "gateway-3: " in found.message


def fleet(*sightings: PodObservation, **given: Any) -> values.Verdict:
    """Pods gateway-1, gateway-2 … of one release; those before the first change are Loaded by what was proved."""
    numbered = [
        replace(one, pod=replace(one.pod, name=f"gateway-{at}", uid=f"uid-{at}")) for at, one in enumerate(sightings, 1)
    ]
    known = [Incarnation.of(f"uid-{number}", STARTED) for number in (1, 2)]
    return judging.judge(WANTED, numbered, **{**GIVEN, "verified": known, "settled": True, **given})


COMING_UP: Mapping[str, PodObservation] = {
    "it has just been made": replace(QUIET, pod=replace(POD, ready=False)),
    "it does not answer yet": replace(QUIET, unreachable="no answer within 5 s"),
    "it has received nothing yet": replace(QUIET, entries=()),
    "its listener is warming": replace(QUIET, warming=("l",)),
    "it has no listener yet": replace(QUIET, entries=(), referenced=None),
    "it has not shown yet that it runs it": QUIET,
}


@pytest.mark.parametrize("why", COMING_UP)
def test_a_pod_that_comes_up_takes_nothing_from_a_settled_release(why: str) -> None:
    """A new pod beside those that run the stable revision is named and does not make it Pending, until it is late."""
    turned = after(3600)
    new = replace(COMING_UP[why], at=after(3610), pod=replace(COMING_UP[why].pod, turned_at=turned))
    old = replace(QUIET, at=after(3610))
    found = fleet(old, old, new)
    message = "2 gateway pods run the plugin; 1 is coming up: gateway-3."
    assert (found.state, found.reason, found.message) == (State.LOADED, "Loaded", message), why
    assert found.pods[0].state is State.PENDING
    assert fleet(old, old, new, settled=False).state is State.PENDING
    late = fleet(old, old, replace(new, at=turned + TIMEOUT + timedelta(seconds=1)))
    assert late.state in (State.UNKNOWN, State.UNHEALTHY), why


def test_pods_that_come_up_alone_are_waited_for() -> None:
    """Where no pod runs the plugin nothing is Loaded, however settled the release was."""
    assert fleet(replace(QUIET, pod=replace(POD, ready=False)), verified=[]).state is State.PENDING


def test_a_pod_that_comes_up_excuses_no_other() -> None:
    """One that is worse than coming up speaks for all."""
    found = fleet(QUIET, replace(QUIET, entries=()), replace(QUIET, log=REFUSED_ONCE))
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRejected")


def test_many_pods_that_come_up_are_counted_and_some_named() -> None:
    """A message stays short: three names, however many there are."""
    coming = [replace(QUIET, pod=replace(POD, ready=False))] * 5
    message = "1 gateway pod runs the plugin; 5 are coming up: gateway-2, gateway-3, gateway-4, …."
    assert fleet(QUIET, *coming).message == message


@pytest.mark.parametrize(
    ("turned", "seen_at", "late", "why"),
    [
        (None, 59, False, "the time counts from the write"),
        (None, 61, True, "and is over then"),
        (-3600, 61, True, "a pod that is older than the write has no more time"),
        (3600, 3659, False, "a pod that came later has its own time"),
        (3600, 3661, True, "which ends too"),
    ],
)
def test_each_pod_has_its_own_time(turned: float | None, seen_at: float, late: bool, why: str) -> None:
    """A pod may take `checks.load.timeout` from the write on, or from when it last became ready or ceased to be."""
    one = replace(POD, turned_at=None if turned is None else after(turned))
    found = judged(replace(QUIET, pod=one, at=after(seen_at)))
    assert found.reason == ("NoPositiveSign" if late else "AwaitingPositiveSign"), why


@pytest.mark.parametrize(
    ("deliverable", "turned", "seen_at", "late", "why"),
    [
        (None, None, 61, True, "nothing held the control plane up"),
        (100, None, 159, False, "it could not send anything until then"),
        (100, None, 161, True, "and the time ends then, too"),
        (100, 120, 179, False, "a pod that came even later has its own time"),
        (-10, None, 61, True, "what ended before the write gives no more time"),
    ],
)
def test_what_held_up_the_control_plane_takes_no_time_from_gateways(
    deliverable: float | None, turned: float | None, seen_at: float, late: bool, why: str
) -> None:
    """`checks.load.timeout` begins when the control plane can send the revision: a good one is not put back before."""
    one = replace(POD, turned_at=None if turned is None else after(turned))
    since = None if deliverable is None else after(deliverable)
    found = judged(replace(QUIET, pod=one, entries=(), at=after(seen_at)), deliverable_since=since)
    assert found.reason == ("ConfigNotDelivered" if late else "AwaitingConfig"), why


@pytest.mark.parametrize(
    ("reason_before", "reason_now", "noted"),
    [
        ("ControlPlaneStuck", "AwaitingConfig", True),
        ("ControlPlaneStuck", "ConfigNotDelivered", True),
        ("ControlPlaneStuck", "Loaded", True),
        ("ControlPlaneStuck", "ControlPlaneStuck", False),
        ("AwaitingConfig", "ConfigNotDelivered", False),
        (None, "ConfigNotDelivered", False),
    ],
)
def test_when_the_control_plane_could_send_again(reason_before: str | None, reason_now: str, noted: bool) -> None:
    """It is the first check that no longer finds it stuck: then the object is gone, and nothing was sent before."""
    before = api.Observation(revision="new", since=times.to_microseconds(WRITE))
    found = values.Verdict(State.UNKNOWN, Reason(reason_now), "")
    after_check = checkpoint.note_deliverable(before, reason_before, found, after(100))
    assert after_check.deliverable_since == (after(100) if noted else None)
    again = checkpoint.note_deliverable(after_check, reason_now, found, after(200))
    assert again == after_check, "the next check changes nothing"


def test_what_cannot_be_read_of_the_control_plane_is_no_failure() -> None:
    """If the API server does not list the objects, it stays open whether one of them holds everything up."""
    late = values.Verdict(State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED, "", (row("ConfigNotDelivered"),))
    assert judging.leave_open(late).state is State.UNKNOWN
    early = replace(late, state=State.PENDING, reason=Reason.AWAITING_CONFIG)
    assert judging.leave_open(early) == early


def test_what_is_kept_for_the_next_look() -> None:
    """Proved runs are kept, also of a pod that does not answer just now; not of one that fails or is gone."""
    sightings = [
        replace(COUNTED, pod=pod(1)),
        replace(QUIET, pod=pod(2), unreachable="x", started_at=None),
        replace(QUIET, pod=pod(3), log=REFUSED_ONCE),
    ]
    known = [Incarnation.of(f"uid-{number}", STARTED) for number in (2, 3, 4)]
    found = judging.judge(WANTED, sightings, **GIVEN, verified=known)
    assert found.verified == {Incarnation.of("uid-1", STARTED), Incarnation.of("uid-2", STARTED)}


# -------------------------------------------------------------------------------------------- what is nobody's fault


def row(reason: str, state: State = State.PENDING) -> PodVerdict:
    return PodVerdict(POD, state, give_reason(state, reason), "because")


@pytest.mark.parametrize(
    ("reasons", "nothing"),
    [
        (["AwaitingConfig"], True),
        (["ConfigNotDelivered", "AwaitingConfig", "PodNotReady", "PodUnreachable"], True),
        (["ConfigMismatch"], True),
        (["ConfigMismatch", "Loaded"], False),
        (["ConfigNotDelivered", "Loaded"], False),
        (["AwaitingConfig", "PluginRejected"], False),
        (["AwaitingConfig", "GatewayCrashed"], False),
        (["ConfigNotDelivered", "GatewayUnresponsive"], False),
        (["PodNotReady"], False),
        ([], False),
    ],
)
def test_nothing_has_arrived_anywhere(reasons: list[str], nothing: bool) -> None:
    """Every gateway that can be asked still waits for it."""
    found = values.Verdict(State.PENDING, Reason.AWAITING_CONFIG, "", tuple(map(row, reasons)))
    assert judging.nothing_arrived(found) is nothing


def test_a_control_plane_that_is_stuck_is_no_failure() -> None:
    """It is Unknown whether the gateways would run the revision, the objects are named, and nothing is put back."""
    late = values.Verdict(
        State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED, "", (row("ConfigNotDelivered", State.UNHEALTHY),)
    )
    found = judging.report_stuck(late, ["a/1", "b/2", "c/3", "d/4"])
    assert (found.state, found.reason) == (State.UNKNOWN, "ControlPlaneStuck")
    assert [(pod.state, pod.reason) for pod in found.pods] == [(State.UNKNOWN, "ControlPlaneStuck")]
    assert "a/1, b/2, c/3 and 1 more" in found.message
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    begun = api.RolloutStatus(spec_hash="", started_at=times.to_seconds(long_ago))
    late_by = long_ago + timedelta(days=1)
    assert decisions.find_failure(api.Status(), begun, "new", {"public": found}, late_by, timedelta()) is None
