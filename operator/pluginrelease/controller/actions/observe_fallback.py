"""ObserveFallback: observe gateways after a rollback. EndHung: restart gateways that hang after a removal.

If Envoy refuses what was put back, `core.rollout.detour` decides what follows.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import looking
from pluginrelease.controller.actions.observe import LOOK, prune_after_failure
from pluginrelease.controller.actions.roll_back import with_way_back
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.preparing import keep_secret_of_carried
from pluginrelease.controller.steps import Each, Names, Once, Step
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import notes
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import decisions, detour
from pluginrelease.core.rollout.facts import EntryView, Facts
from pluginrelease.core.rollout.release_results import Decided
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.rollout.results import TurnTaken
from pluginrelease.edges.envoy import control, observing

log = structlog.get_logger(__name__)

RESTART_SECONDS = 5.0
# an Envoy that has nothing to load answers faster
HANG_SECONDS = 5.0


async def decide_fallback(work: PassContext, facts: Facts, names: Names) -> Decided | None:
    """Note when the fallback runs again; then prune what nothing needs."""
    known = advanced = facts.rollout
    for entry in facts.views(names):
        if entry.report.verdict is not None and advanced is not None:
            advanced = decisions.advance_fallback(advanced, entry.name, entry.report.verdict, work.now())
    if advanced is None or known is None:
        return None
    if advanced != known and advanced.failure is not None and not decisions.is_going_back(advanced):
        needed = {other.stable for other in facts.views(entry.name for entry in facts.of_spec())}
        await prune_after_failure(work, facts, {advanced.failure.revision, *needed})
    return Decided(advanced)


async def take_turn(work: PassContext, entry: EntryView) -> TurnTaken | None:
    """Take the next step of the detour if one is needed; the rollout's status keeps its progress."""
    way, judged = entry.way_back(), entry.report.verdict
    if judged is None or way.failure is None or way.failure.revision == entry.carried.revision:
        return None  # nothing was put back yet
    may_restart = work.settings.restart_hung_gateways
    turn = detour.decide_turn(way, judged, entry.release.status.history, work.now(), may_restart=may_restart)
    if turn is None:
        return None
    taken, events = way.with_detour(turn.detour), tuple[Event, ...]()
    if way.fallback.detour is None or turn.step in (detour.Step.OTHER_BYTES, detour.Step.TAKE_OFF, detour.Step.STUCK):
        events = (Event("Warning", Reason.ROLLBACK_REFUSED_BY_ENVOY, detour.describe(taken)[:1024]),)
    if turn.step is not detour.Step.WAIT:
        log.info(
            "gateways do not load the restored revision", step=str(turn.step), pod=turn.pod.name if turn.pod else None
        )
    if turn.pod is not None:
        await restart(work, turn.pod)
    return TurnTaken(with_way_back(entry, taken), events)


async def restart(work: PassContext, pod: PodRef) -> None:
    """Let Istio's agent end Envoy: then the kubelet restarts the container, and it loads what is written now."""
    try:
        await control.end_gateway(work.cluster, pod, deadline_seconds=RESTART_SECONDS, settings=work.context.reach)
    except ReleaseError as error:
        log.warning("could not restart a gateway", pod=f"{pod.namespace}/{pod.name}", error=error.message)


async def end_hung(work: PassContext, entry: EntryView) -> TurnTaken | None:
    """Restart one gateway that hangs of a removed plugin: only a restart makes it accept the removal."""
    way, placement = entry.way_back(work.now()), entry.placement()
    where = entry.mesh.pods(entry.gateway, work.mesh)
    suspects = detour.list_possibly_hung(way, await looking.list_pods(work, where))
    if not suspects:
        return None
    nothing = DesiredPlugin(entry.gateway.namespace, target.name_object(placement), "", {}, "")
    seen = await observing.observe(
        work.cluster,
        suspects,
        nothing,
        since=work.now(),
        deadline_seconds=HANG_SECONDS,
        settings=replace(work.context.reach, container=where.container),
    )
    noted = notes.read(entry.noted) if entry.noted is not None else notes.Notes()
    hung = [shown.pod.uid for shown in seen if shown.silent is not None or notes.has_missed_worker(noted, shown)]
    if not work.settings.restart_hung_gateways:
        return leave_hung(entry, way, detour.list_left_hung(way, suspects, hung))
    turn = detour.find_next_hung(way, await looking.list_pods(work, where), hung, work.now())
    if turn is None or turn.pod is None:
        return None
    log.info("restarted a gateway that hangs after the removal of a plugin", pod=turn.pod.name)
    await restart(work, turn.pod)
    return TurnTaken(with_way_back(entry, way.with_detour(turn.detour)))


def leave_hung(entry: EntryView, way: detour.WayBack, left: list[PodRef]) -> TurnTaken | None:
    """Name the gateways that hang, once, if the operator may restart none."""
    if not left:
        return None
    noted = (way.fallback.detour or api.Detour()).model_copy(update={"given_up": True})
    event = Event("Warning", Reason.GATEWAY_NOT_RESTARTED, detour.describe_left(left)[:1024])
    return TurnTaken(with_way_back(entry, way.with_detour(noted)), (event,))


STEPS: tuple[Step, ...] = (
    # if the pull secret cannot be read, the gateways must be observed all the same
    Each(ConditionType.APPLIED, keep_secret_of_carried, goes_on=True),
    *LOOK,
    Once(ConditionType.LOADED, decide_fallback),
    Each(ConditionType.LOADED, take_turn),
)
END_HUNG: tuple[Step, ...] = (Each(ConditionType.LOADED, end_hung),)
