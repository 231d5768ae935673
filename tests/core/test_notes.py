"""The stored form of what is known of pods: what comes back, what a pod costs, and what is left at rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.core.gateway import notes, raised_loggers
from pluginrelease.core.gateway.identity import Incarnation, pod_mark
from pluginrelease.core.gateway.notes import NOT_KEPT, Notes
from pluginrelease.core.gateway.observations import Baseline, PodObservation, PodRef, Stats
from pluginrelease.core.gateway.outage import Silence
from pluginrelease.core.gateway.raised_loggers import RaisedLogger

NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=5)
KNOWN = api.Observation(revision="0123456789", since=times.to_microseconds(NOW))
RUN, OTHER = Incarnation.of("uid-1", EARLIER), Incarnation.of("uid-2", EARLIER)
IMAGE, DIGEST = "0123abcd", "c" * 64
COUNTED = Baseline(RUN, 3, 0, 0, 17, 0, True, DIGEST, EARLIER, 2, 1, IMAGE)

TIMES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
COUNTS = st.none() | st.integers(0, 2**53)
UIDS = st.text("0123456789abcdef-", min_size=1)
RUNS = st.builds(Incarnation.of, UIDS, TIMES)
BASELINES = st.builds(
    Baseline,
    RUNS,
    config_reload=COUNTS,
    config_fail=COUNTS,
    update_rejected=COUNTS,
    vm_created=COUNTS,
    vm_reloads=COUNTS,
    named=st.none() | st.booleans(),
    digest_hex=st.sampled_from([None, NOT_KEPT, DIGEST, "d" * 64]),
    others_updated=st.none() | TIMES,
    crashes=COUNTS,
    restarts=COUNTS,
    image=st.sampled_from([None, IMAGE, "4567abcd"]),
)
AT_REST = st.builds(
    Baseline,
    RUNS,
    config_reload=st.none(),
    config_fail=st.none(),
    update_rejected=st.none(),
    digest_hex=st.just(NOT_KEPT),
    restarts=st.sampled_from([0, 0, 0, 1]),
    image=st.sampled_from([IMAGE, IMAGE, "4567abcd"]),
)


@st.composite
def anything(draw: st.DrawFn) -> Notes:
    """Notes with baselines of runs that are loaded, of some that ran before, and of others."""
    baselines = draw(st.lists(BASELINES | AT_REST, max_size=5, unique_by=lambda baseline: baseline.incarnation))
    runs = [baseline.incarnation for baseline in baselines] + draw(st.lists(RUNS, max_size=4))
    some = st.frozensets(st.sampled_from(runs)) if runs else st.just(frozenset[Incarnation]())
    silent = draw(
        st.lists(st.builds(Silence, UIDS.map(pod_mark), TIMES), max_size=4, unique_by=lambda silence: silence.pod)
    )
    return Notes(tuple(baselines), draw(some), draw(some), tuple(silent))


def through_the_api(noted: Notes) -> api.Observation:
    """The observation as the API server gives it back."""
    return api.Observation.model_validate(notes.store(noted, KNOWN).wire())


@given(anything())
def test_what_is_stored_comes_back(noted: Notes) -> None:
    """The next operator compares with exactly what was noted before a crash."""
    found = notes.read(through_the_api(noted))
    assert set(found.baselines) == set(noted.baselines)
    assert len(found.baselines) == len(noted.baselines)
    assert (found.loaded, found.before, set(found.silent)) == (noted.loaded, noted.before, set(noted.silent))


@given(anything())
def test_the_same_notes_have_one_form(noted: Notes) -> None:
    """In whatever order pods were looked at, the status stays as it is."""
    turned = replace(noted, baselines=noted.baselines[::-1], silent=noted.silent[::-1])
    assert notes.store(turned, KNOWN) == notes.store(noted, KNOWN)


LINES: list[tuple[str, Notes, list[str]]] = [
    ("nothing is known", Notes(), []),
    ("seen running it, and new since the write", Notes(loaded=frozenset({RUN})), [f"{RUN.pod}.{RUN.run} L"]),
    ("what ran before it", Notes(before=frozenset({RUN})), [f"{RUN.pod}.{RUN.run} B"]),
    ("both", Notes(loaded=frozenset({RUN}), before=frozenset({RUN})), [f"{RUN.pod}.{RUN.run} LB"]),
    ("counters hidden", Notes((Baseline(RUN, None, None, None),)), [f"{RUN.pod}.{RUN.run} - ,"]),
    ("all counters", Notes((COUNTED,)), [f"{RUN.pod}.{RUN.run} - 1,1,2,3,0,0,17,0,1,2,4ym1hc"]),
    (
        "at rest",
        notes.rest(Notes((replace(COUNTED, restarts=0, crashes=None),), frozenset({RUN})), {RUN.pod}),
        [f"{RUN.pod}.{RUN.run}"],
    ),
    ("silent for a minute", Notes(silent=(Silence(RUN.pod, NOW - timedelta(minutes=1)),)), [f"{RUN.pod} Szq0ao"]),
    ("silent since after the write", Notes(silent=(Silence(RUN.pod, NOW + timedelta(1)),)), [f"{RUN.pod} S-13owbuo0"]),
]


@pytest.mark.parametrize(("reason", "noted", "lines"), LINES, ids=[row[0] for row in LINES])
def test_the_lines_are_those_that_are_documented(reason: str, noted: Notes, lines: list[str]) -> None:
    """An operator of tomorrow reads what today's one wrote."""
    assert notes.store(noted, KNOWN).pods == lines, reason


@pytest.mark.parametrize(
    "line",
    ["", "short.abcd", "0123456.abcd X", "0123456.abcd LB 1;2", "0123456", "0123456 S", "0123456.abcd L\n", "L"],
)
def test_a_line_of_another_form_is_refused(line: str) -> None:
    """A status that was written by hand is unreadable as a whole, and is not half understood."""
    with pytest.raises(ValidationError):
        api.Observation(revision="r", since=KNOWN.since, pods=[line])


def test_a_number_that_nothing_stands_for_is_not_known() -> None:
    """A table that was cut by hand costs a sign, and never the pass."""
    known = KNOWN.model_copy(update={"pods": [f"{RUN.pod}.{RUN.run} - 1,7"], "shared": [""]})
    assert [(baseline.restarts, baseline.image) for baseline in notes.read(known).baselines] == [(1, None)]


LEFT: list[tuple[str, Baseline, list[Baseline]]] = [
    ("it was well: by its restarts another end shows", COUNTED, [replace(COUNTED, restarts=1)]),
    ("it was ill, and no end is news", replace(COUNTED, restarts=None, image=None, crashes=None), []),
    ("crashes of the plugin are counted from there", replace(COUNTED, restarts=None, image=None), [COUNTED]),
    ("the pod is gone", replace(COUNTED, incarnation=OTHER), []),
]


@pytest.mark.parametrize(("reason", "baseline", "left"), LEFT, ids=[row[0] for row in LEFT])
def test_what_is_left_at_rest(reason: str, baseline: Baseline, left: list[Baseline]) -> None:
    """Once all gateways run it, counters that prove that are not kept, nor what ran before."""
    rested = notes.rest(Notes((baseline,), frozenset({RUN}), frozenset({RUN})), {RUN.pod})
    kept = [
        (baseline.incarnation, baseline.crashes, baseline.config_reload, baseline.digest_hex)
        for baseline in rested.baselines
    ]
    assert kept == [(baseline.incarnation, baseline.crashes, None, NOT_KEPT) for baseline in left], reason
    assert (rested.loaded, rested.before) == (frozenset({RUN}), frozenset())


def test_a_pod_that_was_started_again_keeps_its_count() -> None:
    """The line of its earlier run goes, and how often it had ended before the write stays."""
    now = Incarnation.of("uid-1", NOW)
    rested = notes.rest(Notes((COUNTED,), frozenset({now})), {RUN.pod})
    assert [(baseline.incarnation, baseline.restarts) for baseline in rested.baselines] == [(now, 1)]


def pods(count: int) -> Notes:
    """Gateways in the middle of a rollout, each seen running this revision and the one before."""
    runs = [Incarnation.of(f"uid-{number}", NOW - timedelta(seconds=number)) for number in range(count)]
    seen = (replace(COUNTED, incarnation=run, vm_created=98765, config_reload=4321) for run in runs)
    return Notes(tuple(seen), frozenset(runs), frozenset(runs))


def raised(count: int) -> list[RaisedLogger]:
    names = (f"istio-ingressgateway-7d9c5b6f8d-{number:05x}" for number in range(count))
    return [RaisedLogger("istio-ingress", name, pod_mark(name), "warning") for name in names]


def test_a_pod_costs_a_hundred_bytes_at_most() -> None:
    """In a rollout with everything known, and a log level to put back; at rest it is one short hash."""
    rolling = notes.store(pods(500), KNOWN).model_copy(update={"raised_loggers": raised_loggers.store(raised(500))})
    assert size(rolling) / 500 <= 80
    quiet = tuple(replace(baseline, restarts=0, crashes=None) for baseline in pods(500).baselines)
    resting = notes.rest(replace(pods(500), baselines=quiet), {run.pod for run in pods(500).loaded})
    assert size(notes.store(resting, KNOWN)) / 500 <= 16


def size(observation: api.Observation) -> int:
    return len(observation.model_dump_json(by_alias=True, exclude_none=True))


def test_of_more_pods_than_a_release_may_have_the_first_are_kept() -> None:
    """In an order that does not change from look to look, so that no status flaps."""
    many = pods(api.MAX_OBSERVED_PODS + 5)
    found = notes.read(notes.store(many, KNOWN))
    assert found.loaded == frozenset(sorted(many.loaded)[: api.MAX_OBSERVED_PODS])
    assert len(found.baselines) == api.MAX_OBSERVED_PODS


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
RAISED = st.builds(RaisedLogger, NAMES, NAMES, UIDS.map(pod_mark), st.sampled_from(["warning", "info", "off"]))


@given(st.sets(RAISED, max_size=12))
def test_raised_levels_come_back(levels: set[RaisedLogger]) -> None:
    """Whatever pods are called, each gets its own level back."""
    wire: list[dict[str, Any]] = [group.wire() for group in raised_loggers.store(levels)]
    found = raised_loggers.read(map(api.RaisedLoggers.model_validate, wire))
    assert sorted(found, key=repr) == sorted(levels, key=repr)


def test_pods_of_one_workload_share_a_row() -> None:
    """Their names begin alike, and that stands there once."""
    [group] = raised_loggers.store(raised(3))
    assert (group.names_begin, group.level, len(group.pods)) == ("istio-ingressgateway-7d9c5b6f8d-", "warning", 3)


@pytest.mark.parametrize(
    ("before", "now", "missed", "why"),
    [
        (replace(COUNTED, restarts=0), 1, True, "the first time since the write"),
        (replace(COUNTED, restarts=0, worker_hangs=2), 2, False, "all of them were before the write, on a busy node"),
        (replace(COUNTED, restarts=None), 1, False, "the gateway was ill before"),
        (None, 1, False, "the pod is new"),
        (replace(COUNTED, restarts=0), None, False, "Envoy does not show the counter"),
    ],
)
def test_a_worker_that_the_watchdog_missed(before: Baseline | None, now: int | None, missed: bool, why: str) -> None:
    """The watchdog has missed one since the write; so it is also of a revision at rest, whose notes keep the count."""
    pod = PodRef("apps", "gateway-1", "uid-1", ready=False)
    seen = PodObservation(pod, NOW, stats=Stats(worker_hangs=now))
    known = Notes(baselines=(before,) if before else (), loaded=frozenset({RUN}))
    assert notes.has_missed_worker(known, seen) is missed, why
    assert notes.has_missed_worker(notes.rest(known, {RUN.pod}), seen) is missed, why
