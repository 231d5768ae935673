"""What gateways show in passes over a scripted API server."""

from __future__ import annotations

import pytest

from pluginrelease.controller import looking
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, Verdict
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView
from tests.controller import scripted_steps
from tests.controller.entries import OLD_PLUGIN, ROWS
from tests.harness.reasons import give_reason


@pytest.fixture
def shows(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the gateways of each entry show of the revision that is not old, by default that it is loaded."""
    said: dict[str, str] = {}

    async def judge(work: PassContext, entry: EntryView, candidate: Candidate) -> tuple[tuple[()], Verdict]:
        is_old = candidate.release.spec.plugin.config == OLD_PLUGIN["config"]
        state, reason = ROWS["loaded" if is_old else said.get(entry.name, "loaded")]
        pod = PodRef(entry.gateway.namespace, f"pod-{entry.name}", f"uid-{entry.name}", ready=True)
        return (), Verdict(
            state, give_reason(state, reason), f"it {reason}", (PodVerdict(pod, state, give_reason(state, reason), ""),)
        )

    monkeypatch.setattr(looking, "judge", judge)
    scripted_steps.check_by(monkeypatch)
    return said
