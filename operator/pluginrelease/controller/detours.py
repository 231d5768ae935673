"""Acts on `core.rollout.detour`: what is done when Envoy refuses what is put back."""

from __future__ import annotations

from dataclasses import replace

import structlog

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.scope import Candidate, EntryScope
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import Verdict
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import detour, plan
from pluginrelease.core.rollout.detour import Step
from pluginrelease.core.status.report import Event
from pluginrelease.edges.envoy import control, observing

log = structlog.get_logger(__name__)

RESTART_SECONDS = 5.0
# an Envoy that has nothing to load answers sooner
HANG_SECONDS = 5.0


async def take(entry: EntryScope, candidate: Candidate, judged: Verdict) -> None:
    """Take the next step of the detour, where one is needed; how far it has come stays in the rollout's status."""
    way = entry.way_back()
    if way.failure is None or way.failure.revision == candidate.revision:
        return  # nothing has been put back yet
    turn = detour.decide_turn(way, judged, entry.release.status.history, entry.world.now())
    if turn is None:
        return
    taken = way.with_detour(turn.detour)
    entry.learn_way_back(taken)
    if way.fallback.detour is None or turn.step in (Step.OTHER_BYTES, Step.TAKE_OFF, Step.STUCK):
        entry.work.tell(Event("Warning", Reason.ROLLBACK_REFUSED_BY_ENVOY, detour.describe(taken)[:1024]))
    if turn.step is not Step.WAIT:
        log.info("gateways do not take what is put back", step=str(turn.step), pod=turn.pod.name if turn.pod else None)
    if turn.pod is not None:
        await restart(entry, turn.pod)


async def restart(entry: EntryScope, pod: PodRef) -> None:
    """Let the agent end Envoy: the kubelet starts the container again, with what is written now."""
    try:
        await control.end_gateway(
            entry.world.cluster, pod, deadline_seconds=RESTART_SECONDS, settings=entry.world.reach
        )
    except ReleaseError as error:
        log.warning("gateway not restarted", pod=f"{pod.namespace}/{pod.name}", error=error.message)


async def end_hung(entry: EntryScope) -> None:
    """Start gateways again that hang of a plugin that was removed: they take its removal in no other way."""
    way, placement = entry.way_back(), entry.placement()
    if not detour.failed_by_hang(way):
        return
    where = entry.provider.pods(entry.gateway, entry.world.mesh)
    suspects = detour.list_possibly_hung(way, await entry.list_pods(where))
    if not suspects:
        return
    nothing = DesiredPlugin(entry.gateway.namespace, target.name_object(placement), "", {}, "")
    seen = await observing.observe(
        entry.world.cluster,
        suspects,
        nothing,
        since=entry.world.now(),
        deadline_seconds=HANG_SECONDS,
        settings=replace(entry.world.reach, container=where.container),
    )
    silent = [sighting.pod.uid for sighting in seen if sighting.silent is not None]
    turn = detour.find_next_hung(way, await entry.list_pods(where), silent, entry.world.now())
    if turn is not None and turn.pod is not None:
        entry.learn_way_back(way.with_detour(turn.detour))
        log.info("a gateway hangs of what was removed, and is started again", pod=turn.pod.name)
        await restart(entry, turn.pod)


async def stay_off(entry: EntryScope) -> bool:
    """Keep the plugin off while old listeners drain; False when that time is over, or was never asked for."""
    way = detour.end_off(entry.way_back(), entry.world.now())
    entry.learn_way_back(way)
    if not detour.is_off(way):
        return False
    entry.step = ConditionType.APPLIED
    observed = await entry.observe()
    if observed is not None and plan.is_ours(entry.release, observed):
        cluster, uid = entry.world.cluster, entry.release.metadata.uid
        await entry.world.gates.write(uid, lambda: cluster.delete(observed))
        log.info("deleted until old listeners have drained", name=observed["metadata"]["name"])
    entry.find(ConditionType.APPLIED, "False", Reason.ROLLBACK_REFUSED_BY_ENVOY, detour.describe(way))
    return True
