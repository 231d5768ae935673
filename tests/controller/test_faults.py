"""A fault at each request of a pass, one after the other: the pass ends in its settling, and the next one goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import looking, steps
from pluginrelease.controller import reconcile as passes
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core.errors import ReleaseError, Transient, Waiting
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.status import settlement
from tests.controller import scripted_steps
from tests.controller.rolling import NEW, OLD, failed, old, rolling_out, written
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.releases import manifest

JSON = dict[str, Any]

FAULTS: dict[str, ReleaseError | None] = {
    "403": Waiting(Reason.FORBIDDEN, "the API server does not allow this"),
    "409": Transient(Reason.CONFLICT, "the object has changed"),
    "429": Transient(Reason.API_SERVER_UNAVAILABLE, "the API server answered 429", retry_after=1.0),
    "503": Transient(Reason.API_SERVER_UNAVAILABLE, "the API server answered 503"),
    "a fault of ours": None,
}


class SilentGateway:
    """A log that nobody reads: tracebacks in colour cost more than the passes."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class FaultyAPI(ScriptedAPI):
    """Fails at one request, the first of which is number 0; answers late where ``late``, and all others at once."""

    def __init__(self, *objects: JSON, at: int = -1, fault: BaseException | None = None, late: float = 0.0) -> None:
        super().__init__(*objects)
        self.at, self.fault, self.late = at, fault, late
        self.statuses: list[api.Status] = []
        self.reached = asyncio.Event()

    async def _ask(self, verb: str, plural: str) -> None:
        number = len(self.requests)
        await super()._ask(verb, plural)
        if number == self.at:
            self.reached.set()
            await asyncio.sleep(self.late)
            if self.fault is not None and not (verb == "STATUS" and isinstance(self.fault, RuntimeError)):
                raise self.fault

    async def apply_status(self, release: api.Release, status: api.Status, version: str | None = None) -> None:
        await super().apply_status(release, status, version)
        self.statuses.append(status)


def begins() -> tuple[JSON, list[JSON]]:
    """Nobody has looked at the release yet."""
    return manifest(), []


def goes_back() -> tuple[JSON, list[JSON]]:
    """The new revision has failed by a crash, and nothing was put back yet."""
    body = failed(rolling_out(), "GatewayCrashed")
    return body, [written(body), old(body)]


def goes_on() -> tuple[JSON, list[JSON]]:
    """The new revision is written, and looked for."""
    body = rolling_out()
    return body, [written(body), old(body)]


def drifted() -> tuple[JSON, list[JSON]]:
    """Somebody else changed what is written."""
    body, [carrier, kept] = goes_on()
    carrier["spec"]["url"] = "oci://elsewhere"
    return body, [carrier, kept]


def suspended() -> tuple[JSON, list[JSON]]:
    body, there = goes_on()
    body["spec"]["suspend"] = True
    return body, there


@dataclass(frozen=True)
class FaultCase:
    """``ends_with``: the revision that the object carries when all is well."""

    reason: str
    make: Callable[[], tuple[JSON, list[JSON]]]
    ends_with: str


SCENES = [
    FaultCase("a release begins", begins, NEW),
    FaultCase("a revision goes back", goes_back, OLD),
    FaultCase("a revision is looked for", goes_on, NEW),
    FaultCase("drift is corrected", drifted, NEW),
    FaultCase("a release is suspended", suspended, NEW),
]


@pytest.fixture(autouse=True)
def _without_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways run whatever is written; the image is there."""

    async def judge(*_: object) -> tuple[tuple[()], Verdict]:
        row = PodVerdict(PodRef("istio-ingress", "pod", "pod", ready=True), State.LOADED, Reason.LOADED, "")
        return (), Verdict(State.LOADED, Reason.LOADED, "", (row,))

    async def nothing(*_: object, **__: object) -> tuple[()]:
        return ()

    monkeypatch.setattr(looking, "judge", judge)
    monkeypatch.setattr(looking, "look_before", nothing)
    monkeypatch.setattr(passes, "STATUS_SECONDS", 0.2)
    monkeypatch.setattr(steps, "log", SilentGateway())
    scripted_steps.check_by(monkeypatch)


def release(body: JSON) -> api.Release:
    return api.Release.model_validate(body)


def carried(cluster: ScriptedAPI) -> str | None:
    found = [thing for (kind, _, _), thing in cluster.objects.items() if kind.plural == "wasmplugins"]
    return found[0]["metadata"]["annotations"].get(api.REVISION_ANNOTATION) if found else None


async def run_twice(cluster: FaultyAPI, body: JSON) -> tuple[settlement.Ending | None, settlement.Ending]:
    """Run a pass with the fault, and one without; return both endings, None for a status that was not written."""
    there, first = context(cluster), None
    with contextlib.suppress(ReleaseError):
        first = await reconcile(there, release(body), attempt=0)
    cluster.at = -1
    known = cluster.statuses[-1].wire() if cluster.statuses else body.get("status", {})
    second = await reconcile(there, release({**body, "status": known}), attempt=1)
    return first, second


async def count_requests(scene: FaultCase) -> int:
    """How many requests a pass makes that nothing befalls."""
    body, there = scene.make()
    cluster = FaultyAPI(body, *there)
    await reconcile(context(cluster), release(body), attempt=0)
    assert carried(cluster) == scene.ends_with, scene.reason
    return len(cluster.requests)


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.reason)
async def test_a_fault_at_each_request_ends_the_pass_and_not_the_release(scene: FaultCase, name: str) -> None:
    """The pass says what happened, or could do without; the next one brings what the first one would have."""
    for at in range(await count_requests(scene)):
        body, there = scene.make()
        fault = FAULTS[name] or RuntimeError("a fault of ours")
        cluster = FaultyAPI(body, *there, at=at, fault=fault)
        first, second = await run_twice(cluster, body)
        where = f"{name} at {cluster.requests[at]}, request {at}"
        assert carried(cluster) == scene.ends_with, where
        assert second.status.phase in ("Ready", "RolledBack", "Suspended", "RollingBack"), where
        if first is not None and first.status.phase not in ("Ready", "RolledBack", "Suspended", "RollingBack"):
            said = {condition.reason for condition in first.status.conditions}
            assert said & {"Forbidden", "Conflict", "APIServerUnavailable", "InternalError"}, where


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.reason)
async def test_an_answer_that_is_late_changes_nothing(scene: FaultCase) -> None:
    """Each request in turn is answered late: what is written is the same."""
    for at in range(await count_requests(scene)):
        body, there = scene.make()
        cluster = FaultyAPI(body, *there, at=at, late=0.02)
        await reconcile(context(cluster), release(body), attempt=0)
        assert carried(cluster) == scene.ends_with, cluster.requests[at]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.reason)
async def test_a_pass_that_hangs_anywhere_can_be_given_up(scene: FaultCase) -> None:
    """It ends at once when it is cancelled, whichever request hangs, and the next one goes on."""
    for at in range(await count_requests(scene)):
        body, there = scene.make()
        cluster = FaultyAPI(body, *there, at=at, late=3600)
        known = context(cluster)
        passing = asyncio.ensure_future(reconcile(known, release(body), attempt=0))
        async with asyncio.timeout(10):
            await cluster.reached.wait()
        passing.cancel()
        await asyncio.wait({passing}, timeout=1)
        assert passing.done(), cluster.requests[at]
        if cluster.requests[at].split()[0] in ("APPLY", "DELETE", "STATUS"):
            continue  # a write that has begun is awaited by whoever comes next
        cluster.at = -1
        noted = cluster.statuses[-1].wire() if cluster.statuses else body.get("status", {})
        await reconcile(known, release({**body, "status": noted}), attempt=1)
        assert carried(cluster) == scene.ends_with, cluster.requests[at]
