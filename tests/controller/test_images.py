"""Images that go while they run: one HEAD for each image and resync, and Ready stays with a warning."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.context import Context
from pluginrelease.controller.image_checks import ImageChecks, ImageKey
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core import revision
from pluginrelease.core.errors import Transient
from pluginrelease.core.status.settlement import Ending
from tests.controller.entries import JSON, OLD_PLUGIN, PUBLIC, carrier, kept, ran, revision_of, two
from tests.controller.scripted_api import ScriptedAPI, ScriptedRegistry, context
from tests.harness.releases import IMAGE

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
RESYNC = 300.0
KEY = ImageKey(IMAGE)
SILENT = Transient(Reason.REGISTRY_UNAVAILABLE, "it does not answer")


class Registry:
    """Says whether the image is there, and counts how often it is asked."""

    def __init__(self, *answers: bool | Transient) -> None:
        self.answers = [*answers]
        self.asked = 0

    async def has(self) -> bool:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Transient):
            raise answer
        return answer


async def look(checks: ImageChecks, registry: Registry, seconds: float, *, was_gone: bool = False) -> bool:
    now = BEGIN + timedelta(seconds=seconds)
    return await checks.is_gone(KEY, registry.has, now=now, resync=RESYNC, was_gone=was_gone)


async def test_an_image_is_asked_for_once_in_a_resync() -> None:
    """However many passes there are, and of however many releases: the first one has just fetched it."""
    checks, registry = ImageChecks(), Registry(True, True)
    for seconds in range(0, 650, 10):
        assert not await look(checks, registry, seconds)
    assert registry.asked == 2


async def test_releases_that_ask_at_once_share_one_answer() -> None:
    """Two hundred passes at the same moment are one request."""
    checks, registry = ImageChecks(), Registry(False)
    await look(checks, registry, 0)
    assert await asyncio.gather(*(look(checks, registry, 300) for _ in range(200))) == [True] * 200
    assert registry.asked == 1


async def test_a_registry_that_is_silent_has_said_nothing() -> None:
    """What was known stays: an outage neither takes an image away nor brings it back."""
    checks, registry = ImageChecks(), Registry(SILENT, False, SILENT, True)
    await look(checks, registry, 0)
    assert [await look(checks, registry, 300 * number) for number in range(1, 5)] == [False, True, True, False]


async def test_what_an_earlier_process_found_gone_is_asked_for_at_once() -> None:
    """A start does not leave the warning there for a resync after the image came back."""
    checks, registry = ImageChecks(), Registry(True)
    assert not await look(checks, registry, 0, was_gone=True)
    assert registry.asked == 1


# ------------------------------------------------------------------------------------------------- whole passes


class HeadRegistry(ScriptedRegistry):
    """Has the images that are not ``gone``."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: set[str] = set()
        self.heads: list[str] = []

    async def has(self, reference: object, _: object) -> bool:
        self.heads.append(str(reference))
        return str(reference) not in self.gone


class Settled:
    """A release at rest, whose passes are a resync apart."""

    def __init__(self, body: JSON, *objects: JSON) -> None:
        self.registry = HeadRegistry()
        self.now = BEGIN
        self.release = api.Release.model_validate(body)
        self.context: Context = replace(context(ScriptedAPI(body, *objects), self.registry), now=lambda: self.now)

    async def look(self) -> Ending:
        ending = await reconcile(self.context, self.release, attempt=0)
        self.release = self.release.model_copy(update={"status": ending.status})
        self.now += timedelta(seconds=RESYNC)
        return ending


def conditions(ending: Ending) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in ending.status.conditions}


@pytest.fixture
def settled(shows: dict[str, str]) -> Settled:
    body = ran(two(PUBLIC), {PUBLIC: revision_of(two(PUBLIC))})
    return Settled(body, carrier(two(PUBLIC), PUBLIC))


async def test_an_image_that_goes_while_it_runs_is_a_warning(settled: Settled) -> None:
    """ArtifactReady is False, an Event says so once, and Ready is True with the warning in its message."""
    assert conditions(await settled.look())["ArtifactReady"][0] == "True"
    settled.registry.gone = {IMAGE}
    found = await settled.look()
    assert conditions(found)["ArtifactReady"] == ("False", "ManifestGone")
    assert conditions(found)["Ready"] == ("True", "Loaded")
    assert "Stalled" not in conditions(found)
    ready = next(condition for condition in found.status.conditions if condition.type == "Ready")
    assert ready.message.index("Warning: ") < ready.message.index(IMAGE)
    assert [event.reason for event in found.events] == ["ManifestGone"]
    again = await settled.look()
    assert conditions(again)["ArtifactReady"] == ("False", "ManifestGone")
    assert [event.reason for event in again.events] == []


async def test_the_warning_goes_when_the_image_is_back(settled: Settled) -> None:
    """The same bytes were pushed again: nothing is fetched or written for it."""
    await settled.look()
    settled.registry.gone = {IMAGE}
    await settled.look()
    settled.registry.gone = set()
    found = await settled.look()
    assert conditions(found)["ArtifactReady"] == ("True", "ArtifactReady")
    ready = next(condition for condition in found.status.conditions if condition.type == "Ready")
    assert "Warning" not in ready.message
    assert settled.registry.asked == 0, "what is pinned stays pinned"


async def test_a_settled_release_costs_one_head_a_resync(settled: Settled) -> None:
    """The first pass has just fetched it, and after that each resync asks once."""
    for _ in range(4):
        await settled.look()
    assert settled.registry.heads == [IMAGE] * 3


OTHER = "sha256:" + "cd" * 32


async def test_the_image_of_a_rollback_is_asked_for_too(shows: dict[str, str]) -> None:
    """The revision that a rollback would go back to has an image of its own: when that is gone it is said as well."""
    body: dict[str, Any] = ran(two(PUBLIC), {PUBLIC: revision_of(two(PUBLIC))})
    old = kept(two(PUBLIC), OLD_PLUGIN)
    old["data"]["artifact"] |= {"digest": OTHER, "image": IMAGE.replace("ab" * 32, "cd" * 32)}
    old["data"]["source"]["image"]["ref"] = old["data"]["artifact"]["image"]
    source = api.ArtifactSource.model_validate(old["data"]["source"])
    name = revision.identity_of(source, api.Plugin.model_validate(OLD_PLUGIN), OTHER)
    old["metadata"]["name"] = f"auth-{name}"
    entry = {"number": 1, "state": "Superseded", "ref": "registry.example.com/plugins/auth:1.1", "digest": OTHER}
    times = {"firstDeployed": "2026-01-01T00:00:00Z", "lastDeployed": "2026-01-01T00:00:00Z"}
    body["status"]["history"] = [{"revision": name, **entry, **times}]
    settled = Settled(body, carrier(two(PUBLIC), PUBLIC), old)
    await settled.look()
    settled.registry.gone = {old["data"]["artifact"]["image"]}
    found = await settled.look()
    assert sorted(settled.registry.heads) == sorted([IMAGE, old["data"]["artifact"]["image"]])
    artifact = next(condition for condition in found.status.conditions if condition.type == "ArtifactReady")
    assert artifact.reason == "ManifestGone"
    assert f"revision {name}" in artifact.message
    assert IMAGE not in artifact.message
