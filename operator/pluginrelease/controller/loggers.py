"""Envoy's filter logger, raised while a load is awaited and put back afterwards.

A logger belongs to the pod, and several releases may want it raised at once: the level to put back is the one that
the first of them noted, and the last of them puts it back. Both are read from the releases' own status, so that a
crash of the operator leaves no gateway at debug.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Container, Sequence
from typing import Any

import structlog

from pluginrelease import api
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import raised_loggers
from pluginrelease.core.gateway.identity import pod_mark
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.raised_loggers import RaisedLogger
from pluginrelease.edges.envoy import control
from pluginrelease.edges.envoy.access import GatewayAccess
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster

log = structlog.get_logger(__name__)

JSON = dict[str, Any]

# uid of a release and mark of a pod whose logger it leaves to another one to restore: its status may not say so yet
Left = set[tuple[str, str]]

RAISED = "debug"
# seconds: a gateway that crashes or hangs takes no level, and nothing waits for one
RESTORE_SECONDS = 5.0


def gate(uid: str) -> str:
    """Return the name of the gate (`world.Gates`) that a release's log levels are raised through.

    It is not the gate of the plugin's object: a gateway that takes seconds to answer must not hold up a deletion.
    """
    return f"{uid}/loggers"


async def find_levels_to_restore(
    cluster: Cluster, release: api.Release, pods: Sequence[PodRef], reach: GatewayAccess
) -> list[RaisedLogger]:
    """Return the level to restore later, for each pod that answers: another release's note, else what the pod has now.

    The gateways are read before the notes. A release notes a level before it raises the logger, so whoever reads a
    raised level finds the note of the one who raised it, and never records that level as the one to restore.
    """
    marks = {pod.uid: pod_mark(pod.uid) for pod in pods}
    found = await read_levels(cluster, pods, reach)
    noted = await noted_by_others(cluster, release.metadata.uid) | noted_by(release)
    # restored and forgotten between the two reads, or a person's own choice: the second read tells which
    unclear = [pod for pod in pods if found.get(pod.uid) == RAISED and marks[pod.uid] not in noted]
    found |= await read_levels(cluster, unclear, reach)
    found |= {uid: noted[marks[uid]] for uid in found if marks[uid] in noted}
    return [RaisedLogger(pod.namespace, pod.name, marks[pod.uid], found[pod.uid]) for pod in pods if pod.uid in found]


def noted_by(release: api.Release) -> dict[str, str]:
    """Return mark of a pod → level, of the loggers that this release has raised."""
    noted = release.status.checkpoint.gateways if release.status.checkpoint else []
    raised = (one for observation in noted for one in raised_loggers.read(observation.raised_loggers))
    return {one.mark: one.level for one in raised}


async def read_levels(cluster: Cluster, pods: Sequence[PodRef], reach: GatewayAccess) -> dict[str, str]:
    """Return pod uid → level now, without the pods that do not answer."""
    read = await asyncio.gather(*(level_of(cluster, pod, reach) for pod in pods))
    return {pod.uid: level for pod, level in zip(pods, read, strict=True) if level is not None}


async def noted_by_others(cluster: Cluster, uid: str, left: Container[tuple[str, str]] = ()) -> dict[str, str]:
    """Return mark of a pod → level, of the loggers that others have raised, and have not left to others."""
    found = await cluster.list(resources.RELEASES, None, {})
    return {
        raised.mark: raised.level
        for other in found
        if other["metadata"]["uid"] != uid
        for raised in raised_by(other)
        if (other["metadata"]["uid"], raised.mark) not in left
    }


def raised_by(body: JSON) -> list[RaisedLogger]:
    """Return what a PluginRelease, as the API server has it, says of the loggers that it raised.

    What does not fit the model is passed over.
    """
    observations = stored.read_path(body, "status", "checkpoint", "gateways")
    noted = [stored.read_path(observation, "raisedLoggers") for observation in stored.read_items(observations)]
    found = []
    for note in (note for notes in noted for note in stored.read_items(notes)):
        with contextlib.suppress(ValueError):
            found.append(api.RaisedLoggers.model_validate(note))
    return raised_loggers.read(found)


async def level_of(cluster: Cluster, pod: PodRef, reach: GatewayAccess) -> str | None:
    """The logger's level now; None when the pod does not tell."""
    try:
        return await control.read_logging(cluster, pod, settings=reach)
    except ReleaseError as error:
        log.warning("log level not read", pod=f"{pod.namespace}/{pod.name}", error=error.message)
        return None


async def raise_all(cluster: Cluster, raised: Collection[RaisedLogger], reach: GatewayAccess) -> None:
    """Sets the logger to debug; a pod that does not answer goes without, and shows it as no positive sign."""
    await asyncio.gather(*(set_level(cluster, one, RAISED, reach) for one in raised))


async def restore_all(
    cluster: Cluster, uid: str, raised: Collection[RaisedLogger], reach: GatewayAccess, left: Left
) -> list[RaisedLogger]:
    """Restore the levels that the release with this uid raised; return those that are still to be restored.

    What another release needs is left to that one, unless that one has just left it to this one. Takes at most
    `RESTORE_SECONDS`, and never raises `ReleaseError`: a log level holds up nothing.
    """
    still = list(raised)
    try:
        async with asyncio.timeout(RESTORE_SECONDS):
            needed = await noted_by_others(cluster, uid, left)
            left |= {(uid, one.mark) for one in raised if one.mark in needed}
            still = [one for one in raised if one.mark not in needed]
            await asyncio.gather(*(restore(cluster, one, reach, still) for one in [*still]))
    except TimeoutError:
        log.warning("log levels not restored in time", pods=[f"{one.namespace}/{one.pod}" for one in still])
    except ReleaseError as error:
        log.warning("log levels not restored", reason=error.reason, message=error.message)
    return still


async def restore(cluster: Cluster, raised: RaisedLogger, reach: GatewayAccess, still: list[RaisedLogger]) -> None:
    """Restore one level, and take it off ``still`` when that is done or its pod is gone."""
    pod = await cluster.get(resources.PODS, raised.namespace, raised.pod)
    is_gone = pod is None or pod_mark(pod["metadata"]["uid"]) != raised.mark
    if is_gone or await set_level(cluster, raised, raised.level, reach):
        still.remove(raised)


async def set_level(cluster: Cluster, raised: RaisedLogger, level: str, reach: GatewayAccess) -> bool:
    """Whether the pod took the level; a pod that does not answer is told in the log."""
    pod = PodRef(raised.namespace, raised.pod, uid="", ready=True)
    try:
        await control.set_logging(cluster, pod, level, settings=reach)
    except ReleaseError as error:
        log.warning("logger not set", pod=f"{raised.namespace}/{raised.pod}", level=level, error=error.message)
        return False
    return True
