"""The way back when Envoy refuses what is put back.

Where workers refused a new configuration, Envoy has marked the VM that they all are copies of as failed, and refuses
every configuration of the same bytes: also the one that ran before. Three things heal that: other bytes under the
plugin's name, a new run of Envoy, or no plugin for longer than the old listeners drain. They are tried in this order.
A gateway that hangs takes nothing at all, and is healed by a new run only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pluginrelease import api
from pluginrelease.api import HistoryState
from pluginrelease.api.reasons import Reason
from pluginrelease.core import timestamps
from pluginrelease.core.gateway.identity import pod_mark
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict

# Istio lets old listeners drain for 45 s (MeshConfig.defaultConfig.drainDuration); their VMs go after that
OFF = timedelta(seconds=60)
# how long an Envoy that was ended may take to run what is put back
PATIENCE = timedelta(seconds=90)
# seconds between two looks meanwhile
PAUSE = 1.0
# another gateway that is ready serves while one is started again
ENOUGH_READY = 2


class Step(StrEnum):
    """What is to be done now; Stuck: nothing is left that could help."""

    WAIT = "Wait"
    OTHER_BYTES = "OtherBytes"
    RESTART = "Restart"
    TAKE_OFF = "TakeOff"
    STUCK = "Stuck"


@dataclass(frozen=True)
class WayBack:
    """One entry's way back: why it goes back, how far it has come, and the revision that is put back.

    ``puts_back`` is None where something else than a revision is put back: the adopted object, or nothing.
    """

    failure: api.RolloutFailure | None
    fallback: api.GatewayFallback
    puts_back: str | None

    def with_detour(self, detour: api.Detour) -> WayBack:
        """Return the same with this detour."""
        return replace(self, fallback=self.fallback.model_copy(update={"detour": detour}))


@dataclass(frozen=True)
class Turn:
    """The step, what is noted of the detour after it, and for Restart the pod."""

    step: Step
    detour: api.Detour
    pod: PodRef | None = None


def may_be_needed(way: WayBack) -> bool:
    """Whether the failure that is put back is one after which gateways may refuse that, or not take it."""
    failure = way.failure
    reason = Reason.read(failure.reason) if failure is not None else None
    may_block = reason is not None and reason.may_block_rollback
    return may_block and bool(way.puts_back) and way.fallback.loaded_at is None


def is_under_way(way: WayBack) -> bool:
    """Whether a detour has begun that has not ended one way or the other."""
    return way.fallback.detour is not None and not way.fallback.detour.given_up and may_be_needed(way)


def decide_turn(way: WayBack, verdict: Verdict, history: Iterable[api.HistoryEntry], now: datetime) -> Turn | None:
    """What to do after a look at what is put back; None where all goes its way."""
    known = way.fallback.detour or api.Detour()
    silent = {one.pod for one in verdict.silent}
    stuck = [row for row in verdict.pods if is_refused(row) or pod_mark(row.pod.uid) in silent]
    if not may_be_needed(way) or (way.fallback.detour is None and not stuck):
        return None
    if known.via is not None and is_awaited(verdict):
        return Turn(Step.WAIT, known)
    if known.via is not None and verdict.state is not State.UNHEALTHY:
        return Turn(Step.WAIT, known.model_copy(update={"via": None}))
    known = known.model_copy(update={"via": None})
    if not stuck:
        return Turn(Step.WAIT, known)
    return _heal(known, verdict, stuck, find_other_image(way, history), now)


def is_awaited(verdict: Verdict) -> bool:
    """Whether gateways are still to show that they run it. If others do, one that cannot be asked is not waited for."""
    states = {row.state for row in verdict.pods}
    untold = State.PENDING in states or State.LOADED not in states
    return verdict.state is State.PENDING or (verdict.state is State.UNKNOWN and untold)


def _heal(known: api.Detour, verdict: Verdict, stuck: list[PodVerdict], other: str | None, now: datetime) -> Turn:
    refused = any(map(is_refused, stuck))
    if refused and other is not None and not known.tried_others:
        return Turn(Step.OTHER_BYTES, known.model_copy(update={"via": other, "tried_others": True}))
    awaited = [
        row for row in verdict.pods if pod_mark(row.pod.uid) in known.restarted and row.state is not State.LOADED
    ]
    if awaited and known.restarted_at is not None and now < timestamps.parse_time(known.restarted_at) + PATIENCE:
        return Turn(Step.WAIT, known)
    if not awaited and sum(row.pod.ready for row in verdict.pods) >= ENOUGH_READY:
        return _restart(known, stuck[0].pod, now)
    if any(row.state is State.PENDING and row not in stuck for row in verdict.pods):
        return Turn(Step.WAIT, known)
    if refused and not known.was_off:
        return Turn(
            Step.TAKE_OFF, known.model_copy(update={"off_since": timestamps.metav1_micro_time(now), "was_off": True})
        )
    return Turn(Step.STUCK, known.model_copy(update={"given_up": True}))


def _restart(known: api.Detour, pod: PodRef, now: datetime) -> Turn:
    """No pod is restarted twice: one that was, and is stuck again, is among those that are awaited."""
    noted = {
        "restarted": [*known.restarted, pod_mark(pod.uid)][-api.MAX_OBSERVED_PODS :],
        "restarted_at": timestamps.metav1_micro_time(now),
    }
    return Turn(Step.RESTART, known.model_copy(update=noted), pod)


def list_possibly_hung(way: WayBack, pods: Iterable[PodRef]) -> list[PodRef]:
    """The gateways that may still hang of what was removed: none has been started again since."""
    failure = way.failure
    if failure is None or not failed_by_hang(way):
        return []
    return [pod for pod in pods if not _began_after(pod, failure.at)]


def failed_by_hang(way: WayBack) -> bool:
    """Whether the failure was that gateways hang."""
    return way.failure is not None and way.failure.reason == Reason.GATEWAY_UNRESPONSIVE


def find_next_hung(way: WayBack, pods: Iterable[PodRef], silent: Iterable[str], now: datetime) -> Turn | None:
    """The next gateway to start again of those that hung when the plugin was taken off, by the pods' status alone.

    One that has been started again since is well, or is waited for.
    """
    known, there, quiet = way.fallback.detour or api.Detour(), list(pods), set(silent)
    hung = [pod for pod in list_possibly_hung(way, there) if pod.uid in quiet]
    awaited = any(not pod.ready or pod in hung for pod in there if pod_mark(pod.uid) in known.restarted)
    if not hung or awaited or sum(pod.ready for pod in there) < ENOUGH_READY:
        return None
    return _restart(known, hung[0], now)


def _began_after(pod: PodRef, moment_of: str) -> bool:
    began = pod.container.started_at
    return began is not None and began > timestamps.parse_time(moment_of)


def is_refused(row: PodVerdict) -> bool:
    """Whether Envoy refuses what is put back in this pod."""
    return row.state is State.UNHEALTHY and row.reason.means_refused_by_envoy


def find_other_image(way: WayBack, history: Iterable[api.HistoryEntry]) -> str | None:
    """The newest kept revision that ran everywhere, of another image than the one that is put back."""
    listed = list(history)
    digests = {one.digest for one in listed if one.revision == way.puts_back}
    ran = [one for one in listed if one.state is HistoryState.SUPERSEDED and one.digest not in digests]
    return ran[0].revision if digests and ran else None


def is_off(way: WayBack) -> bool:
    """Whether the plugin is off for the time that old listeners drain."""
    return is_under_way(way) and way.fallback.detour is not None and way.fallback.detour.off_since is not None


def end_off(way: WayBack, now: datetime) -> WayBack:
    """Return the way back without the pause, when that time is over; unchanged before."""
    known = way.fallback.detour
    if known is None or known.off_since is None or now < timestamps.parse_time(known.off_since) + OFF:
        return way
    return way.with_detour(known.model_copy(update={"off_since": None}))


def skip_unfetchable(way: WayBack, reasons: Collection[Reason]) -> WayBack:
    """Return the way back without the revision of other bytes, where errors with these reasons say that it is gone.

    Else it is unchanged: a registry that does not answer now says nothing of it.
    """
    is_gone = any(reason.means_revision_gone for reason in reasons)
    if way.fallback.detour is None or way.fallback.detour.via is None or not is_gone:
        return way
    return way.with_detour(way.fallback.detour.model_copy(update={"via": None}))


def compute_pause(way: WayBack, now: datetime) -> float | None:
    """Seconds until the next pass; None where there is no detour."""
    if not is_under_way(way) or way.fallback.detour is None:
        return None
    off = way.fallback.detour.off_since
    return max((timestamps.parse_time(off) + OFF - now).total_seconds(), 0.0) + 0.1 if off else PAUSE


def describe(way: WayBack) -> str:
    """A sentence about where the detour is."""
    known = way.fallback.detour or api.Detour()
    kept = way.puts_back
    if known.given_up:
        return f"Envoy does not take revision {kept} back, and nothing heals that: delete the pods one after the other"
    if known.via is not None:
        return (
            f"Envoy refuses revision {kept}, as the same bytes failed there; {known.via}, of other bytes, comes first"
        )
    if known.off_since is not None:
        return (
            f"Envoy refuses revision {kept}, as the same bytes failed there; the plugin is off until that is forgotten"
        )
    if known.restarted:
        return f"gateways that do not take revision {kept} back are started again, one after the other"
    return f"Revision {kept} is being put back"
