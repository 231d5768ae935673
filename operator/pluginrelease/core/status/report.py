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
from pluginrelease.core.rollout import history
from pluginrelease.core.rollout.decisions import Goal, Intent


@dataclass(frozen=True)
class Failure:
    """The error that ended the pass, or an entry's part of it, and the step that it ended at."""

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
    """What a pass learned of one entry. What is None was not reached and stays as it was.

    ``running`` is the revision that its gateways are to run, "" for none of ours; ``puts_back`` the stable revision
    that is put back after a failure. ``is_removed``: the entry is gone from the
    spec, and its object could not be taken away yet.
    """

    name: str
    intent: Intent = field(default_factory=lambda: Intent(Goal.SPEC))
    selector: api.Selector | None = None
    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    verdict: Verdict | None = None
    running: str | None = None
    puts_back: str | None = None
    object: api.ObjectStatus | None = None
    adopted: str | None = None
    observation: api.Observation | None = None
    is_removed: bool = False


@dataclass(frozen=True)
class Report:
    """What a pass learned. What is None was not reached and stays as it was.

    ``target_revision`` is the revision that is wanted; after a failure the entries run others. ``events`` are posted
    beside those that the conditions make. ``swept``: what entries that are gone had is taken away, or has a report.
    """

    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    entries: tuple[EntryReport, ...] = ()
    target_revision: str | None = None
    artifact: api.ArtifactStatus | None = None
    rollout: api.RolloutStatus | None = None
    handled: api.Handled | None = None
    deployed: history.Deployed | None = None
    suspended: bool = False
    swept: bool = False
    events: tuple[Event, ...] = ()

    def entry(self, name: str) -> EntryReport | None:
        """Return the report of the entry of this name, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)
