"""Decide what the gateways should run, and what a check of them means for the rollout.

A decision is written to ``status.rollout``; the next pass reads it there. One rollout is about one revision. It ends
when every pod of every placed entry was seen running it, or with a failure. A failure stays until the spec wants
another revision or a user asks for another try. An entry that is new, or has another selector, is rolled out alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision as revisions
from pluginrelease.core.gateway.observations import STAND_INS, PodObservation
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import watch


class Goal(StrEnum):
    """What an entry's gateways should run.

    * Spec: what the spec says.
    * Revision: one of the history that a user asked for.
    * Rollback: the entry's stable revision, after a failure.
    * Adopted: the object as it was before it was adopted.
    * Nothing: no plugin, because none ran before.
    * Stay: the entry keeps what it runs, because the failure is not its own.
    * Off: no plugin, because a user switched it off.
    """

    SPEC = "Spec"
    REVISION = "Revision"
    ROLLBACK = "Rollback"
    ADOPTED = "Adopted"
    NOTHING = "Nothing"
    STAY = "Stay"
    OFF = "Off"


# goals that replace the revision that failed
BACK = frozenset({Goal.ROLLBACK, Goal.ADOPTED, Goal.NOTHING})


@dataclass(frozen=True)
class Intent:
    """What an entry should run. ``revision`` is a stored one for Revision, Rollback and Stay.

    ``attachment``: the pods of the stable revision, if the spec names others now.
    """

    goal: Goal
    revision: str | None = None
    attachment: api.Attachment | None = None


@dataclass(frozen=True)
class RolloutStart:
    """The rollout of this pass. ``retry``: a user asked for another try, so the registry is asked again for a tag."""

    rollout: api.RolloutStatus
    handled: api.Handled
    retry: bool = False


def start(release: api.Release, now: datetime, *, is_turned_on: bool = False) -> RolloutStart:
    """Return the present rollout, or a new one: for another wanted revision, a retry, a rollback-to, or a switch-on.

    Each value of a command's annotation is acted on once. On an object without status (a new one, or one restored from
    a backup) the existing values are recorded and not acted on. If both commands are new, rollback-to is applied first,
    so that retry wins.
    """
    known, handled = release.status.rollout, release.status.handled or api.Handled()
    news = {
        "retry": release.metadata.annotations.get(api.RETRY_ANNOTATION) or handled.retry,
        "rollback_to": release.metadata.annotations.get(api.ROLLBACK_ANNOTATION) or handled.rollback_to,
    }
    wish = handled.model_copy(update=news)
    if known is None:
        return RolloutStart(begin(release, now), wish)
    retried = wish.retry != handled.retry
    rolled_back = wish.rollback_to != handled.rollback_to
    begins = retried or rolled_back or is_turned_on
    if known.spec_hash == revisions.spec_hash(release.spec) and not begins:
        return RolloutStart(reopen(release, without_gone_failure(release, known), now), wish)
    begun = begin(release, now)
    if rolled_back and not retried:
        begun = begun.model_copy(update={"rollback_to": parse_rollback_to(wish.rollback_to)})
    return RolloutStart(begun, wish, retry=retried or is_turned_on)


def begin_again(release: api.Release, under_way: RolloutStart, now: datetime) -> RolloutStart:
    """Return another rollout of the same spec, because its tag names another image now."""
    return RolloutStart(begin(release, now), under_way.handled, retry=True)


def begin_with(release: api.Release, under_way: RolloutStart, config: str, now: datetime) -> RolloutStart:
    """Return another rollout of the same spec, because ``configFrom`` has other values now: their keyed hash."""
    begun = begin(release, now).model_copy(update={"config_digest": config})
    return RolloutStart(begun, under_way.handled)


def begin(release: api.Release, now: datetime) -> api.RolloutStatus:
    """Return a new rollout of what the spec wants."""
    return api.RolloutStatus(spec_hash=revisions.spec_hash(release.spec), started_at=times.to_seconds(now))


def without_gone_failure(release: api.Release, known: api.RolloutStatus) -> api.RolloutStatus:
    """Return the rollout without its failure, if the entries that failed were removed and all others run the revision.

    A user who removes the only gateway that refuses a plugin has acted, so the release is well again.
    """
    failure = known.failure
    names = {gateway.name for gateway in release.spec.gateways}
    if failure is None or names & set(failure.gateways):
        return known
    if not all(is_stable(release, gateway, failure.revision) for gateway in release.spec.gateways):
        return known
    return known.model_copy(update={"failure": None, "fallbacks": []})


def reopen(release: api.Release, known: api.RolloutStatus, now: datetime) -> api.RolloutStatus:
    """Return the rollout with a new start time, if it was complete and an entry is new or selects other pods."""
    if known.completed_at is None or known.failure is not None:
        return known
    revision = release.status.target_revision
    if revision is None or all(is_stable(release, gateway, revision) for gateway in release.spec.gateways):
        return known
    awaited = {gateway.name for gateway in release.spec.gateways if not is_stable(release, gateway, revision)}
    left_out = {row.name for row in release.status.gateways if row.state is api.GatewayState.NOT_PLACED}
    if awaited <= left_out:
        return known
    return known.model_copy(update={"completed_at": None, "started_at": times.to_seconds(now)})


def is_stable(release: api.Release, gateway: api.Gateway, revision: str) -> bool:
    """Return True if the entry was seen running this revision on the pods that it names now."""
    row = release.status.gateway(gateway.name)
    stable = row.stable if row is not None else None
    return stable is not None and (stable.revision, stable.attachment) == (revision, gateway.attachment)


def parse_rollback_to(wish: str | None) -> str | None:
    """Return the revision in the value of the rollback-to annotation: the part before a colon."""
    return wish.partition(":")[0].strip() if wish else None


def decide_intent(release: api.Release, rollout: api.RolloutStatus, gateway: api.Gateway) -> Intent:
    """Return what the gateways of this entry should run."""
    failure = rollout.failure
    if failure is not None and not failure.held:
        return _after_failure(release, rollout, failure, gateway)
    if wants_adopted(rollout):
        return _as_adopted(release, gateway)
    if rollout.rollback_to is not None:
        return Intent(Goal.REVISION, rollout.rollback_to)
    return Intent(Goal.SPEC)


def wants_adopted(rollout: api.RolloutStatus | None) -> bool:
    """Return True if a user asked for the objects as they were before they were adopted."""
    return rollout is not None and rollout.rollback_to == api.ADOPTED_WISH


def _as_adopted(release: api.Release, gateway: api.Gateway) -> Intent:
    """Return the object as it was adopted. An entry that adopted nothing keeps what it was seen running."""
    row = release.status.gateway(gateway.name)
    if row is not None and row.adopted is not None:
        return Intent(Goal.ADOPTED, row.adopted)
    stable = row.stable if row is not None else None
    return Intent(Goal.STAY, stable.revision, stable.attachment) if stable is not None else Intent(Goal.STAY)


def _after_failure(
    release: api.Release, rollout: api.RolloutStatus, failure: api.RolloutFailure, gateway: api.Gateway
) -> Intent:
    """Return what an entry should run after a failure: its stable revision if it rolls back, else what it already runs.

    An entry that was added after the failure gets a revision that another entry has proved, or waits.
    """
    if is_stable(release, gateway, failure.revision):
        return Intent(Goal.STAY, failure.revision)
    is_proved = any(is_stable(release, other, failure.revision) for other in release.spec.gateways)
    if gateway.name not in failure.gateways and is_proved:
        return Intent(Goal.REVISION, rollout.rollback_to) if rollout.rollback_to else Intent(Goal.SPEC)
    row = release.status.gateway(gateway.name)
    if row is not None and row.stable is not None:
        via = detour_of(rollout, gateway.name).via
        return Intent(Goal.ROLLBACK, via or row.stable.revision, row.stable.attachment)
    if row is not None and row.adopted is not None:
        return Intent(Goal.ADOPTED, row.adopted)
    return Intent(Goal.NOTHING)


def fallback_of(rollout: api.RolloutStatus, name: str) -> api.GatewayFallback:
    """Return the progress of this entry's rollback."""
    found = (fallback for fallback in rollout.fallbacks if fallback.name == name)
    return next(found, None) or api.GatewayFallback(name=name)


def detour_of(rollout: api.RolloutStatus, name: str) -> api.Detour:
    """Return the entry's detour, an empty one if there is none."""
    return fallback_of(rollout, name).detour or api.Detour()


def with_fallback(rollout: api.RolloutStatus, fallback: api.GatewayFallback) -> api.RolloutStatus:
    """Return the rollout with this state of the entry's rollback, in the order of names."""
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
    """Return the rollout after a check of the gateways of these entries, which should run this revision.

    ``deadline`` is ``rollout.progressDeadline``. An entry that is stable on this revision and is no longer watched
    cannot fail the rollout, because there is nothing better to return to. One failed entry rolls back every entry that
    received the revision.
    """
    watched = [gateway.name for gateway in release.spec.gateways if watch.is_open(release, gateway, revision, now)]
    trouble = {name: verdicts[name] for name in watched if name in verdicts and watch.is_trouble(verdicts[name])}
    if trouble and rollout.failure is None:
        worst = min(trouble.items(), key=lambda row: not row[1].reason.means_gateway_down)
        return fail(release, rollout, revision, {*watched, *list_awaited(release, revision, verdicts)}, worst, now)
    awaited = {name: verdicts[name] for name in list_awaited(release, revision, verdicts)}
    rollout = restart_deadline(release.status, rollout, awaited, now)
    if is_complete(rollout, awaited or verdicts):
        completed = rollout.completed_at or times.to_seconds(now)
        return rollout.model_copy(update={"completed_at": completed, "failure": None, "fallbacks": []})
    if rollout.failure is not None and not is_news(rollout.failure, awaited):
        return rollout
    failed = find_failure(release.status, rollout, revision, awaited, now, deadline)
    return rollout if failed is None else fail(release, rollout, revision, awaited, failed, now)


def list_awaited(release: api.Release, revision: str, verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return the entries that were checked and have not run the revision everywhere before."""
    names = (gateway.name for gateway in release.spec.gateways if not is_stable(release, gateway, revision))
    return [name for name in names if name in verdicts]


def fail(
    release: api.Release,
    rollout: api.RolloutStatus,
    revision: str,
    awaited: Iterable[str],
    failed: tuple[str, Verdict],
    now: datetime,
) -> api.RolloutStatus:
    """Return the rollout with the failure of one entry; all awaited entries roll back.

    Hold applies if gateways still serve in some way, and not if they are down.
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
        at=times.to_seconds(now),
    )
    return rollout.model_copy(update={"failure": failure, "fallbacks": [], "completed_at": None})


def is_complete(rollout: api.RolloutStatus, verdicts: Mapping[str, Verdict]) -> bool:
    """Return True if every checked entry runs the revision. A rollback of any entry keeps the rollout failed."""
    return bool(verdicts) and not goes_back(rollout) and all(map(is_loaded, verdicts.values()))


def is_loaded(verdict: Verdict) -> bool:
    """Return True if every pod was seen running the revision."""
    return verdict.state is State.LOADED


def is_news(failure: api.RolloutFailure, awaited: Mapping[str, Verdict]) -> bool:
    """Return True if gateways of a held revision are down by now, or an awaited entry does not roll back yet."""
    down = any(verdict.state is State.UNHEALTHY and verdict.reason.means_gateway_down for verdict in awaited.values())
    return down if failure.held else not awaited.keys() <= set(failure.gateways)


def becomes_stable(rollout: api.RolloutStatus, name: str, verdict: Verdict) -> bool:
    """Return True if the entry falls back to this revision from now on: it runs everywhere, or was tried alone."""
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
    """Return the entry whose verdict ends the rollout, first one whose gateways are down; None if none does.

    Before the deadline, gateways that are still starting and facts that cannot be known are no failure.
    """
    found = []
    for name, verdict in awaited.items():
        is_late = now > find_deadline_start(status, rollout, name, revision) + deadline and not was_stuck(status, name)
        if verdict.state is State.UNHEALTHY:
            found.append((name, verdict))
        elif verdict.state is State.PENDING and verdict.pods and is_late:
            found.append(
                (name, Verdict(State.UNHEALTHY, Reason.PROGRESS_DEADLINE_EXCEEDED, verdict.message, verdict.pods))
            )
    return min(found, key=lambda row: not row[1].reason.means_gateway_down, default=None)


def advance_fallback(rollout: api.RolloutStatus, name: str, verdict: Verdict, now: datetime) -> api.RolloutStatus:
    """Return the rollout after a check of the gateways of an entry that rolls back."""
    known = fallback_of(rollout, name)
    on_the_way = known.detour is not None and known.detour.via is not None
    if verdict.state is not State.LOADED or known.loaded_at is not None or on_the_way:
        return rollout
    return with_fallback(rollout, known.model_copy(update={"loaded_at": times.to_seconds(now)}))


def restart_deadline(
    status: api.Status, rollout: api.RolloutStatus, awaited: Mapping[str, Verdict], now: datetime
) -> api.RolloutStatus:
    """Return the rollout with a new start time, if there was no gateway pod and the first one appears."""
    alone = status.summary is not None and status.summary.desired == 0
    appeared = any(verdict.pods for verdict in awaited.values())
    if not (alone and appeared) or rollout.completed_at is not None or rollout.failure is not None:
        return rollout
    return rollout.model_copy(update={"started_at": times.to_seconds(now)})


def find_deadline_start(status: api.Status, rollout: api.RolloutStatus, name: str, revision: str) -> datetime:
    """Return the start of the deadline: the latest of rollout start, write, and the end of what held it up.

    Time spent fetching does not count.
    """
    started, known = rollout.started_at, status.observation(name)
    if known is None or known.revision != revision:
        return started
    return max(started, known.since, known.deliverable_since or known.since)


def was_stuck(status: api.Status, name: str) -> bool:
    """Return True if the control plane could send nothing at the check before. Then the deadline begins with this one.

    The observation of the status does not have that time yet.
    """
    row = status.gateway(name)
    return row is not None and row.reason == Reason.CONTROL_PLANE_STUCK


def has_succeeded(decided: api.RolloutStatus | None) -> bool:
    """Return True if a rollout has brought its revision to all entries, and nothing has failed since."""
    return decided is not None and decided.completed_at is not None and decided.failure is None


def goes_back(decided: api.RolloutStatus | None) -> bool:
    """Return True if a failure means that some entry must run something other than the wanted revision."""
    return decided is not None and decided.failure is not None and not decided.failure.held


def is_going_back(decided: api.RolloutStatus | None) -> bool:
    """Return True if some entry has not been seen running what its rollback restored."""
    if decided is None or decided.failure is None or decided.failure.held:
        return False
    return any(fallback_of(decided, name).loaded_at is None for name in decided.failure.gateways)


def has_turned_back(before: api.RolloutStatus | None, after: api.RolloutStatus | None) -> bool:
    """Return True if it was just decided that an entry must run something other than the wanted revision."""
    if not goes_back(after) or after is None:
        return False
    return before is None or before.failure != after.failure


def may_lose_code(failure: api.RolloutFailure, before: Collection[PodObservation]) -> bool:
    """Return True if gateways may still serve the old code from memory, and could lose it.

    They would lose it if its image cannot be fetched again.
    If a gateway crashed or hangs, or replaced the plugin, there is nothing to lose.
    """
    reason = Reason.read(failure.reason)
    is_down = reason is not None and reason.means_gateway_down
    return not is_down and not has_stand_in(before)


def has_stand_in(seen: Collection[PodObservation]) -> bool:
    """Return True if some gateway could not fetch the plugin, and answers 403 instead or lets all requests pass."""
    return any(entry.kind in STAND_INS for sighting in seen for entry in sighting.entries)
