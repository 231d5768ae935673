"""What happens when a PluginRelease is deleted: its finalizer goes only after this ended well."""

from __future__ import annotations

import structlog

from pluginrelease import loggers
from pluginrelease.core import api, plan, providers, target
from pluginrelease.core.errors import Transient
from pluginrelease.edges import cluster as clusters
from pluginrelease.work import JSON
from pluginrelease.world import World

log = structlog.get_logger(__name__)


async def clean_up(world: World, release: api.Release) -> None:
    """Takes the plugin off the gateways, or leaves it, as ``deletionPolicy`` says; raises `ReleaseError`.

    Only what carries the release's uid is touched. Can be run again from any point.
    """
    await world.gates.close(release.metadata.uid)
    await put_loggers_back(world, release)
    for observed in await written(world, release):
        await let_go(world, release, observed)


async def written(world: World, release: api.Release) -> list[JSON]:
    """What the release has written and is still there: the plugin first, then the secret that it names."""
    namespace = release.spec.gateway.namespace
    names = (
        (clusters.carrier(providers.of(release.spec.gateway).TARGET), target.object_name(release)),
        (clusters.SECRETS, target.copied_secret_name(release)),
    )
    found = [await world.cluster.get(resource, namespace, name) for resource, name in names]
    return [observed for observed in found if observed is not None and plan.is_ours(release, observed)]


async def let_go(world: World, release: api.Release, observed: JSON) -> None:
    """Deletes one object, or makes it outlive the release."""
    what = f"{observed['kind']} {observed['metadata']['namespace']}/{observed['metadata']['name']}"
    if release.spec.deletion_policy is api.DeletionPolicy.ORPHAN:
        await world.cluster.disown(observed)
        log.info("left behind, as deletionPolicy says", object=what)
        return
    await world.cluster.delete(observed)
    log.info("deleted", object=what)


async def put_loggers_back(world: World, release: api.Release) -> None:
    """No gateway stays at debug because a release was deleted while it was awaited."""
    observation = release.status.observation
    raised = observation.raised_loggers if observation else []
    kept = await loggers.put_back(world.cluster, release, raised, world.reach) if raised else []
    if kept:
        names = ", ".join(f"{one.namespace}/{one.pod}" for one in kept)
        raise Transient("LoggerNotRestored", f"the log level of {names} could not be put back yet", retry_after=5.0)
