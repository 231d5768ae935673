"""What a pass knows: the release, and for each entry what was read, what was written, and what its gateways showed.

Facts are values. The steps of an action return results (`core.rollout.results`), which make new facts from the old
ones. `core.rollout.next_action` uses the facts to decide what comes next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.artifact.pulled import PulledArtifact
from pluginrelease.core.config_values import ConfigValues
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import notes as pod_notes
from pluginrelease.core.gateway import refetch
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.raised_loggers import RaisedLogger
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.mesh.providers import Mesh, PluginAPI
from pluginrelease.core.rollout import decisions, detour, plan, switch, watch
from pluginrelease.core.rollout.actions import Action
from pluginrelease.core.rollout.candidate import Candidate, LastLook
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.report import EntryReport, Event, Failure, Report, way_back

JSON = dict[str, Any]

NOTHING_TO_WRITE = plan.Plan()


@dataclass(frozen=True)
class PutBack:
    """What a rollback wrote: what its gateways showed before, what the object contained, and since when."""

    shown: LastLook
    carried: str | None
    since: datetime


@dataclass(frozen=True)
class CrashSeen:
    """A revision that was written, and that crashed a gateway."""

    candidate: Candidate
    verdict: Verdict


@dataclass(frozen=True)
class EntryFacts:
    """What is known of one entry.

    * ``done``: the actions of this pass for this entry.
    * ``carrier``: its object as it was read; None: there is none, or it was not read yet.
    * ``has_pods`` False: there is no gateway pod.
    * ``aimed``: what its gateways should run.
    * ``carried``: what its object is known to contain of that; the check of gateways looks for it.
    * ``draft``: what will be written; ``before``: what its gateways showed before.
    * ``to_raise``: the pods whose log level must be raised; ``levels``: those that the status records.
    * ``to_note``: something must be written to the status before the next action.
    """

    gateway: api.Gateway
    report: EntryReport
    done: frozenset[type[Action]] = frozenset()
    carrier: JSON | None = None
    has_pods: bool = True
    aimed: Candidate | None = None
    carried: Candidate | None = None
    put_back: PutBack | None = None
    before: tuple[PodObservation, ...] = ()
    draft: plan.Plan = NOTHING_TO_WRITE
    to_raise: tuple[PodRef, ...] = ()
    levels: tuple[RaisedLogger, ...] = ()
    to_note: bool = False
    is_refetched: bool = False
    last_look: LastLook | None = None
    crash: CrashSeen | None = None

    @property
    def name(self) -> str:
        return self.gateway.name

    @property
    def goal(self) -> Goal:
        """Return what its gateways should run."""
        return self.report.intent.goal

    @property
    def has_failed(self) -> bool:
        """Return True if its part of the pass ended with an error."""
        return self.report.failure is not None


@dataclass(frozen=True)
class Obtained:
    """The revision that will be written: the release with its artifact and plugin, and the image that was checked."""

    effective: api.Release
    artifact: api.ArtifactStatus
    pulled: PulledArtifact


@dataclass(frozen=True)
class Facts:
    """What is known of a release in a pass.

    ``known`` is the status from before the pass; ``release`` has what was recorded since. ``retry``: a user asked for
    another try, or a tag moved, so the stored digest of the reference does not count. ``kept`` is the old revision that
    a user asked for; ``obtained`` is what will be written. ``config``: the values of the spec's ``configFrom``;
    ``config_error``: why they could not be read.
    """

    release: api.Release
    known: api.Status
    report: Report
    entries: tuple[EntryFacts, ...]
    retry: bool = False
    done: frozenset[type[Action]] = frozenset()
    kept: revision.Recorded | None = None
    obtained: Obtained | None = None
    config: ConfigValues | None = None
    config_error: ReleaseError | None = None

    @property
    def rollout(self) -> api.RolloutStatus | None:
        """Return the rollout of this pass, or the last one."""
        return self.report.rollout or self.release.status.rollout

    @property
    def failure(self) -> Failure | None:
        """Return the error that ended the pass for all entries."""
        return self.report.failure

    @property
    def mesh(self) -> Mesh:
        """Return the mesh of the release's gateways."""
        return providers.mesh_of(self.release.spec)

    @property
    def plugin_api(self) -> PluginAPI:
        """Return how the plugin is described to that mesh."""
        return providers.plugin_api_of(self.release.spec)

    @property
    def config_digest(self) -> str | None:
        """Return the keyed hash of the values of ``configFrom``: as they were read, or as the rollout recorded it."""
        recorded = self.rollout.config_digest if self.rollout is not None else None
        return self.config.digest if self.config is not None else recorded

    @property
    def is_off(self) -> bool:
        """Return True if a user switched the release off."""
        return self.report.switched_off is not None

    @property
    def is_deleted(self) -> bool:
        """Return True if the release is being deleted."""
        return self.release.metadata.deletion_timestamp is not None

    def entry(self, name: str) -> EntryFacts:
        """Return the facts of the entry of this name."""
        return next(entry for entry in self.entries if entry.name == name)

    def of_spec(self) -> tuple[EntryFacts, ...]:
        """Return the entries of the spec."""
        return self._of_spec

    @cached_property
    def _of_spec(self) -> tuple[EntryFacts, ...]:
        return tuple(entry for entry in self.entries if not entry.report.is_removed)

    def removed(self) -> tuple[EntryFacts, ...]:
        """Return the entries that were removed from the spec."""
        return tuple(entry for entry in self.entries if entry.report.is_removed)

    def view(self, name: str) -> EntryView:
        """Return the entry of this name, seen in its release."""
        return EntryView(self, self.entry(name))

    def views(self, names: Iterable[str]) -> list[EntryView]:
        """Return those of the named entries that exist."""
        wanted = set(names)
        return [EntryView(self, entry) for entry in self.entries if entry.name in wanted]

    def with_entry(self, changed: EntryFacts) -> Facts:
        """Return the facts with changed facts of one entry."""
        return replace(self, entries=tuple(changed if entry.name == changed.name else entry for entry in self.entries))

    def without(self, name: str) -> Facts:
        """Return the facts without an entry, because it is gone."""
        return replace(self, entries=tuple(entry for entry in self.entries if entry.name != name))

    def with_events(self, *events: Event) -> Facts:
        """Return the facts with more events."""
        return replace(self, report=replace(self.report, events=(*self.report.events, *events)))

    def with_rollout(self, rollout: api.RolloutStatus) -> Facts:
        """Return the facts with the present rollout."""
        return replace(self, report=replace(self.report, rollout=rollout))

    def failed(self, failure: Failure) -> Facts:
        """Return the facts with the error that ends the pass. The first error stays."""
        if self.report.failure is not None:
            return self
        return replace(self, report=replace(self.report, failure=failure))

    def entry_failed(self, name: str, failure: Failure) -> Facts:
        """Return the facts with the error that ends one entry's part of the pass. The first error stays."""
        entry = self.entry(name)
        if entry.has_failed:
            return self
        return self.with_entry(replace(entry, report=replace(entry.report, failure=failure)))

    def after(self, action: Action) -> Facts:
        """Return the facts with this action as done."""
        kind, concerned = type(action), set(concerned_by(action))
        entries = tuple(
            replace(entry, done=entry.done | {kind}) if entry.name in concerned else entry for entry in self.entries
        )
        return replace(self, entries=entries, done=self.done | {kind})

    def whole_report(self) -> Report:
        """Return what the pass learned, of the release and of its entries."""
        return replace(self.report, entries=tuple(entry.report for entry in self.entries))

    def with_intents(self) -> Facts:
        """Return the facts with what each entry should run, from the switch and the rollout of this pass."""
        return replace(self, entries=tuple(decide_entry(self, entry) for entry in self.entries))

    def begun_again(self, start: decisions.RolloutStart) -> Facts:
        """Return the facts at the start of another rollout. What was recorded and written of each entry stays known."""
        entries = tuple(
            entry if entry.report.is_removed else EntryFacts(entry.gateway, reset_report(entry))
            for entry in self.entries
        )
        begun = replace(self.report, rollout=start.rollout, handled=start.handled)
        retry = start.retry or self.retry
        return rest_refetches(replace(self, report=begun, entries=entries, retry=retry).with_intents())


def concerned_by(action: Action) -> tuple[str, ...]:
    """Return the names of all entries of an action."""
    watched: tuple[str, ...] = getattr(action, "watched", ())
    return (*action.names, *watched)


def reset_report(entry: EntryFacts) -> EntryReport:
    """Return an entry's report without the end of its part of the pass."""
    known = entry.report
    return EntryReport(
        entry.name,
        attachment=entry.gateway.attachment,
        object=known.object,
        adopted=known.adopted,
        observation=known.observation,
    )


def decide_entry(facts: Facts, entry: EntryFacts) -> EntryFacts:
    """Return the entry with what its gateways should run."""
    if entry.report.is_removed:
        return entry
    if facts.is_off:
        return replace(entry, report=replace(entry.report, intent=Intent(Goal.OFF)))
    if facts.rollout is None:
        return entry
    intent = decisions.decide_intent(facts.release, facts.rollout, entry.gateway)
    puts_back = EntryView(facts, entry).stable if intent.goal is Goal.ROLLBACK else None
    if (entry.report.intent, entry.report.puts_back) == (intent, puts_back):
        return entry
    return replace(entry, report=replace(entry.report, intent=intent, puts_back=puts_back))


def rest_refetches(facts: Facts) -> Facts:
    """Return the facts after a user asked for another try: the next fetch does not wait for the back-off."""
    for view in facts.views(entry.name for entry in facts.of_spec()):
        known = view.noted
        if known is not None and known.refetch is not None:
            rested = known.model_copy(update={"refetch": refetch.reset_attempts(known.refetch)})
            facts = facts.with_entry(replace(view.entry, report=replace(view.entry.report, observation=rested)))
    return facts


def begin(release: api.Release, now: datetime, looks: Mapping[str, LastLook] | None = None) -> Facts:
    """Return the facts at the start of a pass: from the status, with the present rollout or a new one.

    ``looks`` is what the gateways of entries showed when the rollback was decided. No rollout begins for a release that
    is deleted or suspended.
    """
    shown = looks or {}
    entries = tuple(
        EntryFacts(gateway, EntryReport(gateway.name, attachment=gateway.attachment), last_look=shown.get(gateway.name))
        for gateway in release.spec.gateways
    )
    turned = switch.decide(release.metadata.annotations, release.status, now)
    facts = Facts(release, release.status, Report(handled=turned.handled, switched_off=turned.off), entries)
    if facts.is_deleted or release.spec.suspend:
        again = decisions.begin(release, now) if turned.is_turned_on else None
        return replace(facts, report=replace(facts.report, rollout=again)).with_intents()
    told = release.model_copy(update={"status": release.status.model_copy(update={"handled": turned.handled})})
    start = decisions.start(told, now, is_turned_on=turned.is_turned_on)
    report = replace(facts.report, rollout=start.rollout, handled=start.handled)
    begun = replace(facts, report=report, retry=start.retry).with_intents()
    return rest_refetches(begun) if start.retry else begun


@dataclass(frozen=True)
class EntryView:
    """One entry, seen in its release: what every step needs to know of it."""

    facts: Facts
    entry: EntryFacts

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def gateway(self) -> api.Gateway:
        return self.entry.gateway

    @property
    def report(self) -> EntryReport:
        return self.entry.report

    @property
    def intent(self) -> Intent:
        return self.entry.report.intent

    @property
    def release(self) -> api.Release:
        return self.facts.release

    @property
    def mesh(self) -> Mesh:
        return self.facts.mesh

    @property
    def plugin_api(self) -> PluginAPI:
        return self.facts.plugin_api

    @property
    def row(self) -> api.GatewayStatus | None:
        """Return the entry's row in the status."""
        return self.release.status.gateway(self.name)

    @property
    def stable(self) -> str | None:
        """Return the revision that the entry falls back to."""
        if self.report.is_unproved and self.row is not None and self.row.watch is not None:
            return self.row.watch.revision
        return self.row.stable.revision if self.row is not None and self.row.stable is not None else None

    @property
    def noted(self) -> api.Observation | None:
        """Return the observation of this pass, or the stored one; None if nothing was written."""
        return self.report.observation or self.release.status.observation(self.name)

    @property
    def observation(self) -> api.Observation:
        """Return the observation of an entry that was written."""
        known = self.noted
        assert known is not None  # noqa: S101  an observation is recorded before each write
        return known

    @property
    def rollout(self) -> api.RolloutStatus:
        """Return the rollout of this pass."""
        decided = self.facts.rollout
        assert decided is not None  # noqa: S101  begun with the pass, or read from the status
        return decided

    @property
    def aimed(self) -> Candidate:
        """Return what its gateways should run."""
        assert self.entry.aimed is not None  # noqa: S101  known before it is written
        return self.entry.aimed

    @property
    def carried(self) -> Candidate:
        """Return what the check of its gateways looks for."""
        assert self.entry.carried is not None  # noqa: S101  known before the gateways are checked
        return self.entry.carried

    @property
    def load_timeout(self) -> timedelta:
        """Return how long a gateway has to show the plugin."""
        return self.release.spec.checks.load.timeout

    def place(self, effective: api.Release, config: ConfigValues | None = None) -> Placement:
        """Return a release, with the artifact and plugin of some revision and its values, as this entry sees it."""
        pods = self.intent.attachment
        gateway = self.gateway if pods is None else self.gateway.model_copy(update=pods._asdict())
        return Placement(effective, gateway, config)

    def placement(self) -> Placement:
        """Return the release as this entry sees it."""
        return self.place(self.release, self.facts.config)

    def place_obtained(self, obtained: Obtained) -> Placement:
        """Return what will be written, as this entry sees it."""
        kept = self.facts.kept
        return self.place(obtained.effective, kept.config if kept is not None else self.facts.config)

    def recalled(self, kept: revision.Recorded) -> Candidate:
        """Return a stored revision, for this entry."""
        return Candidate(self.place(revision.effective(self.release, kept), kept.config), kept.artifact)

    def rendered(self, candidate: Candidate) -> JSON:
        """Return the object as it should be."""
        known = self.noted
        pushed = known.refetch if known is not None and known.revision == candidate.revision else None
        return self.plugin_api.wasm_plugin(candidate.placement, candidate.artifact, pushed.count if pushed else 0)

    def drafted(self, candidate: Candidate, carrier: JSON | None) -> plan.Plan:
        """Return what must be written for a candidate. Raises `Refused` (``ObjectNotOurs``)."""
        assert candidate.placement.is_filled  # noqa: S101  values are read before anything is drafted
        return plan.draft(candidate.placement, [(self.rendered(candidate), carrier)])

    def target_name(self) -> str:
        """Return the name of the object that is written, for messages."""
        return f"{self.plugin_api.TARGET.name} {self.gateway.namespace}/{target.name_object(self.placement())}"

    def way_back(self, now: datetime | None = None) -> detour.WayBack:
        """Return the progress of the entry's rollback. With ``now``, and if it is off, also the gateways that hang."""
        way = way_back(self.rollout, self.rollout.failure, self.report)
        off = self.facts.report.switched_off
        if off is None or now is None or self.noted is None:
            return way
        hung = pod_notes.list_hung(pod_notes.read(self.noted), off.at, self.load_timeout, now)
        return replace(way, removed_at=off.at, hung=hung)

    def is_settled(self, candidate: Candidate) -> bool:
        """Return True if the candidate has run everywhere before. Then a new pod is no news."""
        if self.intent.goal is Goal.ROLLBACK:
            return decisions.fallback_of(self.rollout, self.name).loaded_at is not None
        if not decisions.is_stable(self.release, self.gateway, candidate.revision):
            return False
        others = (gateway for gateway in self.release.spec.gateways if gateway.name != self.name)
        is_about_others = any(not decisions.is_stable(self.release, other, candidate.revision) for other in others)
        return self.rollout.completed_at is not None or is_about_others

    def is_watched(self, revision: str, now: datetime) -> bool:
        """Return True if this revision is stable and can still fail.

        A restored revision is never rolled back further.
        """
        if self.intent.goal is Goal.ROLLBACK:
            return False
        return watch.is_open(self.release, self.gateway, revision, now)

    def may_run_already(self, candidate: Candidate) -> bool:
        """Return True if its gateways may have run a candidate before it was written.

        It was seen running, or there was no object of ours, for example at an adoption or after a restore. A revision
        that was tried before may have been refused.
        """
        if self.intent.goal is Goal.ROLLBACK or self.stable not in (None, candidate.revision):
            return False
        known = next((kept for kept in self.release.status.history if kept.revision == candidate.revision), None)
        is_first = known is None or known.first_deployed >= self.rollout.started_at
        return is_first or self.stable == candidate.revision

    def is_about_to_go_back(self) -> bool:
        """Return True if this check ends with the decision to roll back.

        It does not wait for log levels, and may need them.
        """
        failure, looked_for = self.rollout.failure, self.entry.carried
        return (
            failure is not None
            and not failure.held
            and looked_for is not None
            and failure.revision == looked_for.revision
        )

    def is_watched_closely(self, now: datetime) -> bool:
        """Return True if the gateways' own log line for "loaded" is still awaited."""
        verdict, known = self.report.verdict, self.noted
        if verdict is None or known is None:
            return False
        pushed = known.refetch is not None and refetch.is_fresh(known.refetch, now)
        return verdict.state is State.PENDING or (pushed and verdict.state is not State.LOADED)
