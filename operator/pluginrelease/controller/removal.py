"""Entries that are gone from ``spec.gateways``: each takes its plugin along, or leaves it, as a deletion would."""

from __future__ import annotations

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.scope import JSON, EntryScope, ReconcileScope, each
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import placements, plan
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster

log = structlog.get_logger(__name__)


async def remove_entries(work: ReconcileScope) -> None:
    """Delete or let go the objects of entries that are gone; one that cannot be reached stays in the status.

    After a change of the spec, and once after a start, objects are found by the release's uid as well: the status may
    have been lost.
    """
    found = await find_own_if_new(work)
    work.release = placements.recall_objects(work.release, found)
    rows = placements.removed_rows(work.release)
    named = {placements.identity(row.object) for row in rows if row.object is not None}
    strays = [stray for stray in placements.strays(work.release, found) if placements.place_of(stray) not in named]
    rows += [row_of(work.release, stray) for stray in strays]
    entries = [removed_entry(work, row) for row in rows]
    for entry in entries:
        work.entries[entry.name] = entry
    await each(entries, remove)
    for entry in entries:
        if entry.report.failure is None:
            del work.entries[entry.name]
    work.learn(swept=True)


async def find_own_if_new(work: ReconcileScope) -> list[JSON]:
    """Return the objects with the release's uid, where nobody has looked since the spec changed, or since the start.

    A list that the API server does not give holds up nothing; it is asked for again in the next pass.
    """
    own, swept = work.release.metadata, work.world.swept
    if swept.get(own.uid) == own.generation:
        return []
    try:
        found = await find_own(work.world.cluster, resources.resource_for(work.provider.TARGET), own.uid)
    except ReleaseError as error:
        log.warning("objects without an entry were not looked for", reason=error.reason, message=error.message)
        return []
    swept[own.uid] = own.generation
    return found


async def find_own(cluster: Cluster, kind: resources.Resource, uid: str) -> list[JSON]:
    """Return what carries a release's uid, in any namespace; nothing where the kind is not installed."""
    try:
        listed = await cluster.list(kind, None, {api.UID_LABEL: uid})
    except NotFound:
        return []
    return [{**found, **resources.type_meta(kind)} for found in listed]


def row_of(release: api.Release, stray: JSON) -> api.GatewayStatus:
    """Return the row of an entry that is known by its object alone; never by the name of another one."""
    name = placements.entry_of(stray)
    if name is None or name in placements.names_of(release) or release.status.gateway(name) is not None:
        name = "/".join(placements.place_of(stray))
    known, adopted = placements.describe_object(stray), placements.recall_adopted(stray)
    state = api.GatewayState.REMOVING
    return api.GatewayStatus(name=name, object=known, adopted=adopted, state=state, reason=Reason.REMOVING)


def removed_entry(work: ReconcileScope, row: api.GatewayStatus) -> EntryScope:
    """Return the scope of an entry that is gone."""
    place = row.object
    gateway = api.Gateway.model_construct(  # its name need not be one that a spec could have
        name=row.name,
        namespace=place.namespace if place else work.release.metadata.namespace,
        object_name=place.name if place else None,
    )
    entry = EntryScope(work, gateway)
    entry.learn(is_removed=True, object=place, adopted=row.adopted)
    return entry


async def remove(entry: EntryScope) -> None:
    """Delete the entry's object and its copy of the pull secret, or let them go; then restore log levels.

    Taking our own object away needs no consent of its namespace.
    """
    entry.step = ConditionType.APPLIED
    if entry.report.object is not None:
        await let_go(entry, resources.resource_for(entry.provider.TARGET), entry.gateway.object_name or "")
        await let_go(entry, resources.SECRETS, target.copied_secret_name(entry.placement()))
    await entry.put_loggers_back()


async def let_go(entry: EntryScope, resource: resources.Resource, name: str) -> None:
    """Delete one object that carries the release's uid, or make it outlive the release."""
    cluster, release = entry.world.cluster, entry.release
    observed = await cluster.get(resource, entry.gateway.namespace, name)
    if observed is None or not plan.is_ours(release, observed):
        return
    row = release.status.gateway(entry.name)
    adopted = row or api.GatewayStatus(
        name=entry.name, adopted=entry.report.adopted, state=api.GatewayState.REMOVING, reason=Reason.REMOVING
    )
    if placements.outlives(release, adopted):
        await entry.world.gates.write(release.metadata.uid, lambda: cluster.disown(observed))
        log.info("left behind, as deletionPolicy says", gateway=entry.name, name=name)
        return
    await entry.world.gates.write(release.metadata.uid, lambda: cluster.delete(observed))
    log.info("deleted, as its entry is gone", gateway=entry.name, name=name)
