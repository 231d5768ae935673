"""The detour of a rollback when Envoy rejects what the operator restored.

If workers rejected a new configuration, Envoy has marked the VM that they all clone as failed. It then rejects every
configuration of the same bytes, also the one that ran before. Three steps help, in this order: other bytes under the
plugin's name, a restart of Envoy, or no plugin until the old listeners have drained. A gateway that hangs loads
nothing; only a restart helps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pluginrelease import api
from pluginrelease.api import HistoryState, times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.identity import pod_mark
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict

# Istio lets old listeners drain for 45 s (MeshConfig.defaultConfig.drainDuration); their VMs are deleted after that
OFF = timedelta(seconds=60)
# how long a restarted Envoy may take to run the restored revision
PATIENCE = timedelta(seconds=90)
# seconds between two checks meanwhile
PAUSE = 1.0
# another ready gateway serves during the restart of one
ENOUGH_READY = 2


class DetourText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    GIVEN_UP = "Envoy does not load revision {revision} again. Delete the gateway pods one after another"
    VIA = (
        "Envoy rejects revision {revision}, because the same bytes failed there. Revision {via}, with other "
        "bytes, runs first"
    )
    OFF = (
        "Envoy rejects revision {revision}, because the same bytes failed there. The plugin is removed until Envoy has "
        "closed the old listeners"
    )
    RESTARTING = (
        "The operator restarts Envoy in gateways that do not load revision {revision} again, one pod after another"
    )
    RESTORING = "The operator is restoring revision {revision}"


class Step(StrEnum):
    """What to do now. Stuck: no remaining step could help."""

    WAIT = "Wait"
    OTHER_BYTES = "OtherBytes"
    RESTART = "Restart"
    TAKE_OFF = "TakeOff"
    STUCK = "Stuck"


@dataclass(frozen=True)
class WayBack:
    """One entry's rollback: its reason, its progress, and the revision that is restored.

    ``puts_back`` is None if no revision is restored, but the adopted object or nothing. ``removed_at``: when the
    release was switched off, if it was. ``hung``: the `identity.pod_mark` of pods that have not answered since before
    that, or that were not seen running the plugin, once a load would be over.
    """

    failure: api.RolloutFailure | None
    fallback: api.GatewayFallback
    puts_back: str | None
    removed_at: datetime | None = None
    hung: frozenset[str] = frozenset()

    def with_detour(self, detour: api.Detour) -> WayBack:
        """Return the same with this detour."""
        return replace(self, fallback=self.fallback.model_copy(update={"detour": detour}))


@dataclass(frozen=True)
class Turn:
    """The step, what to record of the detour after it, and for Restart the pod."""

    step: Step
    detour: api.Detour
    pod: PodRef | None = None


def may_be_needed(way: WayBack) -> bool:
    """Return True if gateways may refuse, or never take, what is restored after a failure of this kind."""
    failure = way.failure
    reason = Reason.read(failure.reason) if failure is not None else None
    may_block = reason is not None and reason.may_block_rollback
    return may_block and is_awaiting_load(way)


def is_awaiting_load(way: WayBack) -> bool:
    """Return True if a restored revision has not loaded everywhere yet."""
    return bool(way.puts_back) and way.fallback.loaded_at is None


def is_under_way(way: WayBack) -> bool:
    """Return True if a detour has begun and has not ended."""
    known = way.fallback.detour
    return known is not None and not known.given_up and is_awaiting_load(way)


def decide_turn(
    way: WayBack, verdict: Verdict, history: Iterable[api.HistoryEntry], now: datetime, *, may_restart: bool = True
) -> Turn | None:
    """Return what to do after a check of what is restored; None if nothing is needed.

    ``may_restart``: the operator may restart Envoys.
    """
    known = way.fallback.detour or api.Detour()
    silent = {silence.pod for silence in verdict.silent}
    stuck = [row for row in verdict.pods if is_refused(row) or pod_mark(row.pod.uid) in silent or is_hung(row)]
    if not (may_be_needed(way) or has_hung(way, stuck)) or (way.fallback.detour is None and not stuck):
        return None
    if known.via is not None and is_awaited(verdict):
        return Turn(Step.WAIT, known)
    if known.via is not None and verdict.state is not State.UNHEALTHY:
        return Turn(Step.WAIT, known.model_copy(update={"via": None}))
    known = known.model_copy(update={"via": None})
    if not stuck:
        return Turn(Step.WAIT, known)
    turn = _heal(known, verdict, stuck, find_other_image(way, history), now)
    if turn.step is Step.RESTART and not may_restart:
        return _leave(known, stuck, now)
    return turn


def _leave(known: api.Detour, stuck: list[PodVerdict], now: datetime) -> Turn:
    """Return what to do if no Envoy may be restarted: a pause repairs Envoys that refuse, but not those that hang."""
    if any(map(is_refused, stuck)) and not known.was_off:
        return Turn(Step.TAKE_OFF, known.model_copy(update={"off_since": times.to_microseconds(now), "was_off": True}))
    return Turn(Step.STUCK, known.model_copy(update={"given_up": True}))


def is_hung(row: PodVerdict) -> bool:
    """Return True if a gateway or one of its workers hangs, and takes nothing that is written."""
    return row.reason is Reason.GATEWAY_UNRESPONSIVE


def has_hung(way: WayBack, stuck: Iterable[PodVerdict]) -> bool:
    """Return True if a gateway hangs because of what is restored, or still because of what failed."""
    return is_awaiting_load(way) and any(map(is_hung, stuck))


def is_awaited(verdict: Verdict) -> bool:
    """Return True if gateways must still show that they run it.

    If others do, one that cannot be asked is not waited for.
    """
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
    if awaited and known.restarted_at is not None and now < known.restarted_at + PATIENCE:
        return Turn(Step.WAIT, known)
    chosen = next((row for row in stuck if _may_end(row, verdict)), None)
    if not awaited and chosen is not None:
        return _restart(known, chosen.pod, now)
    if any(row.state is State.PENDING and row not in stuck for row in verdict.pods):
        return Turn(Step.WAIT, known)
    if refused and not known.was_off:
        return Turn(Step.TAKE_OFF, known.model_copy(update={"off_since": times.to_microseconds(now), "was_off": True}))
    return Turn(Step.STUCK, known.model_copy(update={"given_up": True}))


def _may_end(row: PodVerdict, verdict: Verdict) -> bool:
    """Return True if the restart of this pod takes no gateway out of service without another one.

    A pod that hangs and is not ready serves nothing.
    """
    return (is_hung(row) and not row.pod.ready) or sum(other.pod.ready for other in verdict.pods) >= ENOUGH_READY


def _restart(known: api.Detour, pod: PodRef, now: datetime) -> Turn:
    """Restart a pod. No pod is restarted twice: one that is stuck again after a restart is waited for."""
    noted = {
        "restarted": [*known.restarted, pod_mark(pod.uid)][-api.MAX_OBSERVED_PODS :],
        "restarted_at": times.to_microseconds(now),
    }
    return Turn(Step.RESTART, known.model_copy(update=noted), pod)


def list_possibly_hung(way: WayBack, pods: Iterable[PodRef]) -> list[PodRef]:
    """Return gateways that may still hang because of what was removed: they were not restarted since."""
    failure, at = way.failure, way.removed_at
    if at is not None and way.hung:
        return [pod for pod in pods if pod_mark(pod.uid) in way.hung and not _began_after(pod, at)]
    if failure is None or not failed_by_hang(way):
        return []
    return [pod for pod in pods if not _began_after(pod, failure.at)]


def may_hang(way: WayBack) -> bool:
    """Return True if gateways may hang because of what was removed."""
    return failed_by_hang(way) or bool(way.hung)


def failed_by_hang(way: WayBack) -> bool:
    """Return True if the failure was that gateways hang."""
    return way.failure is not None and way.failure.reason == Reason.GATEWAY_UNRESPONSIVE


def list_left_hung(way: WayBack, pods: Iterable[PodRef], hung: Iterable[str]) -> list[PodRef]:
    """Return gateways that hang because of what was removed, if none may be restarted and no user was informed yet."""
    known, ill = way.fallback.detour or api.Detour(), set(hung)
    return [] if known.given_up else [pod for pod in list_possibly_hung(way, pods) if pod.uid in ill]


def describe_left(pods: Iterable[PodRef]) -> str:
    """Say what a person must do about gateways that hang and are not restarted."""
    names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods)
    return (
        f"{names}: Envoy hangs, so the removal of the plugin does not reach all of it, and the operator may "
        "restart no gateway (restartHungGateways). Delete these pods one after another"
    )


def find_next_hung(way: WayBack, pods: Iterable[PodRef], hung: Iterable[str], now: datetime) -> Turn | None:
    """Return the next restart of a gateway that hung when the plugin was removed. ``hung``: the UIDs of those that do.

    A gateway that was restarted since is well, or is waited for. One that is not ready serves nothing.
    """
    known, there, ill = way.fallback.detour or api.Detour(), list(pods), set(hung)
    left = [pod for pod in list_possibly_hung(way, there) if pod.uid in ill]
    awaited = any(not pod.ready or pod in left for pod in there if pod_mark(pod.uid) in known.restarted)
    enough = sum(pod.ready for pod in there) >= ENOUGH_READY
    chosen = next((pod for pod in left if enough or not pod.ready), None)
    return None if awaited or chosen is None else _restart(known, chosen, now)


def _began_after(pod: PodRef, moment: datetime) -> bool:
    began = pod.container.started_at
    return began is not None and began > moment


def is_refused(row: PodVerdict) -> bool:
    """Return True if Envoy refuses what is restored in this pod."""
    return row.state is State.UNHEALTHY and row.reason.means_refused_by_envoy


def find_other_image(way: WayBack, history: Iterable[api.HistoryEntry]) -> str | None:
    """Return the newest stored revision that ran everywhere, and whose image differs from the restored one's."""
    listed = list(history)
    digests = {entry.digest for entry in listed if entry.revision == way.puts_back}
    ran = [entry for entry in listed if entry.state is HistoryState.SUPERSEDED and entry.digest not in digests]
    return ran[0].revision if digests and ran else None


def was_needed(way: WayBack) -> bool:
    """Return True if Envoy has once rejected what is restored.

    Gateways are up then, and there is time for a short check.
    """
    return way.fallback.detour is not None


def is_off(way: WayBack) -> bool:
    """Return True if the plugin is removed until old listeners have drained."""
    return is_under_way(way) and way.fallback.detour is not None and way.fallback.detour.off_since is not None


def end_off(way: WayBack, now: datetime) -> WayBack:
    """Return the rollback without the pause if that time is over; else unchanged."""
    known = way.fallback.detour
    if known is None or known.off_since is None or now < known.off_since + OFF:
        return way
    return way.with_detour(known.model_copy(update={"off_since": None}))


def skip_unfetchable(way: WayBack, reasons: Collection[Reason]) -> WayBack:
    """Return the rollback without the revision of other bytes, if these errors mean that its image is gone.

    Other errors change nothing: a registry that does not answer now says nothing about the image.
    """
    is_gone = any(reason.means_revision_gone for reason in reasons)
    if way.fallback.detour is None or way.fallback.detour.via is None or not is_gone:
        return way
    return way.with_detour(way.fallback.detour.model_copy(update={"via": None}))


def compute_pause(way: WayBack, now: datetime) -> float | None:
    """Return the seconds until the next pass; None if there is no detour."""
    if not is_under_way(way) or way.fallback.detour is None:
        return None
    off = way.fallback.detour.off_since
    return max((off + OFF - now).total_seconds(), 0.0) + 0.1 if off else PAUSE


def describe(way: WayBack) -> str:
    """Return the progress of the detour as a sentence."""
    known = way.fallback.detour or api.Detour()
    if known.given_up:
        return DetourText.GIVEN_UP.format(revision=way.puts_back)
    if known.via is not None:
        return DetourText.VIA.format(revision=way.puts_back, via=known.via)
    if known.off_since is not None:
        return DetourText.OFF.format(revision=way.puts_back)
    if known.restarted:
        return DetourText.RESTARTING.format(revision=way.puts_back)
    return DetourText.RESTORING.format(revision=way.puts_back)
