"""One rollout over several entries: who fails, who goes back, and what becomes stable; and what holds at all times."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.core.gateway.verdict.values import Verdict
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.decisions import Goal
from tests.core.rollouts import (
    CRASHED,
    DEADLINE,
    INTERNAL,
    LOADED,
    NEW,
    NEXT,
    NO_PODS,
    NOW,
    OLD,
    PENDING,
    PUBLIC,
    REJECTED,
    SECOND,
    UNKNOWN,
    ago,
    entry,
    failure,
    having,
    rolling,
    with_two,
)

# ------------------------------------------------------------------------------------------------- several entries


@dataclass(frozen=True)
class Both:
    """A look at NEW on two entries; ``back``: the entries that go back after it."""

    reason: str
    verdicts: dict[str, Verdict]
    back: list[str] | None
    stable: tuple[str | None, str | None] = (OLD, OLD)
    known: api.RolloutStatus = field(default_factory=rolling)
    completes: bool = False


BOTHS = [
    Both("both run it: done", {PUBLIC: LOADED, INTERNAL: LOADED}, None, completes=True),
    Both("one is still coming: not done", {PUBLIC: LOADED, INTERNAL: PENDING}, None),
    Both("one cannot be known: not done, and no failure", {PUBLIC: LOADED, INTERNAL: UNKNOWN}, None),
    Both("one refuses it: both go back", {PUBLIC: LOADED, INTERNAL: REJECTED}, [INTERNAL, PUBLIC]),
    Both("one refuses it, the other is still coming", {PUBLIC: PENDING, INTERNAL: REJECTED}, [INTERNAL, PUBLIC]),
    Both("one was left out: done without it", {PUBLIC: LOADED}, None, completes=True),
    Both("one was left out, and the other refuses it", {PUBLIC: REJECTED}, [PUBLIC]),
    Both("a new entry refuses it: the other stays", {PUBLIC: LOADED, INTERNAL: REJECTED}, [INTERNAL], (NEW, None)),
    Both("a new entry runs it: done", {PUBLIC: LOADED, INTERNAL: LOADED}, None, (NEW, None), completes=True),
    Both(
        "a new entry runs it while the other has trouble",
        {PUBLIC: REJECTED, INTERNAL: LOADED},
        None,
        (NEW, None),
        completes=True,
    ),
    Both(
        "a new entry and a new revision: both go back",
        {PUBLIC: LOADED, INTERNAL: REJECTED},
        [INTERNAL, PUBLIC],
        (OLD, None),
    ),
    Both("it failed on one, and the other runs it", {PUBLIC: LOADED}, [INTERNAL], (NEW, None), SECOND),
    Both(
        "it failed on one, and now on another that came", {PUBLIC: REJECTED}, [INTERNAL, PUBLIC], (None, None), SECOND
    ),
]


@pytest.mark.parametrize("case", BOTHS, ids=lambda case: case.reason)
def test_one_rollout_over_two_entries(case: Both) -> None:
    """A failure on one entry takes back every entry that got the revision, and no entry on which it is stable."""
    rows = [entry(PUBLIC, case.stable[0]), entry(INTERNAL, case.stable[1])]
    found = decisions.advance(with_two(case.known, *rows), case.known, NEW, case.verdicts, NOW, DEADLINE)
    assert (found.failure.gateways if found.failure else None) == case.back
    assert (found.completed_at is not None) is case.completes


def test_gateways_that_are_down_are_the_reason_before_any_other() -> None:
    """Of two entries that fail at once the crash is the failure, as Hold does not hold that."""
    found = decisions.advance(
        with_two(rolling(), entry(stable=OLD), entry(INTERNAL, OLD)),
        rolling(),
        NEW,
        {PUBLIC: REJECTED, INTERNAL: CRASHED},
        NOW,
        DEADLINE,
    )
    assert found.failure is not None
    assert (found.failure.reason, found.failure.message.partition(":")[0]) == ("GatewayCrashed", "gateway internal")


STABLES = [
    ("all run it", rolling(completed_at=ago(seconds=1)), LOADED, True),
    ("others are still awaited", rolling(), LOADED, False),
    ("tried alone after it failed elsewhere", rolling(failure=failure(NEW, INTERNAL)), LOADED, True),
    ("on its way back", rolling(failure=failure(NEW, PUBLIC)), LOADED, False),
    ("not seen running", rolling(completed_at=ago(seconds=1)), UNKNOWN, False),
]


@pytest.mark.parametrize(("reason", "known", "judged", "expected"), STABLES, ids=[row[0] for row in STABLES])
def test_what_becomes_stable(reason: str, known: api.RolloutStatus, judged: Verdict, expected: bool) -> None:
    """An entry falls back to what ran on all entries together, or on it alone; not to what others may still refuse."""
    assert decisions.becomes_stable(known, PUBLIC, judged) is expected, reason


LATECOMERS = [
    ("the revision is proved by another entry: tried", entry(stable=NEW), failure(NEW, "gone"), Goal.SPEC),
    ("it failed here already", entry(stable=NEW), failure(NEW, INTERNAL), Goal.NOTHING),
    ("it runs nowhere: not tried unasked", entry(stable=OLD), failure(NEW, PUBLIC), Goal.NOTHING),
]


@pytest.mark.parametrize(("reason", "other", "why", "goal"), LATECOMERS, ids=[row[0] for row in LATECOMERS])
def test_an_entry_that_comes_after_a_failure(
    reason: str, other: api.GatewayStatus, why: api.RolloutFailure, goal: Goal
) -> None:
    """It gets the revision only where that is proved, and never where it failed."""
    known = rolling(failure=why)
    asked = with_two(known, other)
    assert decisions.decide_intent(asked, known, asked.spec.gateways[1]).goal is goal, reason


GONE = [
    ("the entry that failed is gone, and the others run it", failure(NEW, "gone"), NEW, False),
    ("the entry that failed is gone, and the others never ran it", failure(NEW, "gone"), OLD, True),
    ("the entry that failed is there", failure(NEW, PUBLIC), NEW, True),
]


@pytest.mark.parametrize(("reason", "why", "stable", "stands"), GONE, ids=[row[0] for row in GONE])
def test_a_failure_goes_with_its_entry(reason: str, why: api.RolloutFailure, stable: str, stands: bool) -> None:
    """Who removes the only gateway that refuses a plugin has acted: nothing is asked of him beside that."""
    known = rolling(failure=why)
    asked = having(known, gateways=[entry(stable=stable)], target_revision=NEW)
    assert (decisions.start(asked, NOW).rollout.failure is not None) is stands, reason


# -------------------------------------------------------------------------------------------------- at all times

MOMENTS = st.integers(-(10**6), 10**6).map(lambda seconds: times.to_seconds(NOW + timedelta(seconds=seconds)))
REVISIONS = st.sampled_from([OLD, NEW, NEXT])
NAMES = st.sets(st.sampled_from([PUBLIC, INTERNAL]), min_size=1).map(sorted)
FAILURES = st.builds(lambda revision, names: failure(revision, *names), REVISIONS, NAMES)
ROLLOUTS = st.fixed_dictionaries(
    {"started_at": MOMENTS, "completed_at": st.none() | MOMENTS, "failure": st.none() | FAILURES}
).map(lambda fields: rolling(**fields))
VERDICTS = st.sampled_from([LOADED, PENDING, UNKNOWN, REJECTED, NO_PODS, CRASHED])
SEEN = st.dictionaries(st.sampled_from([PUBLIC, INTERNAL]), VERDICTS)
ROWS = st.tuples(st.none() | REVISIONS, st.none() | REVISIONS)


@given(ROLLOUTS, REVISIONS, SEEN, ROWS, st.sampled_from(["Rollback", "Hold"]))
def test_no_look_makes_more_of_a_rollout_than_it_is(
    known: api.RolloutStatus,
    revision: str,
    verdicts: dict[str, Verdict],
    stable: tuple[str | None, str | None],
    on_failure: str,
) -> None:
    """Whatever is seen: an entry on which the revision is stable does not go back because of a look, nothing goes back
    without a failure, and to look twice at the same is to look once."""
    rows = [entry(PUBLIC, stable[0]), entry(INTERNAL, stable[1])]
    asked = with_two(known, *rows, spec__rollout={"onFailure": on_failure})
    found = decisions.advance(asked, known, revision, verdicts, NOW, DEADLINE)
    earlier = set(known.failure.gateways) if known.failure else set()
    for gateway in asked.spec.gateways:
        if decisions.is_stable(asked, gateway, revision) and found.failure is not None:
            assert gateway.name not in found.failure.gateways or gateway.name in earlier
    if found.failure != known.failure and found.failure is not None:
        assert found.failure.revision == revision
        assert set(found.failure.gateways) <= verdicts.keys() | earlier
    assert decisions.advance(asked, found, revision, verdicts, NOW, DEADLINE) == found
