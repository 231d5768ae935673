"""What a look starts from: what is kept of the look before, and what must be proved anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway import checkpoint, notes
from pluginrelease.core.gateway.container import Container
from pluginrelease.core.gateway.identity import Incarnation, pod_mark
from pluginrelease.core.gateway.notes import Notes
from pluginrelease.core.gateway.observations import Baseline, ExtensionConfig, FilterKind, PodObservation, PodRef, Stats
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict

NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=5)
RUN = Incarnation.of("uid-1", EARLIER)
OTHER_RUN = Incarnation.of("uid-2", EARLIER)
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
BASELINE = Baseline(Incarnation.of("uid-9", EARLIER), 77, None, None)
PODS = frozenset({RUN})
OTHERS = frozenset({OTHER_RUN})
NOBODY = frozenset[Incarnation]()

# revisions, and what Envoy loads of them: P differs from A only in its phase
A, B, C, P = "a", "b", "c", "p"
LOADS = {A: "load-a", B: "load-b", C: "load-c", P: "load-a"}


def known(
    revision: str,
    loaded: frozenset[Incarnation] = NOBODY,
    before: tuple[str, frozenset[Incarnation]] = ("", NOBODY),
    baseline: Baseline = BASELINE,
    **changes: Any,
) -> api.Observation:
    """The observation of a revision, with the runs that were seen running it, and the load that ran before it."""
    fields = {
        "load_hash": LOADS[revision],
        "load_hash_before": before[0],
        "since": times.to_microseconds(EARLIER),
    }
    found = api.Observation(revision=revision, **{**fields, **changes})
    return notes.store(Notes((baseline,), loaded, before[1]), found)


def pods_of(found: api.Observation) -> list[str]:
    """The pods whose counters it knows."""
    return [baseline.incarnation.pod for baseline in notes.read(found).baselines]


def begin(last: api.Observation | None, revision: str, **changes: Any) -> api.Observation:
    """The observation of a revision that is about to be written over ``carried``."""
    fields: dict[str, Any] = {
        "name": "public",
        "carried": None,
        "stable": None,
        "before": [SEEN],
        "probes_failed_before": [],
    }
    return checkpoint.begin(last, revision=revision, load=LOADS[revision], now=NOW, **{**fields, **changes})


def test_the_first_one_starts_from_the_look_before_the_write() -> None:
    """It has the time of now, the counters of every pod that could be read, and nothing that is proved."""
    begun = begin(None, A, probes_failed_before={"second", "first"})
    assert (begun.revision, begun.load_hash, begun.since) == (A, "load-a", times.to_microseconds(NOW))
    noted = notes.read(begun)
    assert [(baseline.incarnation, baseline.config_reload, baseline.digest_hex) for baseline in noted.baselines] == [
        (RUN, 1, "b" * 64)
    ]
    assert (noted.loaded, noted.before, noted.silent) == (NOBODY, NOBODY, ())
    assert (begun.name, begun.load_hash_before, begun.refetch, begun.raised_loggers) == ("public", "", None, [])
    assert begun.probes_failed_before == ["first", "second"]


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
    assert pods_of(begin(None, A, before=[sighting, SEEN])) == [RUN.pod], reason


A_RAN = ("load-a", PODS)

PROVED: list[tuple[str, api.Observation, str, frozenset[Incarnation]]] = [
    ("the same once more: another hand had changed the object", known(A, PODS), A, PODS),
    ("another phase: Envoy gets nothing new", known(A, PODS), P, PODS),
    ("another plugin has to show itself", known(A, PODS), B, NOBODY),
    ("what ran before, put back", known(B, before=A_RAN), A, PODS),
    ("it was proved by the run of before alone", known(B, before=("load-c", PODS)), A, NOBODY),
    ("also after some had loaded the failed one", known(B, OTHERS, A_RAN), A, PODS),
    ("one that has loaded the failed one has to load it again", known(B, PODS, A_RAN), A, NOBODY),
    ("an old status without loads", known(A, PODS, load_hash=""), A, NOBODY),
]


@pytest.mark.parametrize(("reason", "before", "revision", "proved"), PROVED, ids=[row[0] for row in PROVED])
def test_what_needs_no_new_proof(
    reason: str, before: api.Observation, revision: str, proved: frozenset[Incarnation]
) -> None:
    """A gateway that gets what it runs already shows nothing new, so the proof of before holds, and no other."""
    assert notes.read(begin(before, revision, carried=before.revision)).loaded == proved, reason


Writes = list[tuple[str, frozenset[Incarnation]]]
RAN: list[tuple[str, Writes, tuple[str, frozenset[Incarnation]]]] = [
    ("nothing ran before the first", [(A, PODS)], ("", NOBODY)),
    ("what ran before the second", [(A, PODS), (B, NOBODY)], ("load-a", PODS)),
    ("what never ran is not what ran before", [(A, PODS), (B, NOBODY), (C, NOBODY)], ("load-a", PODS)),
    ("the last of several that ran", [(A, PODS), (B, OTHERS), (C, NOBODY)], ("load-b", OTHERS)),
    ("there and back again", [(A, PODS), (B, OTHERS), (A, NOBODY)], ("load-b", OTHERS)),
    ("another phase changes nothing of it", [(A, PODS), (B, OTHERS), (B, OTHERS)], ("load-a", PODS)),
]


@pytest.mark.parametrize(("reason", "writes", "ran"), RAN, ids=[row[0] for row in RAN])
def test_what_ran_before_is_remembered(reason: str, writes: Writes, ran: tuple[str, frozenset[Incarnation]]) -> None:
    """One proof back, of another load than the present one: to put that back needs no new sign where it still runs."""
    found: api.Observation | None = None
    for revision, loaded in writes:
        found = begin(found, revision)
        found = notes.store(replace(notes.read(found), loaded=loaded), found)
    assert found is not None
    assert (found.load_hash_before, notes.read(found).before) == ran, reason


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
    assert begun.since == times.to_microseconds(EARLIER if kept else NOW), reason
    assert pods_of(begun) == [pod_mark("uid-9" if kept else "uid-1")], reason


def test_log_levels_are_put_back_whatever_is_written() -> None:
    """A level that was raised for an earlier revision is not forgotten with it."""
    raised = [api.RaisedLoggers(namespace="apps", level="warning", pods=[f"gateway {RUN.pod}"])]
    assert begin(known(A, raised_loggers=raised), B).raised_loggers == raised


@pytest.mark.parametrize(
    ("revision", "kept", "reason"),
    [(A, True, "the same object goes on being counted"), (B, False, "another one begins at none")],
)
def test_nudges_are_counted_for_one_revision(revision: str, kept: bool, reason: str) -> None:
    """The WasmPlugin carries the count, so it may not fall while the revision stays."""
    last = api.Refetch(count=3, attempts=2, at=times.to_microseconds(EARLIER))
    assert begin(known(A, refetch=last), revision).refetch == (last if kept else None), reason


def test_probes_begin_to_fail_anew() -> None:
    """How long probes failed with one revision is not held against the next."""
    assert begin(known(A, probes_failing_since=times.to_microseconds(EARLIER)), B).probes_failing_since is None


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
    row = PodVerdict(pod, state, Reason.GATEWAY_CRASHED, "")
    before = known(A, baseline=replace(BASELINE, restarts=1))
    after = checkpoint.keep(before, Verdict(state, Reason.GATEWAY_CRASHED, "", (row,)), at_rest=False)
    assert [baseline.restarts for baseline in notes.read(after).baselines] == [restarts], reason


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
    [kept] = notes.read(begin(None, A, before=[replace(SEEN, pod=pod)])).baselines
    assert (kept.restarts, kept.image is None) == (restarts, restarts is None), reason


FIRST, LATER = EARLIER.replace(microsecond=0), NOW.replace(microsecond=0)  # the API server's have whole seconds
WRITES: list[tuple[str, datetime | None, datetime | None, datetime | None]] = [
    ("the first one is noted", None, LATER, LATER),
    ("a refetch writes the same revision again", FIRST, LATER, FIRST),
    ("the object cannot be read", FIRST, None, FIRST),
]


@pytest.mark.parametrize(("reason", "noted", "found", "kept"), WRITES, ids=[row[0] for row in WRITES])
def test_the_first_write_counts(
    reason: str, noted: datetime | None, found: datetime | None, kept: datetime | None
) -> None:
    """An end of a container is before the write only if it is before the first one."""
    verdict = Verdict(State.PENDING, Reason.PENDING, "")
    before = known(A, written_at=noted)
    assert checkpoint.keep(before, verdict, at_rest=False, written_at=found).written_at == kept, reason


def test_a_revision_that_is_still_awaited_keeps_the_time_of_its_first_write() -> None:
    """After a change by another client the same is written again; what crashed since the first write still counts."""
    waits = known(A, written_at=FIRST)
    assert begin(waits, A, carried=A, stable=B).written_at == FIRST
    assert begin(waits, B, carried=A, stable=C).written_at is None


@pytest.mark.parametrize(
    ("state", "at_rest", "left", "reason"),
    [
        (State.LOADED, False, [RUN.pod], "the rollout is under way: all of it is needed"),
        (State.LOADED, True, [], "it has run everywhere: signs and what ran before are of no use any more"),
        (State.UNHEALTHY, True, [RUN.pod], "something is wrong: nothing is forgotten now"),
    ],
)
def test_what_is_forgotten_at_rest(state: State, at_rest: bool, left: list[str], reason: str) -> None:
    """A release that runs everywhere costs the API server one short hash a pod."""
    row = PodVerdict(SEEN.pod, state, state.value, "")
    before = known(A, PODS, ("load-b", OTHERS), baseline=replace(BASELINE, incarnation=RUN))
    after = checkpoint.keep(before, Verdict(state, state.value, "", (row,), PODS), at_rest=at_rest)
    assert notes.read(after).loaded == PODS
    assert pods_of(after) == left, reason
    assert (after.load_hash_before, notes.read(after).before) == (("load-b", OTHERS) if left else ("", NOBODY)), reason
