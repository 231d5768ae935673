"""What the gateways are to run, when a rollout has failed, and what is put back: one row per rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.core import timestamps
from pluginrelease.core.gateway.observations import ExtensionConfig, FilterKind, PodObservation, PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.decisions import Goal, Intent
from tests.harness.releases import release

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEADLINE = timedelta(minutes=10)
OLD, NEW, NEXT = "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"


def ago(**elapsed: float) -> str:
    return timestamps.metav1_time(NOW - timedelta(**elapsed))


def failure(revision: str = NEW) -> api.RolloutFailure:
    return api.RolloutFailure(revision=revision, reason="PluginRejected", message="no", at=ago(minutes=1))


def rolling(**changes: Any) -> api.RolloutStatus:
    """A rollout of generation 1 that began a moment ago."""
    return api.RolloutStatus(**{"generation": 1, "started_at": ago(seconds=5), **changes})


def having(known: api.RolloutStatus | None = None, *, annotations: dict[str, str] | None = None, **given: Any) -> Any:
    """A release with this rollout in its status; ``given``: more of the status, or parts of the manifest by path."""
    parts = {path: given.pop(path) for path in list(given) if "__" in path}
    found = release(metadata__annotations=annotations or {}, **parts)
    return found.model_copy(update={"status": api.Status(rollout=known, **given)})


def verdict(state: State, reason: str = "", *, pods: int = 1) -> Verdict:
    names = [f"gateway-{number}" for number in range(pods)]
    rows = [PodVerdict(PodRef("apps", name, name, ready=True), state, reason or state, "it says") for name in names]
    return Verdict(state, reason or str(state), f"because of {reason or state}", tuple(rows))


LOADED, PENDING, UNKNOWN = verdict(State.LOADED), verdict(State.PENDING), verdict(State.UNKNOWN)
REJECTED = verdict(State.UNHEALTHY, "PluginRejected")
NO_PODS = verdict(State.PENDING, "NoGatewayPods", pods=0)

# -------------------------------------------------------------------------------------------------- when one begins

FAILED = rolling(failure=failure(), puts_back=OLD)
DONE = rolling(completed_at=ago(seconds=1))
RETRY, BACK = api.RETRY_ANNOTATION, api.ROLLBACK_ANNOTATION


@dataclass(frozen=True)
class Begin:
    """``begins``: a rollout begins with this pass; ``wants``: the old revision that it is about."""

    reason: str
    known: api.RolloutStatus | None
    begins: bool
    generation: int = 1
    annotations: dict[str, str] = field(default_factory=dict)
    handled: api.Handled | None = None
    wants: str | None = None
    anew: bool = False


BEGINS = [
    Begin("a new release", None, begins=True),
    Begin("nothing has changed since it began", rolling(), begins=False),
    Begin("nothing has changed since it ended", DONE, begins=False),
    Begin("what failed is not tried again by itself", FAILED, begins=False),
    Begin("a new spec, after one that ran", DONE, begins=True, generation=2),
    Begin("a new spec ends a failure: also a changed onFailure alone", FAILED, begins=True, generation=2),
    Begin("a new spec takes the place of one that is stuck", rolling(), begins=True, generation=2),
    Begin("a generation that went down: made anew from a backup", rolling(generation=7), begins=True),
    Begin("somebody asks for another try", FAILED, begins=True, annotations={RETRY: "1"}, anew=True),
    Begin(
        "another try while the stable one is being put back",
        rolling(failure=failure(), puts_back=OLD, put_back_at=None),
        begins=True,
        annotations={RETRY: "2"},
        handled=api.Handled(retry="1"),
        anew=True,
    ),
    Begin(
        "a token is acted on once",
        FAILED,
        begins=False,
        annotations={RETRY: "1"},
        handled=api.Handled(retry="1"),
    ),
    Begin("a token that is taken away asks for nothing", FAILED, begins=False, handled=api.Handled(retry="1")),
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
    Begin(
        "it stays until the spec changes",
        rolling(rollback_to=OLD),
        begins=False,
        annotations={BACK: OLD},
        handled=api.Handled(rollback_to=OLD),
        wants=OLD,
    ),
    Begin(
        "the spec's again when the annotation is taken away",
        rolling(rollback_to=OLD),
        begins=True,
        handled=api.Handled(rollback_to=OLD),
        wants=None,
    ),
    Begin(
        "a new spec runs, though the annotation stands in Git",
        rolling(rollback_to=OLD),
        begins=True,
        generation=2,
        annotations={BACK: OLD},
        handled=api.Handled(rollback_to=OLD),
    ),
    Begin(
        "another try is one of what the spec says",
        rolling(rollback_to=OLD),
        begins=True,
        annotations={BACK: OLD, RETRY: "1"},
        handled=api.Handled(rollback_to=OLD),
        anew=True,
    ),
    Begin("a revision that nobody knows is for the pass to refuse", DONE, True, annotations={BACK: "x"}, wants="x"),
]


@pytest.mark.parametrize("case", BEGINS, ids=lambda case: case.reason)
def test_a_rollout_begins_with_a_new_spec_or_a_new_wish(case: Begin) -> None:
    """Each generation of the spec, each retry and each rollback-to is one rollout; anything else goes on with it."""
    asked = having(
        case.known,
        metadata__generation=case.generation,
        annotations=case.annotations,
        handled=case.handled,
    )
    begun = decisions.start(asked, NOW)
    assert (begun.rollout.started_at == timestamps.metav1_time(NOW)) is case.begins
    assert (begun.rollout.rollback_to, begun.anew) == (case.wants, case.anew)
    assert begun.handled == api.Handled(retry=case.annotations.get(RETRY), rollback_to=case.annotations.get(BACK))
    if case.begins:
        assert (begun.rollout.generation, begun.rollout.failure) == (case.generation, None)
        assert (begun.rollout.completed_at, begun.rollout.puts_back, begun.rollout.put_back_at) == (None, None, None)
    else:
        assert begun.rollout == case.known


def test_what_was_taken_over_stays_so() -> None:
    """That the object was somebody else's is remembered through every later rollout."""
    assert decisions.start(having(rolling(adopted=True), metadata__generation=9), NOW).rollout.adopted


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


VIA = rolling(failure=failure(), puts_back=OLD, detour=api.Detour(via=NEXT))


@pytest.mark.parametrize(
    ("known", "wanted", "reason"),
    [
        (rolling(), Intent(Goal.SPEC), "what the spec says"),
        (DONE, Intent(Goal.SPEC), "and once it runs"),
        (rolling(rollback_to=OLD), Intent(Goal.OLD, OLD), "what was asked for"),
        (rolling(failure=failure()), Intent(Goal.SPEC), "Hold: the failed one stays"),
        (FAILED, Intent(Goal.PUT_BACK, OLD), "Rollback: the stable one"),
        (rolling(failure=failure(), puts_back=""), Intent(Goal.TAKEN_OFF), "nothing ran before"),
        (rolling(rollback_to=NEXT, failure=failure(NEXT), puts_back=OLD), Intent(Goal.PUT_BACK, OLD), "an old one too"),
        (rolling(rollback_to=NEXT, failure=failure(NEXT)), Intent(Goal.OLD, NEXT), "an old one, held"),
        (rolling(puts_back=OLD), Intent(Goal.SPEC), "only a failure puts back"),
        (VIA, Intent(Goal.PUT_BACK, NEXT), "one of other bytes first, where gateways refuse the stable one"),
    ],
)
def test_what_the_gateways_are_to_run(known: api.RolloutStatus, wanted: Intent, reason: str) -> None:
    """The spec's revision, one that was asked for, or after a failure what ran before."""
    assert decisions.decide_intent(known) == wanted, reason


# --------------------------------------------------------------------------------------------------- after a look


@dataclass(frozen=True)
class Turn:
    """A look at NEW; ``failed``: the reason of the failure after it; ``puts_back``: what it puts back."""

    reason: str
    verdict: Verdict
    failed: str | None
    puts_back: str | None = None
    known: api.RolloutStatus = field(default_factory=rolling)
    stable: str | None = OLD
    on_failure: str = "Rollback"
    status: dict[str, Any] = field(default_factory=dict)


LATE = rolling(started_at=ago(minutes=11))
HELD = rolling(failure=failure())
HELD_FOREIGN = rolling(failure=failure(), adopted=True)


CRASHED, HANGING = (verdict(State.UNHEALTHY, reason) for reason in ("GatewayCrashed", "GatewayUnresponsive"))
BLAMELESS = verdict(State.UNKNOWN, "GatewayCrashed")


def written(revision: str = NEW, **elapsed: float) -> dict[str, Any]:
    return {"observation": api.Observation(revision=revision, since=ago(**elapsed))}


def gateways(desired: int) -> dict[str, Any]:
    return {"gateways": api.GatewaysStatus(desired=desired, loaded=0, failed=0, summary=f"0/{desired}")}


TURNS = [
    Turn("a gateway refused it: the stable one comes back", REJECTED, "PluginRejected", OLD),
    Turn("a first release is taken off", REJECTED, "PluginRejected", "", stable=None),
    Turn("what was somebody's before is left there", REJECTED, "PluginRejected", None, rolling(adopted=True), None),
    Turn("what was somebody's has a stable one by now", REJECTED, "PluginRejected", OLD, rolling(adopted=True)),
    Turn("Hold: it stays", REJECTED, "PluginRejected", None, on_failure="Hold"),
    Turn("Hold: also a first release", REJECTED, "PluginRejected", None, stable=None, on_failure="Hold"),
    Turn("Hold: not where gateways are down", CRASHED, "GatewayCrashed", OLD, on_failure="Hold"),
    Turn("Hold: nor a first release", HANGING, "GatewayUnresponsive", "", stable=None, on_failure="Hold"),
    Turn("gateways crashed: the stable one comes back", CRASHED, "GatewayCrashed", OLD),
    Turn("a neighbour is to blame for a crash", BLAMELESS, None),
    Turn("a crash after Ready puts nothing back", CRASHED, None, known=DONE),
    Turn("still coming", PENDING, None),
    Turn("it cannot be told: that is no failure", UNKNOWN, None, known=LATE),
    Turn("too late", PENDING, decisions.OVERDUE, OLD, known=LATE),
    Turn("too late, first release", PENDING, decisions.OVERDUE, "", known=LATE, stable=None),
    Turn("nobody is there, for however long", NO_PODS, None, known=LATE, stable=None),
    Turn("the first pod comes with all its time", PENDING, None, known=LATE, stable=None, status=gateways(0)),
    Turn("one more pod has none of its own", PENDING, decisions.OVERDUE, "", LATE, None, status=gateways(1)),
    Turn("the first pod refuses it", REJECTED, "PluginRejected", OLD, known=LATE, status=gateways(0)),
    Turn("the artifact was long in coming", PENDING, None, known=LATE, status=written(seconds=1)),
    Turn("and so are the gateways", PENDING, decisions.OVERDUE, OLD, known=LATE, status=written(minutes=11)),
    Turn("when another one was written is nothing to it", PENDING, decisions.OVERDUE, OLD, LATE, status=written(OLD)),
    Turn("a clock set back: not late yet", PENDING, None, known=rolling(started_at=ago(hours=-1))),
    Turn("it ran everywhere before: there is nothing better", REJECTED, None, stable=NEW),
    Turn("it ran everywhere before, and is late", PENDING, None, known=LATE, stable=NEW),
    Turn("trouble after Ready is told, and nothing is put back", REJECTED, None, known=DONE),
    Turn("late is no word for what is done", PENDING, None, known=rolling(started_at=ago(days=9), completed_at=ago())),
    Turn("held, and then a gateway crashes", CRASHED, "GatewayCrashed", OLD, HELD, on_failure="Hold"),
    Turn("held, and then one hangs of a first one", HANGING, "GatewayUnresponsive", "", HELD, None, on_failure="Hold"),
    Turn("held for want of anything of ours", CRASHED, "PluginRejected", None, HELD_FOREIGN, None),
    Turn("held, and a neighbour is to blame for a crash", BLAMELESS, "PluginRejected", None, HELD, on_failure="Hold"),
    Turn("held, and another trouble", verdict(State.UNHEALTHY, "FetchFailed"), "PluginRejected", known=HELD),
]


def turned(case: Turn) -> api.RolloutStatus:
    asked = having(case.known, stable_revision=case.stable, spec__rollout={"onFailure": case.on_failure}, **case.status)
    return decisions.advance(asked, case.known, NEW, case.verdict, NOW, DEADLINE)


@pytest.mark.parametrize("case", TURNS, ids=lambda case: case.reason)
def test_when_a_rollout_fails_and_what_comes_back(case: Turn) -> None:
    """It fails by what a gateway says, or by its deadline; never by doubt, for want of pods, or after Ready."""
    found = turned(case)
    assert (found.failure.reason if found.failure else None) == case.failed
    assert found.puts_back == case.puts_back
    assert found.completed_at == case.known.completed_at


def test_a_failure_says_which_revision_and_why() -> None:
    """Its words fit into a status, and its time is that of the look."""
    wordy = Verdict(State.UNHEALTHY, "PluginRejected", "x" * 10_000, REJECTED.pods)
    failed = turned(Turn("", wordy, "PluginRejected")).failure
    assert failed == api.RolloutFailure(
        revision=NEW, reason="PluginRejected", message="x" * api.MESSAGE_MAX, at=timestamps.metav1_time(NOW)
    )


def test_the_time_of_who_was_alone_begins_anew() -> None:
    """Also what is told of it: a release that waited a day for its first pod is not overdue when that starts."""
    begun = turned(Turn("", PENDING, None, known=LATE, stable=None, status=gateways(0)))
    assert not decisions.is_overdue(begun, NEWER, DEADLINE)
    assert decisions.is_overdue(LATE, NEWER, DEADLINE)


NEWER = NOW + timedelta(minutes=1)


def test_what_runs_everywhere_is_done() -> None:
    """The first look that sees it everywhere ends the rollout; a later one does not move that time."""
    done = turned(Turn("", LOADED, None))
    assert (done.completed_at, done.failure) == (timestamps.metav1_time(NOW), None)
    assert decisions.advance(having(done), done, NEW, LOADED, NEWER, DEADLINE) == done


def test_what_runs_on_the_way_is_not_yet_what_is_put_back() -> None:
    """A revision of other bytes that heals the gateways ends nothing; the stable one after it does."""
    assert decisions.advance(having(VIA, stable_revision=OLD), VIA, NEXT, LOADED, NOW, DEADLINE).put_back_at is None
    after = VIA.model_copy(update={"detour": api.Detour(tried_others=True)})
    ended = decisions.advance(having(after, stable_revision=OLD), after, OLD, LOADED, NOW, DEADLINE)
    assert ended.put_back_at == timestamps.metav1_time(NOW)


def test_what_was_held_may_heal() -> None:
    """With Hold the failed revision stays; once it runs everywhere the failure is over."""
    healed = turned(Turn("", LOADED, None, known=HELD, on_failure="Hold"))
    assert (healed.failure, healed.puts_back, healed.completed_at) == (None, None, timestamps.metav1_time(NOW))


@pytest.mark.parametrize("judged", [LOADED, PENDING, REJECTED, UNKNOWN, NO_PODS], ids=lambda it: it.reason)
def test_what_is_put_back_does_not_undo_the_failure(judged: Verdict) -> None:
    """The stable revision that runs again, or does not, makes no new failure; that it runs is noted once."""
    known = FAILED.model_copy(update={"started_at": ago(days=1)})
    asked = having(known, stable_revision=OLD, **gateways(0))
    found = decisions.advance(asked, known, OLD, judged, NOW, DEADLINE)
    back = timestamps.metav1_time(NOW) if judged is LOADED else None
    assert found == known.model_copy(update={"put_back_at": back})
    assert decisions.advance(asked, found, OLD, LOADED, NEWER, DEADLINE).put_back_at == (
        back or timestamps.metav1_time(NEWER)
    )


def test_a_new_failure_takes_the_place_of_an_older_one() -> None:
    """A failed revision is followed by a spec that fails too: each time the stable one comes back, never the failed."""
    after_one = having(FAILED, stable_revision=OLD, metadata__generation=2)
    second = decisions.start(after_one, NOW).rollout
    failed = decisions.advance(after_one, second, NEXT, REJECTED, NOW, DEADLINE)
    assert failed.failure is not None
    assert (failed.failure.revision, failed.puts_back, failed.generation) == (NEXT, OLD, 2)


def test_there_and_back_again_rolls_nothing_back() -> None:
    """A → B → A before B ran anywhere: A is the stable one, and a gateway's trouble with it is only told."""
    again = decisions.start(having(rolling(), metadata__generation=3, stable_revision=OLD), NOW).rollout
    asked = having(again, stable_revision=OLD)
    assert decisions.advance(asked, again, OLD, REJECTED, NOW, DEADLINE) == again
    assert decisions.advance(asked, again, OLD, LOADED, NOW, DEADLINE).completed_at


# -------------------------------------------------------------------------------------------------- at all times

TIMES = st.integers(-(10**6), 10**6).map(lambda seconds: timestamps.metav1_time(NOW + timedelta(seconds=seconds)))
REVISIONS = st.sampled_from([OLD, NEW, NEXT])
FAILURES = REVISIONS.map(failure)
ROLLOUTS = st.fixed_dictionaries(
    {
        "started_at": TIMES,
        "completed_at": st.none() | TIMES,
        "failure": st.none() | FAILURES,
        "puts_back": st.none() | st.just("") | REVISIONS,
        "put_back_at": st.none() | TIMES,
        "adopted": st.sampled_from([None, True]),
    }
).map(lambda fields: rolling(**fields))
VERDICTS = st.sampled_from([LOADED, PENDING, UNKNOWN, REJECTED, NO_PODS])
STATUSES = st.fixed_dictionaries(
    {"stable_revision": st.none() | REVISIONS},
    optional={"gateways": st.sampled_from([gateways(0)["gateways"], gateways(2)["gateways"]])},
)


@given(ROLLOUTS, REVISIONS, VERDICTS, STATUSES, st.sampled_from(["Rollback", "Hold"]))
def test_no_look_makes_more_of_a_rollout_than_it_is(
    known: api.RolloutStatus, revision: str, judged: Verdict, status: dict[str, Any], on_failure: str
) -> None:
    """Whatever is seen: what is done stays done and fails no more, a failure is not exchanged for another, a revision
    is never put back for itself, and to look twice at the same is to look once."""
    asked = having(known, spec__rollout={"onFailure": on_failure}, **status)
    found = decisions.advance(asked, known, revision, judged, NOW, DEADLINE)
    if known.completed_at is not None:
        assert found.completed_at == known.completed_at
        assert found.failure in (known.failure, None)
    if known.failure is not None:
        assert found.failure in (known.failure, None)
    elif found.failure is not None:
        assert found.puts_back != found.failure.revision == revision != asked.status.stable_revision
        assert found.puts_back is None or on_failure == "Rollback"
    assert found.generation == known.generation
    assert decisions.advance(asked, found, revision, judged, NOW, DEADLINE) == found


# ---------------------------------------------------------------------------------------------- the time that is left

TIMES = [
    ("under way", rolling(started_at=ago(minutes=4)), timedelta(minutes=6)),
    ("at its very end", rolling(started_at=ago(minutes=10)), timedelta()),
    ("over", rolling(started_at=ago(minutes=11)), None),
    ("completed", rolling(completed_at=ago(seconds=1)), None),
    ("failed", rolling(failure=failure(), puts_back=OLD), None),
]


@pytest.mark.parametrize(("reason", "known", "left"), TIMES, ids=[row[0] for row in TIMES])
def test_the_time_that_is_left(reason: str, known: api.RolloutStatus, left: timedelta | None) -> None:
    """A rollout that goes on is looked at when its deadline is over; one that ended has no deadline."""
    assert decisions.until_overdue(known, NOW, DEADLINE) == left, reason


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
    failed = api.RolloutFailure(revision=NEW, reason=why, message="no", at=ago(minutes=1))
    assert decisions.may_lose_code(failed, seen) is expected, reason


TURNS: list[tuple[str, api.RolloutStatus | None, api.RolloutStatus | None, bool]] = [
    ("no rollout", None, None, False),
    ("one under way", None, rolling(), False),
    ("it failed now", rolling(), rolling(failure=failure(), puts_back=OLD), True),
    ("it failed now, and nothing ran before", rolling(), rolling(failure=failure(), puts_back=""), True),
    ("it failed now, and is held", rolling(), rolling(failure=failure()), False),
    ("it had failed before", FAILED, FAILED, False),
]


@pytest.mark.parametrize(("reason", "before", "after", "expected"), TURNS, ids=[row[0] for row in TURNS])
def test_when_it_goes_back(
    reason: str, before: api.RolloutStatus | None, after: api.RolloutStatus | None, expected: bool
) -> None:
    """The pass that decides to go back is followed at once by the one that does so."""
    assert decisions.goes_back(before, after) is expected, reason
