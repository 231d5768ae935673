"""What the gateways are to run, and what a look at them means for that: the decisions about a rollout.

A decision is written to ``status.rollout``; the next pass reads it there. One rollout is about one generation of the
spec. It ends when every gateway pod was seen running it, or with a failure, which stays until the spec changes or
somebody asks for another try. What happens after it was seen running everywhere is told, and changes nothing here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pluginrelease import api
from pluginrelease.core import timestamps
from pluginrelease.core.gateway import outage
from pluginrelease.core.gateway.observations import STAND_INS, PodObservation
from pluginrelease.core.gateway.verdict.values import State, Verdict

OVERDUE = "ProgressDeadlineExceeded"


class Goal(StrEnum):
    """Spec: what the spec says. Old: a revision of the history that was asked for. PutBack: the stable revision, after
    a failure. TakenOff: no plugin at all, because nothing ran before."""

    SPEC = "Spec"
    OLD = "Old"
    PUT_BACK = "PutBack"
    TAKEN_OFF = "TakenOff"


@dataclass(frozen=True)
class Intent:
    """What the gateways are to run; ``revision`` names a kept one for Old and PutBack."""

    goal: Goal
    revision: str | None = None


@dataclass(frozen=True)
class RolloutStart:
    """The rollout of this pass. ``anew``: somebody asked for another try, so a tag is asked for again."""

    rollout: api.RolloutStatus
    handled: api.Handled
    anew: bool = False


def start(release: api.Release, now: datetime) -> RolloutStart:
    """The rollout under way; a new one for a new generation, a new retry, a new rollback-to, or one taken back."""
    known, handled = release.status.rollout, release.status.handled or api.Handled()
    annotations = release.metadata.annotations
    wish = api.Handled(
        retry=annotations.get(api.RETRY_ANNOTATION), rollback_to=annotations.get(api.ROLLBACK_ANNOTATION)
    )
    retried = wish.retry is not None and wish.retry != handled.retry
    rolled_back = wish.rollback_to is not None and wish.rollback_to != handled.rollback_to
    taken_back = wish.rollback_to is None and known is not None and known.rollback_to is not None
    same_spec = known is not None and known.generation == release.metadata.generation
    if known is not None and same_spec and not (retried or rolled_back or taken_back):
        return RolloutStart(known, wish)
    begun = begin(release, known, now)
    if rolled_back:
        begun = begun.model_copy(update={"rollback_to": parse_rollback_to(wish.rollback_to)})
    return RolloutStart(begun, wish, anew=retried)


def begin_anew(release: api.Release, under_way: RolloutStart, now: datetime) -> RolloutStart:
    """Another rollout of the same spec, because its tag names something else now."""
    return RolloutStart(begin(release, under_way.rollout, now), under_way.handled, anew=True)


def begin(release: api.Release, known: api.RolloutStatus | None, now: datetime) -> api.RolloutStatus:
    """A rollout of what the spec says, after another one, of which only whose the object was counts."""
    return api.RolloutStatus(
        generation=release.metadata.generation,
        started_at=timestamps.metav1_time(now),
        adopted=known.adopted if known else None,
    )


def parse_rollback_to(wish: str | None) -> str | None:
    """The revision in the value of the rollback-to annotation: what stands before a colon."""
    return wish.partition(":")[0].strip() if wish else None


def decide_intent(rollout: api.RolloutStatus) -> Intent:
    """What the gateways are to run."""
    if is_fallback(rollout):
        via = rollout.detour.via if rollout.detour else None
        return Intent(Goal.PUT_BACK, via or rollout.puts_back) if rollout.puts_back else Intent(Goal.TAKEN_OFF)
    if rollout.rollback_to is not None:
        return Intent(Goal.OLD, rollout.rollback_to)
    return Intent(Goal.SPEC)


def advance(
    release: api.Release,
    rollout: api.RolloutStatus,
    revision: str,
    verdict: Verdict,
    now: datetime,
    deadline: timedelta,
) -> api.RolloutStatus:
    """The rollout after a look at the gateways; ``revision`` is the one that they were to run at that look.

    ``deadline`` is ``rollout.progressDeadline``. A revision that has run everywhere before is not rolled back: there
    is nothing better to go back to.
    """
    rollout = restart_deadline(release.status, rollout, verdict, now)
    if is_fallback(rollout):
        on_the_way = rollout.detour is not None and rollout.detour.via is not None
        runs_again = verdict.state is State.LOADED and rollout.put_back_at is None and not on_the_way
        return rollout.model_copy(update={"put_back_at": timestamps.metav1_time(now)}) if runs_again else rollout
    if verdict.state is State.LOADED:
        completed = rollout.completed_at or timestamps.metav1_time(now)
        return rollout.model_copy(update={"completed_at": completed, "failure": None, "puts_back": None})
    stable = release.status.stable_revision
    if rollout.completed_at is not None or stable == revision:
        return rollout
    if rollout.failure is not None and not ends_hold(release, rollout, verdict):
        return rollout
    failed = find_failure(verdict, overdue=now > find_deadline_start(release.status, rollout, revision) + deadline)
    if failed is None:
        return rollout
    failure = api.RolloutFailure(
        revision=revision,
        reason=failed.reason,
        message=failed.message[: api.MESSAGE_MAX],
        at=timestamps.metav1_time(now),
    )
    return rollout.model_copy(update={"failure": failure, "puts_back": find_fallback(release, rollout, failed.reason)})


def ends_hold(release: api.Release, rollout: api.RolloutStatus, verdict: Verdict) -> bool:
    """Whether gateways are down by now of what was held, and something can be put back."""
    is_down = verdict.state is State.UNHEALTHY and verdict.reason in outage.REASONS
    return is_down and find_fallback(release, rollout, verdict.reason) is not None


def restart_deadline(
    status: api.Status, rollout: api.RolloutStatus, verdict: Verdict, now: datetime
) -> api.RolloutStatus:
    """A rollout that had nobody to load it begins with the first pod: that one comes with all its time before it."""
    alone = status.gateways is not None and status.gateways.desired == 0
    if not (alone and verdict.pods) or rollout.completed_at is not None or rollout.failure is not None:
        return rollout
    return rollout.model_copy(update={"started_at": timestamps.metav1_time(now)})


def find_deadline_start(status: api.Status, rollout: api.RolloutStatus, revision: str) -> datetime:
    """From when gateways can be late: they are not to blame for an artifact that was long in coming."""
    started, known = timestamps.parse_time(rollout.started_at), status.observation
    return (
        max(started, timestamps.parse_time(known.since))
        if known is not None and known.revision == revision
        else started
    )


def find_fallback(release: api.Release, rollout: api.RolloutStatus, reason: str = "") -> str | None:
    """The revision to put back after a failure; "" when nothing of ours ran before; None: all stays as it is.

    A WasmPlugin that was taken over from somebody is not taken off: it was there before the release was. Hold is for
    what serves somehow, and not for gateways that are down.
    """
    if release.spec.rollout.on_failure is api.OnFailure.HOLD and reason not in outage.REASONS:
        return None
    if release.status.stable_revision is not None:
        return release.status.stable_revision
    return None if rollout.adopted else ""


def is_fallback(rollout: api.RolloutStatus) -> bool:
    """Whether something else than the wanted revision is to run because that one failed."""
    return rollout.failure is not None and rollout.puts_back is not None


def is_going_back(decided: api.RolloutStatus | None) -> bool:
    """Whether what is put back has not been seen running yet."""
    return decided is not None and is_fallback(decided) and decided.put_back_at is None


def goes_back(before: api.RolloutStatus | None, after: api.RolloutStatus | None) -> bool:
    """Whether it was just decided that something else than the wanted revision is to run."""
    if after is None or not is_fallback(after):
        return False
    return before is None or before.failure != after.failure


def may_lose_code(failure: api.RolloutFailure, before: Collection[PodObservation]) -> bool:
    """Whether gateways may still serve the old code from memory, and would lose it if its image cannot be fetched.

    Not once a gateway crashed or hangs, or has a stand-in for the plugin: then there is nothing to lose.
    """
    return failure.reason not in outage.REASONS and not has_stand_in(before)


def has_stand_in(seen: Collection[PodObservation]) -> bool:
    """Whether some gateway could not fetch the plugin, and answers 403 in its place or lets everything pass."""
    return any(entry.kind in STAND_INS for sighting in seen for entry in sighting.entries)


def find_failure(verdict: Verdict, *, overdue: bool) -> Verdict | None:
    """The verdict that ends a rollout: gateways that are still coming, and what cannot be told, are no failure."""
    if verdict.state is State.UNHEALTHY:
        return verdict
    if verdict.state is State.PENDING and verdict.pods and overdue:
        return Verdict(State.UNHEALTHY, OVERDUE, verdict.message, verdict.pods)
    return None


def is_overdue(rollout: api.RolloutStatus, now: datetime, deadline: timedelta) -> bool:
    """Whether a rollout that is not completed has taken longer than it may."""
    return rollout.completed_at is None and now > timestamps.parse_time(rollout.started_at) + deadline


def until_overdue(rollout: api.RolloutStatus, now: datetime, deadline: timedelta) -> timedelta | None:
    """Return how long the rollout may still take; None when it has ended, or is overdue already."""
    if rollout.completed_at is not None or rollout.failure is not None:
        return None
    left = timestamps.parse_time(rollout.started_at) + deadline - now
    return left if left >= timedelta() else None
