"""Steps in the place of those that need a registry and gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pluginrelease.api import ConditionType
from pluginrelease.controller import reconcile, step_table
from pluginrelease.controller.actions import roll_out
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Names, Once, Step
from pluginrelease.core import revision
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout import actions
from pluginrelease.core.rollout.facts import Facts
from pluginrelease.core.rollout.release_results import ArtifactObtained
from tests.harness.releases import ARTIFACT


async def obtain(work: PassContext, facts: Facts, names: Names) -> ArtifactObtained:
    """The image is there, whatever the release names."""
    effective = revision.effective(facts.release, facts.kept) if facts.kept else facts.release
    ready = Finding(ConditionType.ARTIFACT_READY, "True", "ArtifactReady", "")
    pulled: Any = None
    return ArtifactObtained(effective, ARTIFACT, pulled, ready, tuple(names), {})


def refusing(error: ReleaseError) -> Step:
    """A check that no revision passes."""

    async def refuse(work: PassContext, facts: Facts, names: Names) -> None:
        raise error

    return Once(ConditionType.COMPATIBLE, refuse)


def check_by(monkeypatch: pytest.MonkeyPatch, *checks: Step) -> None:
    """Let these be the checks before a write, after an image that is always there."""
    steps: Mapping[Any, Any] = {
        **step_table.STEPS,
        actions.RollOut: (Once(ConditionType.ARTIFACT_READY, obtain), *checks, *roll_out.WRITES),
    }
    monkeypatch.setattr(reconcile, "STEPS", steps)
