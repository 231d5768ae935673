"""What a look starts from: what is kept of the look before, and what must be proved anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.core import timestamps
from pluginrelease.core.gateway import checkpoint
from pluginrelease.core.gateway.container import Container
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.observations import Baseline, ExtensionConfig, FilterKind, PodObservation, PodRef, Stats
from pluginrelease.core.gateway.outage import Silence
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict

NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=5)
RUN = Incarnation("uid-1", EARLIER)
OTHER_RUN = Incarnation("uid-2", EARLIER)
ENTRY = ExtensionConfig(
    name="auth", kind=FilterKind.WASM, type_url="", plugin_name="auth", path="", digest_hex="b" * 64, config={}, fail=""
)
SEEN = PodObservation(
    PodRef("apps", "gateway-1", "uid-1", ready=True),
    NOW,
    started_at=EARLIER,
    entries=(ENTRY,),
    stats=Stats(config_reload=1, config_fail=0, update_rejected=0, vm_created=5, vm_reloads=0, named=True),
)  # fmt: skip
BASELINE = api.PodBaseline(uid="uid-9", started_at=timestamps.metav1_micro_time(EARLIER), config_reload=77)
PODS = checkpoint.to_verified_pods([RUN])
OTHERS = checkpoint.to_verified_pods([OTHER_RUN])

# revisions, and what Envoy loads of them: P differs from A only in its phase
A, B, C, P = "a", "b", "c", "p"
LOADS = {A: "load-a", B: "load-b", C: "load-c", P: "load-a"}


def known(revision: str, **changes: Any) -> api.Observation:
    fields: dict[str, Any] = {
        "load": LOADS[revision],
        "since": timestamps.metav1_micro_time(EARLIER),
        "baselines": [BASELINE],
    }
    return api.Observation(revision=revision, **{**fields, **changes})


def begin(last: api.Observation | None, revision: str, **changes: Any) -> api.Observation:
    """The observation of a revision that is about to be written over ``carried``."""
    fields: dict[str, Any] = {"carried": None, "stable": None, "before": [SEEN], "failed_before": []}
    return checkpoint.begin(last, revision=revision, load=LOADS[revision], now=NOW, **{**fields, **changes})


def test_the_first_one_starts_from_the_look_before_the_write() -> None:
    """It has the time of now, the counters of every pod that could be read, and nothing that is proved."""
    begun = begin(None, A, failed_before={"second", "first"})
    assert (begun.revision, begun.load, begun.since) == (A, "load-a", timestamps.metav1_micro_time(NOW))
    assert [(one.uid, one.config_reload, one.digest_hex) for one in begun.baselines] == [("uid-1", 1, "b" * 64)]
    assert (begun.verified, begun.before, begun.nudge, begun.raised_loggers) == ([], None, None, [])
    assert begun.failed_before == ["first", "second"]


@pytest.mark.parametrize(
    ("sighting", "reason"),
    [
        (replace(SEEN, unreachable="connection refused"), "it could not be read"),
        (replace(SEEN, unknown=("a strange answer",)), "it was not understood"),
        (replace(SEEN, started_at=None), "it cannot be told which run of Envoy it was"),
    ],
)
def test_a_pod_that_could_not_be_read_has_no_baseline(sighting: PodObservation, reason: str) -> None:
    """Numbers that may be another Envoy's would be taken for a sign later."""
    assert [one.uid for one in begin(None, A, before=[sighting, SEEN]).baselines] == ["uid-1"], reason


A_RAN = api.Proof(load="load-a", verified=PODS)

PROVED: list[tuple[str, api.Observation, str, list[api.VerifiedPod]]] = [
    ("the same once more: another hand had changed the object", known(A, verified=PODS), A, PODS),
    ("another phase: Envoy gets nothing new", known(A, verified=PODS), P, PODS),
    ("another plugin has to show itself", known(A, verified=PODS), B, []),
    ("what ran before, put back", known(B, before=A_RAN), A, PODS),
    ("it was proved by the run of before alone", known(B, before=api.Proof(load="load-c", verified=PODS)), A, []),
    ("also after some had loaded the failed one", known(B, verified=OTHERS, before=A_RAN), A, PODS),
    ("an old status without loads", known(A, load="", verified=PODS), A, []),
]


@pytest.mark.parametrize(("reason", "before", "revision", "proved"), PROVED, ids=[row[0] for row in PROVED])
def test_what_needs_no_new_proof(
    reason: str, before: api.Observation, revision: str, proved: list[api.VerifiedPod]
) -> None:
    """A gateway that gets what it runs already shows nothing new, so the proof of before holds, and no other."""
    assert begin(before, revision, carried=before.revision).verified == proved, reason


RAN: list[tuple[str, list[tuple[str, list[api.VerifiedPod]]], tuple[str, list[api.VerifiedPod]] | None]] = [
    ("nothing ran before the first", [(A, PODS)], None),
    ("what ran before the second", [(A, PODS), (B, [])], ("load-a", PODS)),
    ("what never ran is not what ran before", [(A, PODS), (B, []), (C, [])], ("load-a", PODS)),
    ("the last of several that ran", [(A, PODS), (B, OTHERS), (C, [])], ("load-b", OTHERS)),
    ("there and back again", [(A, PODS), (B, OTHERS), (A, [])], ("load-b", OTHERS)),
    ("another phase changes nothing of it", [(A, PODS), (B, OTHERS), (B, OTHERS)], ("load-a", PODS)),
]


@pytest.mark.parametrize(("reason", "writes", "ran"), RAN, ids=[row[0] for row in RAN])
def test_what_ran_before_is_remembered(
    reason: str,
    writes: list[tuple[str, list[api.VerifiedPod]]],
    ran: tuple[str, list[api.VerifiedPod]] | None,
) -> None:
    """One proof back, of another load than the present one: to put that back needs no new sign where it still runs."""
    found: api.Observation | None = None
    for revision, verified in writes:
        found = begin(found, revision).model_copy(update={"verified": verified})
    assert found is not None
    assert found.before == (api.Proof(load=ran[0], verified=ran[1]) if ran else None), reason


@pytest.mark.parametrize(
    ("before", "revision", "carried", "stable", "kept", "reason"),
    [
        (known(A), A, A, None, True, "written again while it is awaited: a refusal that was told since still counts"),
        (known(A), A, A, B, True, "also while another one is the stable one"),
        (known(A), A, A, A, False, "it ran everywhere: what was told before that is over"),
        (known(A), A, None, None, False, "the object was deleted: gateways load it anew"),
        (known(A), A, B, None, False, "another revision was written over it: gateways load it anew"),
        (known(A), P, A, None, True, "another phase of what is awaited"),
        (known(A), B, A, None, False, "another plugin"),
        (None, A, None, None, False, "the first one"),
    ],
)
def test_from_when_gateways_are_judged(
    before: api.Observation | None, revision: str, carried: str | None, stable: str | None, kept: bool, reason: str
) -> None:
    """From this write on, unless the gateways are still at work on the same since an earlier one."""
    begun = begin(before, revision, carried=carried, stable=stable)
    assert begun.since == timestamps.metav1_micro_time(EARLIER if kept else NOW), reason
    assert [one.uid for one in begun.baselines] == ["uid-9" if kept else "uid-1"], reason


def test_log_levels_are_put_back_whatever_is_written() -> None:
    """A level that was raised for an earlier revision is not forgotten with it."""
    raised = [api.RaisedLogger(namespace="apps", pod="gateway-1", uid="uid-1", level="warning")]
    assert begin(known(A, raised_loggers=raised), B).raised_loggers == raised


@pytest.mark.parametrize(
    ("revision", "kept", "reason"),
    [(A, True, "the same object goes on being counted"), (B, False, "another one begins at none")],
)
def test_nudges_are_counted_for_one_revision(revision: str, kept: bool, reason: str) -> None:
    """The WasmPlugin carries the count, so it may not fall while the revision stays."""
    nudge = api.Nudge(count=3, tries=2, at=timestamps.metav1_micro_time(EARLIER))
    assert begin(known(A, nudge=nudge), revision).nudge == (nudge if kept else None), reason


def test_probes_begin_to_fail_anew() -> None:
    """How long probes failed with one revision is not held against the next."""
    assert begin(known(A, probes_failing_since=timestamps.metav1_micro_time(EARLIER)), B).probes_failing_since is None


def test_a_thousand_pods_fit_into_a_status() -> None:
    """Of more pods than the API takes the first ones are kept, in an order that does not change."""
    many = [Incarnation(f"uid-{number:05}", NOW) for number in range(api.MAX_OBSERVED_PODS + 5)]
    sightings = [replace(SEEN, pod=replace(SEEN.pod, uid=one.uid)) for one in many]
    kept = checkpoint.to_verified_pods(reversed(many))
    assert [one.uid for one in kept] == [one.uid for one in many[: api.MAX_OBSERVED_PODS]]
    assert len(begin(None, A, before=sightings).baselines) == api.MAX_OBSERVED_PODS


@pytest.mark.parametrize(
    ("state", "ready", "restarts", "reason"),
    [
        (State.UNKNOWN, True, 4, "a neighbour's crash is over"),
        (State.UNKNOWN, False, 1, "the gateway is still down"),
        (State.UNHEALTHY, True, 1, "it is ours"),
    ],
)
def test_a_neighbours_crash_is_not_counted_twice(state: State, ready: bool, restarts: int, reason: str) -> None:
    """Once the gateway is well again only another crash is news."""
    pod = PodRef("apps", "gateway-1", "uid-9", ready=ready, container=Container(restarts=4))
    row = PodVerdict(pod, state, "GatewayCrashed", "")
    before = known(A, baselines=[BASELINE.model_copy(update={"restarts": 1})])
    after = checkpoint.forgive_crash(before, Verdict(state, "GatewayCrashed", "", (row,)))
    assert [one.restarts for one in after.baselines] == [restarts], reason


@pytest.mark.parametrize(
    ("ready", "running", "restarts", "reason"),
    [
        (True, True, 2, "it is well"),
        (False, True, None, "it is not ready"),
        (True, False, None, "its container does not run"),
    ],
)
def test_only_of_a_pod_that_is_well_a_crash_is_news(
    ready: bool, running: bool, restarts: int | None, reason: str
) -> None:
    """The restarts of one that is ill before the write are not kept, so that none is blamed on it."""
    pod = replace(SEEN.pod, ready=ready, container=Container(restarts=2, running=running))
    [kept] = begin(None, A, before=[replace(SEEN, pod=pod)]).baselines
    assert (kept.restarts, kept.image is None) == (restarts, restarts is None), reason


def test_silences_come_back_as_they_were() -> None:
    """Since when a gateway does not answer survives the operator."""
    kept = [Silence("uid-1", NOW), Silence("uid-2", EARLIER)]
    assert checkpoint.from_silent_pods(checkpoint.to_silent_pods(reversed(kept))) == kept


TIMES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
COUNTS = st.none() | st.integers(0, 2**53)
RUNS = st.builds(Incarnation, st.text("0123456789abcdef-", min_size=1), TIMES)
BASELINES = st.builds(
    Baseline,
    RUNS,
    config_reload=COUNTS,
    config_fail=COUNTS,
    update_rejected=COUNTS,
    vm_created=COUNTS,
    vm_reloads=COUNTS,
    named=st.none() | st.booleans(),
    digest_hex=st.none() | st.just("c" * 64),
    others_updated=st.none() | TIMES,
    restarts=COUNTS,
    image=st.none() | st.just("0123abcd"),
)


@given(BASELINES)
def test_a_baseline_comes_back_as_it_was(baseline: Baseline) -> None:
    """What was noted before a crash is what the next operator compares with, through the API server's JSON."""
    wire = checkpoint.to_pod_baseline(baseline).wire()
    assert checkpoint.from_pod_baseline(api.PodBaseline.model_validate(wire)) == baseline


@given(st.sets(RUNS, max_size=10))
def test_proved_runs_come_back_as_they_were(runs: set[Incarnation]) -> None:
    """Which runs of which Envoys were seen running the plugin, in one order whatever they came in."""
    kept = checkpoint.to_verified_pods(runs)
    assert set(checkpoint.from_verified_pods(kept)) == runs
    assert kept == checkpoint.to_verified_pods(sorted(runs, key=lambda run: run.uid, reverse=True))
