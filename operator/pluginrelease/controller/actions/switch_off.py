"""SwitchOff: remove the plugin from every gateway of the release. The object comes first, and no check before it."""

from __future__ import annotations

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.actions import notes
from pluginrelease.controller.actions.roll_back import delete_own
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Each, Once, Step
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.core.rollout.results import SwitchedOffEntry
from pluginrelease.core.rollout.settled import is_asked


async def take_off(work: PassContext, entry: EntryView) -> SwitchedOffEntry:
    """Delete the entry's object, even one that was adopted: a ControllerRevision keeps it."""
    await delete_own(work, entry)
    text = "a user switched the release off"
    findings = [
        Finding(kind, "False", Reason.SWITCHED_OFF, text) for kind in (ConditionType.APPLIED, ConditionType.LOADED)
    ]
    if is_asked(ConditionType.PROBED, entry.release):
        findings.append(Finding(ConditionType.PROBED, "Unknown", Reason.NOT_REACHED, text))
    return SwitchedOffEntry(tuple(findings))


STEPS: tuple[Step, ...] = (
    Each(ConditionType.APPLIED, take_off),
    # the annotation may be deleted before the pass ends
    Once(ConditionType.APPLIED, notes.checkpoint, quiet=True),
    Once(ConditionType.APPLIED, notes.restore_levels, quiet=True),
)
