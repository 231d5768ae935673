"""Keep an object that the release adopts as it was, and write it back if the takeover fails."""

from __future__ import annotations

from typing import Any

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import revisions, writing
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import read_own_carrier
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout import placements, plan
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.rollout.results import TakenOff
from pluginrelease.edges.kubernetes import resources

JSON = dict[str, Any]


async def keep_adopted(work: PassContext, entry: EntryView, observed: JSON | None) -> str | None:
    """Keep the object in a ControllerRevision before it is taken over; return its name, or None if it is ours."""
    if observed is None or plan.is_ours(entry.release, observed):
        return None
    kind = resources.type_meta(resources.resource_for(entry.plugin_api.TARGET))
    kept = revision.adopted_manifest(entry.release, {**observed, **kind})
    await revisions.keep_adopted(work, entry.release, kept)
    name: str = kept["metadata"]["name"]
    return name


async def restore_adopted(work: PassContext, entry: EntryView, name: str) -> TakenOff:
    """Write the adopted object back as it was kept. Raises `Refused` (RevisionNotFound) if it is no longer kept."""
    release = entry.release
    observed = await read_own_carrier(work.reader, entry.placement())
    found = await find_kept(work, entry, name)
    wanted = plan.render_taken_back(entry.placement(), revision.read_adopted(found))
    if observed is None or plan.needs_taking_back(wanted, observed):
        own = observed["metadata"] if observed is not None else {}
        version, why = own.get("resourceVersion"), "it is restored as it was before adoption"
        await writing.apply(work, release, plan.Write(wanted, uid=own.get("uid"), why=why, version=version))
    text = f"{entry.target_name()} is as it was before adoption"
    finding = Finding(ConditionType.APPLIED, "False", Reason.ADOPTED_PUT_BACK, text)
    doubt = "whether gateways run the object as it was before adoption is not proven"
    unproven = Finding(ConditionType.LOADED, "Unknown", Reason.ADOPTED_PUT_BACK, doubt)
    return TakenOff(finding, running="", adopted=found["metadata"]["name"], unproven=unproven)


async def give_back(work: PassContext, entry: EntryView, name: str, observed: JSON) -> Event | None:
    """Write the adopted object as it was kept, without an owner; return an event if it has to stay as it is now."""
    try:
        kept = revision.read_adopted(await find_kept(work, entry, name))
    except Refused as error:
        text = (
            f"{entry.target_name()} is left as it is, because the operator could not restore it as it was before "
            f"adoption: {error.sentence()}"
        )
        return Event("Warning", Reason.LEFT_BEHIND, text[:1024])
    own = observed["metadata"]
    wanted, why = plan.render_given_back(kept), "it is restored as it was before adoption"
    await writing.apply(work, entry.release, plan.Write(wanted, own["uid"], why, version=own.get("resourceVersion")))
    return None


async def find_kept(work: PassContext, entry: EntryView, name: str) -> JSON:
    """Return the ControllerRevision that keeps the entry's adopted object. Raises `Refused` (RevisionNotFound).

    If the status was lost, the name is not known. Then the release's label and the kept object identify it.
    """
    release = entry.release
    found = await revisions.get_own(work.reader, release, name)
    if found is None:
        kept = await work.reader.revisions(release)
        found = revision.find_adopted(kept, placements.object_place(entry.placement()))
    if found is None:
        raise Refused(
            Reason.REVISION_NOT_FOUND,
            f"the adopted object is not kept: no ControllerRevision of {release.metadata.namespace} has it",
            "Write the object yourself, or correct the spec",
        )
    return found
