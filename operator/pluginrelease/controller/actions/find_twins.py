"""Find the same plugin in a second object that no release made: refuse the first write, and report it afterwards."""

from __future__ import annotations

from typing import Any

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import looking
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout import bare_plugins, conflict
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.core.rollout.results import TwinFound
from pluginrelease.edges.kubernetes import resources

JSON = dict[str, Any]


async def find_twins(work: PassContext, entry: EntryView, candidate: Candidate) -> list[JSON]:
    """Return the other objects that put the entry's plugin on some of its pods."""
    kind = resources.resource_for(entry.plugin_api.TARGET)
    repository = conflict.repository(candidate.placement.spec)
    alike = await work.reader.bare_carriers(kind, repository)
    found = []
    for thing, where in bare_plugins.find_twins(candidate.placement, alike, work.mesh):
        if await looking.list_pods(work, where, fresh=False):
            found.append({**resources.type_meta(kind), **thing})
    return found


async def refuse_twin(work: PassContext, entry: EntryView) -> None:
    """Raise `Refused` (DuplicatePlugin) if the entry's first write would make requests run the plugin twice."""
    if conflict.is_written(entry.release, entry.name):
        return
    rendered = entry.rendered(entry.aimed)
    for thing in await find_twins(work, entry, entry.aimed):
        if bare_plugins.is_used_alike(rendered, thing):
            raise bare_plugins.refuse_twin(thing, entry.name)


async def report_twin(work: PassContext, entry: EntryView) -> TwinFound | None:
    """Report that requests run the plugin twice.

    Both objects stay, because the operator cannot know which one is right.
    """
    twin = next(iter(await find_twins(work, entry, entry.carried)), None)
    if twin is None:
        return None
    carried = f"{entry.target_name()} carries revision {entry.carried.revision}"
    text = f"{carried}, and {bare_plugins.describe_twin(twin)}: every request runs it twice. Delete one of the two"
    return TwinFound(Finding(ConditionType.APPLIED, "True", Reason.DUPLICATE_PLUGIN, text))
