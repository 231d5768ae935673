"""Acts on `core.detour`: what is done when Envoy refuses what is put back."""

from __future__ import annotations

import structlog

from pluginrelease.core import detour, plan
from pluginrelease.core.api import ConditionType
from pluginrelease.core.detour import Step
from pluginrelease.core.envoy import PodRef
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.status import Event
from pluginrelease.core.verdict import Verdict
from pluginrelease.edges import gateways
from pluginrelease.work import Candidate, Work

log = structlog.get_logger(__name__)

RESTART_SECONDS = 5.0


async def take(work: Work, candidate: Candidate, judged: Verdict) -> None:
    """Take the next step of the detour, where one is needed; what it is about stays in the rollout's status."""
    known = work.known_rollout()
    if known.failure is None or known.failure.revision == candidate.revision:
        return  # nothing has been put back yet
    turn = detour.next_turn(known, judged, work.release.status.history, work.world.now())
    if turn is None:
        return
    decided = known.model_copy(update={"detour": turn.detour})
    work.learn(rollout=decided)
    if known.detour is None or turn.step in (Step.OTHER_BYTES, Step.TAKE_OFF, Step.STUCK):
        event = Event("Warning", "RollbackRefusedByEnvoy", detour.described(decided)[:1024])
        work.learn(events=(*work.report.events, event))
    if turn.step is not Step.WAIT:
        log.info("gateways do not take what is put back", step=str(turn.step), pod=turn.pod.name if turn.pod else None)
    if turn.pod is not None:
        await restart(work, turn.pod)


async def restart(work: Work, pod: PodRef) -> None:
    """Let the agent end Envoy: the kubelet starts the container again, with what is written now."""
    try:
        await gateways.end(work.world.cluster, pod, deadline_seconds=RESTART_SECONDS, settings=work.world.reach)
    except ReleaseError as error:
        log.warning("gateway not restarted", pod=f"{pod.namespace}/{pod.name}", error=error.message)


async def stay_off(work: Work) -> bool:
    """Keep the plugin off while old listeners drain; False when that time is over, or was never asked for."""
    decided = detour.after_off(work.known_rollout(), work.world.now())
    work.learn(rollout=decided)
    if not detour.is_off(decided):
        return False
    work.step = ConditionType.APPLIED
    observed = await work.observe()
    if observed is not None and plan.is_ours(work.release, observed):
        await work.world.gates.write(work.release.metadata.uid, lambda: work.world.cluster.delete(observed))
        log.info("deleted until old listeners have drained", name=observed["metadata"]["name"])
    work.find(ConditionType.APPLIED, "False", "RollbackRefusedByEnvoy", detour.described(decided))
    return True
