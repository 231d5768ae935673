"""``status.history``: what was written to the gateways, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.api import HistoryEntry, times
from pluginrelease.core.rollout import history
from pluginrelease.core.rollout.history import Deployed

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
LIMIT = 10


def deployed(revision: str, number: int = 1) -> Deployed:
    return Deployed(revision, number, ref=f"registry.example.com/auth:{number}", digest=f"sha256:{revision * 64}")


def failure(revision: str, reason: str = "PluginRejected") -> api.RolloutFailure:
    return api.RolloutFailure(revision=revision, reason=reason, message="no", at=times.to_seconds(NOW))


def update(
    entries: list[HistoryEntry],
    new: Deployed | None = None,
    stable: str | None = None,
    failed: api.RolloutFailure | None = None,
    *,
    limit: int = LIMIT,
    now: datetime = NOW,
) -> list[HistoryEntry]:
    return history.update(entries, deployed=new, stable=stable, failure=failed, limit=limit, now=now)


def shown(entries: list[HistoryEntry]) -> str:
    return ", ".join(f"{entry.revision}{entry.number} {entry.state}" for entry in entries)


Pass = tuple[Deployed | None, str | None, api.RolloutFailure | None]
A, B, C, A3, B4 = (deployed(revision, number) for revision, number in zip("abcab", (1, 2, 3, 3, 4), strict=True))
A_RUNS: list[Pass] = [(A, None, None), (None, "a", None)]
B_COMES: list[Pass] = [*A_RUNS, (B, "a", None)]
B_FAILS: list[Pass] = [*A_RUNS, (B, "a", failure("b"))]

STORIES: list[tuple[str, list[Pass], str]] = [
    ("nothing was written yet", [(None, None, None)], ""),
    ("on its way", [(A, None, None)], "a1 Deploying"),
    ("it runs everywhere", A_RUNS, "a1 Stable"),
    ("written and seen in one pass", [(A, "a", None)], "a1 Stable"),
    ("a first release that failed", [(A, None, failure("a"))], "a1 Failed"),
    ("another one on its way", B_COMES, "b2 Deploying, a1 Stable"),
    ("and it runs", [*B_COMES, (None, "b", None)], "b2 Stable, a1 Superseded"),
    ("one that failed stands above the one that runs", B_FAILS, "b2 Failed, a1 Stable"),
    ("and stays when a later one runs", [*B_FAILS, (C, "c", None)], "c3 Stable, b2 Failed, a1 Superseded"),
    ("a later one fails too", [*B_FAILS, (C, "a", failure("c"))], "c3 Failed, b2 Failed, a1 Stable"),
    ("another try, of the same number", [*B_FAILS, (B, "a", None)], "b2 Deploying, a1 Stable"),
    ("which runs this time", [*B_FAILS, (B, "a", None), (None, "b", None)], "b2 Stable, a1 Superseded"),
    ("what was held has healed", [*B_FAILS, (None, "b", None)], "b2 Stable, a1 Superseded"),
    ("stuck, and overtaken", [*B_COMES, (C, "a", None)], "c3 Deploying, b2 Aborted, a1 Stable"),
    (
        "there and back again: one entry with a new number",
        [*A_RUNS, (B, "b", None), (A3, "a", None)],
        "a3 Stable, b2 Superseded",
    ),
    ("back before the other ran", [*B_COMES, (A3, "a", None)], "a3 Stable, b2 Aborted"),
    ("back to the failed one, after all", [*B_FAILS, (A3, "a", None), (B4, "a", None)], "b4 Deploying, a3 Stable"),
]


@pytest.mark.parametrize(("reason", "passes", "expected"), STORIES, ids=[story[0] for story in STORIES])
def test_what_became_of_every_revision(reason: str, passes: list[Pass], expected: str) -> None:
    """Newest first; one is Deploying, Stable, Superseded, Aborted or Failed, and only one runs everywhere."""
    entries: list[HistoryEntry] = []
    for new, stable, failed in passes:
        entries = update(entries, new, stable, failed)
    assert shown(entries) == expected, reason


def test_a_failed_revision_says_why_until_it_is_tried_again() -> None:
    """The reason stays beside a failed revision, also when others have come; it goes with the next try."""
    failed = update(update([], A, "a"), B, "a", failure("b", "FetchFailed"))
    later = update(failed, C, "c")
    assert [entry.reason for entry in later] == [None, "FetchFailed", None]
    assert update(failed, B, "a")[0].reason is None
    assert update(failed, None, "b")[0].reason is None


def test_when_it_was_deployed_first_and_last() -> None:
    """A revision that comes again keeps its first time and gets a new last one; a pass that is run again changes
    neither."""
    first = update([], A, "a")
    again = update(update(first, B, "b"), deployed("a", 3), "b", now=LATER)
    assert (again[0].first_deployed, again[0].last_deployed) == (
        times.to_seconds(NOW),
        times.to_seconds(LATER),
    )
    assert update(again, deployed("a", 3), "b", now=LATER + timedelta(hours=1)) == again


def test_the_reference_is_the_one_of_the_last_time() -> None:
    """Another tag of the same digest is the same revision, and is told by the name that the spec has now."""
    entries = update(update([], A, "a"), Deployed("a", 1, ref="registry.example.com/auth:latest", digest=A.digest), "a")
    assert [entry.ref for entry in entries] == ["registry.example.com/auth:latest"]


@pytest.mark.parametrize(
    ("limit", "kept", "reason"),
    [
        (10, "edcba", "room for all"),
        (2, "edca", "the two youngest beside the newest and the stable one"),
        (0, "ea", "none but these"),
    ],
)
def test_how_many_are_told(limit: int, kept: str, reason: str) -> None:
    """spec.revisionHistoryLimit counts the old ones, beside the newest and the one that runs."""
    entries: list[HistoryEntry] = []
    for number, revision in enumerate("abcde", start=1):
        entries = update(entries, deployed(revision, number), "a", failure(revision) if number > 1 else None)
    assert "".join(entry.revision for entry in update(entries, None, "a", failure("e"), limit=limit)) == kept, reason


@pytest.mark.parametrize(
    ("revision", "noted", "reason"),
    [("b", True, "the newest"), ("a", False, "an older one is deployed anew"), ("c", False, "one that is not there")],
)
def test_what_is_noted_needs_no_second_reading(revision: str, noted: bool, reason: str) -> None:
    """Only the newest entry says that nothing has to be told of a revision."""
    assert history.is_noted(update(update([], A, "a"), B, "a"), revision) is noted, reason
    assert not history.is_noted([], revision)


PASSES = st.lists(
    st.tuples(
        st.none() | st.sampled_from("abcdefgh"),
        st.sampled_from([None, *"abcdefgh"]),
        st.booleans(),
        st.integers(0, 3),
    ),
    max_size=30,
)


@given(PASSES)
def test_the_history_is_short_and_never_loses_what_runs(passes: list[tuple[str | None, str | None, bool, int]]) -> None:
    """Whatever is deployed, fails and runs: each revision once, at most limit + 2, the stable one among them if it was
    ever there, what is newest first, and the same pass again changes nothing."""
    entries: list[HistoryEntry] = []
    stable = None
    for number, (new, runs, fails, limit) in enumerate(passes, start=1):
        there = {entry.revision for entry in entries} | {new}
        stable = runs if runs in there and runs is not None else stable
        newest = new or (entries[0].revision if entries else None)
        failed = failure(newest) if fails and newest and newest != stable else None
        given_new = deployed(new, number) if new else None
        entries = update(entries, given_new, stable, failed, limit=limit)
        names = [entry.revision for entry in entries]
        assert len(names) == len(set(names)) <= limit + 2
        assert stable is None or stable in names
        assert names[:1] == ([newest] if newest else [])
        assert [entry.revision for entry in entries if entry.state == "Stable"] == ([stable] if stable else [])
        assert update(entries, given_new, stable, failed, limit=limit) == entries
