"""An object that somebody else made: kept as it was before it is taken over, and written back when that failed."""

from __future__ import annotations

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.scope import JSON, EntryScope
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused
from pluginrelease.core.rollout import plan
from pluginrelease.edges.kubernetes import resources

log = structlog.get_logger(__name__)


async def keep_adopted(entry: EntryScope, observed: JSON | None) -> None:
    """Keep the object that is about to be taken over, in a ControllerRevision; the status names it."""
    if observed is None or plan.is_ours(entry.release, observed):
        return
    kept = revision.adopted_manifest(entry.release, {**observed, **resources.type_meta(kind_of(entry))})
    name = kept["metadata"]["name"]
    cluster = entry.world.cluster
    there = await cluster.get(resources.CONTROLLER_REVISIONS, entry.release.metadata.namespace, name)
    if there is None:
        await cluster.apply(kept, uid=None)
    entry.learn(adopted=name)


async def restore_adopted(entry: EntryScope, name: str) -> None:
    """Write the adopted object back as it was kept; raise `Refused` (RevisionNotFound) when it is not kept any more."""
    entry.step = ConditionType.APPLIED
    release, cluster = entry.release, entry.world.cluster
    observed = await entry.observe()
    if observed is not None:
        plan.check_owner(entry.placement(), observed)
    found = await cluster.get(resources.CONTROLLER_REVISIONS, release.metadata.namespace, name)
    if found is None or (found["metadata"].get("labels") or {}).get(api.UID_LABEL) != release.metadata.uid:
        raise Refused(
            Reason.REVISION_NOT_FOUND,
            f"the adopted object is not kept: there is no ControllerRevision {release.metadata.namespace}/{name}",
            "Write the object yourself, or correct the spec",
        )
    wanted = plan.render_taken_back(entry.placement(), revision.read_adopted(found))
    if observed is None or plan.needs_taking_back(wanted, observed):
        uid = observed["metadata"]["uid"] if observed is not None else None
        applied = await entry.apply(plan.Write(wanted, uid=uid, why="it is put back as it was adopted"))
        log.info("adopted object written back", name=applied["metadata"]["name"])
    entry.learn(running="")
    entry.find(
        ConditionType.APPLIED, "False", Reason.ADOPTED_PUT_BACK, f"{entry.target_name()} is as it was before adoption"
    )


def kind_of(entry: EntryScope) -> resources.Resource:
    """Return the resource of the provider's kind."""
    return resources.resource_for(entry.provider.TARGET)
