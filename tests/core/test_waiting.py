"""When a wait for a commit's image is over."""

from __future__ import annotations

import pytest

from pluginrelease import api
from pluginrelease.cli import _wait
from pluginrelease.cli._wait import WaitGoal
from tests.core.test_verbs import FAILED, READY, STALLED, waiting

AWAITED = "registry.example.com/plugins/auth:1.3"


@pytest.mark.parametrize(
    ("found", "code"),
    [
        pytest.param(waiting(READY, spec__artifact__image__ref=AWAITED), 0, id="it runs"),
        pytest.param(waiting(FAILED, STALLED, spec__artifact__image__ref=AWAITED), 1, id="it failed"),
        pytest.param(waiting(READY), None, id="the image before runs: the commit is on its way"),
        pytest.param(waiting(FAILED, STALLED), None, id="the image before failed"),
        pytest.param(
            waiting(READY, spec__artifact__image__ref=AWAITED, metadata__generation=3), None, id="just written"
        ),
    ],
)
def test_waiting_for_an_image_says_nothing_of_another(found: api.Release, code: int | None) -> None:
    """A pipeline that pushed a commit is not told what became of the one before."""
    outcome = _wait.judge(found, WaitGoal.READY, AWAITED)
    assert (outcome and outcome.code) == code
