"""What the gateways are to run, when a rollout has failed, and what is put back: one row per rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision as revisions
from pluginrelease.core.gateway.observations import ExtensionConfig, FilterKind, PodObservation, PodRef
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.decisions import Goal, Intent
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
    OTHER_SPEC,
    PENDING,
    PUBLIC,
    REJECTED,
    SECOND,
    SELECTOR,
    TARGET,
    UNKNOWN,
    ago,
    entry,
    failure,
    having,
    rolling,
    verdict,
    with_two,
)
from tests.harness.releases import release

# -------------------------------------------------------------------------------------------------- when one begins

FAILED = rolling(failure=failure())
DONE = rolling(completed_at=ago(seconds=1))
RETRY, BACK = api.RETRY_ANNOTATION, api.ROLLBACK_ANNOTATION


@dataclass(frozen=True)
class Begin:
    """``begins``: a rollout begins with this pass; ``wants``: the old revision that it is about."""

    reason: str
    known: api.RolloutStatus | None
    begins: bool
    spec: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    handled: api.Handled | None = None
    echoed: api.Handled | None = None
    wants: str | None = None
    retry: bool = False


PROBE_ADDED: dict[str, Any] = {"spec__checks__probes": [{"name": "login"}], "metadata__generation": 2}
ENTRY_ADDED: dict[str, Any] = {
    "spec__gateways": [
        *(gateway.wire() for gateway in release().spec.gateways),
        {"name": "more", "namespace": "apps", "selector": {"matchLabels": {"app": "gw"}}},
    ]
}
DID_RETRY, DID_BACK = api.Handled(retry="1"), api.Handled(rollback_to=OLD)

BEGINS = [
    Begin("a new release", None, begins=True),
    Begin("a new object with standing commands", None, True, annotations={RETRY: "1", BACK: OLD}),
    Begin("nothing has changed since it began", rolling(), begins=False),
    Begin("nothing has changed since it ended", DONE, begins=False),
    Begin("what failed is not tried again unasked", FAILED, begins=False),
    Begin("a new plugin, after one that ran", DONE, begins=True, spec=OTHER_SPEC),
    Begin("another revision ends a failure", FAILED, begins=True, spec=OTHER_SPEC),
    Begin("another revision takes the place of one that is stuck", rolling(), begins=True, spec=OTHER_SPEC),
    Begin("a probe more is no other revision, and brings nothing bad back", FAILED, begins=False, spec=PROBE_ADDED),
    Begin("an entry more is no other revision", FAILED, begins=False, spec=ENTRY_ADDED),
    Begin("another onFailure is no other revision", FAILED, False, spec={"spec__rollout__onFailure": "Hold"}),
    Begin("somebody asks for another try", FAILED, begins=True, annotations={RETRY: "1"}, retry=True),
    Begin("another try while the stable one is put back", FAILED, True, {}, {RETRY: "2"}, DID_RETRY, retry=True),
    Begin("a token is acted on once", FAILED, begins=False, annotations={RETRY: "1"}, handled=DID_RETRY),
    Begin("a token that is taken away asks for nothing", FAILED, False, handled=DID_RETRY, echoed=DID_RETRY),
    Begin("and stays known, so that Git may bring it again", FAILED, False, {}, {RETRY: "1"}, DID_RETRY),
    Begin("an old revision is asked for", DONE, begins=True, annotations={BACK: OLD}, wants=OLD),
    Begin("while a failure stands", FAILED, begins=True, annotations={BACK: OLD}, wants=OLD),
    Begin(
        "the same one again, with another token",
        FAILED,
        begins=True,
        annotations={BACK: f"{OLD}:2"},
        handled=api.Handled(rollback_to=f"{OLD}:1"),
        wants=OLD,
    ),
    Begin("it stays until the spec changes", rolling(rollback_to=OLD), False, {}, {BACK: OLD}, DID_BACK, wants=OLD),
    Begin(
        "it stays when the annotation is taken away: Flux takes foreign fields",
        rolling(rollback_to=OLD),
        begins=False,
        handled=DID_BACK,
        echoed=DID_BACK,
        wants=OLD,
    ),
    Begin(
        "it stays when a probe is added", rolling(rollback_to=OLD), False, PROBE_ADDED, {BACK: OLD}, DID_BACK, wants=OLD
    ),
    Begin(
        "another revision runs, though the annotation stands in Git",
        rolling(rollback_to=OLD),
        begins=True,
        spec=OTHER_SPEC,
        annotations={BACK: OLD},
        handled=DID_BACK,
    ),
    Begin(
        "another try is one of what the spec says",
        rolling(rollback_to=OLD),
        begins=True,
        annotations={BACK: OLD, RETRY: "1"},
        handled=DID_BACK,
        retry=True,
    ),
    Begin("both at once: rollback-to comes first, so retry wins", DONE, True, {}, {BACK: OLD, RETRY: "1"}, retry=True),
    Begin("a revision that nobody knows is for the pass to refuse", DONE, True, annotations={BACK: "x"}, wants="x"),
]


@pytest.mark.parametrize("case", BEGINS, ids=lambda case: case.reason)
def test_a_rollout_begins_with_another_revision_or_a_command(case: Begin) -> None:
    """Another wanted revision, each retry and each rollback-to begin one; anything else goes on with the last."""
    asked = having(case.known, annotations=case.annotations, handled=case.handled, **case.spec)
    begun = decisions.start(asked, NOW)
    assert (begun.rollout.started_at == times.to_seconds(NOW)) is case.begins
    assert (begun.rollout.rollback_to, begun.retry) == (case.wants, case.retry)
    echoed = case.echoed or api.Handled(retry=case.annotations.get(RETRY), rollback_to=case.annotations.get(BACK))
    assert begun.handled == echoed
    if case.begins:
        assert begun.rollout.spec_hash == revisions.spec_hash(asked.spec)
        assert (begun.rollout.failure, begun.rollout.completed_at, begun.rollout.fallbacks) == (None, None, [])
    else:
        assert begun.rollout == case.known


MOVED = api.Selector(match_labels={"app": "edge"})
LEFT_OUT = entry(INTERNAL, state=api.GatewayState.NOT_PLACED)
OPENS = [
    ("all entries run it", [entry(stable=NEW), entry(INTERNAL, NEW)], {}, False),
    ("an entry is new", [entry(stable=NEW)], {}, True),
    ("an entry has another selector", [entry(stable=NEW), entry(INTERNAL, NEW, selector=MOVED)], {}, True),
    (
        "an entry that was left out is still left out",
        [entry(stable=NEW), entry(INTERNAL, state=api.GatewayState.NOT_PLACED)],
        {},
        False,
    ),
    ("a failure stands", [entry(stable=NEW)], {"failure": failure()}, False),
]


@pytest.mark.parametrize(("reason", "rows", "changes", "opens"), OPENS, ids=[row[0] for row in OPENS])
def test_an_entry_that_comes_has_its_own_time(
    reason: str, rows: list[api.GatewayStatus], changes: dict[str, Any], opens: bool
) -> None:
    """A rollout that was complete goes on when an entry is new or selects other pods, with its time begun again."""
    known = rolling(started_at=ago(days=1), completed_at=ago(hours=1), **changes)
    asked = with_two(known, *rows, target_revision=NEW)
    found = decisions.start(asked, NOW).rollout
    assert found == (
        known.model_copy(update={"completed_at": None, "started_at": times.to_seconds(NOW)}) if opens else known
    ), reason


@pytest.mark.parametrize(
    ("wish", "revision", "reason"),
    [
        (OLD, OLD, "the revision alone"),
        (f"{OLD}:2026-01-01T00:00:00Z", OLD, "a token may have colons"),
        (f" {OLD} : again", OLD, "a person's spaces"),
        (":again", "", "none: the pass refuses it, and does not roll to something else"),
        (None, None, "nothing is asked for"),
    ],
)
def test_the_revision_stands_before_the_colon(wish: str | None, revision: str | None, reason: str) -> None:
    """What follows a colon only makes the value another one."""
    assert decisions.parse_rollback_to(wish) == revision, reason


# ---------------------------------------------------------------------------------------------- what is to run


PODS, MOVED_PODS = api.Attachment(SELECTOR), api.Attachment(MOVED)
OF_GATEWAY = api.Attachment(None, [TARGET])
VIA = rolling(failure=failure(), fallbacks=[api.GatewayFallback(name=PUBLIC, detour=api.Detour(via=NEXT))])
ALONE = rolling(failure=failure(NEW, INTERNAL))


@pytest.mark.parametrize(
    ("known", "row", "wanted", "reason"),
    [
        (rolling(), None, Intent(Goal.SPEC), "what the spec says"),
        (DONE, entry(stable=NEW), Intent(Goal.SPEC), "and once it runs"),
        (rolling(rollback_to=OLD), entry(stable=NEW), Intent(Goal.REVISION, OLD), "what was asked for"),
        (rolling(failure=failure(held=True)), entry(stable=OLD), Intent(Goal.SPEC), "Hold: the failed one stays"),
        (FAILED, entry(stable=OLD), Intent(Goal.ROLLBACK, OLD, PODS), "Rollback: the stable one"),
        (FAILED, entry(stable=OLD, selector=MOVED), Intent(Goal.ROLLBACK, OLD, MOVED_PODS), "with the selector it had"),
        (
            FAILED,
            entry(stable=OLD, attachment=OF_GATEWAY),
            Intent(Goal.ROLLBACK, OLD, OF_GATEWAY),
            "with the Gateway it had",
        ),
        (
            FAILED,
            entry(stable=NEW, selector=MOVED),
            Intent(Goal.ROLLBACK, NEW, MOVED_PODS),
            "a selector that failed alone",
        ),
        (FAILED, entry(), Intent(Goal.NOTHING), "nothing ran before"),
        (FAILED, None, Intent(Goal.NOTHING), "also before anything was noted"),
        (FAILED, entry(adopted="kept"), Intent(Goal.ADOPTED, "kept"), "what was there before it was adopted"),
        (
            FAILED,
            entry(stable=OLD, adopted="kept"),
            Intent(Goal.ROLLBACK, OLD, PODS),
            "ours is nearer",
        ),
        (
            rolling(rollback_to=NEXT, failure=failure(NEXT)),
            entry(stable=OLD),
            Intent(Goal.ROLLBACK, OLD, PODS),
            "one that was asked for fails like any other",
        ),
        (
            rolling(rollback_to=NEXT, failure=failure(NEXT, held=True)),
            entry(stable=OLD),
            Intent(Goal.REVISION, NEXT),
            "one that was asked for, held",
        ),
        (ALONE, entry(stable=NEW), Intent(Goal.STAY, NEW), "it runs here, and failed elsewhere"),
        (VIA, entry(stable=OLD), Intent(Goal.ROLLBACK, NEXT, PODS), "other bytes first, where Envoy refuses it"),
    ],
)
def test_what_an_entry_is_to_run(
    known: api.RolloutStatus, row: api.GatewayStatus | None, wanted: Intent, reason: str
) -> None:
    """The spec's revision, one that was asked for, or after a failure what this entry ran before."""
    asked = having(known, gateways=[row] if row else [])
    assert decisions.decide_intent(asked, known, asked.spec.gateways[0]) == wanted, reason


# --------------------------------------------------------------------------------------------------- after a look


@dataclass(frozen=True)
class RolloutTurn:
    """A look at NEW; ``failed``: the reason of the failure after it; ``goal``: what the entry is to run then."""

    reason: str
    verdict: Verdict
    failed: str | None
    goal: Goal = Goal.SPEC
    known: api.RolloutStatus = field(default_factory=rolling)
    stable: str | None = OLD
    adopted: str | None = None
    on_failure: str = "Rollback"
    status: dict[str, Any] = field(default_factory=dict)


LATE = rolling(started_at=ago(minutes=11))
HELD = rolling(failure=failure(held=True))

BLAMELESS = verdict(State.UNKNOWN, "GatewayCrashed")


def written(revision: str = NEW, **elapsed: float) -> dict[str, Any]:
    return {
        "checkpoint": api.Checkpoint(gateways=[api.Observation(name=PUBLIC, revision=revision, since=ago(**elapsed))])
    }


def counted(desired: int) -> dict[str, Any]:
    counts = {"gateways": "0/1", "pods": f"0/{desired}", "desired": desired, "loaded": 0, "failed": 0}
    return {"summary": api.GatewaysSummary(**counts)}


TURNS = [
    RolloutTurn("a gateway refused it: the stable one comes back", REJECTED, "PluginRejected", Goal.ROLLBACK),
    RolloutTurn("a first release is taken off", REJECTED, "PluginRejected", Goal.NOTHING, stable=None),
    RolloutTurn("what was adopted is put back", REJECTED, "PluginRejected", Goal.ADOPTED, stable=None, adopted="kept"),
    RolloutTurn("what was adopted has a stable one by now", REJECTED, "PluginRejected", Goal.ROLLBACK, adopted="kept"),
    RolloutTurn("Hold: it stays", REJECTED, "PluginRejected", on_failure="Hold"),
    RolloutTurn("Hold: also a first release", REJECTED, "PluginRejected", stable=None, on_failure="Hold"),
    RolloutTurn("Hold: not where gateways are down", CRASHED, "GatewayCrashed", Goal.ROLLBACK, on_failure="Hold"),
    RolloutTurn(
        "Hold: nor a first release", HANGING, "GatewayUnresponsive", Goal.NOTHING, stable=None, on_failure="Hold"
    ),
    RolloutTurn("gateways crashed: the stable one comes back", CRASHED, "GatewayCrashed", Goal.ROLLBACK),
    RolloutTurn("a neighbour is to blame for a crash", BLAMELESS, None),
    RolloutTurn("a crash after Ready puts nothing back", CRASHED, None, known=DONE, stable=NEW),
    RolloutTurn("still coming", PENDING, None),
    RolloutTurn("it cannot be known: that is no failure", UNKNOWN, None, known=LATE),
    RolloutTurn("too late", PENDING, "ProgressDeadlineExceeded", Goal.ROLLBACK, known=LATE),
    RolloutTurn("too late, first release", PENDING, "ProgressDeadlineExceeded", Goal.NOTHING, known=LATE, stable=None),
    RolloutTurn("nobody is there, for however long", NO_PODS, None, known=LATE, stable=None),
    RolloutTurn("the first pod comes with all its time", PENDING, None, known=LATE, stable=None, status=counted(0)),
    RolloutTurn(
        "one more pod has none of its own",
        PENDING,
        "ProgressDeadlineExceeded",
        Goal.NOTHING,
        LATE,
        None,
        status=counted(1),
    ),
    RolloutTurn("the first pod refuses it", REJECTED, "PluginRejected", Goal.ROLLBACK, known=LATE, status=counted(0)),
    RolloutTurn("the artifact was long in coming", PENDING, None, known=LATE, status=written(seconds=1)),
    RolloutTurn(
        "and so are the gateways", PENDING, "ProgressDeadlineExceeded", Goal.ROLLBACK, LATE, status=written(minutes=11)
    ),
    RolloutTurn(
        "when another was written is nothing to it",
        PENDING,
        "ProgressDeadlineExceeded",
        Goal.ROLLBACK,
        LATE,
        status=written(OLD),
    ),
    RolloutTurn("a clock set back: not late yet", PENDING, None, known=rolling(started_at=ago(hours=-1))),
    RolloutTurn("it ran everywhere before: there is nothing better", REJECTED, None, stable=NEW),
    RolloutTurn("it ran everywhere before, and is late", PENDING, None, known=LATE, stable=NEW),
    RolloutTurn("late is no word for what is done", PENDING, None, known=DONE, stable=NEW),
    RolloutTurn("held, and then a gateway crashes", CRASHED, "GatewayCrashed", Goal.ROLLBACK, HELD, on_failure="Hold"),
    RolloutTurn(
        "held, then one hangs of a first one",
        HANGING,
        "GatewayUnresponsive",
        Goal.NOTHING,
        HELD,
        None,
        on_failure="Hold",
    ),
    RolloutTurn(
        "held, and a neighbour is to blame for a crash", BLAMELESS, "PluginRejected", known=HELD, on_failure="Hold"
    ),
    RolloutTurn("held, and another trouble", verdict(State.UNHEALTHY, "FetchFailed"), "PluginRejected", known=HELD),
]


def asked_of(case: RolloutTurn) -> api.Release:
    row = entry(stable=case.stable, adopted=case.adopted)
    found: api.Release = having(case.known, gateways=[row], spec__rollout={"onFailure": case.on_failure}, **case.status)
    return found


def look(asked: api.Release, known: api.RolloutStatus, judged: Verdict, revision: str = NEW) -> api.RolloutStatus:
    """The rollout after a look at the only entry."""
    return decisions.advance(asked, known, revision, {PUBLIC: judged}, NOW, DEADLINE)


def turned(case: RolloutTurn) -> api.RolloutStatus:
    return look(asked_of(case), case.known, case.verdict)


@pytest.mark.parametrize("case", TURNS, ids=lambda case: case.reason)
def test_when_a_rollout_fails_and_what_comes_back(case: RolloutTurn) -> None:
    """It fails by what a gateway says, or by its deadline; never by doubt, for want of pods, or after Ready."""
    found, asked = turned(case), asked_of(case)
    assert (found.failure.reason if found.failure else None) == case.failed
    assert decisions.decide_intent(asked, found, asked.spec.gateways[0]).goal is case.goal
    assert found.completed_at == case.known.completed_at


def test_a_failure_says_which_revision_and_why() -> None:
    """Its words fit into a status, and its time is that of the look."""
    wordy = Verdict(State.UNHEALTHY, Reason.PLUGIN_REJECTED, "x" * 10_000, REJECTED.pods)
    failed = turned(RolloutTurn("", wordy, "PluginRejected")).failure
    assert failed == api.RolloutFailure(
        revision=NEW,
        gateways=[PUBLIC],
        reason="PluginRejected",
        message="x" * api.MESSAGE_MAX,
        at=times.to_seconds(NOW),
    )


def test_the_time_of_who_was_alone_begins_again() -> None:
    """A release that waited a day for its first pod is not overdue when that starts."""
    begun = turned(RolloutTurn("", PENDING, None, known=LATE, stable=None, status=counted(0)))
    assert begun.started_at + DEADLINE > NEWER > LATE.started_at + DEADLINE


NEWER = NOW + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("held_up_until", "fails"),
    [
        pytest.param(None, True, id="nothing held it up"),
        pytest.param(ago(minutes=11), True, id="what held it up is over for longer than the deadline"),
        pytest.param(ago(minutes=9), False, id="gateways could load it only since then"),
    ],
)
def test_the_deadline_does_not_run_while_the_control_plane_is_stuck(
    held_up_until: datetime | None, fails: bool
) -> None:
    """A revision that could not arrive has its whole `progressDeadline` from when it could."""
    written = api.Observation(name=PUBLIC, revision=NEW, since=ago(days=1), deliverable_since=held_up_until)
    asked = having(LATE, gateways=[entry(stable=OLD)], checkpoint=api.Checkpoint(gateways=[written]))
    assert (look(asked, LATE, PENDING).failure is not None) is fails


def test_what_runs_everywhere_is_done() -> None:
    """The first look that sees it everywhere ends the rollout; a later one does not move that time."""
    done = turned(RolloutTurn("", LOADED, None))
    assert (done.completed_at, done.failure) == (times.to_seconds(NOW), None)
    asked = having(done, gateways=[entry(stable=NEW)])
    assert decisions.advance(asked, done, NEW, {PUBLIC: LOADED}, NEWER, DEADLINE) == done


def test_another_try_of_what_is_stable_is_done_when_it_is_seen() -> None:
    """A retry of the stable revision completes with the look that sees it, and not by its being stable alone."""
    asked = having(rolling(), gateways=[entry(stable=NEW)])
    assert look(asked, rolling(), REJECTED).completed_at is None
    assert look(asked, rolling(), LOADED).completed_at == times.to_seconds(NOW)


def test_what_runs_on_the_way_is_not_yet_what_is_put_back() -> None:
    """A revision of other bytes that heals the gateways ends nothing; the stable one after it does."""
    assert decisions.advance_fallback(VIA, PUBLIC, LOADED, NOW) == VIA
    tried = api.GatewayFallback(name=PUBLIC, detour=api.Detour(tried_others=True))
    ended = decisions.advance_fallback(VIA.model_copy(update={"fallbacks": [tried]}), PUBLIC, LOADED, NOW)
    assert decisions.fallback_of(ended, PUBLIC).loaded_at == times.to_seconds(NOW)


def test_what_was_held_may_heal() -> None:
    """With Hold the failed revision stays; once it runs everywhere the failure is over."""
    healed = turned(RolloutTurn("", LOADED, None, known=HELD, on_failure="Hold"))
    assert (healed.failure, healed.completed_at) == (None, times.to_seconds(NOW))


@pytest.mark.parametrize("judged", [LOADED, PENDING, REJECTED, UNKNOWN, NO_PODS], ids=lambda judged: judged.reason)
def test_what_is_put_back_does_not_undo_the_failure(judged: Verdict) -> None:
    """The stable revision that runs again, or does not, makes no new failure; that it runs is noted once."""
    found = decisions.advance_fallback(FAILED, PUBLIC, judged, NOW)
    back = times.to_seconds(NOW) if judged is LOADED else None
    assert (found.failure, decisions.fallback_of(found, PUBLIC).loaded_at) == (FAILED.failure, back)
    later = decisions.advance_fallback(found, PUBLIC, LOADED, NEWER)
    assert decisions.fallback_of(later, PUBLIC).loaded_at == (back or times.to_seconds(NEWER))


def test_a_new_failure_takes_the_place_of_an_older_one() -> None:
    """A failed revision is followed by a spec that fails too: each time the stable one comes back, never the failed."""
    after_one = having(FAILED, gateways=[entry(stable=OLD)], **OTHER_SPEC)
    second = decisions.start(after_one, NOW).rollout
    failed = look(after_one, second, REJECTED, NEXT)
    assert failed.failure is not None
    assert failed.failure.revision == NEXT
    assert decisions.decide_intent(after_one, failed, after_one.spec.gateways[0]).revision == OLD


def test_there_and_back_again_rolls_nothing_back() -> None:
    """A → B → A before B ran anywhere: A is the stable one, and a gateway's trouble with it is only reported."""
    asked = having(rolling(OTHER_SPEC), gateways=[entry(stable=OLD)])
    again = decisions.start(asked, NOW).rollout
    assert look(asked, again, REJECTED, OLD) == again
    assert look(asked, again, LOADED, OLD).completed_at


# ------------------------------------------------------------------------------------------------------- the way back


def showing(*kinds: FilterKind) -> PodObservation:
    entries = tuple(ExtensionConfig("name", kind, "type") for kind in kinds)
    return PodObservation(PodRef("apps", "gateway", "gateway", ready=True), NOW, entries=entries)


LOSSES = [
    ("they refused it, and run the old code", "PluginRejected", [showing(FilterKind.WASM)], True),
    ("nothing was seen of them", "PluginRejected", [], True),
    ("one has lost it already", "PluginRejected", [showing(FilterKind.WASM), showing(FilterKind.RBAC_DENY)], False),
    ("one lets everything pass already", "FetchFailed", [showing(FilterKind.RBAC_ALLOW)], False),
    ("they crashed", "GatewayCrashed", [showing(FilterKind.WASM)], False),
    ("they hang", "GatewayUnresponsive", [], False),
]


@pytest.mark.parametrize(("reason", "why", "seen", "expected"), LOSSES, ids=[row[0] for row in LOSSES])
def test_whether_code_could_be_lost(reason: str, why: str, seen: list[PodObservation], expected: bool) -> None:
    """The registry is asked before a rollback only where gateways have something to lose by it."""
    failed = failure().model_copy(update={"reason": why})
    assert decisions.may_lose_code(failed, seen) is expected, reason


BACKS: list[tuple[str, api.RolloutStatus | None, api.RolloutStatus | None, bool]] = [
    ("no rollout", None, None, False),
    ("one under way", None, rolling(), False),
    ("it failed now", rolling(), FAILED, True),
    ("it failed now, and is held", rolling(), HELD, False),
    ("it was held, and is put back now", HELD, FAILED, True),
    ("it had failed before", FAILED, FAILED, False),
    ("it had failed on one entry, and now on another", SECOND, rolling(failure=failure(NEW, INTERNAL, PUBLIC)), True),
]


@pytest.mark.parametrize(("reason", "before", "after", "expected"), BACKS, ids=[row[0] for row in BACKS])
def test_when_it_turns_back(
    reason: str, before: api.RolloutStatus | None, after: api.RolloutStatus | None, expected: bool
) -> None:
    """The pass that decides to go back is followed at once by the one that does so."""
    assert decisions.has_turned_back(before, after) is expected, reason
