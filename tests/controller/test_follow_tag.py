"""A tag that is followed, and a registry that does not answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.actions import follow_tag
from pluginrelease.core.errors import Transient
from pluginrelease.core.rollout.release_results import TagAsked
from tests.harness.releases import ARTIFACT, placed, release

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def test_a_registry_that_does_not_answer_leaves_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact stays ready with the digest that it had, and the condition says that the tag was not asked for."""
    known = ARTIFACT.model_copy(update={"asked_at": NOW - timedelta(hours=1)})
    asked = release(spec__artifact__image__interval="1m")
    asked = asked.model_copy(update={"status": asked.status.model_copy(update={"artifact": known})})

    async def consenting(*_: object) -> object:
        return placed(asked)

    async def silent(*_: object) -> object:
        raise Transient(Reason.REGISTRY_UNAVAILABLE, "no answer")

    monkeypatch.setattr(follow_tag, "find_consenting", consenting)
    monkeypatch.setattr(follow_tag, "ask", silent)
    work: Any = SimpleNamespace(now=lambda: NOW)
    facts: Any = SimpleNamespace(release=asked)
    found = await follow_tag.follow_tag(work, facts, ())
    assert isinstance(found, TagAsked)
    assert (found.finding.status, found.finding.reason) == ("True", "TagNotFollowed")
    assert (found.artifact.digest, found.artifact.asked_at) == (ARTIFACT.digest, NOW)
