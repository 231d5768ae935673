"""Off and on: what each command does to the switch, a row each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused, Transient, Waiting
from pluginrelease.core.gateway import notes
from pluginrelease.core.gateway.identity import Incarnation, pod_mark
from pluginrelease.core.gateway.notes import Notes
from pluginrelease.core.gateway.observations import Baseline, PodRef
from pluginrelease.core.rollout import detour, facts, neighbours, switch
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.report import EntryReport, Failure, Report
from pluginrelease.core.status import requeue, summaries
from tests.harness.releases import manifest, release

NOW, EARLIER = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 11, tzinfo=UTC)
OFF, ON = api.OFF_ANNOTATION, api.ON_ANNOTATION
BEFORE = api.SwitchedOff(at=EARLIER, reason="before")


@dataclass(frozen=True)
class Turn:
    """``known``: how the switch stood; ``off``: why it is off after the commands, None for on."""

    reason: str
    annotations: dict[str, str]
    known: api.SwitchedOff | None = None
    handled: api.Handled | None = None
    has_status: bool = True
    off: str | None = None
    turned_on: bool = False


TURNS = [
    Turn("no command", {}),
    Turn("off", {OFF: "1: it drops requests"}, off="it drops requests"),
    Turn("off by hand, without a token", {OFF: "it drops requests"}, off="it drops requests"),
    Turn("off, done before", {OFF: "1: x"}, BEFORE, api.Handled(off="1: x"), off="before"),
    Turn("the annotation is gone", {}, BEFORE, api.Handled(off="1: x"), off="before"),
    Turn("off once more, for another reason", {OFF: "2: worse"}, BEFORE, api.Handled(off="1: x"), off="worse"),
    Turn("on", {OFF: "1: x", ON: "1"}, BEFORE, api.Handled(off="1: x"), turned_on=True),
    Turn("on, and the annotation off is gone", {ON: "1"}, BEFORE, api.Handled(off="1: x"), turned_on=True),
    Turn("on, done before, then off", {OFF: "2: x", ON: "1"}, None, api.Handled(off="1", on="1"), off="x"),
    Turn("off that stands since before on", {OFF: "1", ON: "1"}, None, api.Handled(off="1", on="1")),
    Turn("both are new", {OFF: "1: x", ON: "1"}, turned_on=True),
    Turn("on, where nothing is off", {ON: "1"}),
    Turn("a restored object with an off", {OFF: "1: x"}, has_status=False, off="x"),
    Turn("a restored object with an on", {ON: "1"}, has_status=False),
    Turn("a restored object with both", {OFF: "1: x", ON: "1"}, has_status=False, off="x"),
]


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.reason)
def test_how_the_switch_stands(turn: Turn) -> None:
    """Each token is acted on once; nothing but on ends off; since when it is off stays; both are echoed."""
    seen = 3 if turn.has_status else -1
    status = api.Status(observed_generation=seen, switched_off=turn.known, handled=turn.handled)
    found = switch.decide(turn.annotations, status, NOW)
    assert (found.off and found.off.reason, found.is_turned_on) == (turn.off, turn.turned_on)
    if found.off is not None:
        assert found.off.at == (EARLIER if turn.known else NOW)
    handled = turn.handled or api.Handled()
    assert found.handled.off == (turn.annotations.get(OFF) or handled.off)
    assert found.handled.on == (turn.annotations.get(ON) or handled.on)


def test_a_reason_is_one_readable_line() -> None:
    """It stands in status, Events and terminals."""
    assert switch.read_reason("1: it\x1b[31m drops\n requests ") == "it?[31m drops requests"
    assert len(switch.read_reason("1: " + "x" * 5000)) == api.SWITCH_REASON_MAX


@pytest.mark.parametrize("changes", [{}, {"spec__suspend": True}, {"status": {"switchedOff": {"at": NOW}}}])
def test_all_entries_are_off(changes: dict[str, Any]) -> None:
    """Also those of a release that is suspended, or that nobody has looked at."""
    known = facts.begin(release(metadata__annotations={OFF: "1: x"}, **changes), NOW)
    assert {entry.goal for entry in known.of_spec()} == {Goal.OFF}


def test_on_begins_another_rollout_of_the_spec() -> None:
    """What failed before it, or was asked for by rollback-to, is over; a tag is resolved anew."""
    done = {"off": "1", "rollbackTo": "aaaaaaaaaa:1"}
    rollout = {"specHash": "x", "startedAt": "2026-01-01T10:00:00Z", "rollbackTo": "aaaaaaaaaa"}
    status = {"observedGeneration": 1, "switchedOff": {"at": "2026-01-01T10:00:00Z"}, "handled": done}
    found = manifest(metadata__annotations={ON: "1"}, status={**status, "rollout": rollout})
    known = facts.begin(api.Release.model_validate(found), NOW)
    assert known.retry
    assert known.rollout is not None
    assert (known.rollout.rollback_to, known.rollout.started_at, known.is_off) == (None, NOW, False)


BUSY = Transient(Reason.API_SERVER_UNAVAILABLE, "it answered 503")
ENDINGS = [
    ("it is gone everywhere", "", None, "Off", False, True),
    ("it could not be deleted now", None, BUSY, "SwitchingOff", True, False),
    ("the operator may not", None, Waiting(Reason.FORBIDDEN, "no"), "SwitchingOff", True, False),
    ("it is refused", None, Refused(Reason.APPLY_REFUSED, "no"), "SwitchingOff", False, True),
]


@pytest.mark.parametrize(("reason", "running", "error", "phase", "reconciling", "stalled"), ENDINGS)
def test_what_is_said(
    reason: str, running: str | None, error: Any, phase: str, reconciling: bool, stalled: bool
) -> None:
    """Not Ready, SwitchedOff, with the user's reason; Stalled once it is gone, never beside Reconciling."""
    failure = Failure(api.ConditionType.APPLIED, error) if error else None
    entry = EntryReport("public", running=running, failure=failure)
    found = summaries.summarize(Report(entries=(entry,), switched_off=BEFORE, suspended=True))
    assert (found.phase, found.ready, found.reason) == (phase, "False", Reason.SWITCHED_OFF), reason
    assert (found.reconciling, found.stalled) == (reconciling, stalled), reason
    assert "before" in found.message


def test_no_registry_is_asked_while_it_is_off() -> None:
    """A tag that is followed is not asked for, as nothing would come of it."""
    artifact = {"ref": "r", "image": "i", "digest": "d", "wasmSha256": "", "size": 1, "layout": "l"}
    asked = {**artifact, "askedAt": "2026-01-01T10:00:00Z"}
    image = {"ref": "r", "interval": "1m"}
    known = release(spec__artifact={"image": image}, status={"artifact": asked, "switchedOff": {"at": NOW}})
    assert requeue.until_tag_poll(known, known.status, NOW) == float("inf")


def test_gateways_that_hang_when_it_is_switched_off_are_started_again() -> None:
    """They take no removal: those that were silent before, for longer than a load takes, and no others."""
    silent = [f"{pod_mark('uid-1')} S0"]
    noted = {"name": "public", "revision": "a" * 10, "since": "2026-01-01T11:00:00Z", "pods": silent}
    rollout = {"specHash": "x", "startedAt": "2026-01-01T11:00:00Z"}
    off = {"at": "2026-01-01T11:01:00Z", "reason": "it hangs"}
    status = {"observedGeneration": 1, "switchedOff": off, "rollout": rollout, "checkpoint": {"gateways": [noted]}}
    found = api.Release.model_validate(manifest(status=status))
    way = facts.begin(found, NOW).view("public").way_back(NOW)
    assert detour.may_hang(way)
    pods = [PodRef("apps", f"gateway-{number}", f"uid-{number}", ready=True) for number in (1, 2)]
    assert [pod.uid for pod in detour.list_possibly_hung(way, pods)] == ["uid-1"]
    early = datetime(2026, 1, 1, 11, 1, tzinfo=UTC)
    assert not detour.may_hang(facts.begin(found, early).view("public").way_back(early))
    assert requeue.until_silence_counts(found, found.status, early) == pytest.approx(60.1)
    assert requeue.until_silence_counts(found, found.status, NOW) == float("inf")


SEEN = [
    ("the operator did not ask it before", True, False, 121, True),
    ("it may still load what was written", True, False, 119, False),
    ("it was seen running the plugin", True, True, 121, False),
    ("it was ill before the write", False, False, 121, False),
]


@pytest.mark.parametrize(("why", "was_well", "ran", "seconds", "asked"), SEEN, ids=[row[0] for row in SEEN])
def test_gateways_that_may_hang_unseen_when_it_is_switched_off(
    why: str, was_well: bool, ran: bool, seconds: float, asked: bool
) -> None:
    """They are asked once a load would be over, and another pass comes then."""
    run = Incarnation(pod_mark("uid-1"), "abcd")
    noted = Notes((Baseline(run, None, None, None, restarts=0 if was_well else None),), frozenset({run} if ran else ()))
    begun = api.Observation(name="public", revision="a" * 10, since=EARLIER)
    rollout = api.RolloutStatus(spec_hash="x", started_at=EARLIER)
    checkpoint = api.Checkpoint(gateways=[notes.store(noted, begun)])
    status = api.Status(observed_generation=1, switched_off=BEFORE, rollout=rollout, checkpoint=checkpoint)
    found = release(status=status.model_dump(mode="json", by_alias=True, exclude_none=True))
    now = EARLIER + timedelta(seconds=seconds)
    assert detour.may_hang(facts.begin(found, now).view("public").way_back(now)) is asked, why
    awaited = was_well and not ran and seconds < 120
    assert (requeue.until_silence_counts(found, found.status, now) < 2) is awaited, why


def test_a_neighbour_that_is_off_is_blamed_for_nothing_later() -> None:
    """Its plugin has left the pods when it was switched off."""
    noted = {"name": "public", "revision": "a", "since": "2026-01-01T10:00:00Z"}
    other = release(status={"checkpoint": {"gateways": [noted]}, "switchedOff": {"at": EARLIER}})
    found = neighbours.make_neighbour(other, "public", ["pod"])
    assert found is not None
    assert found.failed_at == EARLIER
