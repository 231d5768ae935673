"""What a pass learned of a release, and of each entry of its ``spec.gateways``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import AnyReason
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.verdict.values import Verdict
from pluginrelease.core.rollout import decisions, detour, history
from pluginrelease.core.rollout.decisions import Goal, Intent


@dataclass(frozen=True)
class Failure:
    """The error that ended the pass, or an entry's part of it, and the step that raised it."""

    step: ConditionType
    error: ReleaseError


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event on the PluginRelease; its reason is a condition's reason."""

    type: Literal["Normal", "Warning"]
    reason: AnyReason
    message: str


@dataclass(frozen=True)
class EntryReport:
    """What a pass learned of one entry. None: not reached, so it stays as it was.

    ``running`` is the revision that its gateways should run, "" for none of ours. ``puts_back`` is the stable revision
    that is restored after a failure. ``is_removed``: the entry was removed from the spec, and its object could not be
    deleted yet. ``is_unproved``: its stable revision crashed while it was watched.
    """

    name: str
    intent: Intent = field(default_factory=lambda: Intent(Goal.SPEC))
    attachment: api.Attachment = field(default_factory=api.Attachment)
    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    verdict: Verdict | None = None
    running: str | None = None
    puts_back: str | None = None
    object: api.ObjectStatus | None = None
    adopted: str | None = None
    observation: api.Observation | None = None
    is_removed: bool = False
    is_unproved: bool = False


@dataclass(frozen=True)
class Report:
    """What a pass learned. None: not reached, so it stays as it was.

    ``target_revision`` is the wanted revision; after a failure entries run others. ``events`` are posted besides those
    that the conditions cause. ``switched_off`` is the state of the switch, None for on. ``swept``: what removed entries
    wrote is deleted, or is reported.
    """

    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    entries: tuple[EntryReport, ...] = ()
    target_revision: str | None = None
    artifact: api.ArtifactStatus | None = None
    rollout: api.RolloutStatus | None = None
    handled: api.Handled | None = None
    switched_off: api.SwitchedOff | None = None
    deployed: history.Deployed | None = None
    suspended: bool = False
    swept: bool = False
    events: tuple[Event, ...] = ()

    def entry(self, name: str) -> EntryReport | None:
        """Return the report of the entry of this name, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)


def way_back(decided: api.RolloutStatus, failure: api.RolloutFailure | None, entry: EntryReport) -> detour.WayBack:
    """Return the state of an entry's rollback, from its report."""
    fallback = decisions.fallback_of(decided, entry.name)
    return detour.WayBack(failure, fallback, entry.puts_back if entry.intent.goal is Goal.ROLLBACK else None)
