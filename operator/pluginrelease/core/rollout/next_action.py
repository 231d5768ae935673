"""Decide what a pass does next. `RULES` are tried in order, and the first rule that returns an action decides.

The rollback comes before everything else. After an error, only what keeps gateways well is done. Each action is done
once for an entry in a pass, so every pass ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from pluginrelease.api import ConditionType
from pluginrelease.core import config_values, revision, sources
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import decisions, detour
from pluginrelease.core.rollout.actions import (
    Accept,
    Action,
    AskConsent,
    CorrectDrift,
    Decide,
    EndHung,
    FetchAgain,
    FindRemoved,
    FindWritten,
    FollowConfig,
    FollowTag,
    Glance,
    KeepSecrets,
    Observe,
    ObserveFallback,
    ReadCarriers,
    Remove,
    RemoveSuperseded,
    RestoreLoggers,
    ReturnToStable,
    RollBack,
    RollOut,
    Suspend,
    SwitchOff,
    Wait,
)
from pluginrelease.core.rollout.decisions import BACK, Goal
from pluginrelease.core.rollout.facts import EntryFacts, EntryView, Facts

Rule = Callable[[Facts, datetime], Action | None]

FORWARD = frozenset({Goal.SPEC, Goal.REVISION})
# steps whose error leaves log levels as the check needs them
LOOKS = (ConditionType.LOADED, ConditionType.PROBED)


def next_action(facts: Facts, now: datetime) -> Action:
    """Return what to do now. `Wait` ends the pass. Never raises."""
    rules = RULES if facts.failure is None else AFTER_AN_ERROR
    actions = (rule(facts, now) for rule in rules)
    return next((action for action in actions if action is not None), Wait())


# ---------------------------------------------------------------------------------------- what ends a pass at once


def end_if_deleted(facts: Facts, now: datetime) -> Action | None:
    """Wait: the clean-up deletes what a deleted release wrote. A pass writes nothing."""
    return Wait() if facts.is_deleted else None


def end_if_turned_back(facts: Facts, now: datetime) -> Action | None:
    """Wait after the decision to roll back: the rollback is a new pass, which begins at once."""
    return Wait() if decisions.has_turned_back(facts.known.rollout, facts.report.rollout) else None


# -------------------------------------------------------------------------------------------------- the rollback


def switch_off(facts: Facts, now: datetime) -> Action | None:
    """Remove a plugin that a user switched off before anything else is asked, read or recorded."""
    return _of(SwitchOff, (entry for entry in _untouched(facts, SwitchOff) if entry.goal is Goal.OFF))


def roll_back(facts: Facts, now: datetime) -> Action | None:
    """Remove what failed from the gateways before anything else is asked, read or recorded."""
    entries = _untouched(facts, RollBack)
    return _of(RollBack, (entry for entry in entries if goes_back(facts, entry) or returns_to_stable(facts, entry)))


def goes_back(facts: Facts, entry: EntryFacts) -> bool:
    """Return True if an entry must get what it ran before. For a suspended release: only if that was not begun."""
    return entry.goal in BACK and (not facts.release.spec.suspend or is_unfinished(facts, entry))


def returns_to_stable(facts: Facts, entry: EntryFacts) -> bool:
    """Return True if a user asked for the very revision that the entry falls back to, and something else is written."""
    view = EntryView(facts, entry)
    is_moot = facts.release.spec.suspend or entry.report.is_unproved
    if is_moot or entry.goal is not Goal.REVISION or view.row is None:
        return False
    return view.row.revision is not None and view.row.revision != entry.report.intent.revision == view.stable


def is_unfinished(facts: Facts, entry: EntryFacts) -> bool:
    """Return True if the entry's object, as far as is known, still contains the revision that failed."""
    failure = facts.rollout.failure if facts.rollout is not None else None
    row = facts.release.status.gateway(entry.name)
    return failure is not None and row is not None and row.revision == failure.revision


def follow_tag_while_back(facts: Facts, now: datetime) -> Action | None:
    """Follow a tag that moved since the failure: another rollout ends the rollback sooner."""
    if facts.is_off or not is_back(facts) or facts.retry or not is_tag_due(facts, now):
        return None
    return _of(FollowTag, facts.of_spec())


def follow_config_while_back(facts: Facts, now: datetime) -> Action | None:
    """Read the values of ``configFrom`` after the rollback: other values begin another rollout."""
    return None if facts.is_off or not is_back(facts) else find_config(facts)


def find_config(facts: Facts) -> Action | None:
    """Return the action that reads the values, once in a pass, unless a user asked for an old revision."""
    rollout = facts.rollout
    is_needed = bool(config_values.list_places(facts.release.spec.plugin))
    if not is_needed or FollowConfig in facts.done or rollout is None or rollout.rollback_to:
        return None
    return _of(FollowConfig, facts.of_spec())


def observe_fallback(facts: Facts, now: datetime) -> Action | None:
    """Check the gateways for what was restored."""
    entries = (entry for entry in _well(facts, ObserveFallback) if RollBack in entry.done and entry.goal in BACK)
    return _of(ObserveFallback, (entry for entry in entries if entry.carried is not None))


def end_hung(facts: Facts, now: datetime) -> Action | None:
    """Restart gateways that hang: a hanging Envoy does not take the removal of a plugin."""
    if facts.rollout is None or not (is_back(facts) or facts.is_off):
        return None
    entries = (entry for entry in _well(facts, EndHung) if entry.done & {RollBack, SwitchOff})
    removed = [EntryView(facts, entry) for entry in entries if entry.goal in (Goal.NOTHING, Goal.OFF)]
    return _of(EndHung, (view.entry for view in removed if detour.may_hang(view.way_back(now))))


# --------------------------------------------------------------------------------- what was written, and fails


def glance(facts: Facts, now: datetime) -> Action | None:
    """Read restarts in the pods' status before anything is asked of a registry or a namespace."""
    entries = [entry for entry in _untouched(facts, Glance) if AskConsent not in entry.done]
    return _of(Glance, (entry for entry in _forward(entries) if is_under_way(EntryView(facts, entry), now)))


def list_under_way(facts: Facts, now: datetime) -> list[EntryFacts]:
    """Return the entries to which something was written that can still fail."""
    return [entry for entry in _forward(facts.of_spec()) if is_under_way(EntryView(facts, entry), now)]


def is_under_way(view: EntryView, now: datetime) -> bool:
    """Return True if what was written to the entry was not seen running everywhere, or is watched since."""
    known, row = view.noted, view.row
    is_there = row is not None and row.object is not None and row.revision is not None
    if known is None or not is_there:
        return False
    return known.revision != view.stable or view.is_watched(known.revision, now)


def decide_crash(facts: Facts, now: datetime) -> Action | None:
    """End the rollout of what is wanted, if it crashed."""
    crashed = [entry for entry in _untouched(facts, Decide) if entry.crash is not None]
    return _of(Decide, (entry for entry in crashed if is_wanted(facts, entry)))


def leave_superseded(facts: Facts, now: datetime) -> Action | None:
    """Restore what ran before a revision that crashed and is no longer wanted; only then try its successor."""
    crashed = [entry for entry in facts.of_spec() if entry.crash is not None and not is_wanted(facts, entry)]
    stable = [entry for entry in crashed if EntryView(facts, entry).stable is not None]
    first = [entry for entry in crashed if EntryView(facts, entry).stable is None]
    return _of(ReturnToStable, _not_done(stable, ReturnToStable)) or _of(
        RemoveSuperseded, _not_done(first, RemoveSuperseded)
    )


def is_wanted(facts: Facts, entry: EntryFacts) -> bool:
    """Return True if the spec, or a command, wants what the entry carries."""
    if entry.crash is None:
        return False
    crashed = entry.crash.candidate.revision
    if entry.goal is Goal.REVISION:
        return crashed == entry.report.intent.revision
    known, image = facts.release.status.artifact, sources.find_image(facts.release.spec.artifact)
    if facts.retry or known is None or not tags.is_about(known, image):
        return False
    return crashed == revision.compute_identity(facts.release.spec, known.digest, facts.config_digest)


# --------------------------------------------------------------------------------------------- removed entries


def suspend(facts: Facts, now: datetime) -> Action | None:
    """Restore log levels and do nothing else. Plugins keep running. Only a rollback that was not begun comes before."""
    if not facts.release.spec.suspend:
        return None
    return _of(Suspend, _untouched(facts, Suspend)) or Wait()


def find_removed(facts: Facts, now: datetime) -> Action | None:
    """Find removed entries, once in a pass."""
    return None if FindRemoved in facts.done else FindRemoved()


def remove(facts: Facts, now: datetime) -> Action | None:
    """Delete what removed entries wrote, or keep it if their policy says so."""
    return _of(Remove, _not_done(facts.removed(), Remove))


# ------------------------------------------------------------------------------------------------------ forward


def correct_drift(facts: Facts, now: datetime) -> Action | None:
    """Keep entries on the revision that runs well there and failed elsewhere."""
    entries = (entry for entry in _well(facts, CorrectDrift) if entry.goal is Goal.STAY)
    return _of(CorrectDrift, (entry for entry in entries if entry.report.intent.revision is not None))


def ask_consent(facts: Facts, now: datetime) -> Action | None:
    """Check that the gateways' namespaces admit the release, in every pass that writes something new."""
    return _of(AskConsent, _forward(_well(facts, AskConsent)))


def follow_tag(facts: Facts, now: datetime) -> Action | None:
    """Ask for a tag when that is due, with the pull secret of an entry whose namespace admits the release."""
    if facts.retry or is_back(facts) or not is_tag_due(facts, now):
        return None
    return _of(FollowTag, (entry for entry in facts.of_spec() if AskConsent in entry.done and not entry.has_failed))


def follow_config(facts: Facts, now: datetime) -> Action | None:
    """Read the values of ``configFrom`` before objects are compared with what the spec wants."""
    return find_config(facts) if _forward(_well(facts, ReadCarriers)) else None


def read_carriers(facts: Facts, now: datetime) -> Action | None:
    """Read which objects exist, and who owns them."""
    return _of(ReadCarriers, _forward(_well(facts, ReadCarriers)))


def accept(facts: Facts, now: datetime) -> Action | None:
    """Accept objects that are already as they should be: they are not written again."""
    entries = (entry for entry in _forward(_well(facts, Accept)) if RollOut not in entry.done)
    return _of(Accept, (entry for entry in entries if entry.carried is not None))


def roll_out(facts: Facts, now: datetime) -> Action | None:
    """Write all other entries together: if one gateway refuses the revision, none gets it."""
    return _of(RollOut, (entry for entry in _forward(_well(facts, RollOut)) if entry.carried is None))


def keep_secrets(facts: Facts, now: datetime) -> Action | None:
    """Copy a rotated pull secret."""
    return _of(KeepSecrets, (entry for entry in _forward(_well(facts, KeepSecrets)) if entry.carried is not None))


def find_written(facts: Facts, now: datetime) -> Action | None:
    """Find what is written for entries that cannot continue: it is still checked."""
    entries = (entry for entry in _forward(facts.of_spec()) if entry.has_failed)
    return _of(FindWritten, _not_done(entries, FindWritten))


def observe(facts: Facts, now: datetime) -> Action | None:
    """Check every pod after the write. Only this makes Ready True."""
    entries = _not_done(_forward(facts.of_spec()), Observe)
    carried = [entry for entry in entries if entry.carried is not None]
    looked_at = tuple(entry.name for entry in carried if not entry.has_failed)
    watched = tuple(entry.name for entry in carried if entry.has_failed)
    return Observe(looked_at, watched=watched) if carried else None


# ------------------------------------------------------------------------------------------------- after the check


def refetch(facts: Facts, now: datetime) -> Action | None:
    """Send the plugin again to gateways that could not fetch it."""
    looks = {Observe, ObserveFallback}
    entries = (entry for entry in _untouched(facts, FetchAgain) if entry.done & looks and entry.report.verdict)
    return _of(FetchAgain, (entry for entry in entries if not entry.has_failed or ObserveFallback in entry.done))


def restore_loggers(facts: Facts, now: datetime) -> Action | None:
    """Restore a log level when its check is over, or when there will be none."""
    entries = (entry for entry in facts.of_spec() if holds_levels(facts, entry))
    return _of(RestoreLoggers, (entry for entry in _not_done(entries, RestoreLoggers) if is_over(facts, entry, now)))


def holds_levels(facts: Facts, entry: EntryFacts) -> bool:
    """Return True if the entry has raised log levels."""
    known = EntryView(facts, entry).noted
    return known is not None and bool(known.raised_loggers)


def is_over(facts: Facts, entry: EntryFacts, now: datetime) -> bool:
    """Return True if no raised log level is needed any more."""
    view, failure = EntryView(facts, entry), entry.report.failure or facts.failure
    if failure is not None and failure.step not in LOOKS:
        return True
    if RollBack in entry.done and entry.carried is None and entry.goal is not Goal.ROLLBACK:
        return True
    if entry.report.verdict is None or view.is_watched_closely(now):
        return False
    return facts.report.rollout is None or not view.is_about_to_go_back()


# ------------------------------------------------------------------------------------------------ after an error


def watch_wanted(facts: Facts, now: datetime) -> Action | None:
    """Check a wanted revision that was refused after it was written: it fails if its gateways show that."""
    entries = (entry for entry in _delivered(facts, FindWritten) if entry.carried is None)
    return _of(FindWritten, (entry for entry in entries if carries_wanted(EntryView(facts, entry))))


def carries_wanted(view: EntryView) -> bool:
    """Return True if the last record of the entry is of the wanted revision, not of its fallback."""
    known = view.noted
    return known is not None and known.revision == view.facts.report.target_revision != view.stable


def watch(facts: Facts, now: datetime) -> Action | None:
    """Check after an error: this can only make the rollout fail."""
    entries = [entry for entry in _untouched(facts, Observe) if entry.carried is not None and not entry.report.verdict]
    watched = tuple(entry.name for entry in _forward(entries))
    return Observe(watched=watched) if watched else None


def maintain_stable(facts: Facts, now: datetime) -> Action | None:
    """Keep what ran before as it was, while the wanted revision is refused or awaited."""
    entries = [entry for entry in _delivered(facts, CorrectDrift) if not carries_wanted(EntryView(facts, entry))]
    return _of(CorrectDrift, (entry for entry in entries if EntryView(facts, entry).stable is not None))


def remove_superseded(facts: Facts, now: datetime) -> Action | None:
    """Remove a first revision that gateways cannot run, if its successor is refused."""
    entries = [entry for entry in _delivered(facts, RemoveSuperseded) if not carries_wanted(EntryView(facts, entry))]
    return _of(RemoveSuperseded, (entry for entry in entries if EntryView(facts, entry).stable is None))


RULES: tuple[Rule, ...] = (
    end_if_deleted,
    end_if_turned_back,
    # the rollback: nothing is read, asked or recorded before it
    switch_off,
    roll_back,
    suspend,
    follow_tag_while_back,
    follow_config_while_back,
    glance,
    decide_crash,
    leave_superseded,
    observe_fallback,
    end_hung,
    # removed entries
    find_removed,
    remove,
    # forward
    correct_drift,
    ask_consent,
    follow_tag,
    follow_config,
    read_carriers,
    accept,
    roll_out,
    keep_secrets,
    find_written,
    observe,
    # after the check
    refetch,
    restore_loggers,
)
AFTER_AN_ERROR: tuple[Rule, ...] = (
    end_if_deleted,
    end_if_turned_back,
    watch_wanted,
    maintain_stable,
    remove_superseded,
    watch,
    restore_loggers,
)


# --------------------------------------------------------------------------------------------------------- entries


def is_back(facts: Facts) -> bool:
    """Return True if some entry runs something other than the wanted revision because that one failed."""
    return decisions.goes_back(facts.rollout)


def is_tag_due(facts: Facts, now: datetime) -> bool:
    """Return True if it is time to ask the registry what the reference names."""
    rollout = facts.rollout
    if FollowTag in facts.done or facts.release.status.artifact is None or rollout is None or rollout.rollback_to:
        return False
    return tags.is_due(facts.release, now)


def _of(kind: type[Action], entries: Iterable[EntryFacts]) -> Action | None:
    names = tuple(entry.name for entry in entries)
    return kind(names) if names else None


def _not_done(entries: Iterable[EntryFacts], kind: type[Action]) -> list[EntryFacts]:
    return [entry for entry in entries if kind not in entry.done]


def _untouched(facts: Facts, kind: type[Action]) -> list[EntryFacts]:
    return _not_done(facts.of_spec(), kind)


def _well(facts: Facts, kind: type[Action]) -> list[EntryFacts]:
    return [entry for entry in _untouched(facts, kind) if not entry.has_failed]


def _forward(entries: Iterable[EntryFacts]) -> list[EntryFacts]:
    return [entry for entry in entries if entry.goal in FORWARD]


def _delivered(facts: Facts, kind: type[Action]) -> list[EntryFacts]:
    """Return the entries whose revision was refused during their rollout, after something of it was written."""
    entries = (entry for entry in _untouched(facts, kind) if ReadCarriers in entry.done)
    return [entry for entry in entries if EntryView(facts, entry).noted is not None]
