"""What lasts is logged once: a release that waits or is refused writes a line when that begins, not at each look."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core.errors import Refused, ReleaseError, Waiting
from tests.controller import scripted_steps
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.releases import manifest

AWAITED = Waiting(Reason.MANIFEST_NOT_FOUND, "the registry has no such tag yet")
UNFIT = Refused(Reason.WASM_MISMATCH, "the gateway lacks a function", "Build it for an older host")

CASES: list[tuple[str, ReleaseError, ReleaseError, int]] = [
    ("a tag is awaited", AWAITED, AWAITED, 0),
    ("a revision is refused", UNFIT, UNFIT, 0),
    ("the tag is there, and its image is refused", AWAITED, UNFIT, 1),
]


async def look(body: dict[str, object], error: ReleaseError, patch: pytest.MonkeyPatch) -> tuple[list[str], api.Status]:
    """Run one pass that ends with this error; return its lines at info level or above, and the status."""
    scripted_steps.check_by(patch, scripted_steps.refusing(error))
    with capture_logs() as lines:
        ending = await reconcile(context(ScriptedAPI(body)), api.Release.model_validate(body), attempt=0)
    return [line["event"] for line in lines if line["log_level"] != "debug"], ending.status


@pytest.mark.parametrize(("reason", "first", "second", "written"), CASES, ids=[row[0] for row in CASES])
async def test_the_same_end_is_logged_once(
    reason: str, first: ReleaseError, second: ReleaseError, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pass that ends so writes a line; the next one writes another only for another reason."""
    body = manifest()
    body["metadata"]["finalizers"] = [api.FINALIZER]
    lines, status = await look(body, first, monkeypatch)
    assert len(lines) == 1, reason
    body["status"] = status.model_dump(by_alias=True, mode="json", exclude_none=True)
    lines, _ = await look(body, second, monkeypatch)
    assert len(lines) == written, lines
