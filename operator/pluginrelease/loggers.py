"""Envoy's filter logger, raised while a load is awaited and put back afterwards.

A logger belongs to the pod, and several releases may want it raised at once: the level to put back is the one that
the first of them noted, and the last of them puts it back. Both are read from the releases' own status, so that a
crash of the operator leaves no gateway at debug.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import structlog

from pluginrelease.core import api
from pluginrelease.core.envoy import PodRef
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges import cluster as clusters
from pluginrelease.edges import gateways
from pluginrelease.edges.cluster import Cluster
from pluginrelease.edges.gateways import Settings

log = structlog.get_logger(__name__)


async def levels(
    cluster: Cluster, release: api.Release, pods: Sequence[PodRef], reach: Settings
) -> list[api.RaisedLogger]:
    """The level to put back later, for each pod that answers: another release's note, else what the pod has now."""
    noted = await noted_by_others(cluster, release)
    unknown = [pod for pod in pods if pod.uid not in noted]
    read = await asyncio.gather(*(level_of(cluster, pod, reach) for pod in unknown))
    found = {**noted, **{pod.uid: level for pod, level in zip(unknown, read, strict=True) if level is not None}}
    return [
        api.RaisedLogger(namespace=pod.namespace, pod=pod.name, uid=pod.uid, level=found[pod.uid])
        for pod in pods
        if pod.uid in found
    ]


async def noted_by_others(cluster: Cluster, release: api.Release) -> dict[str, str]:
    """Pod uid → level, of the loggers that other releases have raised."""
    found = await cluster.list(clusters.RELEASES, None, {})
    return {
        raised["uid"]: raised["level"]
        for other in found
        if other["metadata"]["uid"] != release.metadata.uid
        for raised in other.get("status", {}).get("observation", {}).get("raisedLoggers", [])
    }


async def level_of(cluster: Cluster, pod: PodRef, reach: Settings) -> str | None:
    """The logger's level now; None when the pod does not tell."""
    try:
        return await gateways.read_logging(cluster, pod, settings=reach)
    except ReleaseError as error:
        log.warning("log level not read", pod=f"{pod.namespace}/{pod.name}", error=error.message)
        return None


async def raise_all(cluster: Cluster, raised: Collection[api.RaisedLogger], reach: Settings) -> None:
    """Sets the logger to debug; a pod that does not answer goes without, and shows it as no positive sign."""
    await asyncio.gather(*(set_level(cluster, one, "debug", reach) for one in raised))


async def put_back(
    cluster: Cluster, release: api.Release, raised: Collection[api.RaisedLogger], reach: Settings
) -> list[api.RaisedLogger]:
    """Restores the levels; returns those that are still to be put back, because their pod did not answer."""
    needed = await noted_by_others(cluster, release)
    free = [one for one in raised if one.uid not in needed]
    done = await asyncio.gather(*(restored(cluster, one, reach) for one in free))
    return [one for one, finished in zip(free, done, strict=True) if not finished]


async def restored(cluster: Cluster, raised: api.RaisedLogger, reach: Settings) -> bool:
    """Whether nothing is left to do for this logger: it is put back, or its pod is gone."""
    pod = await cluster.get(clusters.PODS, raised.namespace, raised.pod)
    if pod is None or pod["metadata"]["uid"] != raised.uid:
        return True
    return await set_level(cluster, raised, raised.level, reach)


async def set_level(cluster: Cluster, raised: api.RaisedLogger, level: str, reach: Settings) -> bool:
    """Whether the pod took the level; a pod that does not answer is told in the log."""
    pod = PodRef(raised.namespace, raised.pod, raised.uid, ready=True)
    try:
        await gateways.set_logging(cluster, pod, level, settings=reach)
    except ReleaseError as error:
        log.warning("logger not set", pod=f"{raised.namespace}/{raised.pod}", level=level, error=error.message)
        return False
    return True
