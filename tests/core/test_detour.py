"""The way back when Envoy refuses what is put back, or does not take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from pluginrelease import api
from pluginrelease.api import HistoryState, times
from pluginrelease.core.gateway.container import Container
from pluginrelease.core.gateway.identity import pod_mark
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.outage import Silence
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout import detour
from pluginrelease.core.rollout.detour import DetourText, Step, WayBack
from tests.harness.reasons import give_reason

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STABLE, NEW, OLDER = "stable0000", "new0000000", "older00000"


def ago(seconds: float) -> datetime:
    return times.to_microseconds(NOW - timedelta(seconds=seconds))


def row(number: int, state: State, reason: str = "", *, ready: bool = True) -> PodVerdict:
    pod = PodRef("apps", f"gateway-{number}", f"uid-{number}", ready=ready)
    return PodVerdict(pod, state, give_reason(state, reason), "")


def seen(*rows: PodVerdict, silent: tuple[str, ...] = ()) -> Verdict:
    order = (State.UNHEALTHY, State.UNKNOWN, State.PENDING, State.LOADED)
    worst = min(rows, key=lambda row: order.index(row.state))
    return Verdict(worst.state, worst.reason, "", rows, silent=tuple(Silence(pod_mark(uid), NOW) for uid in silent))


def refused(number: int) -> PodVerdict:
    return row(number, State.UNHEALTHY, "PluginRejected")


def rollback(
    known: api.Detour | None = None,
    reason: str = "PluginRefusedByWorkers",
    *,
    puts_back: str | None = STABLE,
    loaded_at: str | None = None,
) -> WayBack:
    """The way back of one entry after a failure."""
    failure = api.RolloutFailure(revision=NEW, gateways=["public"], reason=reason, message="", at=ago(60))
    return WayBack(failure, api.GatewayFallback(name="public", detour=known, loaded_at=loaded_at), puts_back)


def entry(revision: str, digest: str, state: HistoryState = HistoryState.SUPERSEDED) -> api.HistoryEntry:
    times = {"first_deployed": ago(900), "last_deployed": ago(900)}
    return api.HistoryEntry(revision=revision, number=1, state=state, ref="r", digest=digest, **times)


SAME_BYTES = (entry(NEW, "sha256:a", HistoryState.FAILED), entry(STABLE, "sha256:a", HistoryState.STABLE))
OTHERS = (*SAME_BYTES, entry(OLDER, "sha256:b"))
RUNS, COMES = row(1, State.LOADED), row(1, State.PENDING)
DOWN, LOST = (row(1, state, "PodNotReady", ready=False) for state in (State.PENDING, State.UNKNOWN))
BOTH = (refused(1), refused(2))
OUT = tuple(row(number, State.UNHEALTHY, "GatewayUnresponsive", ready=False) for number in (1, 2))
QUIET = (row(1, State.PENDING, "PodUnreachable"), row(2, State.PENDING, "PodUnreachable"))


@dataclass(frozen=True)
class DetourCase:
    """``may_restart``: whether the operator may end gateways."""

    reason: str
    verdict: Verdict
    step: Step | None
    way: WayBack = field(default_factory=rollback)
    history: tuple[api.HistoryEntry, ...] = SAME_BYTES
    pod: str | None = None
    may_restart: bool = True


RESTARTED = api.Detour(restarted=[pod_mark("uid-1")], restarted_at=ago(5))
LONG_AGO = api.Detour(restarted=[pod_mark("uid-1")], restarted_at=ago(600))
VIA = api.Detour(via=OLDER, tried_others=True)

CASES = [
    DetourCase("it runs again: nothing to do", seen(RUNS), None),
    DetourCase("it is still coming", seen(COMES), None),
    DetourCase("another failure: the bytes are not to blame", seen(refused(1)), None, rollback(reason="ProbeFailed")),
    DetourCase("refused, and one of other bytes is kept", seen(refused(1)), Step.OTHER_BYTES, history=OTHERS),
    DetourCase(
        "one of other bytes that never ran everywhere is none to go to",
        seen(*BOTH),
        Step.RESTART,
        history=(*SAME_BYTES, entry(OLDER, "sha256:b", HistoryState.FAILED)),
        pod="gateway-1",
    ),
    DetourCase("that one is coming", seen(COMES), Step.WAIT, rollback(VIA), OTHERS),
    DetourCase("that one runs: what is put back comes next", seen(RUNS), Step.WAIT, rollback(VIA), OTHERS),
    DetourCase("that one is refused too", seen(*BOTH), Step.RESTART, rollback(VIA), OTHERS, "gateway-1"),
    DetourCase("no other is kept: the first of two gateways", seen(*BOTH), Step.RESTART, pod="gateway-1"),
    DetourCase("the other one may soon be ready to serve meanwhile", seen(DOWN, refused(2)), Step.WAIT),
    DetourCase("the other one does not come", seen(LOST, refused(2)), Step.TAKE_OFF),
    DetourCase("the first one is still coming up", seen(COMES, refused(2)), Step.WAIT, rollback(RESTARTED)),
    DetourCase("the first one has not ended yet", seen(*BOTH), Step.WAIT, rollback(RESTARTED)),
    DetourCase("the first one runs: now 2", seen(refused(2), RUNS), Step.RESTART, rollback(RESTARTED), pod="gateway-2"),
    DetourCase("a new start did not help: no other is ended", seen(*BOTH), Step.TAKE_OFF, rollback(LONG_AGO)),
    DetourCase("the only gateway: off for a while", seen(refused(1)), Step.TAKE_OFF),
    DetourCase("that did not help either", seen(refused(1)), Step.STUCK, rollback(api.Detour(was_off=True))),
    DetourCase(
        "two gateways that hang: the first of them",
        seen(*QUIET, silent=("uid-1", "uid-2")),
        Step.RESTART,
        rollback(reason="GatewayUnresponsive"),
        pod="gateway-1",
    ),
    DetourCase(
        "the only gateway hangs: to be off would not reach it",
        seen(row(1, State.UNHEALTHY, "GatewayUnresponsive"), silent=("uid-1",)),
        Step.STUCK,
        rollback(reason="GatewayUnresponsive"),
    ),
    DetourCase(
        "a worker of one of two gateways hangs of a request, and takes nothing that is put back",
        seen(row(1, State.UNHEALTHY, "GatewayUnresponsive"), row(2, State.LOADED)),
        Step.RESTART,
        rollback(reason="ProbeUnanswered"),
        pod="gateway-1",
    ),
    DetourCase(
        "the workers of both hang, so that neither is ready: nobody loses anything by a new start",
        seen(*OUT),
        Step.RESTART,
        rollback(reason="GatewayUnresponsive"),
        pod="gateway-1",
    ),
    DetourCase(
        "the workers of the only gateway hang, and it is not ready",
        seen(OUT[0]),
        Step.RESTART,
        rollback(reason="GatewayUnresponsive"),
        pod="gateway-1",
    ),
    DetourCase(
        "one that is not ready goes first, though the other one must serve",
        seen(row(1, State.UNHEALTHY, "GatewayUnresponsive"), OUT[1]),
        Step.RESTART,
        rollback(reason="GatewayUnresponsive"),
        pod="gateway-2",
    ),
    DetourCase("no gateway may be ended: a pause heals what refuses", seen(*BOTH), Step.TAKE_OFF, may_restart=False),
    DetourCase(
        "no gateway may be ended, and nothing else heals one that hangs",
        seen(*QUIET, silent=("uid-1", "uid-2")),
        Step.STUCK,
        rollback(reason="GatewayUnresponsive"),
        may_restart=False,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_what_heals_a_gateway_that_does_not_take_what_is_put_back(case: DetourCase) -> None:
    """Other bytes first, then a new start one by one while another gateway is ready, then off for the drain."""
    turn = detour.decide_turn(case.way, case.verdict, case.history, NOW, may_restart=case.may_restart)
    assert (turn.step if turn else None) == case.step
    assert (turn.pod.name if turn and turn.pod else None) == case.pod


def gateway(number: int, began: float | None = 600, *, ready: bool = True) -> PodRef:
    """Its container has run since so many seconds ago."""
    started = None if began is None else NOW - timedelta(seconds=began)
    return PodRef("apps", f"gateway-{number}", f"uid-{number}", ready=ready, container=Container(started_at=started))


HUNG = rollback(reason="GatewayUnresponsive", puts_back=None)
FIRST_DONE = HUNG.with_detour(RESTARTED)


@pytest.mark.parametrize(
    ("way", "pods", "pod", "why"),
    [
        (HUNG, [gateway(1), gateway(2)], "gateway-1", "both hang: the first of them"),
        (HUNG, [gateway(1)], None, "it is the only one"),
        (HUNG, [gateway(1), gateway(3, ready=False)], None, "the other one is not ready"),
        (HUNG, [gateway(1), gateway(2, ready=False)], "gateway-2", "that one hangs too, and serves nothing"),
        (HUNG, [gateway(1, ready=False)], "gateway-1", "it is the only one, and serves nothing"),
        (HUNG, [gateway(1, 5), gateway(2, 5)], None, "both were started again since"),
        (HUNG, [gateway(3), gateway(4)], None, "others hang, or none"),
        (FIRST_DONE, [gateway(1), gateway(2)], None, "the first one has not ended yet"),
        (FIRST_DONE, [gateway(1, 3, ready=False), gateway(2)], None, "the first one is coming up"),
        (FIRST_DONE, [gateway(1, 3), gateway(2), gateway(3)], "gateway-2", "the first one is back"),
        (rollback(puts_back=None), [gateway(1), gateway(2)], None, "it failed of another cause"),
    ],
)
def test_gateways_that_hang_of_what_was_removed_are_started_again(
    way: WayBack, pods: list[PodRef], pod: str | None, why: str
) -> None:
    """One after the other while another one is ready, as they take the removal in no other way."""
    turn = detour.find_next_hung(way, pods, ["uid-1", "uid-2"], NOW)
    assert (turn.pod.name if turn and turn.pod else None) == pod, why


def test_what_a_step_leaves_for_the_next_look() -> None:
    """Each way is taken once, and is in the release's status."""
    other = detour.decide_turn(rollback(), seen(refused(1)), OTHERS, NOW)
    assert other is not None
    assert other.detour == VIA
    done = detour.decide_turn(rollback(VIA), seen(RUNS), OTHERS, NOW)
    assert done is not None
    assert done.detour == api.Detour(tried_others=True)
    untold = detour.decide_turn(rollback(VIA), seen(LOST, row(2, State.LOADED)), OTHERS, NOW)
    assert untold is not None
    assert untold.detour == api.Detour(tried_others=True), "a pod that never comes does not hold what is put back"
    second = detour.decide_turn(rollback(RESTARTED), seen(refused(2), RUNS), SAME_BYTES, NOW)
    assert second is not None
    assert second.detour == api.Detour(restarted=[pod_mark("uid-1"), pod_mark("uid-2")], restarted_at=ago(0))


def test_off_is_for_longer_than_old_listeners_drain() -> None:
    """After that the revision is put back once more, and the time is kept in the status."""
    begun = rollback(api.Detour(off_since=ago(45), was_off=True))
    assert detour.is_off(detour.end_off(begun, NOW))
    assert detour.compute_pause(begun, NOW) == pytest.approx(15.1)
    over = detour.end_off(rollback(api.Detour(off_since=ago(61), was_off=True)), NOW)
    assert not detour.is_off(over)
    assert over.fallback.detour == api.Detour(was_off=True)


def test_a_detour_ends() -> None:
    """With what is put back seen running, or with nothing left to try."""
    assert detour.is_under_way(rollback(RESTARTED))
    assert detour.compute_pause(rollback(RESTARTED), NOW) == detour.PAUSE
    for ended in (
        rollback(),
        rollback(replace_given_up(RESTARTED)),
        rollback(RESTARTED, loaded_at=ago(0)),
    ):
        assert not detour.is_under_way(ended)
        assert detour.compute_pause(ended, NOW) is None


def replace_given_up(known: api.Detour) -> api.Detour:
    return known.model_copy(update={"given_up": True})


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (VIA, DetourText.VIA.format(revision=STABLE, via=OLDER)),
        (api.Detour(off_since=ago(1)), DetourText.OFF.format(revision=STABLE)),
        (RESTARTED, DetourText.RESTARTING.format(revision=STABLE)),
        (replace_given_up(RESTARTED), DetourText.GIVEN_UP.format(revision=STABLE)),
        (None, DetourText.RESTORING.format(revision=STABLE)),
    ],
)
def test_each_step_is_said(known: api.Detour | None, said: str) -> None:
    """In the release's status a reader finds what is done, and at the end what is left to do."""
    assert detour.describe(rollback(known)) == said
