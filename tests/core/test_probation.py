"""What the answers to probes make of a verdict: proof, patience, or a refusal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout import probe_verdict
from pluginrelease.core.rollout.probe import PodProbe
from tests.harness.reasons import give_reason

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
A = PodRef("apps", "a", "uid-a", ready=True)
B = PodRef("apps", "b", "uid-b", ready=True)
SEEN = [PodObservation(pod, NOW, started_at=NOW - timedelta(hours=1)) for pod in (A, B)]
RUNS = frozenset(Incarnation.of(pod.uid, NOW - timedelta(hours=1)) for pod in (A, B))


def row(pod: PodRef, state: State, reason: str) -> PodVerdict:
    return PodVerdict(pod, state, give_reason(state, reason), f"{pod.name} says")


RUNS_A, RUNS_B = row(A, State.LOADED, "Loaded"), row(B, State.LOADED, "Loaded")
AWAITED_A = row(A, State.PENDING, "AwaitingPositiveSign")
DOUBTED_A, DOUBTED_B = row(A, State.UNKNOWN, "NoPositiveSign"), row(B, State.UNKNOWN, "NoPositiveSign")
COMING_B = row(B, State.PENDING, "AwaitingConfig")
REJECTED_B = row(B, State.UNHEALTHY, "PluginRejected")


def verdict(state: State, *rows: PodVerdict) -> Verdict:
    reason = "Loaded" if state is State.LOADED else rows[0].reason if rows else "NoGatewayPods"
    return Verdict(state, give_reason(state, reason), "because", rows, frozenset({Incarnation.of("known", NOW)}))


LOADED = verdict(State.LOADED, RUNS_A, RUNS_B)
DOUBTED = verdict(State.UNKNOWN, DOUBTED_A, DOUBTED_B)


@pytest.mark.parametrize(
    ("judged", "due", "reason"),
    [
        (LOADED, True, "all run it"),
        (verdict(State.LOADED, COMING_B, RUNS_A), True, "it is settled, and a new pod does not stop the watch"),
        (verdict(State.PENDING, AWAITED_A, RUNS_B), True, "only the proof is missing: a probe may be it"),
        (DOUBTED, True, "also when it was given up"),
        (verdict(State.PENDING, COMING_B, AWAITED_A), False, "one has not got it: its answers are about the old one"),
        (verdict(State.PENDING, COMING_B, RUNS_A), False, "wait for it"),
        (verdict(State.UNHEALTHY, REJECTED_B, RUNS_A), False, "it has failed already"),
        (verdict(State.PENDING), False, "nobody is there"),
    ],
)
def test_probes_are_sent_when_every_gateway_has_the_plugin(judged: Verdict, due: bool, reason: str) -> None:
    """An answer is about the plugin only where the plugin is."""
    assert probe_verdict.is_due(judged) is due, reason


@pytest.mark.parametrize(
    ("one", "asked", "reason"),
    [
        (RUNS_A, True, "it runs there"),
        (AWAITED_A, True, "the probe may be the proof"),
        (DOUBTED_A, True, "also late"),
        (COMING_B, False, "a pod that comes up answers as it did without the plugin"),
        (REJECTED_B, False, "it answers by what ran before"),
    ],
)
def test_who_is_asked(one: PodVerdict, asked: bool, reason: str) -> None:
    """A pod that has not got the plugin yet is not asked, and so cannot fail its probes."""
    assert probe_verdict.is_asked(one) is asked, reason


def passed(pod: PodRef, name: str = "login") -> PodProbe:
    return PodProbe(pod, name, Reason.PROBED, "as expected", asked=6)


def wrong(pod: PodRef, name: str = "login", failed: int = 6) -> PodProbe:
    return PodProbe(pod, name, Reason.PROBE_FAILED, "answered 403, expected 200", asked=6, failed=failed)


def silent(pod: PodRef, name: str = "login") -> PodProbe:
    return PodProbe(pod, name, Reason.PROBE_UNANSWERED, "no answer in time", asked=6, failed=6, unanswered=6)


def weigh(judged: Verdict, *answers: PodProbe, since: float | None = None, **given: Any) -> probe_verdict.Weighed:
    """``since``: seconds that probes have failed for, by status."""
    failing_since = None if since is None else times.to_microseconds(NOW - timedelta(seconds=since))
    fields: dict[str, Any] = {"seen": SEEN, "probes_failed_before": [], "settled": False, "now": NOW}
    return probe_verdict.weigh(judged, answers, failing_since=failing_since, **{**fields, **given})


# ------------------------------------------------------------------------------------------------------------- passing


def test_what_passes_is_said_and_changes_nothing() -> None:
    """A plugin that was seen running, whose probes pass, stays Loaded; a failure of before is over."""
    weighed = weigh(LOADED, passed(A), passed(B), since=5)
    assert weighed.verdict == LOADED
    assert (weighed.finding.status, weighed.finding.reason, weighed.failing_since) == ("True", "Probed", None)


@pytest.mark.parametrize(
    ("probes_failed_before", "state", "reason"),
    [
        (["login"], State.LOADED, "it failed everywhere before the write: only the new plugin can make it pass"),
        (["login", "gone"], State.LOADED, "one that tells is enough"),
        ([], State.UNKNOWN, "it may have passed before: that it passes now tells nothing"),
        (["gone"], State.UNKNOWN, "a probe that is asked no more proves nothing"),
    ],
)
def test_a_probe_that_tells_new_from_old_is_a_proof(probes_failed_before: list[str], state: State, reason: str) -> None:
    """Where Envoy shows no sign, a probe may: it failed in every pod before the write, and passes in all of them."""
    weighed = weigh(DOUBTED, passed(A), passed(B), probes_failed_before=probes_failed_before)
    assert weighed.verdict.state is state, reason
    if state is State.LOADED:
        assert {pod.state for pod in weighed.verdict.pods} == {State.LOADED}
        assert "login" in weighed.verdict.pods[0].message
        assert weighed.verdict.verified == DOUBTED.verified | RUNS, "and need not be proved again"
    else:
        assert weighed.verdict == DOUBTED


def test_every_pod_must_give_the_proof() -> None:
    """One pod that still answers as before proves that it runs the old one."""
    assert weigh(DOUBTED, passed(A), wrong(B), probes_failed_before=["login"]).verdict.state is State.PENDING


def test_nothing_asked_is_nothing_passed() -> None:
    """Where no gateway could be asked, Probed does not turn True, nor does a proof come of it."""
    weighed = weigh(DOUBTED, probes_failed_before=["login"])
    assert (weighed.finding.status, weighed.verdict.state) == ("False", State.PENDING)
    late = weigh(LOADED, since=60)
    assert (late.finding.reason, late.verdict.state) == ("ProbeUnanswered", State.UNHEALTHY)


# ------------------------------------------------------------------------------------------------------------- failing


@pytest.mark.parametrize(
    ("since", "settled", "state", "ready_reason", "told", "reason"),
    [
        (None, False, State.PENDING, "AwaitingProbes", "AwaitingProbes", "a new one gets a moment"),
        (9.9, False, State.PENDING, "AwaitingProbes", "AwaitingProbes", "of ten seconds"),
        (10, False, State.UNHEALTHY, "ProbeFailed", "ProbeFailed", "and no more"),
        (None, True, State.LOADED, "Loaded", "AwaitingProbes", "one that ran is not called broken for one answer"),
        (9.9, True, State.LOADED, "Loaded", "AwaitingProbes", "nor for ten seconds of them"),
        (10, True, State.UNHEALTHY, "ProbeFailed", "ProbeFailed", "then it is"),
        (-3600, False, State.PENDING, "AwaitingProbes", "AwaitingProbes", "a clock set back: it begins anew"),
    ],
)
def test_a_wrong_answer_is_asked_again_before_it_is_told(
    since: float | None, settled: bool, state: State, ready_reason: str, told: str, reason: str
) -> None:
    """A gateway that has just loaded may answer by what it had, and an upstream may stumble: ten seconds pass."""
    weighed = weigh(LOADED, wrong(A), passed(B), since=since, settled=settled)
    assert (weighed.verdict.state, weighed.verdict.reason) == (state, ready_reason), reason
    assert (weighed.finding.status, weighed.finding.reason) == ("False", told), reason
    assert weighed.failing_since is not None
    kept = since is not None and since > 0
    assert weighed.failing_since == (NOW - timedelta(seconds=since or 0) if kept else NOW)


def test_patience_has_an_end_whatever_the_clock_does() -> None:
    """After a clock was set back by an hour, the ten seconds count from the next look, and not from in an hour."""
    first = weigh(LOADED, wrong(A), since=-3600)
    assert first.failing_since is not None
    later = probe_verdict.weigh(
        LOADED, [wrong(A)], seen=SEEN, probes_failed_before=[], failing_since=first.failing_since, settled=False,
        now=NOW + probe_verdict.GRACE,
    )  # fmt: skip
    assert later.verdict.state is State.UNHEALTHY


def test_what_was_broken_is_not_settled_by_having_run_once() -> None:
    """Only a plugin that runs everywhere now is kept Ready for the moment; a doubtful one is awaited."""
    assert weigh(DOUBTED, wrong(A), passed(B), settled=True).verdict.state is State.PENDING


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([silent(A), silent(B)], "ProbeUnanswered"),
        ([silent(A), wrong(B)], "ProbeFailed"),
        ([replace(silent(A), reason=Reason.PROBE_PORT_UNKNOWN, asked=0, failed=0, unanswered=0)], "ProbePortUnknown"),
    ],
    ids=["silence is told as such", "a wrong answer says more than silence", "a port that went"],
)
def test_the_cause_is_told_as_it_is(answers: list[PodProbe], reason: str) -> None:
    """Ready, the condition Probed and the pod's row say one reason: what was wrong with the worst answer."""
    weighed = weigh(LOADED, *answers, since=60)
    assert weighed.finding.reason == weighed.verdict.reason == reason
    assert reason in {pod.reason for pod in weighed.verdict.pods}


def test_the_pods_that_answer_wrongly_come_first() -> None:
    """Their rows say which probe and what was wrong; the others stay as they are, and nothing proved is lost."""
    weighed = weigh(LOADED, passed(A), wrong(B, failed=1), since=60)
    assert [(pod.pod.name, pod.state, pod.reason) for pod in weighed.verdict.pods] == [
        ("b", State.UNHEALTHY, "ProbeFailed"),
        ("a", State.LOADED, "Loaded"),
    ]
    assert weighed.verdict.pods[0].message == "login: answered 403, expected 200"
    assert weighed.verdict.verified == LOADED.verified
