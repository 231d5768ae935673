"""Steps that several actions share: notes before an act, log levels, pull secrets."""

from __future__ import annotations

from collections.abc import Collection

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import loggers, writing
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Each, Names, Once
from pluginrelease.core.gateway import raised_loggers
from pluginrelease.core.gateway.identity import pod_mark
from pluginrelease.core.gateway.raised_loggers import RaisedLogger
from pluginrelease.core.rollout.facts import EntryView, Facts
from pluginrelease.core.rollout.release_results import LevelsFound, LevelsRestored, Noted
from pluginrelease.core.rollout.results import LevelsRaised, LevelsToRaise


async def checkpoint(work: PassContext, facts: Facts, names: Names) -> Noted | None:
    """Write the notes of all entries to the status in one write, before the acts that need them."""
    if not any(entry.entry.to_note for entry in facts.views(names)):
        return None
    return await writing.checkpoint(work, facts)


async def find_levels(work: PassContext, facts: Facts, names: Names) -> LevelsFound | None:
    """Read the log levels before they are raised and note them, so that a later process can restore them."""
    entries = [entry for entry in facts.views(names) if entry.entry.to_raise]
    selected = {pod.uid: pod for entry in entries for pod in entry.entry.to_raise}
    if not selected or not work.settings.raise_filter_logger:
        return None
    reach, uid = work.context.reach, facts.release.metadata.uid
    before = (seen for entry in entries for seen in entry.entry.before)
    seen = {pod.pod.uid: pod.logger_level for pod in before if pod.logger_level is not None}
    found = await loggers.find_levels_to_restore(
        work.cluster, work.reader, facts.release, [*selected.values()], reach, seen
    )
    work.context.left.difference_update({(uid, level.mark) for level in found})
    return LevelsFound({entry.name: note_levels(entry, found) for entry in entries})


def note_levels(entry: EntryView, found: Collection[RaisedLogger]) -> LevelsToRaise:
    """Return the levels of one entry's pods, and its observation with them."""
    marks = {pod_mark(pod.uid) for pod in entry.entry.to_raise}
    levels = [level for level in found if level.mark in marks]
    held = raised_loggers.read(entry.observation.raised_loggers)
    new = [level for level in levels if level.mark not in {other.mark for other in held}]
    held = [*held, *new][: api.MAX_OBSERVED_PODS]
    noted = {level.mark for level in held}  # levels beyond the limit are not noted, and then not raised
    observation = entry.observation.model_copy(update={"raised_loggers": raised_loggers.store(held)})
    return LevelsToRaise(observation, tuple(level for level in levels if level.mark in noted), is_news=bool(new))


async def raise_levels(work: PassContext, entry: EntryView) -> LevelsRaised:
    """Set Envoy's filter logger to debug where the operator looks for the gateway's own message "loaded"."""
    levels = entry.entry.levels
    if levels:
        uid, reach = entry.release.metadata.uid, work.context.reach
        await writing.set_levels(work, uid, lambda: loggers.raise_all(work.cluster, levels, reach))
    return LevelsRaised()


async def restore_levels(work: PassContext, facts: Facts, names: Names) -> LevelsRestored | None:
    """Restore each log level that these entries raised and no other release needs; then delete its note."""
    noted = {entry.name: entry.noted for entry in facts.views(names)}
    held = {name: raised_loggers.read(known.raised_loggers) for name, known in noted.items() if known is not None}
    raised = list(dict.fromkeys(level for levels in held.values() for level in levels))
    if not raised:
        return None
    uid, context = facts.release.metadata.uid, work.context
    kept = await loggers.restore_all(work.cluster, work.reader, uid, raised, context.reach, context.left)
    still = {
        name: known.model_copy(
            update={"raised_loggers": raised_loggers.store([level for level in held[name] if level in kept])}
        )
        for name, known in noted.items()
        if known is not None and held[name]
    }
    return LevelsRestored(still)


CHECKPOINT = Once(ConditionType.APPLIED, checkpoint)
FIND_LEVELS = Once(ConditionType.APPLIED, find_levels)
RAISE_LEVELS = Each(ConditionType.APPLIED, raise_levels)
# levels are noted before they are raised, and raised before the gateways get something to log
BEFORE_A_WRITE = (FIND_LEVELS, CHECKPOINT, RAISE_LEVELS)
RESTORE_LEVELS = Once(ConditionType.APPLIED, restore_levels)
