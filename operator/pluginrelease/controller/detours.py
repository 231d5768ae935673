"""Acts on `core.rollout.detour`: what is done when Envoy refuses what is put back."""

from __future__ import annotations

from dataclasses import replace

import structlog

from pluginrelease.api import ConditionType
from pluginrelease.controller.scope import Candidate, ReconcileScope
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import pods
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import Verdict
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import detour, plan
from pluginrelease.core.rollout.detour import Step
from pluginrelease.core.status.report import Event
from pluginrelease.edges.envoy import control, observing
from pluginrelease.edges.kubernetes.resources import PODS

log = structlog.get_logger(__name__)

RESTART_SECONDS = 5.0
# an Envoy that has nothing to load answers sooner
HANG_SECONDS = 5.0


async def take(work: ReconcileScope, candidate: Candidate, judged: Verdict) -> None:
    """Take the next step of the detour, where one is needed; what it is about stays in the rollout's status."""
    known = work.known_rollout()
    if known.failure is None or known.failure.revision == candidate.revision:
        return  # nothing has been put back yet
    turn = detour.decide_turn(known, judged, work.release.status.history, work.world.now())
    if turn is None:
        return
    decided = known.model_copy(update={"detour": turn.detour})
    work.learn(rollout=decided)
    if known.detour is None or turn.step in (Step.OTHER_BYTES, Step.TAKE_OFF, Step.STUCK):
        event = Event("Warning", "RollbackRefusedByEnvoy", detour.describe(decided)[:1024])
        work.learn(events=(*work.report.events, event))
    if turn.step is not Step.WAIT:
        log.info("gateways do not take what is put back", step=str(turn.step), pod=turn.pod.name if turn.pod else None)
    if turn.pod is not None:
        await restart(work, turn.pod)


async def restart(work: ReconcileScope, pod: PodRef) -> None:
    """Let the agent end Envoy: the kubelet starts the container again, with what is written now."""
    try:
        await control.end_gateway(work.world.cluster, pod, deadline_seconds=RESTART_SECONDS, settings=work.world.reach)
    except ReleaseError as error:
        log.warning("gateway not restarted", pod=f"{pod.namespace}/{pod.name}", error=error.message)


async def end_hung(work: ReconcileScope) -> None:
    """Start gateways again that hang of a plugin that was removed: they take its removal in no other way."""
    known = work.known_rollout()
    if not detour.failed_by_hang(known):
        return
    where = work.provider.pods(work.release.spec.gateway, work.world.mesh)
    suspects = detour.list_possibly_hung(known, await listed(work, where))
    if not suspects:
        return
    nothing = DesiredPlugin(work.release.spec.gateway.namespace, target.name_object(work.release), "", {}, "")
    seen = await observing.observe(
        work.world.cluster,
        suspects,
        nothing,
        since=work.world.now(),
        deadline_seconds=HANG_SECONDS,
        settings=replace(work.world.reach, container=where.container),
    )
    silent = [one.pod.uid for one in seen if one.silent is not None]
    turn = detour.find_next_hung(known, await listed(work, where), silent, work.world.now())
    if turn is not None and turn.pod is not None:
        work.learn(rollout=known.model_copy(update={"detour": turn.detour}))
        log.info("a gateway hangs of what was removed, and is started again", pod=turn.pod.name)
        await restart(work, turn.pod)


async def listed(work: ReconcileScope, where: target.Pods) -> list[PodRef]:
    """The gateway pods as the API server has them now."""
    found = await work.world.cluster.list(PODS, where.namespace, where.labels)
    return pods.select(found, where.container)


async def stay_off(work: ReconcileScope) -> bool:
    """Keep the plugin off while old listeners drain; False when that time is over, or was never asked for."""
    decided = detour.end_off(work.known_rollout(), work.world.now())
    work.learn(rollout=decided)
    if not detour.is_off(decided):
        return False
    work.step = ConditionType.APPLIED
    observed = await work.observe()
    if observed is not None and plan.is_ours(work.release, observed):
        await work.world.gates.write(work.release.metadata.uid, lambda: work.world.cluster.delete(observed))
        log.info("deleted until old listeners have drained", name=observed["metadata"]["name"])
    work.find(ConditionType.APPLIED, "False", "RollbackRefusedByEnvoy", detour.describe(decided))
    return True
