"""A pass that hangs in a registry is given up for what must not wait: a rollback-to, a crash, a deletion."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import handlers, interruption
from pluginrelease.controller.interruption import SeenRelease
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.controller.steps import Once
from pluginrelease.controller.turns import Stake
from pluginrelease.core import revision
from pluginrelease.core.errors import Transient
from pluginrelease.core.rollout.report import Event
from pluginrelease.edges.kubernetes import resources
from pluginrelease.settings import Settings
from tests.controller import scripted_steps
from tests.controller.rolling import NEW, OLD, crashed, old, rolling_out, written
from tests.controller.scripted_api import HANG, ScriptedAPI, context
from tests.harness.releases import ARTIFACT, manifest

JSON = dict[str, Any]

PLACE = ("istio-ingress", "auth")
SOON = 1.0  # seconds from the event to the write


class ToldAPI(ScriptedAPI):
    """Tells of each request when it is answered."""

    def __init__(self, *objects: JSON) -> None:
        super().__init__(*objects)
        self.told = asyncio.Queue[str]()

    async def get(self, *asked: Any) -> JSON | None:
        found = await super().get(*asked)
        self.told.put_nowait(self.requests[-1])
        return found

    async def list(self, *asked: Any) -> list[JSON]:
        found = await super().list(*asked)
        self.told.put_nowait(self.requests[-1])
        return found

    async def apply(self, manifest: JSON, *, uid: str | None, version: str | None = None) -> JSON:
        made = await super().apply(manifest, uid=uid, version=version)
        self.told.put_nowait("APPLY")
        return made

    async def delete(self, observed: JSON) -> None:
        await super().delete(observed)
        self.told.put_nowait("DELETE")

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait for what some request brings about."""
        async with asyncio.timeout(20):
            while not is_true():
                await self.told.get()


class InterruptedRelease:
    """One release, whose newest revision is written and under way; its spec wants a third one since a moment ago."""

    def __init__(self) -> None:
        self.body = rolling_out()
        plugin = written(self.body)
        place = {"namespace": PLACE[0], "name": plugin["metadata"]["name"]}
        self.body["status"]["gateways"][0]["object"] = {
            "apiVersion": plugin["apiVersion"],
            "kind": plugin["kind"],
            **place,
        }
        new = revision.manifest(api.Release.model_validate(self.body), ARTIFACT, 1)
        self.cluster = ToldAPI(self.body, plugin, old(self.body), new)
        self.context, self.bell, self.seen = context(self.cluster), asyncio.Event(), SeenRelease()
        self.begun = asyncio.Event()
        self.passes = 0
        self.told = list[Event]()

    def now(self) -> JSON:
        return self.cluster.objects[resources.RELEASES, *PLACE]

    def want(self, config: JSON) -> None:
        self.now()["spec"]["plugin"] = {"config": config}

    async def run(self) -> None:
        """One pass, as the daemon runs it."""
        found = await self.context.cluster.get(resources.RELEASES, *PLACE)
        assert found is not None
        self.seen.note(found)
        self.passes += 1
        await reconcile(self.context, api.Release.model_validate(found), attempt=0, tell=self.told.append)

    async def follow(self) -> None:
        """Passes without an end."""
        while True:
            self.bell.clear()
            done = await interruption.run_until_urgent(self.context, PLACE, self.run, self.bell, self.seen)
            if done is None:
                await self.context.writer.finish(self.body["metadata"]["uid"])
            await asyncio.sleep(0.01)

    def carriers(self) -> list[JSON]:
        return [thing for key, thing in self.cluster.objects.items() if key[0].plural == "wasmplugins"]

    def carried(self) -> str | None:
        [plugin] = self.carriers()
        carried: str | None = plugin["metadata"]["annotations"].get(api.REVISION_ANNOTATION)
        return carried


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> InterruptedRelease:
    """The same, in a pass that waits for a registry."""
    release = InterruptedRelease()

    async def hang(*_: object) -> None:
        release.begun.set()
        await asyncio.Event().wait()

    release.want({"third": True})
    scripted_steps.check_by(monkeypatch, Once(ConditionType.ARTIFACT_READY, hang))
    return release


def go_back(release: InterruptedRelease) -> None:
    release.now()["metadata"]["annotations"] = {api.ROLLBACK_ANNOTATION: f"{OLD}:1"}


def switch_off(release: InterruptedRelease) -> None:
    release.now()["metadata"]["annotations"] = {api.OFF_ANNOTATION: "1: it drops requests"}


def crash(release: InterruptedRelease) -> None:
    release.cluster.objects |= ScriptedAPI(crashed()).objects


URGENT: list[tuple[str, Callable[[InterruptedRelease], None]]] = [
    ("somebody asks for the revision before", go_back),
    ("a gateway crashes of what is written, though something else is wanted by now", crash),
]


@pytest.mark.parametrize(("reason", "happens"), URGENT, ids=[row[0] for row in URGENT])
async def test_the_way_back_does_not_wait_for_the_pass_under_way(
    reason: str, happens: Callable[[InterruptedRelease], None], hanging: InterruptedRelease
) -> None:
    """The old revision is written within a second of the event."""
    following = asyncio.ensure_future(hanging.follow())
    await hanging.begun.wait()
    assert hanging.carried() == NEW
    began = time.monotonic()
    happens(hanging)
    hanging.bell.set()
    await hanging.cluster.until(lambda: hanging.carried() == OLD)
    took = time.monotonic() - began
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert took < SOON, reason


async def test_off_does_not_wait_for_the_pass_under_way(hanging: InterruptedRelease) -> None:
    """The object is deleted within a second, and the status keeps the switch."""
    following = asyncio.ensure_future(hanging.follow())
    await hanging.begun.wait()
    began = time.monotonic()
    switch_off(hanging)
    hanging.bell.set()
    await hanging.cluster.until(lambda: not hanging.carriers())
    took = time.monotonic() - began
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert took < SOON


async def test_a_deletion_ends_the_pass_under_way(hanging: InterruptedRelease) -> None:
    """The clean-up begins beside a pass that asks nobody any more."""
    following = asyncio.ensure_future(hanging.follow())
    await hanging.begun.wait()
    hanging.now()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    hanging.bell.set()
    await hanging.cluster.until(lambda: hanging.passes == 2)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert "APPLY wasmplugins" not in hanging.cluster.requests


async def test_a_pass_that_goes_back_is_not_given_up_and_says_why() -> None:
    """The crash is told as soon as it is decided on, though the status hangs; a second gateway ends no way back."""
    release = InterruptedRelease()
    crash(release)
    release.cluster.faults |= {"STATUS pluginreleases": HANG}
    following = asyncio.ensure_future(release.follow())
    await release.cluster.until(lambda: "STATUS pluginreleases" in release.cluster.requests)
    assert [str(event.reason) for event in release.told] == ["GatewayCrashed"]
    release.cluster.objects |= ScriptedAPI(crashed("other", "other")).objects
    assert not await interruption.is_urgent(release.context, PLACE, release.seen)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_events_are_told_though_the_status_is_not_taken() -> None:
    """The next pass counts with what this one decided, so that nothing would be news for it."""
    release = InterruptedRelease()
    crash(release)
    release.cluster.faults |= {"STATUS pluginreleases": Transient(Reason.API_SERVER_UNAVAILABLE, "no")}
    for _ in range(2):
        with contextlib.suppress(Transient):
            await release.run()
    assert [str(event.reason) for event in release.told].count("GatewayCrashed") == 1


async def test_what_is_not_urgent_waits_for_the_pass(hanging: InterruptedRelease) -> None:
    """A bell that rings for anything else rings again after the pass, and ends none."""
    following = asyncio.ensure_future(hanging.follow())
    await hanging.begun.wait()
    asked = len(hanging.cluster.requests)
    hanging.bell.set()
    await hanging.cluster.until(lambda: "LIST pods" in hanging.cluster.requests[asked:])
    for _ in range(100):  # whatever the bell brings about has happened by then
        await asyncio.sleep(0)
    assert hanging.passes == 1
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_nothing_ends_two_passes(hanging: InterruptedRelease) -> None:
    """A crash that the pass began because of, or a command that it has read, does not end it."""
    go_back(hanging)
    crash(hanging)
    hanging.seen.note(hanging.now())
    known = hanging.context
    assert await interruption.is_urgent(known, PLACE, hanging.seen)
    assert not await interruption.is_urgent(known, PLACE, hanging.seen)


@pytest.mark.parametrize(
    ("reason", "urgent"),
    [("a rollback-to that came while it waits", True), ("another plugin, which can wait", False)],
)
async def test_a_pass_that_waits_for_its_turn(reason: str, urgent: bool) -> None:
    """All turns are taken: what must not wait begins at once, and all else stays in the queue."""
    body = manifest()
    cluster = ScriptedAPI(body)
    memo = handlers.Memo(Settings(parallel_passes=1), context=context(cluster))
    bell, progress = asyncio.Event(), handlers.Progress(Stake.NOTHING)
    progress.seen.note(body)
    watch = cast(Any, SimpleNamespace(follow=lambda _: None))
    async with memo.turns.take(Stake.NOTHING):
        passing = asyncio.create_task(handlers.pass_in_turn(memo, kopf.Body(body), watch, bell, progress))
        await asyncio.wait({passing}, timeout=0.05)
        if urgent:
            body["metadata"]["annotations"] = {api.ROLLBACK_ANNOTATION: "now"}
        else:
            body["metadata"]["generation"] = 2
        bell.set()
        await asyncio.wait({passing}, timeout=1)
        assert passing.done() is urgent, reason
        if urgent:
            assert passing.result() is None
            progress.stake = Stake.OUTAGE
            assert await handlers.pass_in_turn(memo, kopf.Body(body), watch, bell, progress) is not None
    passing.cancel()
    await asyncio.gather(passing, return_exceptions=True)
