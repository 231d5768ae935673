"""Passes over a release without an API server: a world that answers each action, and facts made of the answers.

The decisions are the product's own (`next_action`, the results, `settle`); what gateways, registries and namespaces say
is the world's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision
from pluginrelease.core.artifact.pulled import PulledArtifact
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import (
    actions,
    decisions,
    facts,
    looks,
    placements,
    plan,
    recognizing,
    release_results,
    results,
)
from pluginrelease.core.rollout.actions import Action, Wait
from pluginrelease.core.rollout.candidate import Candidate, LastLook
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.facts import EntryView, Facts
from pluginrelease.core.rollout.next_action import next_action
from pluginrelease.core.rollout.report import Failure
from pluginrelease.core.status import settlement
from tests.harness.releases import ARTIFACT, DIGEST, manifest

JSON = dict[str, Any]

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MOST = 40  # actions of one pass
WRITES = (
    actions.SwitchOff,
    actions.RollBack,
    actions.RollOut,
    actions.ReturnToStable,
    actions.CorrectDrift,
    actions.RemoveSuperseded,
    actions.Remove,
)

SAID = {
    "loaded": (State.LOADED, Reason.LOADED),
    "coming": (State.PENDING, Reason.AWAITING_CONFIG),
    "refuses": (State.UNHEALTHY, Reason.PLUGIN_REJECTED),
    "crashes": (State.UNHEALTHY, Reason.GATEWAY_CRASHED),
    "silent": (State.UNKNOWN, Reason.POD_UNREACHABLE),
    "no pods": (State.PENDING, Reason.NO_GATEWAY_PODS),
}
BUSY = Transient(Reason.API_SERVER_UNAVAILABLE, "the API server answered 503")


def verdict(name: str, said: str) -> Verdict:
    """What the gateways of an entry show."""
    state, reason = SAID[said]
    pod = PodRef("apps", f"pod-{name}", f"uid-{name}", ready=True)
    rows = () if said == "no pods" else (PodVerdict(pod, state, reason, said),)
    return Verdict(state, reason, said, rows)


@dataclass
class EntryWorld:
    """What is true of an entry: its object, its namespace, its gateways.

    ``shows``: by revision what its gateways show of it, by default that it is loaded; ``glimpse``: whether the pods'
    status alone shows a crash already.
    """

    carrier: JSON | None = None
    consent: ReleaseError | None = None
    read: ReleaseError | None = None
    write: ReleaseError | None = None
    shows: dict[str, str] = field(default_factory=dict)
    is_fetchable: bool = True

    def said(self, carried: str) -> str:
        """What the gateways show of a revision."""
        return self.shows.get(carried, "loaded")


@dataclass
class World:
    """What is true around a release. ``check``: what the revision that is wanted is refused with before a write."""

    body: JSON
    entries: dict[str, EntryWorld]
    kept: dict[str, revision.Recorded] = field(default_factory=dict)
    digest: str = DIGEST
    check: ReleaseError | None = None
    removed: dict[str, JSON] = field(default_factory=dict)
    now: datetime = NOW
    trace: list[Action] = field(default_factory=list)
    written: list[tuple[str, str]] = field(default_factory=list)

    def release(self) -> api.Release:
        """The release as the API server has it."""
        return api.Release.model_validate(self.body)

    def of(self, name: str) -> EntryWorld:
        return self.entries[name]

    def write(self, view: EntryView, candidate: Candidate) -> JSON:
        """Write the entry's object."""
        entry = self.of(view.name)
        if entry.write is not None:
            raise entry.write
        made = {**view.rendered(candidate)}
        made["metadata"] = {**made["metadata"], "uid": f"object-{view.name}"}
        entry.carrier = made
        self.written.append((view.name, candidate.revision))
        return made

    def delete(self, name: str) -> None:
        self.of(name).carrier = None
        self.written.append((name, ""))

    def keep(self, candidate: Candidate) -> None:
        """Keep the revision of a candidate."""
        recorded = revision.read(revision.manifest(candidate.release, candidate.artifact, len(self.kept) + 1))
        self.kept[candidate.revision] = recorded

    def recall(self, wanted: str) -> revision.Recorded:
        """Return a kept revision."""
        if wanted not in self.kept:
            raise Refused(Reason.REVISION_NOT_FOUND, f"revision {wanted} is not kept")
        return self.kept[wanted]


def run_pass(world: World, known: Facts) -> Facts:
    """Act until there is nothing left to do."""
    world.trace, world.written = [], []
    while not isinstance(action := next_action(known, world.now), Wait):
        world.trace.append(action)
        assert len(world.trace) <= MOST, [type(done).__name__ for done in world.trace]
        known = act(world, known, action).after(action)
    return known


@dataclass(frozen=True)
class DonePass:
    """A pass that came to its end: the facts that it began with, what it did, what it knew at last, how it ended."""

    begun: Facts
    trace: list[Action]
    facts: Facts
    ending: settlement.Ending


def reconcile(world: World) -> list[DonePass]:
    """Run a pass, and the one that goes back where it decides that; write the status. Return what each did."""
    known = facts.begin(placements.carry_over(world.release()), world.now)
    passes = list[DonePass]()
    while True:
        done = run_pass(world, known)
        ending = settlement.settle(
            done.release, done.whole_report(), now=world.now, attempt=0, resync=300.0, known=done.known
        )
        passes.append(DonePass(known, world.trace, done, ending))
        world.body = {**world.body, "status": ending.status.wire()}
        if len(passes) > 1 or not decisions.has_turned_back(known.known.rollout, ending.status.rollout):
            return passes
        seen = {entry.name: entry.last_look for entry in done.entries if entry.last_look is not None}
        known = facts.begin(done.release.model_copy(update={"status": ending.status}), world.now, seen)


# ----------------------------------------------------------------------------------------------------- the actions


def act(world: World, known: Facts, action: Action) -> Facts:
    """Let the world answer an action, entry by entry; errors end where the product's steps let them end."""
    match action:
        case actions.Suspend():
            return release_results.Suspended().add(known)
        case actions.FollowTag():
            return follow_tag(world, known)
        case actions.FindRemoved():
            rows = [row for row in placements.removed_rows(known.release) if row.object is not None]
            return release_results.RemovedFound(known.release, tuple(rows)).add(known)
        case actions.ReadCarriers():
            return read_carriers(world, known, action)
        case actions.RollOut():
            return roll_out(world, known, action)
        case actions.Observe():
            return observe(world, known, action)
        case actions.Decide():
            decided = looks.decide_crash(known, action.names, world.now)
            return decided.add(known) if decided else known
        case actions.ObserveFallback():
            return observe_fallback(world, known, action)
    return each(world, known, action)


def each(world: World, known: Facts, action: Action) -> Facts:
    """Answer for one entry after the other."""
    for name in facts.concerned_by(action):
        try:
            known = act_for(world, known, action, known.view(name))
        except ReleaseError as error:
            quiet = isinstance(action, actions.FindWritten | actions.Glance) or known.failure is not None
            if not quiet:
                known = known.entry_failed(name, Failure(ConditionType.APPLIED, error))
    return known


def act_for(world: World, known: Facts, action: Action, view: EntryView) -> Facts:
    """Answer for one entry."""
    name = view.name
    match action:
        case actions.SwitchOff():
            return switch_off(world, known, view)
        case actions.RollBack():
            return roll_back(world, known, view)
        case actions.Glance():
            return glance(world, known, view)
        case actions.AskConsent() if world.of(name).consent:
            raise world.of(name).consent or BUSY
        case actions.Remove():
            world.removed.pop(name, None)
            return results.Gone().add(known, name)
        case actions.CorrectDrift():
            kept = view.intent.revision if view.intent.goal is Goal.STAY else view.stable
            return correct_drift(world, known, view, view.recalled(world.recall(kept or "")))
        case actions.ReturnToStable():
            candidate = view.recalled(world.recall(view.stable or ""))
            begun = noted(known, name, candidate, world).view(name).observation
            return results.Returned(candidate, world.write(view, candidate), begun).add(known, name)
        case actions.RemoveSuperseded():
            return remove_superseded(world, known, view)
        case actions.FindWritten():
            return find_written(world, known, view)
    return known


def switch_off(world: World, known: Facts, view: EntryView) -> Facts:
    if world.of(view.name).write is not None:
        raise BUSY
    world.delete(view.name)
    gone = Finding(ConditionType.APPLIED, "False", Reason.SWITCHED_OFF, "")
    return results.SwitchedOffEntry((gone,)).add(known, view.name)


def roll_back(world: World, known: Facts, view: EntryView) -> Facts:
    entry, name = world.of(view.name), view.name
    if view.intent.goal not in (Goal.ROLLBACK, Goal.REVISION):
        if entry.write is not None:
            raise entry.write
        world.delete(name)
        gone = Finding(ConditionType.APPLIED, "False", Reason.REMOVED, "")
        return results.TakenOff(gone, running="").add(known, name)
    candidate = view.recalled(world.recall(view.intent.revision or ""))
    if plan.read_revision(entry.carrier) == candidate.revision and entry.carrier is not None:
        return results.RolledBack(candidate, entry.carrier, None, view.rollout).add(known, name)
    if not entry.is_fetchable:
        raise Waiting(Reason.ROLLBACK_BLOCKED, "the image is gone")
    made = world.write(view, candidate)
    return noted(results.RolledBack(candidate, made, None, view.rollout).add(known, name), name, candidate, world)


def noted(known: Facts, name: str, candidate: Candidate, world: World) -> Facts:
    """Note the observation of what is written."""
    begun = api.Observation(
        name=name, revision=candidate.revision, load_hash=candidate.load, since=times.to_microseconds(world.now)
    )
    return results.Kept(begun).add(known, name)


def glance(world: World, known: Facts, view: EntryView) -> Facts:
    entry, carried = world.of(view.name), view.observation.revision
    if plan.read_revision(entry.carrier) != carried or entry.said(carried) != "crashes":
        return known
    candidate = view.recalled(world.recall(carried))
    is_watched = view.is_watched(carried, world.now)
    return results.Crashed(candidate, verdict(view.name, "crashes"), LastLook(), is_watched).add(known, view.name)


def correct_drift(world: World, known: Facts, view: EntryView, candidate: Candidate) -> Facts:
    entry, name = world.of(view.name), view.name
    known = results.Steady(candidate, entry.carrier).add(known, name)
    if plan.read_revision(entry.carrier) != candidate.revision:
        known = noted(known, name, candidate, world)
        known = results.Written(world.write(known.view(name), candidate)).add(known, name)
    return results.Looked(verdict(name, entry.said(candidate.revision))).add(known, name)


def remove_superseded(world: World, known: Facts, view: EntryView) -> Facts:
    carried = view.observation.revision
    judged = verdict(view.name, world.of(view.name).said(carried))
    if judged.state is not State.UNHEALTHY:
        return results.Superseded(carried, judged, view.observation).add(known, view.name)
    world.delete(view.name)
    return results.Superseded("", judged, view.observation).add(known, view.name)


def find_written(world: World, known: Facts, view: EntryView) -> Facts:
    observed = world.of(view.name).carrier
    carried = plan.read_revision(observed)
    if observed is None or view.noted is None or carried != view.noted.revision or carried == view.stable:
        return known
    return results.Watched(view.recalled(world.recall(carried))).add(known, view.name)


def read_carriers(world: World, known: Facts, action: Action) -> Facts:
    for name in action.names:
        entry, placement = world.of(name), known.view(name).placement()
        try:
            if entry.read is not None:
                raise entry.read
            if entry.carrier is not None:
                plan.check_owner(placement, entry.carrier)
            known = results.CarrierRead(entry.carrier).add(known, name)
        except ReleaseError as error:
            known = known.entry_failed(name, Failure(ConditionType.APPLIED, error))
    names = [name for name in action.names if not known.entry(name).has_failed]
    wish = known.rollout.rollback_to if known.rollout is not None else None
    try:
        known = release_results.Recalled(world.recall(wish) if wish is not None and names else None).add(known)
    except Refused as error:
        return known.failed(Failure(ConditionType.APPLIED, error))
    return recognizing.recognize(known, names).add(known)


def follow_tag(world: World, known: Facts) -> Facts:
    artifact = known.release.status.artifact
    assert artifact is not None
    if tags.is_news(known.release, world.digest) and known.rollout is not None:
        begun = decisions.RolloutStart(known.rollout, known.report.handled or api.Handled())
        return release_results.TagMoved(decisions.begin_again(known.release, begun, world.now)).add(known)
    asked = artifact.model_copy(update={"asked_at": times.to_seconds(world.now)})
    ready = Finding(ConditionType.ARTIFACT_READY, "True", Reason.ARTIFACT_READY, "")
    return release_results.TagAsked(asked, ready).add(known)


def roll_out(world: World, known: Facts, action: Action) -> Facts:
    """Check, keep, note and write."""
    effective = revision.effective(known.release, known.kept) if known.kept else known.release
    pinned = None if known.kept else recognizing.find_pinned(known)
    found = known.kept.artifact if known.kept else pinned
    asked = times.to_seconds(world.now)
    artifact = found or ARTIFACT.model_copy(update={"digest": world.digest, "asked_at": asked})
    pulled: Any = PulledArtifact.__new__(PulledArtifact)
    ready = Finding(ConditionType.ARTIFACT_READY, "True", Reason.ARTIFACT_READY, "")
    known = release_results.ArtifactObtained(effective, artifact, pulled, ready, action.names, {}).add(known)
    if world.check is not None:
        return known.failed(Failure(ConditionType.COMPATIBLE, world.check))
    fits = Finding(ConditionType.COMPATIBLE, "True", Reason.COMPATIBLE, "")
    for name in action.names:
        view = known.view(name)
        known = results.Checked((), fits).add(known, name)
        world.keep(view.aimed)
        known = noted(known, name, view.aimed, world)
        try:
            made = world.write(known.view(name), view.aimed)
        except ReleaseError as error:
            known = known.entry_failed(name, Failure(ConditionType.APPLIED, error))
        else:
            known = results.Carries(view.aimed, made).add(known, name)
    return known


def observe(world: World, known: Facts, action: Action) -> Facts:
    """Look at each, then decide."""
    names = facts.concerned_by(action)
    for name in names:
        known = look(world, known, name)
    decided = looks.decide(known, names, world.now)
    return decided.add(known) if decided else known


def look(world: World, known: Facts, name: str) -> Facts:
    said = world.of(name).said(known.view(name).carried.revision)
    return results.Looked(verdict(name, said), LastLook()).add(known, name)


def observe_fallback(world: World, known: Facts, action: Action) -> Facts:
    for name in action.names:
        known = look(world, known, name)
        judged = known.entry(name).report.verdict
        if judged is not None and known.rollout is not None:
            known = known.with_rollout(decisions.advance_fallback(known.rollout, name, judged, world.now))
    return known


# ------------------------------------------------------------------------------------------------ worlds to begin with

NAMESPACES = {"public": "istio-ingress", "internal": "apps"}


def gateways(*names: str) -> list[JSON]:
    """Entries of ``spec.gateways``."""
    labels = {"matchLabels": {"istio": "ingressgateway"}}
    return [{"name": name, "namespace": NAMESPACES[name], "selector": labels} for name in names]


def new_world(*names: str, **changes: Any) -> World:
    """A release that nobody has looked at yet, of these entries."""
    body = manifest(spec__gateways=gateways(*names), **changes)
    return World(body, {name: EntryWorld() for name in names})


def later(world: World, **elapsed: float) -> World:
    """The same world after some time."""
    return replace(world, now=world.now + timedelta(**elapsed))
