"""What the gateways are to run, and what a look at them means for that: the decisions about a rollout.

A decision is written to ``status.rollout``; the next pass reads it there. One rollout is about one revision. It ends
when every pod of every placed entry was seen running it, or with a failure. A failure stays until the spec wants
another revision or somebody asks for another try. An entry that is new, or has another selector, is rolled out alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision as revisions
from pluginrelease.core import timestamps
from pluginrelease.core.gateway.observations import STAND_INS, PodObservation
from pluginrelease.core.gateway.verdict.values import State, Verdict


class Goal(StrEnum):
    """What an entry's gateways are to run.

    Spec: what the spec says. Revision: one of the history that was asked for. Rollback: the entry's stable revision,
    after a failure. Adopted: the object as it was before it was adopted. Nothing: no plugin, as nothing ran before.
    Stay: the entry keeps what it runs, as the failure is not its own.
    """

    SPEC = "Spec"
    REVISION = "Revision"
    ROLLBACK = "Rollback"
    ADOPTED = "Adopted"
    NOTHING = "Nothing"
    STAY = "Stay"


# goals that put something else in the place of the revision that failed
BACK = frozenset({Goal.ROLLBACK, Goal.ADOPTED, Goal.NOTHING})


@dataclass(frozen=True)
class Intent:
    """What an entry is to run; ``revision`` names a kept one for Revision, Rollback and Stay.

    ``selector`` is that of the stable revision, where the spec has another one by now.
    """

    goal: Goal
    revision: str | None = None
    selector: api.Selector | None = None


@dataclass(frozen=True)
class RolloutStart:
    """The rollout of this pass. ``retry``: somebody asked for another try, so a tag is asked for again."""

    rollout: api.RolloutStatus
    handled: api.Handled
    retry: bool = False


def start(release: api.Release, now: datetime) -> RolloutStart:
    """Return the rollout under way, or a new one: for another wanted revision, a retry, or a rollback-to.

    Each value of a command's annotation is acted on once. On an object without status (a new one, or one restored from
    a backup) the values that stand there are noted and not acted on. Of two new commands rollback-to is the first, so
    retry wins.
    """
    known, handled = release.status.rollout, release.status.handled or api.Handled()
    wish = api.Handled(
        retry=release.metadata.annotations.get(api.RETRY_ANNOTATION) or handled.retry,
        rollback_to=release.metadata.annotations.get(api.ROLLBACK_ANNOTATION) or handled.rollback_to,
    )
    if known is None:
        return RolloutStart(begin(release, now), wish)
    retried = wish.retry != handled.retry
    rolled_back = wish.rollback_to != handled.rollback_to
    if known.spec_hash == revisions.spec_hash(release.spec) and not (retried or rolled_back):
        return RolloutStart(reopen(release, without_gone_failure(release, known), now), wish)
    begun = begin(release, now)
    if rolled_back and not retried:
        begun = begun.model_copy(update={"rollback_to": parse_rollback_to(wish.rollback_to)})
    return RolloutStart(begun, wish, retry=retried)


def begin_again(release: api.Release, under_way: RolloutStart, now: datetime) -> RolloutStart:
    """Return another rollout of the same spec, because its tag names something else now."""
    return RolloutStart(begin(release, now), under_way.handled, retry=True)


def begin(release: api.Release, now: datetime) -> api.RolloutStatus:
    """Return a new rollout of what the spec wants."""
    return api.RolloutStatus(spec_hash=revisions.spec_hash(release.spec), started_at=timestamps.metav1_time(now))


def without_gone_failure(release: api.Release, known: api.RolloutStatus) -> api.RolloutStatus:
    """Return the rollout without its failure, where the entries that failed are gone and all others run the revision.

    Who removes the only gateway that refuses a plugin has acted, and the release is well again.
    """
    failure = known.failure
    names = {gateway.name for gateway in release.spec.gateways}
    if failure is None or names & set(failure.gateways):
        return known
    if not all(is_stable(release, gateway, failure.revision) for gateway in release.spec.gateways):
        return known
    return known.model_copy(update={"failure": None, "fallbacks": []})


def reopen(release: api.Release, known: api.RolloutStatus, now: datetime) -> api.RolloutStatus:
    """Return the rollout with its time begun again, where it was complete and an entry is new or selects other pods."""
    if known.completed_at is None or known.failure is not None:
        return known
    revision = release.status.target_revision
    if revision is None or all(is_stable(release, gateway, revision) for gateway in release.spec.gateways):
        return known
    awaited = {gateway.name for gateway in release.spec.gateways if not is_stable(release, gateway, revision)}
    left_out = {row.name for row in release.status.gateways if row.state is api.GatewayState.NOT_PLACED}
    if awaited <= left_out:
        return known
    return known.model_copy(update={"completed_at": None, "started_at": timestamps.metav1_time(now)})


def is_stable(release: api.Release, gateway: api.Gateway, revision: str) -> bool:
    """Whether the entry was seen running this revision on the pods that its selector means now."""
    row = release.status.gateway(gateway.name)
    stable = row.stable if row is not None else None
    return stable is not None and (stable.revision, stable.selector) == (revision, gateway.selector)


def parse_rollback_to(wish: str | None) -> str | None:
    """Return the revision in the value of the rollback-to annotation: what stands before a colon."""
    return wish.partition(":")[0].strip() if wish else None


def decide_intent(release: api.Release, rollout: api.RolloutStatus, gateway: api.Gateway) -> Intent:
    """Return what the gateways of this entry are to run."""
    failure = rollout.failure
    if failure is not None and not failure.held:
        return _after_failure(release, rollout, failure, gateway)
    if rollout.rollback_to is not None:
        return Intent(Goal.REVISION, rollout.rollback_to)
    return Intent(Goal.SPEC)


def _after_failure(
    release: api.Release, rollout: api.RolloutStatus, failure: api.RolloutFailure, gateway: api.Gateway
) -> Intent:
    """Return what was stable, for an entry that goes back; one that runs the revision already keeps it.

    An entry that came after the failure is tried with a revision that is proved by another entry; else it waits.
    """
    if is_stable(release, gateway, failure.revision):
        return Intent(Goal.STAY, failure.revision)
    is_proved = any(is_stable(release, other, failure.revision) for other in release.spec.gateways)
    if gateway.name not in failure.gateways and is_proved:
        return Intent(Goal.REVISION, rollout.rollback_to) if rollout.rollback_to else Intent(Goal.SPEC)
    row = release.status.gateway(gateway.name)
    if row is not None and row.stable is not None:
        via = detour_of(rollout, gateway.name).via
        return Intent(Goal.ROLLBACK, via or row.stable.revision, row.stable.selector)
    if row is not None and row.adopted is not None:
        return Intent(Goal.ADOPTED, row.adopted)
    return Intent(Goal.NOTHING)


def fallback_of(rollout: api.RolloutStatus, name: str) -> api.GatewayFallback:
    """Return how far the entry of this name has come on the way back."""
    found = (fallback for fallback in rollout.fallbacks if fallback.name == name)
    return next(found, None) or api.GatewayFallback(name=name)


def detour_of(rollout: api.RolloutStatus, name: str) -> api.Detour:
    """Return the entry's detour, an empty one where there is none."""
    return fallback_of(rollout, name).detour or api.Detour()


def with_fallback(rollout: api.RolloutStatus, fallback: api.GatewayFallback) -> api.RolloutStatus:
    """Return the rollout with this entry's way back in the place of what it had, in the order of names."""
    others = [known for known in rollout.fallbacks if known.name != fallback.name]
    return rollout.model_copy(update={"fallbacks": sorted([*others, fallback], key=lambda known: known.name)})


def advance(
    release: api.Release,
    rollout: api.RolloutStatus,
    revision: str,
    verdicts: Mapping[str, Verdict],
    now: datetime,
    deadline: timedelta,
) -> api.RolloutStatus:
    """Return the rollout after a look at the gateways of these entries, which were to run this revision.

    ``deadline`` is ``rollout.progressDeadline``. An entry on which the revision has run everywhere before fails
    nothing: there is nothing better to go back to. One entry that fails takes back every entry that got the revision.
    """
    awaited = {
        gateway.name: verdicts[gateway.name]
        for gateway in release.spec.gateways
        if gateway.name in verdicts and not is_stable(release, gateway, revision)
    }
    rollout = restart_deadline(release.status, rollout, awaited, now)
    if is_complete(rollout, awaited or verdicts):
        completed = rollout.completed_at or timestamps.metav1_time(now)
        return rollout.model_copy(update={"completed_at": completed, "failure": None, "fallbacks": []})
    if rollout.failure is not None and not is_news(rollout.failure, awaited):
        return rollout
    failed = find_failure(release.status, rollout, revision, awaited, now, deadline)
    return rollout if failed is None else fail(release, rollout, revision, awaited, failed, now)


def fail(
    release: api.Release,
    rollout: api.RolloutStatus,
    revision: str,
    awaited: Iterable[str],
    failed: tuple[str, Verdict],
    now: datetime,
) -> api.RolloutStatus:
    """Return the rollout with the failure of one entry, which takes back all that are awaited.

    Hold is for what serves somehow, and not for gateways that are down.
    """
    name, verdict = failed
    many = len(release.spec.gateways) > 1
    holds = release.spec.rollout.on_failure is api.OnFailure.HOLD and not verdict.reason.means_gateway_down
    earlier = rollout.failure.gateways if rollout.failure and rollout.failure.revision == revision else []
    failure = api.RolloutFailure(
        revision=revision,
        gateways=sorted({*earlier, *awaited}),
        held=True if holds else None,
        reason=verdict.reason,
        message=(f"gateway {name}: {verdict.message}" if many else verdict.message)[: api.MESSAGE_MAX],
        at=timestamps.metav1_time(now),
    )
    return rollout.model_copy(update={"failure": failure, "fallbacks": []})


def is_complete(rollout: api.RolloutStatus, verdicts: Mapping[str, Verdict]) -> bool:
    """Whether every entry that is looked at runs the revision; one that goes back keeps the rollout failed."""
    return bool(verdicts) and not goes_back(rollout) and all(map(is_loaded, verdicts.values()))


def is_loaded(verdict: Verdict) -> bool:
    """Whether every pod was seen running the revision."""
    return verdict.state is State.LOADED


def is_news(failure: api.RolloutFailure, awaited: Mapping[str, Verdict]) -> bool:
    """Whether gateways are down by now of what was held, or an entry is awaited that is not on its way back."""
    down = any(verdict.state is State.UNHEALTHY and verdict.reason.means_gateway_down for verdict in awaited.values())
    return down if failure.held else not awaited.keys() <= set(failure.gateways)


def becomes_stable(rollout: api.RolloutStatus, name: str, verdict: Verdict) -> bool:
    """Whether what the entry runs is what it falls back to from now on: with all others, or tried alone."""
    alone = goes_back(rollout) and rollout.failure is not None and name not in rollout.failure.gateways
    return is_loaded(verdict) and (rollout.completed_at is not None or alone)


def find_failure(
    status: api.Status,
    rollout: api.RolloutStatus,
    revision: str,
    awaited: Mapping[str, Verdict],
    now: datetime,
    deadline: timedelta,
) -> tuple[str, Verdict] | None:
    """Return the entry whose verdict ends the rollout, gateways that are down before any other; None while none does.

    Gateways that are still coming, and what cannot be known, are no failure before the deadline.
    """
    found = []
    for name, verdict in awaited.items():
        is_late = now > find_deadline_start(status, rollout, name, revision) + deadline
        if verdict.state is State.UNHEALTHY:
            found.append((name, verdict))
        elif verdict.state is State.PENDING and verdict.pods and is_late:
            found.append(
                (name, Verdict(State.UNHEALTHY, Reason.PROGRESS_DEADLINE_EXCEEDED, verdict.message, verdict.pods))
            )
    return min(found, key=lambda one: not one[1].reason.means_gateway_down, default=None)


def advance_fallback(rollout: api.RolloutStatus, name: str, verdict: Verdict, now: datetime) -> api.RolloutStatus:
    """Return the rollout after a look at the gateways of an entry that goes back."""
    known = fallback_of(rollout, name)
    on_the_way = known.detour is not None and known.detour.via is not None
    if verdict.state is not State.LOADED or known.loaded_at is not None or on_the_way:
        return rollout
    return with_fallback(rollout, known.model_copy(update={"loaded_at": timestamps.metav1_time(now)}))


def restart_deadline(
    status: api.Status, rollout: api.RolloutStatus, awaited: Mapping[str, Verdict], now: datetime
) -> api.RolloutStatus:
    """Return the rollout with its time begun again, where there was no gateway pod and the first one appears."""
    alone = status.summary is not None and status.summary.desired == 0
    appeared = any(verdict.pods for verdict in awaited.values())
    if not (alone and appeared) or rollout.completed_at is not None or rollout.failure is not None:
        return rollout
    return rollout.model_copy(update={"started_at": timestamps.metav1_time(now)})


def find_deadline_start(status: api.Status, rollout: api.RolloutStatus, name: str, revision: str) -> datetime:
    """Return the start of the deadline: the later of rollout start and write. Time spent fetching does not count."""
    started, known = timestamps.parse_time(rollout.started_at), status.observation(name)
    if known is None or known.revision != revision:
        return started
    return max(started, timestamps.parse_time(known.since))


def goes_back(decided: api.RolloutStatus | None) -> bool:
    """Whether something else than the wanted revision is to run somewhere because that one failed."""
    return decided is not None and decided.failure is not None and not decided.failure.held


def is_going_back(decided: api.RolloutStatus | None) -> bool:
    """Whether some entry has not been seen running what is put back."""
    if decided is None or decided.failure is None or decided.failure.held:
        return False
    return any(fallback_of(decided, name).loaded_at is None for name in decided.failure.gateways)


def has_turned_back(before: api.RolloutStatus | None, after: api.RolloutStatus | None) -> bool:
    """Whether it was just decided that something else than the wanted revision is to run."""
    if not goes_back(after) or after is None:
        return False
    return before is None or before.failure != after.failure


def may_lose_code(failure: api.RolloutFailure, before: Collection[PodObservation]) -> bool:
    """Whether gateways may still serve the old code from memory, and would lose it if its image cannot be fetched.

    Not once a gateway crashed or hangs, or has a stand-in for the plugin: then there is nothing to lose.
    """
    reason = Reason.read(failure.reason)
    is_down = reason is not None and reason.means_gateway_down
    return not is_down and not has_stand_in(before)


def has_stand_in(seen: Collection[PodObservation]) -> bool:
    """Whether some gateway could not fetch the plugin, and answers 403 in its place or lets everything pass."""
    return any(entry.kind in STAND_INS for sighting in seen for entry in sighting.entries)


def is_overdue(rollout: api.RolloutStatus, now: datetime, deadline: timedelta) -> bool:
    """Whether a rollout that is not completed has taken longer than it may."""
    return rollout.completed_at is None and now > timestamps.parse_time(rollout.started_at) + deadline


def until_overdue(rollout: api.RolloutStatus, now: datetime, deadline: timedelta) -> timedelta | None:
    """Return how long the rollout may still take; None when it has ended, or is overdue already."""
    if rollout.completed_at is not None or rollout.failure is not None:
        return None
    left = timestamps.parse_time(rollout.started_at) + deadline - now
    return left if left >= timedelta() else None
