"""Which level a gateway's filter logger goes back to, when several releases raise it at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from pluginrelease import api
from pluginrelease.controller import loggers
from pluginrelease.controller.actions import notes
from pluginrelease.controller.context import Context
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import DirectReader
from pluginrelease.controller.steps import run_action
from pluginrelease.core.gateway import raised_loggers
from pluginrelease.core.gateway.identity import pod_mark
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.rollout import facts
from pluginrelease.core.rollout.actions import RollOut
from pluginrelease.edges.envoy import control
from pluginrelease.edges.envoy.access import GatewayAccess
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.releases import manifest, release

NOW, NAMES = datetime(2026, 1, 1, tzinfo=UTC), frozenset({"public"})
RUNNING = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"namespace": "istio-ingress", "name": "gateway", "uid": "pod"},
}
POD = PodRef("istio-ingress", "gateway", "pod", ready=True)


def noting(level: str) -> dict[str, Any]:
    """Another release that has raised the pod's logger, which was at this level."""
    raised = [{"namespace": POD.namespace, "level": level, "pods": [f"{POD.name} {pod_mark(POD.uid)}"]}]
    observation = {"name": "public", "revision": "r", "since": "2026-01-01T00:00:00Z", "raisedLoggers": raised}
    noted = {"checkpoint": {"gateways": [observation]}}
    return manifest(metadata__name="other", metadata__uid="other", status=noted)


class ScriptedGateway:
    """A pod whose logger is read; what happens after a read is the other release's doing."""

    def __init__(self, cluster: ScriptedAPI, levels: list[str], *, noted_after: int | None = None) -> None:
        self.cluster, self.levels, self.noted_after = cluster, levels, noted_after
        self.reads = 0

    async def read(self, *_: object, **__: object) -> str:
        level = self.levels[min(self.reads, len(self.levels) - 1)]
        self.reads += 1
        if self.reads == self.noted_after:
            self.cluster.objects |= ScriptedAPI(noting("warning")).objects
        return level


CASES: list[tuple[str, list[str], list[dict[str, Any]], int | None, str]] = [
    ("nobody else raises it", ["warning"], [], None, "warning"),
    ("another release has raised it", ["debug"], [noting("info")], None, "info"),
    ("another one notes and raises it meanwhile", ["debug"], [], 1, "warning"),
    ("another one restores it meanwhile", ["debug", "error"], [], None, "error"),
    ("a person wants it so", ["debug", "debug"], [], None, "debug"),
]


@pytest.mark.parametrize("is_seen", [False, True], ids=["read now", "read by the look before"])
@pytest.mark.parametrize(("reason", "levels", "others", "noted_after", "kept"), CASES, ids=[row[0] for row in CASES])
async def test_the_level_to_restore(
    is_seen: bool,
    reason: str,
    levels: list[str],
    others: list[dict[str, Any]],
    noted_after: int | None,
    kept: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the one from before anybody raised it, so that no gateway stays at debug."""
    cluster = ScriptedAPI(*others)
    gateway = ScriptedGateway(cluster, levels, noted_after=noted_after)
    monkeypatch.setattr(control, "read_logging", gateway.read)
    seen = {POD.uid: await gateway.read()} if is_seen else {}
    [raised] = await loggers.find_levels_to_restore(
        cast(Any, cluster), DirectReader(cast(Any, cluster)), release(), [POD], GatewayAccess(), seen
    )
    assert raised.level == kept, reason


async def test_a_level_that_this_release_raised_is_kept() -> None:
    """A pass that raises a logger again does not take its own raised level for the one to restore."""
    known = api.Release.model_validate(noting("info"))
    assert loggers.noted_by(known) == {pod_mark(POD.uid): "info"}


async def test_of_two_releases_that_are_done_at_once_one_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds the other's note, and the level is restored all the same."""
    first, second = noting("warning"), manifest(status=noting("warning")["status"])
    cluster, listed, set_to = ScriptedAPI(first, second, RUNNING), asyncio.Barrier(2), []
    answer = cluster.list

    async def list_together(*asked: Any) -> Any:
        found = await answer(*asked)
        await listed.wait()
        return found

    async def set_logging(_: object, pod: PodRef, level: str, **__: object) -> None:
        set_to.append(level)

    monkeypatch.setattr(cluster, "list", list_together)
    monkeypatch.setattr(control, "set_logging", set_logging)
    there = context(cluster)
    began = [facts.begin(api.Release.model_validate(body), NOW) for body in (first, second)]
    restored = await asyncio.gather(*(notes.restore_levels(acting(there), known, NAMES) for known in began))
    assert set_to == ["warning"]
    assert [found and found.observations["public"].raised_loggers for found in restored] == [[], []]


async def test_no_logger_is_raised_that_is_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status has room for so many; what stands in no note would stay at debug for ever."""
    observation = {"name": "public", "revision": "r", "since": "2026-01-01T00:00:00Z"}
    found = manifest(status={"checkpoint": {"gateways": [observation]}})
    pods = [PodRef(POD.namespace, f"gateway-{number}", f"pod-{number}", ready=True) for number in range(3)]
    raised = []

    async def set_logging(_: object, pod: PodRef, level: str, **__: object) -> None:
        raised.append(pod.name)

    async def read_logging(*_: object, **__: object) -> str:
        return "warning"

    monkeypatch.setattr(control, "set_logging", set_logging)
    monkeypatch.setattr(control, "read_logging", read_logging)
    monkeypatch.setattr(api, "MAX_OBSERVED_PODS", 2)
    known = facts.begin(api.Release.model_validate(found), NOW)
    known = known.with_entry(replace(known.entry("public"), to_raise=tuple(pods)))
    steps = (notes.FIND_LEVELS, notes.CHECKPOINT, notes.RAISE_LEVELS)
    done = await run_action(acting(context(ScriptedAPI(found))), known, RollOut(("public",)), steps)
    noted = raised_loggers.read(done.view("public").observation.raised_loggers)
    assert raised == [logger.pod for logger in noted] == ["gateway-0", "gateway-1"]


def acting(there: Context) -> PassContext:
    """What the steps of a pass act with."""
    return PassContext(there, DirectReader(there.cluster))
