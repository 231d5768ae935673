"""Which level a gateway's filter logger goes back to, when several releases raise it at once."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pluginrelease import api
from pluginrelease.controller import loggers
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.edges.envoy import admin
from tests.controller.scripted_api import ScriptedAPI
from tests.releases import manifest, release

POD = PodRef("istio-ingress", "gateway", "pod", ready=True)


def noting(level: str) -> dict[str, Any]:
    """Another release that has raised the pod's logger, which was at this level."""
    raised = [{"namespace": POD.namespace, "pod": POD.name, "uid": POD.uid, "level": level}]
    observation = {"revision": "r", "since": "2026-01-01T00:00:00Z", "raisedLoggers": raised}
    return manifest(metadata__name="other", metadata__uid="other", status={"observation": observation})


class Gateway:
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


@pytest.mark.parametrize(("reason", "levels", "others", "noted_after", "kept"), CASES, ids=[row[0] for row in CASES])
async def test_the_level_to_restore(
    reason: str,
    levels: list[str],
    others: list[dict[str, Any]],
    noted_after: int | None,
    kept: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the one from before anybody raised it, so that no gateway stays at debug."""
    cluster = ScriptedAPI(*others)
    monkeypatch.setattr(admin, "read_logging", Gateway(cluster, levels, noted_after=noted_after).read)
    [raised] = await loggers.find_levels_to_restore(cast(Any, cluster), release(), [POD], admin.GatewayAccess())
    assert raised.level == kept, reason


async def test_a_level_that_this_release_raised_is_kept() -> None:
    """A pass that raises a logger again does not take its own raised level for the one to restore."""
    known = api.Release.model_validate(noting("info"))
    assert loggers.noted_by(known) == {POD.uid: "info"}
