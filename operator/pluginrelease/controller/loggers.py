"""Raise Envoy's filter logger while a load is awaited, and restore it afterwards.

A logger belongs to the pod, and several releases may raise it at once. The first of them notes the level to restore,
and the last of them restores it. Both read this from the releases' status, so that a crash of the operator leaves no
gateway at debug.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Container, Mapping, Sequence

import structlog

from pluginrelease import api
from pluginrelease.controller.reading import Reader
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

# uid of a release and mark of a pod whose logger another release restores; the status may not say so yet
Left = set[tuple[str, str]]

RAISED = "debug"
# seconds: a gateway that crashes or hangs accepts no level, and nothing waits for it
RESTORE_SECONDS = 5.0


def gate(uid: str) -> str:
    """Return the name of the gate (`Writer.write`) for a release's log levels.

    It differs from the gate of the plugin's object, so that a slow gateway does not delay a deletion.
    """
    return f"{uid}/loggers"


async def find_levels_to_restore(
    cluster: Cluster,
    reader: Reader,
    release: api.Release,
    pods: Sequence[PodRef],
    reach: GatewayAccess,
    seen: Mapping[str, str],
) -> list[RaisedLogger]:
    """Return the level to restore later for each pod that answers: another release's note, else the level now.

    ``seen``: pod uid → level, as this pass read it already.

    The gateways are read before the notes. A release notes a level before it raises the logger, so a read that sees a
    raised level also finds its note. Thus a raised level is never noted as the one to restore.
    """
    marks = {pod.uid: pod_mark(pod.uid) for pod in pods}
    found = dict(seen) | await read_levels(cluster, [pod for pod in pods if pod.uid not in seen], reach)
    noted = await noted_by_others(reader, release.metadata.uid, {*marks.values()}) | noted_by(release)
    # restored between the two reads, or set to debug by a user: the second read shows which
    unclear = [pod for pod in pods if found.get(pod.uid) == RAISED and marks[pod.uid] not in noted]
    found |= await read_levels(cluster, unclear, reach)
    found |= {uid: noted[marks[uid]] for uid in found if marks[uid] in noted}
    return [RaisedLogger(pod.namespace, pod.name, marks[pod.uid], found[pod.uid]) for pod in pods if pod.uid in found]


def noted_by(release: api.Release) -> dict[str, str]:
    """Return pod mark → level, for the loggers that this release has raised."""
    noted = release.status.checkpoint.gateways if release.status.checkpoint else []
    raised = (level for observation in noted for level in raised_loggers.read(observation.raised_loggers))
    return {level.mark: level.level for level in raised}


async def read_levels(cluster: Cluster, pods: Sequence[PodRef], reach: GatewayAccess) -> dict[str, str]:
    """Return pod uid → level now, without the pods that do not answer."""
    read = await asyncio.gather(*(level_of(cluster, pod, reach) for pod in pods))
    return {pod.uid: level for pod, level in zip(pods, read, strict=True) if level is not None}


async def noted_by_others(
    reader: Reader, uid: str, marks: Collection[str], left: Container[tuple[str, str]] = ()
) -> dict[str, str]:
    """Return pod mark → level, for the loggers that other releases raised and must restore themselves."""
    return {
        raised.mark: raised.level
        for other in await reader.releases_noting(marks)
        if other["metadata"]["uid"] != uid
        for raised in raised_loggers.read_noted(other)
        if raised.mark in marks and (other["metadata"]["uid"], raised.mark) not in left
    }


async def level_of(cluster: Cluster, pod: PodRef, reach: GatewayAccess) -> str | None:
    """Return the logger's level now; None if the pod does not answer."""
    try:
        return await control.read_logging(cluster, pod, settings=reach)
    except ReleaseError as error:
        log.warning("could not read the log level of a gateway", pod=f"{pod.namespace}/{pod.name}", error=error.message)
        return None


async def raise_all(cluster: Cluster, raised: Collection[RaisedLogger], reach: GatewayAccess) -> None:
    """Set the loggers to debug. A pod that does not answer stays as it is, and then its log gives no positive sign."""
    await asyncio.gather(*(set_level(cluster, level, RAISED, reach) for level in raised))


async def restore_all(
    cluster: Cluster, reader: Reader, uid: str, raised: Collection[RaisedLogger], reach: GatewayAccess, left: Left
) -> list[RaisedLogger]:
    """Restore the levels that the release with this uid raised; return those that are not restored yet.

    If another release needs a level, that one restores it, unless it has just left it to this one. Takes at most
    `RESTORE_SECONDS`, and never raises `ReleaseError`: nothing waits for a log level.
    """
    still = list(raised)
    try:
        async with asyncio.timeout(RESTORE_SECONDS):
            needed = await noted_by_others(reader, uid, {level.mark for level in raised}, left)
            left |= {(uid, level.mark) for level in raised if level.mark in needed}
            still = [level for level in raised if level.mark not in needed]
            await asyncio.gather(*(restore(cluster, reader, level, reach, still) for level in [*still]))
    except TimeoutError:
        log.warning("log levels not restored in time", pods=[f"{level.namespace}/{level.pod}" for level in still])
    except ReleaseError as error:
        log.warning("log levels not restored", reason=error.reason, message=error.message)
    return still


async def restore(
    cluster: Cluster, reader: Reader, raised: RaisedLogger, reach: GatewayAccess, still: list[RaisedLogger]
) -> None:
    """Restore one level; delete it from ``still`` if that succeeds or its pod is gone."""
    pod = await reader.get(resources.PODS, raised.namespace, raised.pod)
    is_gone = pod is None or pod_mark(pod["metadata"]["uid"]) != raised.mark
    if is_gone or await set_level(cluster, raised, raised.level, reach):
        still.remove(raised)


async def set_level(cluster: Cluster, raised: RaisedLogger, level: str, reach: GatewayAccess) -> bool:
    """Return whether the pod accepted the level; log a warning if it did not answer."""
    pod = PodRef(raised.namespace, raised.pod, uid="", ready=True)
    try:
        await control.set_logging(cluster, pod, level, settings=reach)
    except ReleaseError as error:
        log.warning(
            "could not set the log level of a gateway",
            pod=f"{raised.namespace}/{raised.pod}",
            level=level,
            error=error.message,
        )
        return False
    return True
