"""A gateway that crashes of a new revision gets the old one back, whatever else is wrong meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import reconcile as passes
from pluginrelease.controller.actions import roll_back
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused, Waiting
from tests.controller import scripted_steps
from tests.controller.rolling import NEW, OLD, crashed, failed, old, rolling_out, written
from tests.controller.scripted_api import HANG, ScriptedAPI, ScriptedRegistry, context
from tests.harness.releases import ARTIFACT

FORBIDDEN = Waiting(Reason.FORBIDDEN, "the API server does not allow this")
ABROAD: dict[str, Any] = {"metadata__namespace": "team-a"}

CASES: list[tuple[str, dict[str, Any], dict[str, BaseException | str]]] = [
    ("nothing else is wrong", {}, {}),
    ("the status is not written in time", {}, {"STATUS pluginreleases": HANG}),
    ("revisions cannot be listed in time", {}, {"LIST controllerrevisions": HANG}),
    ("its namespace's consent cannot be read", ABROAD, {"GET namespaces": FORBIDDEN}),
    ("its namespace is away", ABROAD, {}),
    ("its Secret cannot be read", ABROAD, {"GET secrets": FORBIDDEN}),
]


@pytest.mark.parametrize(("reason", "changes", "faults"), CASES, ids=[row[0] for row in CASES])
async def test_the_old_revision_is_written(
    reason: str,
    changes: dict[str, Any],
    faults: dict[str, BaseException | str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within seconds the object carries it again."""
    monkeypatch.setattr(passes, "STATUS_SECONDS", 0.2)
    body = rolling_out(**changes)
    consents = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "istio-ingress", "annotations": {api.ALLOWED_NAMESPACES_ANNOTATION: "*"}},
    }
    cluster = ScriptedAPI(body, written(body), old(body), crashed(), faults=faults)
    if reason != "its namespace is away":
        cluster.namespaces["istio-ingress"] = consents
    with contextlib.suppress(TimeoutError):  # what hangs goes on hanging
        async with asyncio.timeout(3):
            await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    assert "APPLY wasmplugins" in cluster.requests, cluster.requests
    [plugin] = [one for key, one in cluster.objects.items() if key[0].plural == "wasmplugins"]
    assert plugin["metadata"]["annotations"][api.REVISION_ANNOTATION] == OLD, reason


@pytest.mark.parametrize(("written_at", "put_back"), [("2026-01-01T00:00:12Z", False), ("2026-01-01T00:00:05Z", True)])
async def test_a_crash_before_the_write_is_not_blamed_on_it(written_at: str, put_back: bool) -> None:
    """A gateway that crashed once counts only if the API server had accepted the write before that."""
    body, once = rolling_out(), crashed()
    once["status"]["containerStatuses"][0] |= {"restartCount": 1, "state": {"running": {}}}
    plugin = written(body)
    plugin["metadata"]["managedFields"] = [{"manager": api.FIELD_MANAGER, "time": written_at}]
    cluster = ScriptedAPI(body, plugin, old(body), once)
    with contextlib.suppress(TimeoutError):  # the gateway cannot be asked
        async with asyncio.timeout(3):
            await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    assert ("APPLY wasmplugins" in cluster.requests) is put_back


@pytest.mark.parametrize(
    ("first", "put_back"), [("2026-01-01T00:00:05Z", True), ("2026-01-01T00:00:12Z", False)], ids=["after", "before"]
)
async def test_a_later_write_of_the_same_revision_hides_no_crash(first: str, put_back: bool) -> None:
    """A gateway crashed once, and then the same revision was written again, to make another gateway fetch it. The first
    write decides whether the crash is blamed on the revision."""
    body, once = rolling_out(), crashed()
    once["status"]["containerStatuses"][0] |= {"restartCount": 1, "state": {"running": {}}}
    body["status"]["checkpoint"]["gateways"][0]["writtenAt"] = first
    plugin = written(body)
    plugin["metadata"]["managedFields"] = [{"manager": api.FIELD_MANAGER, "time": "2026-01-01T00:00:20Z"}]
    cluster = ScriptedAPI(body, plugin, old(body), once)
    with contextlib.suppress(TimeoutError):  # the gateway cannot be asked
        async with asyncio.timeout(3):
            await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    assert ("APPLY wasmplugins" in cluster.requests) is put_back


async def test_what_is_back_is_looked_at_though_its_secret_cannot_be_read() -> None:
    """A pull secret that is missing keeps nobody from seeing whether the gateways took what was put back."""
    body = rolling_out(**ABROAD)
    body = failed(body, "GatewayCrashed")
    cluster = ScriptedAPI(body, written(body), old(body), crashed(), faults={"GET secrets": FORBIDDEN})
    ending = await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    assert [row.desired for row in ending.status.gateways] == [1]


async def test_a_status_that_could_not_be_written_counts_for_a_changed_spec_too() -> None:
    """What ran everywhere is what a later failure goes back to, also where only this process knows that it did."""
    body = rolling_out(metadata__generation=2)
    unwritten = api.Release.model_validate(body).status.model_copy(update={"stable_revision": "c" * 10})
    there = context(ScriptedAPI(body, written(body), old(body), crashed()))
    there.unwritten[body["metadata"]["uid"]] = unwritten
    ending = await reconcile(there, api.Release.model_validate(body), attempt=0)
    assert ending.status.stable_revision == "c" * 10
    assert there.unwritten == {}


async def test_a_gateway_that_crashes_meanwhile_ends_the_wait_for_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways that refused serve the old code; one that crashes has none to lose, and gets the old revision back."""
    body = rolling_out()
    body = failed(body, "PluginRejected")
    gone = ScriptedRegistry(Waiting(Reason.MANIFEST_NOT_FOUND, "gone"))
    well = crashed("other", "other")
    well["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    hangs = {"FORWARD pods": HANG}
    cluster = ScriptedAPI(body, written(body), old(body), crashed(), well, faults=hangs)
    monkeypatch.setattr(roll_back, "FETCHABLE_DEADLINE", 0.2)
    with contextlib.suppress(TimeoutError):  # the look at what was put back waits for the other gateway
        async with asyncio.timeout(3):
            await reconcile(context(cluster, gone), api.Release.model_validate(body), attempt=0)
    assert "APPLY wasmplugins" in cluster.requests


async def test_a_revision_that_is_refused_after_it_was_written_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written while no gateway was there; the first one crashes of it, and shows that it never fitted."""

    refused = Refused("MissingImports", "the gateway lacks a function")
    scripted_steps.check_by(monkeypatch, scripted_steps.refusing(refused))
    body = rolling_out()
    body["status"]["conditions"][1]["status"] = "Unknown"
    new = revision.manifest(api.Release.model_validate(body), ARTIFACT, 1)
    cluster = ScriptedAPI(body, written(body), old(body), new, crashed())
    ending = await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    assert "APPLY wasmplugins" in cluster.requests
    assert ending.status.rollout is not None
    assert ending.status.rollout.failure is not None
    assert ending.status.rollout.failure.revision == NEW
