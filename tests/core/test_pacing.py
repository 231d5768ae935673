"""How long nothing is asked of an API server that has too many requests."""

from __future__ import annotations

import pytest

from pluginrelease.core.apiserver import pacing


@pytest.mark.parametrize(
    ("reason", "retry_after", "tries", "seconds"),
    [
        ("it asks for a second, as it does by default", 1.0, 1, 1.0),
        ("it asks for longer", 7.0, 1, 7.0),
        ("it does not say", None, 1, 1.0),
        ("it goes on refusing", 1.0, 3, 4.0),
        ("it has been refusing for long", 1.0, 50, 15.0),
        ("it asks for more than that", 30.0, 50, 30.0),
    ],
)
def test_a_pause(reason: str, retry_after: float | None, tries: int, seconds: float) -> None:
    """What the API server asks for is heeded, and more patience is had where that was not enough."""
    assert pacing.pause(retry_after, tries) == seconds, reason
