"""What a pass learned, and the steps at which it can end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.verdict.values import Verdict
from pluginrelease.core.rollout import history

# in the order in which a pass reaches them
STEPS = (
    ConditionType.ARTIFACT_READY,
    ConditionType.VERIFIED,
    ConditionType.COMPATIBLE,
    ConditionType.APPLIED,
    ConditionType.LOADED,
    ConditionType.PROBED,
)


@dataclass(frozen=True)
class Failure:
    """The error that ended the pass, and the step that it ended at."""

    step: ConditionType
    error: ReleaseError


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event on the PluginRelease; its reason is a condition's reason."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Report:
    """What a pass learned. What is None was not reached and stays as it was.

    ``target_revision`` is the revision that is wanted, ``running`` the one that the gateways are to run: after a
    failure they differ. ``events`` are told beside those that the conditions make.
    """

    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    verdict: Verdict | None = None
    target_revision: str | None = None
    running: str | None = None
    artifact: api.ArtifactStatus | None = None
    target: api.TargetStatus | None = None
    rollout: api.RolloutStatus | None = None
    handled: api.Handled | None = None
    deployed: history.Deployed | None = None
    observation: api.Observation | None = None
    suspended: bool = False
    events: tuple[Event, ...] = ()
