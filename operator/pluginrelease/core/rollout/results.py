"""What the steps about one entry return. Each result contains one thing, and adds it to the facts.

Results about the release are in `release_results`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from pluginrelease import api
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.raised_loggers import RaisedLogger
from pluginrelease.core.gateway.verdict.values import Verdict
from pluginrelease.core.rollout import applied, decisions, facts, plan
from pluginrelease.core.rollout.candidate import Candidate, LastLook
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.facts import EntryFacts, Facts
from pluginrelease.core.rollout.report import EntryReport, Event

JSON = dict[str, Any]


class EntryResult(Protocol):
    """What a step returns about one entry."""

    def add(self, known: Facts, name: str) -> Facts:
        """Return the facts with this result."""
        ...


def _reported(known: Facts, entry: EntryFacts, report: EntryReport) -> Facts:
    return known.with_entry(replace(entry, report=report))


def aim(known: Facts, name: str, candidate: Candidate) -> Facts:
    """Return the facts with what an entry's gateways should run."""
    entry = known.entry(name)
    report, goal = known.report, entry.goal
    if goal in (Goal.SPEC, Goal.REVISION):
        report = replace(report, target_revision=candidate.revision)
    if goal is Goal.SPEC:
        report = replace(report, artifact=candidate.artifact)
    aimed = replace(entry, aimed=candidate, report=replace(entry.report, running=candidate.revision))
    return replace(known, report=report).with_entry(aimed)


@dataclass(frozen=True)
class CarrierRead:
    """The object that carries the plugin; None if there is none. ``has_pods``: as in `EntryFacts`."""

    carrier: JSON | None
    has_pods: bool = True

    def add(self, known: Facts, name: str) -> Facts:
        return known.with_entry(replace(known.entry(name), carrier=self.carrier, has_pods=self.has_pods))


@dataclass(frozen=True)
class Carries:
    """The object contains what is wanted. ``finding`` is the condition Applied, if this is news."""

    candidate: Candidate
    carrier: JSON | None

    def add(self, known: Facts, name: str) -> Facts:
        known = aim(known, name, self.candidate)
        entry = replace(known.entry(name), carried=self.candidate, carrier=self.carrier, draft=facts.NOTHING_TO_WRITE)
        finding = applied.describe_applied(known.view(name), self.candidate, self.carrier)
        found = applied.place_of_object(self.carrier)
        report = replace(entry.report, findings=(*entry.report.findings, finding), object=found or entry.report.object)
        return _reported(known, entry, report)


@dataclass(frozen=True)
class Watched:
    """The object contains what is wanted, but cannot continue now.

    Its gateways are checked, and nothing else is reported.
    """

    candidate: Candidate

    def add(self, known: Facts, name: str) -> Facts:
        return known.with_entry(replace(known.entry(name), carried=self.candidate))


@dataclass(frozen=True)
class Checked:
    """The entry's gateways can load the revision; what they showed before the write."""

    before: tuple[PodObservation, ...]
    finding: Finding

    def add(self, known: Facts, name: str) -> Facts:
        entry = replace(known.entry(name), before=self.before)
        return _reported(known, entry, replace(entry.report, findings=(*entry.report.findings, self.finding)))


@dataclass(frozen=True)
class Prepared:
    """What will be written, what is recorded before that, and whose log levels will be raised."""

    draft: plan.Plan
    observation: api.Observation | None
    to_raise: tuple[PodRef, ...] = ()
    adopted: str | None = None
    events: tuple[Event, ...] = ()
    is_refetch: bool = False

    def add(self, known: Facts, name: str) -> Facts:
        entry = replace(known.entry(name), draft=self.draft, to_raise=self.to_raise, to_note=True)
        entry = replace(entry, is_refetched=self.is_refetch)
        report = replace(
            entry.report,
            observation=self.observation or entry.report.observation,
            adopted=self.adopted or entry.report.adopted,
        )
        return _reported(known, entry, report).with_events(*self.events)


@dataclass(frozen=True)
class LevelsRaised:
    """The log levels that the status records were raised, as far as gateways allowed it."""

    def add(self, known: Facts, name: str) -> Facts:
        return known.with_entry(replace(known.entry(name), to_raise=(), levels=()))


@dataclass(frozen=True)
class Steady:
    """What the entry keeps or gets again instead of the revision that is wanted."""

    candidate: Candidate
    carrier: JSON | None = None

    def add(self, known: Facts, name: str) -> Facts:
        entry = known.entry(name)
        entry = replace(entry, aimed=self.candidate, carrier=self.carrier or entry.carrier)
        found = applied.place_of_object(self.carrier) or entry.report.object
        return _reported(known, entry, replace(entry.report, running=self.candidate.revision, object=found))


@dataclass(frozen=True)
class Returned:
    """The stable revision was written instead of one that crashed, with its record."""

    candidate: Candidate
    carrier: JSON
    observation: api.Observation

    def add(self, known: Facts, name: str) -> Facts:
        known = Steady(self.candidate, self.carrier).add(known, name)
        return Kept(self.observation).add(known, name)


@dataclass(frozen=True)
class Written:
    """The object was written as drafted."""

    carrier: JSON

    def add(self, known: Facts, name: str) -> Facts:
        entry = replace(known.entry(name), draft=facts.NOTHING_TO_WRITE, carrier=self.carrier)
        return _reported(known, entry, replace(entry.report, object=applied.place_of_object(self.carrier)))


@dataclass(frozen=True)
class RolledBack:
    """The stable revision was written again, or was found in place. ``fallback`` is the progress of the rollback."""

    candidate: Candidate
    carrier: JSON
    put_back: facts.PutBack | None
    rollout: api.RolloutStatus

    def add(self, known: Facts, name: str) -> Facts:
        known = known.with_rollout(merge_fallback(known, self.rollout, name))
        entry = facts.decide_entry(known, known.entry(name))
        known = known.with_entry(replace(entry, put_back=self.put_back, carrier=self.carrier))
        return Carries(self.candidate, self.carrier).add(known, name)


@dataclass(frozen=True)
class TakenOff:
    """No plugin of ours should run: the object was deleted, or is as it was before it was adopted.

    ``running`` None: only until old listeners have drained.
    """

    finding: Finding
    running: str | None
    rollout: api.RolloutStatus | None = None
    adopted: str | None = None
    unproven: Finding | None = None

    def add(self, known: Facts, name: str) -> Facts:
        if self.rollout is not None:
            known = known.with_rollout(merge_fallback(known, self.rollout, name))
        entry = known.entry(name)
        running = entry.report.running if self.running is None else self.running
        more = (self.unproven,) if self.unproven is not None else ()
        adopted, findings = self.adopted or entry.report.adopted, (*entry.report.findings, self.finding, *more)
        report = replace(entry.report, running=running, findings=findings, adopted=adopted)
        return _reported(known, replace(entry, carried=None), report)


@dataclass(frozen=True)
class SwitchedOffEntry:
    """The entry's object was deleted, because a user switched the release off."""

    findings: tuple[Finding, ...]

    def add(self, known: Facts, name: str) -> Facts:
        entry = known.entry(name)
        report = replace(entry.report, running="", findings=(*entry.report.findings, *self.findings))
        return _reported(known, replace(entry, carrier=None, carried=None, to_note=True), report)


def merge_fallback(known: Facts, news: api.RolloutStatus, name: str) -> api.RolloutStatus:
    """Return the rollout with one entry's progress merged in: other entries may have progress of their own."""
    current = known.rollout
    if current is None or not any(fallback.name == name for fallback in news.fallbacks):
        return current or news
    return decisions.with_fallback(current, decisions.fallback_of(news, name))


@dataclass(frozen=True)
class TurnTaken:
    """A step of the detour, because Envoy refuses what is restored."""

    rollout: api.RolloutStatus
    events: tuple[Event, ...] = ()

    def add(self, known: Facts, name: str) -> Facts:
        return known.with_rollout(merge_fallback(known, self.rollout, name)).with_events(*self.events)


@dataclass(frozen=True)
class Looked:
    """What the gateways showed, and what it means."""

    verdict: Verdict
    last_look: LastLook | None = None
    observation: api.Observation | None = None
    finding: Finding | None = None

    def add(self, known: Facts, name: str) -> Facts:
        entry = known.entry(name)
        findings = (*entry.report.findings, self.finding) if self.finding else entry.report.findings
        report = replace(
            entry.report,
            verdict=self.verdict,
            findings=findings,
            observation=self.observation or entry.report.observation,
        )
        return _reported(known, replace(entry, last_look=self.last_look or entry.last_look), report)


@dataclass(frozen=True)
class TwinFound:
    """A second object runs the same plugin on the entry's pods: the condition Applied reports it."""

    finding: Finding

    def add(self, known: Facts, name: str) -> Facts:
        entry = known.entry(name)
        return _reported(known, entry, replace(entry.report, findings=(*entry.report.findings, self.finding)))


@dataclass(frozen=True)
class Crashed:
    """The pods' status shows a crash because of the write. ``is_watched``: the revision ran everywhere before."""

    candidate: Candidate
    verdict: Verdict
    last_look: LastLook
    is_watched: bool = False

    def add(self, known: Facts, name: str) -> Facts:
        entry = known.entry(name)
        crash = facts.CrashSeen(self.candidate, self.verdict)
        report = replace(entry.report, is_unproved=self.is_watched)
        return known.with_entry(replace(entry, last_look=self.last_look, crash=crash, report=report))


@dataclass(frozen=True)
class Kept:
    """What is known of the entry's gateways, after some of it ended."""

    observation: api.Observation

    def add(self, known: Facts, name: str) -> Facts:
        entry = known.entry(name)
        return _reported(known, entry, replace(entry.report, observation=self.observation))


@dataclass(frozen=True)
class Superseded:
    """A first revision that was replaced before it ran was removed, or kept; what its gateways showed."""

    running: str
    verdict: Verdict
    observation: api.Observation
    finding: Finding | None = None
    events: tuple[Event, ...] = ()

    def add(self, known: Facts, name: str) -> Facts:
        known = Looked(self.verdict, None, self.observation, self.finding).add(known, name)
        entry = known.entry(name)
        return _reported(known, entry, replace(entry.report, running=self.running)).with_events(*self.events)


@dataclass(frozen=True)
class LetGo:
    """What a removed entry wrote was deleted, or released; what a user should know of that."""

    events: tuple[Event, ...] = ()

    def add(self, known: Facts, name: str) -> Facts:
        return known.with_events(*self.events)


@dataclass(frozen=True)
class Gone:
    """What a removed entry wrote was deleted, or released."""

    def add(self, known: Facts, name: str) -> Facts:
        return known.without(name)


@dataclass(frozen=True)
class LevelsToRaise:
    """Log levels of one entry's pods to raise, and its observation, which records how to restore them."""

    observation: api.Observation
    levels: tuple[RaisedLogger, ...]
    is_news: bool

    def add(self, known: Facts, name: str) -> Facts:
        entry = known.entry(name)
        entry = replace(entry, levels=self.levels, to_note=entry.to_note or self.is_news)
        return _reported(known, entry, replace(entry.report, observation=self.observation))
