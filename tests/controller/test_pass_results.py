"""How a pass ended is counted: whoever reads the metric can tell a pass that failed from one that ended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest

from pluginrelease import api
from pluginrelease.api.explanations import Then
from pluginrelease.api.explanations.gateways import GATEWAYS, PROBES
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import handlers
from pluginrelease.controller.turns import Stake
from pluginrelease.core.apiserver import health
from pluginrelease.core.errors import Transient
from pluginrelease.core.status import measurements
from pluginrelease.edges.metrics import Metrics, PassResult
from pluginrelease.settings import Settings
from tests.controller.scripted_api import HANG, JSON, ScriptedAPI, context
from tests.harness.releases import manifest

READ = "GET pluginreleases"
OVERLOADED = Transient(Reason.API_SERVER_UNAVAILABLE, "the API server answers 503")

CASES: list[tuple[str, dict[str, BaseException | str], PassResult]] = [
    ("it came to its end", {}, PassResult.ENDED),
    ("the API server ends it", {READ: OVERLOADED}, PassResult.FAILED),
    ("the operator has a bug", {READ: ZeroDivisionError()}, PassResult.FAILED),
]


class HeardAPI(ScriptedAPI):
    """Tells when it was asked for the first time."""

    def __init__(self, *objects: JSON, faults: dict[str, BaseException | str] | None = None) -> None:
        super().__init__(*objects, faults=faults)
        self.asked = asyncio.Event()

    async def get(self, *asked: Any) -> JSON | None:
        self.asked.set()
        return await super().get(*asked)


def count(counted: Metrics) -> dict[str, float]:
    """Return how often passes ended, by result."""
    samples = [sample for family in counted.passes.collect() for sample in family.samples]
    counts = {sample.labels["result"]: sample.value for sample in samples if sample.name.endswith("_count")}
    return {result: times for result, times in counts.items() if times}


async def run_pass(faults: dict[str, BaseException | str], *, is_deleted: bool = False) -> dict[str, float]:
    """Run one pass as the daemon does, and delete the release in the middle of it. Return what was counted."""
    body = manifest()
    body["metadata"]["finalizers"] = [api.FINALIZER]
    cluster = HeardAPI(body, faults=faults)
    memo = handlers.Memo(Settings(), context=context(cluster))
    bell, progress = asyncio.Event(), handlers.Progress(Stake.NOTHING)
    watch = cast(Any, SimpleNamespace(follow=lambda _: None))
    passing = asyncio.create_task(handlers.pass_in_turn(memo, kopf.Body(cast(Any, body)), watch, bell, progress))
    if is_deleted:
        await cluster.asked.wait()
        cluster.faults = {}
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        bell.set()
    await asyncio.gather(passing, return_exceptions=True)
    return count(memo.metrics)


@pytest.mark.parametrize(("reason", "faults", "result"), CASES, ids=[row[0] for row in CASES])
async def test_each_ending_counts_as_itself(
    reason: str, faults: dict[str, BaseException | str], result: PassResult
) -> None:
    """A pass counts once, by how it ended."""
    assert await run_pass(faults) == {result: 1}, reason


async def test_a_pass_that_is_cancelled_for_something_urgent_is_no_ending() -> None:
    """A pass that hangs, and that ends because the release is deleted, was given up."""
    assert await run_pass({READ: HANG}, is_deleted=True) == {PassResult.GIVEN_UP: 1}


async def test_a_pass_beyond_its_time_is_no_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that was cancelled because it hung counts as such, and not as one that ended."""
    monkeypatch.setattr(health, "PASS_SECONDS", 0.05)
    assert await run_pass({READ: HANG}) == {PassResult.TIMED_OUT: 1}


def test_what_is_rare_is_counted_from_the_start() -> None:
    """Prometheus reads zero before the first failure, so that `increase` counts it."""
    page = handlers.Memo(Settings()).metrics.render().decode()
    for series in (
        'pluginrelease_rollout_duration_seconds_count{outcome="RolledBack"}',
        'pluginrelease_failed_loads_total{reason="GatewayCrashed"}',
        'pluginrelease_pass_duration_seconds_count{result="Failed"}',
        'pluginrelease_pass_wait_seconds_count{stake="Outage"}',
        'pluginrelease_api_wait_seconds_count{lane="WayBack"}',
    ):
        assert f"{series} 0.0" in page


def test_each_failure_that_gateways_show_begins_at_zero() -> None:
    """The reasons are those of docs/reasons.md for which a revision fails at its gateways."""
    shown = {**GATEWAYS.rows, **PROBES.rows}
    assert {*measurements.FAILURES} == {reason for reason, row in shown.items() if row.then is Then.STAYS}
