"""What the steps about a release return. Each result contains one thing, and adds it to the facts.

Results about one entry are in `results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision
from pluginrelease.core.artifact.pulled import PulledArtifact
from pluginrelease.core.config_values import ConfigValues
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout import decisions, facts, history, results
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryFacts, Facts
from pluginrelease.core.rollout.report import EntryReport, Event, Failure


class ReleaseResult(Protocol):
    """What a step returns about the release."""

    def add(self, known: Facts) -> Facts:
        """Return the facts with this result."""
        ...


@dataclass(frozen=True)
class Suspended:
    """The release was not checked, because it is suspended."""

    def add(self, known: Facts) -> Facts:
        return replace(known, report=replace(known.report, suspended=True))


@dataclass(frozen=True)
class Noted:
    """The status was written during the pass. What follows must not happen without that."""

    status: api.Status

    def add(self, known: Facts) -> Facts:
        entries = tuple(replace(entry, to_note=False) for entry in known.entries)
        return replace(known, release=known.release.model_copy(update={"status": self.status}), entries=entries)


@dataclass(frozen=True)
class TagAsked:
    """The registry was asked what the reference names. Nothing is new, or it could not answer."""

    artifact: api.ArtifactStatus
    finding: Finding
    events: tuple[Event, ...] = ()

    def add(self, known: Facts) -> Facts:
        report = replace(known.report, artifact=self.artifact, findings=(*known.report.findings, self.finding))
        return replace(known, report=report).with_events(*self.events)


@dataclass(frozen=True)
class TagMoved:
    """The tag names another image now, so another rollout begins."""

    start: decisions.RolloutStart
    events: tuple[Event, ...] = ()

    def add(self, known: Facts) -> Facts:
        return known.begun_again(self.start).with_events(*self.events)


@dataclass(frozen=True)
class ConfigRead:
    """The values of ``configFrom`` as they are now. They are those of this rollout."""

    config: ConfigValues

    def add(self, known: Facts) -> Facts:
        found = replace(known, config=self.config)
        rollout = known.rollout
        if rollout is None or rollout.config_digest == self.config.digest:
            return found
        return found.with_rollout(rollout.model_copy(update={"config_digest": self.config.digest}))


@dataclass(frozen=True)
class ConfigMoved:
    """The values of ``configFrom`` are others than those of this rollout, so another rollout begins."""

    config: ConfigValues
    start: decisions.RolloutStart

    def add(self, known: Facts) -> Facts:
        text = "the values of configFrom have changed, so the operator begins another rollout"
        begun = replace(known.begun_again(self.start), config=self.config)
        return begun.with_events(Event("Normal", Reason.CONFIG_CHANGED, text))


@dataclass(frozen=True)
class ConfigNotRead:
    """The values of ``configFrom`` could not be read. Nothing new is written without them."""

    error: ReleaseError

    def add(self, known: Facts) -> Facts:
        return replace(known, config_error=self.error)


@dataclass(frozen=True)
class RemovedFound:
    """The entries that were removed from the spec, and the release with what their objects say of it."""

    release: api.Release
    rows: tuple[api.GatewayStatus, ...]

    def add(self, known: Facts) -> Facts:
        entries = tuple(make_removed(self.release, row) for row in self.rows)
        found = replace(known, release=self.release, entries=(*known.entries, *entries)).with_intents()
        return replace(found, report=replace(found.report, swept=True))


def make_removed(release: api.Release, row: api.GatewayStatus) -> EntryFacts:
    """Return the facts of a removed entry."""
    place = row.object
    gateway = api.Gateway.model_construct(  # its name need not be valid in a spec
        name=row.name,
        namespace=place.namespace if place else release.metadata.namespace,
        object_name=place.name if place else None,
    )
    report = EntryReport(row.name, attachment=gateway.attachment, object=place, adopted=row.adopted, is_removed=True)
    return EntryFacts(gateway, report)


@dataclass(frozen=True)
class Recalled:
    """The old revision that a user asked for."""

    kept: revision.Recorded | None

    def add(self, known: Facts) -> Facts:
        return replace(known, kept=self.kept)


@dataclass(frozen=True)
class Recognized:
    """The objects of these entries contain the very revision that is wanted."""

    candidates: Mapping[str, Candidate]

    def add(self, known: Facts) -> Facts:
        for name, candidate in self.candidates.items():
            known = results.Carries(candidate, known.entry(name).carrier).add(known, name)
        return known


@dataclass(frozen=True)
class RevisionKept:
    """A revision was stored, with its entry in the history."""

    deployed: history.Deployed

    def add(self, known: Facts) -> Facts:
        return replace(known, report=replace(known.report, deployed=self.deployed))


@dataclass(frozen=True)
class ArtifactObtained:
    """The image was resolved, fetched and checked. ``left_out``: entries whose pull secret cannot be used."""

    effective: api.Release
    artifact: api.ArtifactStatus
    pulled: PulledArtifact
    finding: Finding
    names: tuple[str, ...]
    left_out: Mapping[str, ReleaseError]
    events: tuple[Event, ...] = ()

    def add(self, known: Facts) -> Facts:
        for name, error in self.left_out.items():
            known = known.entry_failed(name, Failure(ConditionType.ARTIFACT_READY, error))
        obtained = facts.Obtained(self.effective, self.artifact, self.pulled)
        known = replace(known, obtained=obtained).with_events(*self.events)
        known = replace(known, report=replace(known.report, findings=(*known.report.findings, self.finding)))
        return aim_all(known, obtained, self.names)


@dataclass(frozen=True)
class SignatureVerified:
    """A signature is valid; the artifact with its signer."""

    obtained: facts.Obtained
    finding: Finding
    names: tuple[str, ...]

    def add(self, known: Facts) -> Facts:
        known = replace(known, obtained=self.obtained)
        known = replace(known, report=replace(known.report, findings=(*known.report.findings, self.finding)))
        return aim_all(known, self.obtained, self.names)


def aim_all(known: Facts, obtained: facts.Obtained, names: tuple[str, ...]) -> Facts:
    """Return the facts with what these entries should run."""
    for view in known.views(names):
        if not view.entry.has_failed:
            known = results.aim(known, view.name, Candidate(view.place_obtained(obtained), obtained.artifact))
    return known


@dataclass(frozen=True)
class LevelsFound:
    """The raised log levels of all entries, by name."""

    entries: Mapping[str, results.LevelsToRaise]

    def add(self, known: Facts) -> Facts:
        for name, found in self.entries.items():
            known = found.add(known, name)
        return known


@dataclass(frozen=True)
class LevelsRestored:
    """The observations with the log levels that must still be restored, by entry."""

    observations: Mapping[str, api.Observation]

    def add(self, known: Facts) -> Facts:
        for name, observation in self.observations.items():
            known = results.Kept(observation).add(known, name)
        return known


@dataclass(frozen=True)
class LeftOut:
    """These entries cannot be placed. The others continue."""

    errors: Mapping[str, ReleaseError]

    def add(self, known: Facts) -> Facts:
        for name, error in self.errors.items():
            known = known.entry_failed(name, Failure(ConditionType.APPLIED, error))
        return known


@dataclass(frozen=True)
class Decided:
    """What the check means for the rollout."""

    rollout: api.RolloutStatus

    def add(self, known: Facts) -> Facts:
        return known.with_rollout(self.rollout)


@dataclass(frozen=True)
class ImagesChecked:
    """What the registries say of images at rest, if that is news."""

    finding: Finding
    events: tuple[Event, ...] = ()

    def add(self, known: Facts) -> Facts:
        report = replace(known.report, findings=(*known.report.findings, self.finding))
        return replace(known, report=report).with_events(*self.events)


@dataclass(frozen=True)
class Told:
    """Events to post, besides those that the conditions cause."""

    events: tuple[Event, ...] = ()

    def add(self, known: Facts) -> Facts:
        return known.with_events(*self.events)
