"""The time after Ready: what is put back in it, what is only told after it, and what is remembered for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import decisions, facts, history, watch
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.report import EntryReport, Report
from pluginrelease.core.status import requeue, rows, settlement
from tests.core.rollouts import (
    CRASHED,
    DEADLINE,
    HANGING,
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
    SELECTOR,
    UNKNOWN,
    ago,
    entry,
    having,
    rolling,
    verdict,
    with_two,
)

FAILURE = api.RolloutFailure(
    revision=NEXT, reason="PluginRejected", message="it says", at=ago(seconds=1), gateways=[PUBLIC]
)
DONE = rolling(completed_at=ago(minutes=5))
TRAPPED = replace(
    (trapped := verdict(State.UNHEALTHY, "PluginCrashed")),
    pods=tuple(replace(row, is_crash=True) for row in trapped.pods),
)
WRONG, UNFETCHED = (verdict(State.UNHEALTHY, reason) for reason in ("ProbeFailed", "FetchFailed"))


LATELY = ago(minutes=5)


def watched(name: str = PUBLIC, before: str | None = OLD, since: datetime = LATELY) -> api.GatewayStatus:
    """The row of an entry whose new revision ran everywhere some minutes ago."""
    known = api.Watch(since=since, revision=before, selector=SELECTOR if before else None)
    return entry(name, NEW).model_copy(update={"watch": known})


def decide(release: Any, verdicts: dict[str, Verdict], rollout: api.RolloutStatus = DONE) -> api.RolloutStatus:
    return decisions.advance(release, rollout, NEW, verdicts, NOW, DEADLINE)


@dataclass(frozen=True)
class Trouble:
    """``fails``: the revision fails for it; ``held``: and stays, where failures are to be held."""

    reason: str
    seen: Verdict
    row: api.GatewayStatus
    watch_for: str = "15m"
    fails: bool = True
    held: bool = False


TROUBLES = [
    Trouble("a gateway crashes", CRASHED, watched()),
    Trouble("a gateway hangs", HANGING, watched()),
    Trouble("the plugin crashes", TRAPPED, watched(), held=True),
    Trouble("a probe fails", WRONG, watched(), held=True),
    Trouble("all is well", LOADED, watched(), fails=False),
    Trouble("a pod is coming up", PENDING, watched(), fails=False),
    Trouble("nothing can be told", UNKNOWN, watched(), fails=False),
    Trouble("no pod is there", NO_PODS, watched(), fails=False),
    Trouble("a new pod could not fetch", UNFETCHED, watched(), fails=False),
    Trouble("a new pod refused it", REJECTED, watched(), fails=False),
    Trouble("the time is over", CRASHED, watched(since=ago(minutes=16)), fails=False),
    Trouble("a longer time is wanted", CRASHED, watched(since=ago(minutes=16)), watch_for="1h"),
    Trouble("the watch is switched off", CRASHED, watched(), watch_for="0s", fails=False),
    Trouble("it ran everywhere before there was a watch", CRASHED, entry(stable=NEW), fails=False),
]


@pytest.mark.parametrize("hold", [False, True], ids=["rollback", "hold"])
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.reason)
def test_what_fails_after_ready(trouble: Trouble, hold: bool) -> None:
    """Crashes, hangs and failing probes within the time; nothing else, and nothing after it."""
    spec = {"watchFor": trouble.watch_for, "onFailure": "Hold" if hold else "Rollback"}
    found = decide(having(DONE, gateways=[trouble.row], spec__rollout=spec), {PUBLIC: trouble.seen})
    assert (found.failure is not None) is trouble.fails
    if found.failure is not None:
        assert (found.failure.revision, found.failure.gateways) == (NEW, [PUBLIC])
        assert bool(found.failure.held) is (hold and trouble.held)
        assert found.completed_at is None


def test_one_entry_takes_back_all_that_are_watched() -> None:
    """An entry on which the time is over keeps what has proved itself there."""
    both = with_two(DONE, watched(), watched(INTERNAL))
    assert decide(both, {PUBLIC: LOADED, INTERNAL: CRASHED}).failure.gateways == [INTERNAL, PUBLIC]  # type: ignore[union-attr]
    one = with_two(DONE, watched(), watched(INTERNAL, since=ago(hours=1)))
    assert decide(one, {PUBLIC: CRASHED, INTERNAL: LOADED}).failure.gateways == [PUBLIC]  # type: ignore[union-attr]


def settle(release: Any, rollout: api.RolloutStatus, seen: Verdict, **news: Any) -> api.Status:
    """The status after a pass that looked at the gateways and decided this."""
    looked = EntryReport(
        PUBLIC, Intent(Goal.SPEC), attachment=api.Attachment(SELECTOR), verdict=seen, running=NEW, **news
    )
    report = Report(rollout=rollout, entries=(looked,), target_revision=NEW)
    return settlement.settle(release, report, now=NOW, attempt=0, resync=300).status


BEFORE = [(OLD, Intent(Goal.ROLLBACK, OLD, api.Attachment(SELECTOR))), (None, Intent(Goal.NOTHING))]


@pytest.mark.parametrize(("before", "then"), BEFORE)
def test_what_was_stable_before_is_what_comes_back(before: str | None, then: Intent) -> None:
    """The failed revision is stable no more: each entry falls back to its own from before, or to nothing."""
    release = having(DONE, gateways=[watched(before=before)], stable_revision=NEW)
    status = settle(release, decide(release, {PUBLIC: CRASHED}), CRASHED)
    [row] = status.gateways
    assert (row.stable.revision if row.stable else None, row.watch, status.stable_revision) == (before, None, before)
    assert status.rollout is not None
    back = release.model_copy(update={"status": status})
    assert decisions.decide_intent(back, status.rollout, release.spec.gateways[0]) == then


def test_a_crash_of_what_is_not_wanted_any_more_ends_its_watch() -> None:
    """The spec wants another revision, so no rollout fails: the entry falls back to what was before all the same."""
    release = having(rolling(), gateways=[watched()])
    [row] = settle(release, rolling(), PENDING, is_unproved=True).gateways
    assert (row.stable and row.stable.revision, row.watch) == (OLD, None)


@pytest.mark.parametrize(
    ("failure", "is_watched"),
    [
        pytest.param(None, True, id="it runs, as the spec wants"),
        pytest.param(FAILURE, False, id="it was put back after another one failed"),
    ],
)
def test_what_was_put_back_is_not_watched(failure: api.RolloutFailure | None, is_watched: bool) -> None:
    """What is put back within its own watch is judged as one that ran everywhere, and is put back no further."""
    release = having(rolling(failure=failure), gateways=[watched()], stable_revision=NEW)
    [view] = [begun.view(known.name) for begun in [facts.begin(release, NOW)] for known in begun.of_spec()]
    assert view.is_watched(NEW, NOW) is is_watched


def test_the_watch_begins_when_a_revision_becomes_stable() -> None:
    """It remembers what was stable before; the next look does not begin it again; it goes when its time is over."""
    release = having(rolling(), gateways=[entry(stable=OLD)])
    rollout = decide(release, {PUBLIC: LOADED}, rolling())
    [row] = settle(release, rollout, LOADED).gateways
    assert row.watch == api.Watch(since=NOW, revision=OLD, selector=SELECTOR)
    later = release.model_copy(update={"status": api.Status(gateways=[row], rollout=rollout)})
    assert settle(later, rollout, LOADED).gateways[0].watch == row.watch
    done = later.model_copy(update={"status": api.Status(gateways=[watched(since=ago(hours=1))], rollout=rollout)})
    assert settle(done, rollout, LOADED).gateways[0].watch is None
    off = having(rolling(), gateways=[entry(stable=OLD)], spec__rollout={"watchFor": "0s"})
    assert settle(off, rollout, LOADED).gateways[0].watch is None


def test_what_may_be_put_back_is_kept() -> None:
    """Also with a limit of no old revisions."""
    entries = [
        api.HistoryEntry(
            revision=name, number=number, state=state, ref="r", digest="d", first_deployed=NOW, last_deployed=NOW
        )
        for name, number, state in ((NEW, 3, "Stable"), (OLD, 2, "Superseded"), (NEXT, 1, "Superseded"))
    ]
    kept = history.update(
        entries, deployed=None, stable=NEW, failure=None, limit=0, now=NOW, watched=watch.list_needed([watched()])
    )
    assert [known.revision for known in kept] == [NEW, OLD]


def test_what_is_watched_is_looked_at_more_often() -> None:
    """A gateway that hangs and a probe that fails wake nobody; a release that is suspended or off is left alone."""
    status = api.Status(gateways=[watched()])
    assert requeue.until_watched(having(DONE), status, NOW) == requeue.WATCH_LOOK
    assert requeue.until_watched(having(DONE), status, NOW + timedelta(hours=1)) == float("inf")
    assert requeue.until_watched(having(DONE, spec__suspend=True), status, NOW) == float("inf")


def test_a_probe_without_an_answer_is_no_trouble_of_its_own() -> None:
    """`probe_verdict` gives it the time to load first; then it counts."""
    assert watch.is_trouble(Verdict(State.UNHEALTHY, Reason.PROBE_UNANSWERED, "no answer"))
    assert not watch.is_trouble(Verdict(State.PENDING, Reason.AWAITING_PROBES, "no answer"))


def test_rows_of_entries_that_are_not_looked_at_stay() -> None:
    """A watch is no reason to write a row."""
    release = having(DONE, gateways=[watched()])
    assert rows.gateway_rows(release, Report(), DONE, NOW) == [watched()]
