"""Combine the checks of several entries into a decision about their rollout."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Transient
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.facts import EntryFacts, Facts
from pluginrelease.core.rollout.release_results import Decided


def decide(facts: Facts, names: Collection[str], now: datetime) -> Decided | None:
    """Return what the checks of these entries mean; None if none was checked."""
    seen = [entry for entry in facts.views(names) if entry.report.verdict is not None]
    if not seen or facts.rollout is None:
        return None
    return Decided(advance(facts, facts.rollout, seen[0].carried.revision, count_verdicts(facts, names), now))


def decide_crash(facts: Facts, names: Collection[str], now: datetime) -> Decided | None:
    """Return the end of the rollout of what crashed; None if nothing crashed."""
    crashes = {entry.name: entry.entry.crash for entry in facts.views(names)}
    verdicts = {name: crash.verdict for name, crash in crashes.items() if crash is not None}
    revisions = [crash.candidate.revision for crash in crashes.values() if crash is not None]
    if not revisions or facts.rollout is None:
        return None
    return Decided(advance(facts, facts.rollout, revisions[0], verdicts, now))


def advance(
    facts: Facts, rollout: api.RolloutStatus, revision: str, verdicts: Mapping[str, Verdict], now: datetime
) -> api.RolloutStatus:
    """Return the rollout after these verdicts."""
    deadline = facts.release.spec.rollout.progress_deadline
    return decisions.advance(facts.release, rollout, revision, verdicts, now, deadline)


def count_verdicts(facts: Facts, names: Collection[str]) -> dict[str, Verdict]:
    """Return the verdicts that decide the rollout.

    An entry that could not be checked is awaited. An entry that is only watched can fail.
    """
    unseen = Verdict(State.UNKNOWN, Reason.NOT_LOOKED_AT, "")
    found = dict[str, Verdict]()
    for entry in facts.of_spec():
        judged = entry.report.verdict if entry.name in names else None
        is_looked_at = entry.name in names and not entry.has_failed and facts.failure is None
        if is_looked_at or is_tried_again(entry):
            found[entry.name] = judged or unseen
        elif judged is not None and not decisions.is_loaded(judged):
            found[entry.name] = judged
    return found


def is_tried_again(entry: EntryFacts) -> bool:
    """Return True if the entry's part of the pass ended with a temporary error: it stays in the rollout."""
    return entry.report.failure is not None and isinstance(entry.report.failure.error, Transient)
