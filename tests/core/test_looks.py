"""What the looks at several entries mean together for their rollout."""

from __future__ import annotations

from datetime import UTC, datetime

from pluginrelease.core.rollout import facts, looks
from tests.harness.releases import release

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_an_entry_that_could_not_be_looked_at_is_awaited() -> None:
    """It counts as one of which nothing is known, so that the rollout is not done without it."""
    found = looks.count_verdicts(facts.begin(release(), NOW), {"public"})
    assert {name: (verdict.state, verdict.reason) for name, verdict in found.items()} == {
        "public": ("Unknown", "NotLookedAt")
    }
