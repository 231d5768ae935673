"""What the status says of entries and pods: rows, counts, and what each entry falls back to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pytest

from pluginrelease import api
from pluginrelease.api import GatewayState
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Waiting
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.report import EntryReport, Report
from pluginrelease.core.status import rows, settlement
from tests.harness.releases import ARTIFACT, release
from tests.reports import (
    BACK,
    INTERNAL,
    LOADED,
    NEW,
    NO_PODS,
    NOT_ALLOWED,
    NOW,
    OLD,
    PARTNERS,
    PENDING,
    PUBLIC,
    REFUSED,
    ROLLBACK,
    SILENT,
    SUSPENDED,
    TRANSIENT,
    TRYING,
    UNHEALTHY,
    WHY,
    after,
    broken,
    entry,
    judged,
    knowing,
    left_out,
    row,
    seen,
    settle,
    stood_before,
    taken_off,
    whole,
    with_entry,
)

DONE = TRYING.model_copy(update={"completed_at": NOW})


def test_the_stable_revision_is_one_that_was_seen_running() -> None:
    """While another revision loads or fails, stableRevision stays what was last Loaded everywhere."""
    newer = replace(UNHEALTHY, target_revision="fedcba9876")
    found = settle(newer, after(replace(LOADED, rollout=DONE))).status
    assert (found.stable_revision, found.target_revision) == ("0123456789", "fedcba9876")
    assert settle(UNHEALTHY).status.stable_revision is None


def test_a_failure_does_not_forget_what_is_known() -> None:
    """Artifact, target and the gateways' last rows stay when a later pass could not get so far."""
    before = after(
        with_entry(
            LOADED, observation=api.Observation(name=PUBLIC, revision="0123456789", since="2026-01-01T00:00:00Z")
        )
    )
    found = settle(TRANSIENT, before).status
    assert found.artifact == ARTIFACT
    assert found.gateways == before.status.gateways
    assert found.checkpoint == before.status.checkpoint
    assert found.observation(PUBLIC) is not None


def test_the_counts_are_exact_and_the_rows_are_few() -> None:
    """Of a thousand pods all are counted and forty are shown, in the verdict's order: failures first."""
    pods = [row(f"bad-{n}", State.UNHEALTHY, "PluginRejected") for n in range(5)]
    pods += [row(f"new-{n}", State.PENDING, "PodNotReady") for n in range(3)]
    pods += [row(f"good-{n}", State.LOADED) for n in range(992)]
    status = settle(seen(State.UNHEALTHY, "PluginRejected", *pods)).status
    shown = status.summary
    assert shown is not None
    assert (shown.desired, shown.loaded, shown.failed, shown.pods) == (1000, 992, 5, "992/1000")
    assert shown.gateways == "0/1"
    assert [pod.name for pod in status.pods] == [seen_pod.pod.name for seen_pod in pods[: api.MAX_POD_ROWS]]


def test_no_pods_are_shown_as_none() -> None:
    """A selector that matches nothing shows 0/0, not the rows of pods that are gone."""
    shown = settle(NO_PODS, after(LOADED)).status
    assert shown.summary is not None
    assert (shown.summary.pods, shown.pods) == ("0/0", [])


def test_a_pod_names_a_revision_only_if_it_runs_it() -> None:
    """A row of a pod that has not loaded the plugin says no revision; its message has the gateway's own words."""
    pods = [row("bad", State.UNHEALTHY, "PluginRejected", "Failed to load", "rejected"), row("good", State.LOADED)]
    shown = settle(seen(State.UNHEALTHY, "PluginRejected", *pods)).status
    assert [pod.revision for pod in shown.pods] == [None, "0123456789"]
    assert all(words in shown.pods[0].message for words in ("bad says", "Failed to load", "rejected"))


def test_a_plugin_that_was_taken_off_shows_no_pods() -> None:
    """Rows of what ran before the removal would read as if it ran still."""
    pod = api.PodStatus(gateway=PUBLIC, name="a", namespace="edge", state="Unhealthy", reason="PluginRejected")
    written = api.ObjectStatus(api_version="v1", kind="WasmPlugin", namespace="edge", name="auth-public")
    before = knowing(BACK, pods=[pod], gateways=[stood_before(stable=None, object=written)])
    off = settle(taken_off(BACK), before).status
    assert (off.pods, off.gateways[0].reason, off.gateways[0].object, off.gateways[0].loaded) == (
        [],
        "Removed",
        None,
        0,
    )
    untold = settle(broken(BACK, SILENT, Goal.NOTHING), before).status
    assert (untold.pods, untold.gateways[0].object) == ([pod], written)


# ------------------------------------------------------------------------------------------------- stable, by entry


@dataclass(frozen=True)
class Stable:
    """What an entry falls back to after a pass; ``decided`` is the rollout after it."""

    reason: str
    entry: EntryReport
    decided: api.RolloutStatus
    expected: str | None


OF_ANOTHER = TRYING.model_copy(update={"failure": WHY.model_copy(update={"gateways": [PARTNERS]})})
RUNS = entry(INTERNAL, judged(State.LOADED, "Loaded", row("a", State.LOADED)))
LOADS = entry(INTERNAL, judged(State.PENDING, "AwaitingConfig", row("a", State.PENDING)))
STABLE = [
    Stable("it runs together with all others", RUNS, DONE, NEW),
    Stable("it runs, and others are still awaited: all go back together", RUNS, TRYING, OLD),
    Stable("it is awaited itself", LOADS, DONE, OLD),
    Stable("it came after a failure of another, and was tried alone", RUNS, OF_ANOTHER, NEW),
    Stable("it is among those that go back", replace(RUNS, name=PARTNERS), OF_ANOTHER, OLD),
    Stable("what was put back is what it was", replace(RUNS, **ROLLBACK), DONE, OLD),
    Stable("it keeps what it runs while another goes back", replace(RUNS, intent=Intent(Goal.STAY, NEW)), DONE, OLD),
    Stable("it is only watched, as it cannot go on", left_out(INTERNAL, NOT_ALLOWED, verdict=RUNS.verdict), DONE, OLD),
    Stable("an old revision that was asked for", replace(RUNS, intent=Intent(Goal.REVISION, NEW)), DONE, NEW),
]


@pytest.mark.parametrize("case", STABLE, ids=lambda case: case.reason)
def test_what_an_entry_falls_back_to(case: Stable) -> None:
    """A revision becomes an entry's stable one when it was seen in all its pods, and nothing can take it back."""
    before = stood_before(case.entry.name)
    found = rows.gateway_row(case.entry, before, case.entry.name, case.decided)
    assert found is not None
    assert found.stable is not None
    assert found.stable.revision == case.expected


def test_a_stable_revision_is_one_of_its_pods() -> None:
    """The selector with which it was seen belongs to it: it is put back together with that."""
    other = api.Selector(match_labels={"app": "edge"})
    found = rows.gateway_row(replace(RUNS, attachment=api.Attachment(other)), None, INTERNAL, DONE)
    assert found is not None
    assert found.stable == api.StableRevision(revision=NEW, selector=other)


def test_the_release_is_stable_by_its_placed_entries() -> None:
    """One that is left out keeps nobody from having run it everywhere; one that is looked at and is not there does."""
    runs, loads = replace(RUNS, name=PUBLIC), replace(LOADS, name=INTERNAL)
    assert settle(whole(runs, left_out(INTERNAL, NOT_ALLOWED), rollout=DONE)).status.stable_revision == NEW
    assert settle(whole(runs, loads, rollout=TRYING)).status.stable_revision is None
    assert settle(whole(runs, replace(RUNS, running=OLD), rollout=DONE)).status.stable_revision is None


# ------------------------------------------------------------------------------------------------ entries that go

GONE = stood_before(
    INTERNAL,
    object=api.ObjectStatus(api_version="v1", kind="WasmPlugin", namespace="inner", name="auth-internal"),
)
CLOSED = replace(left_out(INTERNAL, Waiting(Reason.NAMESPACE_TERMINATING, "inner goes")), is_removed=True, findings=())
SWEPT = replace(LOADED, swept=True)


@pytest.mark.parametrize(
    ("report", "states", "counted", "reason"),
    [
        (SWEPT, ["Loaded"], "1/1", "it was taken away"),
        (replace(SWEPT, entries=(*SWEPT.entries, CLOSED)), ["Loaded", "Removing"], "1/1", "its namespace is closed"),
        (TRANSIENT, ["Loaded", "Removing"], "1/1", "the pass ended before it came to that"),
        (replace(TRANSIENT, swept=True), ["Loaded"], "1/1", "the pass ended after that"),
        (SUSPENDED, ["Loaded", "Removing"], "1/1", "nothing is written while the release is suspended"),
    ],
)
def test_what_is_said_of_an_entry_that_is_gone(report: Report, states: list[str], counted: str, reason: str) -> None:
    """Its row stays, and says Removing, for as long as its object may be there; it is not counted."""
    before = knowing(TRYING, gateways=[stood_before(PUBLIC), GONE])
    found = settle(report, before).status
    assert [known.state for known in found.gateways] == states, reason
    assert found.summary is not None
    assert found.summary.gateways == counted
    assert all(known.object == GONE.object for known in found.gateways[1:]), "it is what has to go"


def test_an_entry_that_comes_back_is_no_longer_removing() -> None:
    """It was taken out of the spec and put back before its object could be taken away."""
    removing = GONE.model_copy(
        update={"name": PUBLIC, "state": GatewayState.REMOVING, "reason": "NamespaceTerminating"}
    )
    [found] = settle(SUSPENDED_ENTRY, knowing(TRYING, gateways=[removing])).status.gateways
    assert (found.state, found.reason, found.object) == ("Pending", "Pending", GONE.object)


SUSPENDED_ENTRY = replace(SUSPENDED, entries=(EntryReport(PUBLIC),))


def test_an_adopted_object_is_remembered() -> None:
    """Where it is kept is written before it is taken over, and stays when a pass ends early."""
    report = with_entry(PENDING, adopted="auth-adopted-0123456789")
    [noted] = settlement.checkpoint(release(), report).gateways
    assert (noted.adopted, noted.state) == ("auth-adopted-0123456789", "Pending")
    before = after(report)
    for later in (TRANSIENT, LOADED, SUSPENDED):
        assert settle(later, before).status.gateways[0].adopted == "auth-adopted-0123456789"


def test_a_pass_that_ends_early_keeps_every_row() -> None:
    """What was seen last stays when a later pass did not come so far."""
    before = after(LOADED)
    for early in (REFUSED, TRANSIENT, SUSPENDED):
        found = settle(early, before).status
        assert (found.gateways, found.pods) == (before.status.gateways, before.status.pods)


# ------------------------------------------------------------------------------------------------------ rows of pods


def many(name: str, state: State, count: int) -> EntryReport:
    pods = [row(f"{name}-{number}", state) for number in range(count)]
    return entry(name, judged(state, "Loaded" if state is State.LOADED else "PluginRejected", *pods))


@pytest.mark.parametrize(
    ("entries", "shown", "reason"),
    [
        ([many(PUBLIC, State.LOADED, 100)], {PUBLIC: 40}, "one entry has all the room"),
        (
            [many(PUBLIC, State.LOADED, 30), many(INTERNAL, State.LOADED, 30)],
            {PUBLIC: 20, INTERNAL: 20},
            "two share it",
        ),
        (
            [many(PUBLIC, State.LOADED, 90), many(INTERNAL, State.LOADED, 3)],
            {PUBLIC: 37, INTERNAL: 3},
            "few leave room",
        ),
        (
            [many(PUBLIC, State.LOADED, 90), many(INTERNAL, State.UNHEALTHY, 39)],
            {PUBLIC: 1, INTERNAL: 39},
            "failures come first, whichever entry they are of",
        ),
        (
            [many(PUBLIC, State.UNHEALTHY, 60), many(INTERNAL, State.UNHEALTHY, 60)],
            {PUBLIC: 20, INTERNAL: 20},
            "shared",
        ),
    ],
)
def test_the_room_for_pods_is_shared(entries: list[EntryReport], shown: dict[str, int], reason: str) -> None:
    """At most forty pods of all entries are shown: failures first, then each entry as many as the others."""
    found = rows.pod_rows(api.Status(), whole(*entries), [PUBLIC, INTERNAL])
    assert Counter(pod.gateway for pod in found) == shown, reason
    states = [pod.state for pod in found]
    assert states == sorted(states, key=lambda state: state != "Unhealthy")


def test_pods_of_an_entry_that_was_not_looked_at_stay() -> None:
    """Those of one that is gone from the spec do not."""
    before = settle(whole(many(PUBLIC, State.LOADED, 2), many(INTERNAL, State.LOADED, 2))).status
    only = whole(many(PUBLIC, State.LOADED, 1), left_out(INTERNAL, NOT_ALLOWED))
    assert Counter(pod.gateway for pod in rows.pod_rows(before, only, [PUBLIC, INTERNAL])) == {PUBLIC: 1, INTERNAL: 2}
    assert Counter(pod.gateway for pod in rows.pod_rows(before, only, [PUBLIC])) == {PUBLIC: 1}
