"""When a gateway counts as down because of what was written to it, and when not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease.core.gateway.container import Cause, Container, LastWords, Termination
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation, pod_mark
from pluginrelease.core.gateway.observations import (
    Baseline,
    ExtensionConfig,
    FilterKind,
    PodObservation,
    PodRef,
    hash_image,
)
from pluginrelease.core.gateway.outage import Neighbour, Silence
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State, Verdict

WRITE = datetime(2026, 11, 20, 12, tzinfo=UTC)
TIMEOUT = timedelta(seconds=60)
WANTED = DesiredPlugin("apps", "header", "a" * 64, {}, "FAIL_CLOSE")


def after(seconds: float) -> datetime:
    return WRITE + timedelta(seconds=seconds)


POD = PodRef("apps", "gateway-1", "uid-1", ready=False, image="proxy:1", created_at=after(-3600))
WELL = Baseline(Incarnation.of("uid-1", after(-3600)), 1, 0, 0, restarts=3, image=hash_image(POD))
FAULT = LastWords(Cause.FATAL, ("Envoy exited with error: signal: segmentation fault",))
KILLED = LastWords(Cause.UNCLEAR, ("Envoy exited with error: signal: killed",))
ASKED = LastWords(Cause.ASKED, ("Agent has successfully terminated",))
MEMORY = LastWords(Cause.OUT_OF_MEMORY)


def pod(ends: int = 4, *, waiting: bool = False, number: int = 1, **changes: Any) -> PodRef:
    """A pod whose container has ended so often, the last time 3 s after the write."""
    held = {
        "restarts": ends - waiting,
        "running": not waiting,
        "waiting": "CrashLoopBackOff" if waiting else "",
        "started_at": after(4),
        "terminated": Termination(after(3), "Completed"),
    }
    one = Container(**{**held, **changes.pop("container", {})})
    return replace(POD, name=f"gateway-{number}", uid=f"uid-{number}", container=one, **changes)


def seen(one: PodRef, words: LastWords | None = FAULT, *, at: float = 5, silent: float | None = None) -> PodObservation:
    quiet = timedelta(seconds=silent) if silent is not None else None
    return PodObservation(one, after(at), unreachable="it does not answer", last_words=words, silent=quiet)


def judged(*sightings: PodObservation, **given: Any) -> Verdict:
    fixed: Mapping[str, Any] = {"write_at": WRITE, "baselines": [WELL], "load_timeout": TIMEOUT}
    return judging.judge(WANTED, sightings, **{**fixed, **given})


NEW = {"created_at": after(1)}

WRITTEN: list[tuple[str, PodObservation, datetime | None, bool]] = [
    ("a fault before the API server took the write", seen(pod()), after(4), False),
    ("in the same second, so nobody can say which was first", seen(pod()), after(3), True),
    ("after it", seen(pod()), after(1), True),
    ("it is not known when that was", seen(pod()), None, True),
    ("two, the last of them by a clock that is late", seen(pod(5)), after(4), True),
]


@pytest.mark.parametrize(("why", "sighting", "written", "crashed"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_what_ended_before_the_write(
    why: str, sighting: PodObservation, written: datetime | None, crashed: bool
) -> None:
    """One end between the look before the write and the write is not the plugin's doing."""
    assert (judged(sighting, written_at=written).reason == "GatewayCrashed") is crashed, why


ENDS: list[tuple[str, PodObservation, bool]] = [
    ("a fault of Envoy's, once", seen(pod()), True),
    ("and the container waits to be started again", seen(pod(waiting=True)), True),
    ("too little memory, once", seen(pod(), MEMORY), True),
    ("one kill may be anybody's", seen(pod(), KILLED), False),
    ("two are no accident", seen(pod(5), KILLED), True),
    ("one that ended twice, and waits", seen(pod(5, waiting=True), KILLED), True),
    ("an end without a word, once", seen(pod(), None), False),
    ("somebody asked the agent to end", seen(pod(5), ASKED), False),
    ("all containers ended together: a new sandbox", seen(pod(5, container={"together": True})), False),
    (
        "its node was started again",
        seen(pod(5, container={"terminated": Termination(after(3), "Unknown", 255)})),
        False,
    ),
    ("the image is another one", seen(pod(5, image="proxy:2")), False),
    ("it has not ended since", seen(pod(3), None), False),
    ("it was ill before the write", seen(replace(pod(9), uid="uid-9", created_at=after(-60))), False),
    ("a new pod that died once of a fault: it had no life before", seen(replace(pod(1, **NEW), uid="uid-9")), False),
    ("a new pod that dies again and again", seen(replace(pod(2, **NEW), uid="uid-9")), True),
    ("a new pod that is killed again and again", seen(replace(pod(2, **NEW), uid="uid-9"), KILLED), False),
]


@pytest.mark.parametrize(("why", "sighting", "blamed"), ENDS, ids=[row[0] for row in ENDS])
def test_a_gateway_that_was_well_and_crashed_since_the_write(why: str, sighting: PodObservation, blamed: bool) -> None:
    """Its status alone decides, at once, and by nothing that a plugin does not do."""
    found = judged(sighting)
    assert (found.reason == "GatewayCrashed", found.state is State.UNHEALTHY) == (blamed, blamed), why


def test_it_is_said_with_the_gateways_own_words() -> None:
    """The exit code says nothing, so the message has what the agent said."""
    found = judged(seen(pod()))
    assert "Envoy exited with error: signal: segmentation fault" in found.message
    assert found.pods[0].evidence == FAULT.lines


def test_a_crash_speaks_before_a_refusal() -> None:
    """Of two gateways the one that is down decides what is put back, and how soon, whatever its name."""
    standing = ExtensionConfig("apps.header", FilterKind.RBAC_DENY, "", last_updated=after(2))
    refuses = replace(pod(3, number=0), ready=True)
    found = judged(PodObservation(refuses, after(5), entries=(standing,)), seen(pod()))
    assert [row.state for row in found.pods] == [State.UNHEALTHY] * 2
    assert found.reason == "GatewayCrashed"


def test_two_pods_are_no_accident() -> None:
    """Each was killed once, without another word, since the same write."""
    baselines = [WELL, replace(WELL, incarnation=Incarnation.of("uid-2", after(-3600)))]
    both = judged(seen(pod(), KILLED), seen(pod(number=2), KILLED), baselines=baselines)
    assert [row.reason for row in both.pods] == ["GatewayCrashed", "GatewayCrashed"]
    one = judged(seen(pod(), KILLED), seen(pod(3, number=2), None), baselines=baselines)
    assert State.UNHEALTHY not in [row.state for row in one.pods]


SETTLED: list[tuple[str, PodObservation, bool]] = [
    ("it is down by a fault", seen(pod(9, waiting=True)), True),
    ("it is up, for a moment", seen(pod(9), at=30), True),
    ("it has been up for a minute", seen(pod(9), at=70), False),
    ("the kubelet has to wait again and again", seen(pod(9, waiting=True), KILLED), True),
    ("it was killed once, long after many other ends", seen(pod(9), KILLED), False),
    ("a pod that came after the write is down by a fault", seen(replace(pod(1, waiting=True), uid="uid-9")), True),
]


@pytest.mark.parametrize(("why", "sighting", "down"), SETTLED, ids=[row[0] for row in SETTLED])
def test_what_ran_everywhere_is_not_loaded_while_a_gateway_is_down(
    why: str, sighting: PodObservation, down: bool
) -> None:
    """After Ready a crash is news while it lasts: what happened since the write, perhaps months ago, is none."""
    assert (judged(sighting, settled=True).reason == "GatewayCrashed") == down, why


# ----------------------------------------------------------------------------------------------------------- silence


SILENT = replace(pod(3, container={"terminated": None}), ready=True)

SILENCES: list[tuple[str, PodObservation, dict[str, Any], bool]] = [
    ("it may be compiling", seen(SILENT, at=30, silent=20), {}, False),
    (
        "its time to load is over",
        seen(SILENT, at=65, silent=20),
        {"silent": [Silence(pod_mark("uid-1"), after(4))]},
        True,
    ),
    ("it was silent before the write: its time begins there", seen(SILENT, at=30, silent=90), {}, False),
    ("it is silent at this look only", seen(SILENT, at=600, silent=20), {}, False),
    ("it answers again", seen(SILENT, at=65), {"silent": [Silence(pod_mark("uid-1"), after(4))]}, False),
    ("nobody knows that it ever answered", seen(SILENT, at=90, silent=80), {"baselines": []}, False),
    (
        "it ran this very revision",
        seen(SILENT, at=90, silent=80),
        {"baselines": [], "verified": [Incarnation.of("uid-1", after(-3600))]},
        True,
    ),
]


@pytest.mark.parametrize(("why", "sighting", "given", "down"), SILENCES, ids=[row[0] for row in SILENCES])
def test_a_gateway_that_answered_and_does_not_any_more(
    why: str, sighting: PodObservation, given: dict[str, Any], down: bool
) -> None:
    """Every load silences Envoy for a while; a main thread that hangs does so for longer than a load may take."""
    found = judged(sighting, **given)
    assert (found.reason == "GatewayUnresponsive") == down, why
    assert found.state is (State.UNHEALTHY if down else found.state), why


def test_since_when_a_pod_is_silent_is_kept_for_the_next_look() -> None:
    """From its first look on, and no longer than it is silent."""
    first = judged(seen(SILENT, at=25, silent=20))
    assert first.silent == (Silence(pod_mark("uid-1"), after(5)),)
    assert judged(seen(SILENT, at=50, silent=20), silent=first.silent).silent == first.silent
    assert judged(seen(SILENT, at=50), silent=first.silent).silent == ()


# -------------------------------------------------------------------------------------------------------- neighbours


THEIRS = Neighbour("apps/other", frozenset({"uid-1"}), after(2))

NEIGHBOURS: list[tuple[str, Neighbour, bool]] = [
    ("it wrote later, just before the crash", THEIRS, True),
    ("it wrote before we did", replace(THEIRS, since=after(-1)), False),
    ("it wrote after the crash", replace(THEIRS, since=after(9)), False),
    ("it wrote to other pods", replace(THEIRS, uids=frozenset({"uid-2"})), False),
    ("its write is being undone", replace(THEIRS, failed_at=after(4)), True),
    ("its write was undone, and the gateway goes on crashing", replace(THEIRS, failed_at=after(-40)), False),
]


@pytest.mark.parametrize(("why", "neighbour", "theirs"), NEIGHBOURS, ids=[row[0] for row in NEIGHBOURS])
def test_the_later_write_is_to_blame_first(why: str, neighbour: Neighbour, theirs: bool) -> None:
    """A release that is not to blame says what it sees, is not Ready, and is not rolled back."""
    found = judged(seen(pod()), neighbours=[neighbour])
    assert found.reason == "GatewayCrashed"
    assert found.state is (State.UNKNOWN if theirs else State.UNHEALTHY), why
    assert ("apps/other" in found.message) == theirs, why
