"""FindRemoved and Remove: entries that were deleted from ``spec.gateways``.

Each entry's plugin is removed or left, as for a deleted release. Removing our own object needs no consent.
"""

from __future__ import annotations

from typing import Any

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import adoption, letting_go
from pluginrelease.controller.actions.notes import RESTORE_LEVELS
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Each, Names, Once, Step
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import placements, plan
from pluginrelease.core.rollout.facts import EntryView, Facts
from pluginrelease.core.rollout.release_results import RemovedFound
from pluginrelease.core.rollout.results import EntryResult, Gone, LetGo
from pluginrelease.edges.kubernetes import resources

log = structlog.get_logger(__name__)

JSON = dict[str, Any]


async def find_removed(work: PassContext, facts: Facts, names: Names) -> RemovedFound:
    """Find the removed entries by the status, and by the release's uid in case the status was lost."""
    found = await find_own_if_new(work, facts)
    release = placements.recall_objects(facts.release, found)
    rows = placements.removed_rows(release)
    named = {placements.identity(row.object) for row in rows if row.object is not None}
    strays = [stray for stray in placements.strays(release, found) if placements.place_of(stray) not in named]
    return RemovedFound(release, (*rows, *(row_of(release, stray) for stray in strays)))


async def find_own_if_new(work: PassContext, facts: Facts) -> list[JSON]:
    """Return the objects with the release's uid; none if this process listed them since the spec changed.

    If the API server does not answer, nothing waits for it: the next pass lists them again.
    """
    own, swept = facts.release.metadata, work.context.swept
    if swept.get(own.uid) == own.generation:
        return []
    try:
        found = await work.reader.owned(resources.resource_for(facts.plugin_api.TARGET), own.uid)
    except ReleaseError as error:
        log.warning("could not look for objects of removed entries", reason=error.reason, message=error.message)
        return []
    swept[own.uid] = own.generation
    return found


def row_of(release: api.Release, stray: JSON) -> api.GatewayStatus:
    """Return a row for an entry that only its object shows. It never takes the name of another entry."""
    name = placements.entry_of(stray)
    if name is None or name in placements.names_of(release) or release.status.gateway(name) is not None:
        name = "/".join(placements.place_of(stray))
    known, adopted = placements.describe_object(stray), placements.recall_adopted(stray)
    state = api.GatewayState.REMOVING
    return api.GatewayStatus(name=name, object=known, adopted=adopted, state=state, reason=Reason.REMOVING)


async def take_away(work: PassContext, entry: EntryView) -> LetGo | None:
    """Delete or leave the entry's object and its copy of the pull secret, or give back an adopted object."""
    if entry.report.object is None:
        return None
    kind = resources.resource_for(entry.plugin_api.TARGET)
    observed = await read_own(work, entry, kind, entry.gateway.object_name or "")
    kept = find_adopted(entry) if entry.release.spec.deletion_policy is None else None
    untold, leaves = None, None
    if observed is not None and kept is not None:
        untold = await adoption.give_back(work, entry, kept, observed)
        leaves = None if untold is not None else False
    if observed is not None and leaves is None:
        await let_go(work, entry, observed)
    copy = await read_own(work, entry, resources.SECRETS, target.copied_secret_name(entry.placement()))
    if copy is not None:
        await let_go(work, entry, copy, leaves=leaves)
    return LetGo((untold,)) if untold is not None else None


async def read_own(work: PassContext, entry: EntryView, resource: resources.Resource, name: str) -> JSON | None:
    """Return an object if it belongs to the release; else None."""
    observed = await work.reader.get(resource, entry.gateway.namespace, name)
    return observed if observed is not None and plan.is_ours(entry.release, observed) else None


def find_adopted(entry: EntryView) -> str | None:
    """Return the name of the revision that keeps the adopted object; None if the entry adopted none."""
    row = entry.release.status.gateway(entry.name)
    return row.adopted if row is not None else entry.report.adopted


async def let_go(work: PassContext, entry: EntryView, observed: JSON, *, leaves: bool | None = None) -> None:
    """Delete one object, or leave it without an owner; by default as ``deletionPolicy`` says."""
    if leaves is None:
        is_adopted = find_adopted(entry) is not None
        leaves = target.leaves(entry.release.spec.deletion_policy, is_adopted=is_adopted)
    await letting_go.let_go(work.context.writer, entry.release.metadata.uid, observed, leaves=leaves)
    work.reader.lost(observed)


async def forget(work: PassContext, entry: EntryView) -> EntryResult:
    """Report that the entry is gone."""
    return Gone()


FIND: tuple[Step, ...] = (Once(ConditionType.APPLIED, find_removed),)
STEPS: tuple[Step, ...] = (
    Each(ConditionType.APPLIED, take_away),
    RESTORE_LEVELS,
    Each(ConditionType.APPLIED, forget),
)
