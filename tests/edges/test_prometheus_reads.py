"""A real Prometheus reads what the operator serves: the chart's alerts fire, and the dashboard's queries run."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from pluginrelease.edges import healthz, metrics
from pluginrelease.edges.metrics import Metrics, Standing, Values
from pluginrelease_lab import binaries
from tests.edges.chart_values import CHART
from tests.edges.real_envoy import free_port

SECONDS = 90.0
# what an operator gives out whose releases are all well
WELL: dict[str, Values] = {
    "pluginrelease_releases": {("Ready", "Loaded"): 30},
    "pluginrelease_release_conditions": {("Ready", "True", "Loaded"): 30},
    "pluginrelease_entries": {("Loaded", "Loaded"): 60, ("Unhealthy", "Removed"): 1},
    "pluginrelease_gateway_pods": {("Loaded",): 120, ("Failed",): 0, ("Unproven",): 0},
    "pluginrelease_leader": {(): 1},
    "pluginrelease_logged_in": {(): 1},
    "pluginrelease_ready": {(): 1},
    "pluginrelease_watch_open": {("/api/v1/namespaces",): 1},
    "pluginrelease_passes": {("Nothing", "Waiting"): 0, ("Nothing", "UnderWay"): 1},
    "pluginrelease_api_requests_total": {("get", "pods", "200"): 7},
}
UNPROTECTED = {**WELL, "pluginrelease_entries": {("Unhealthy", "RunningUnprotected"): 2}}

Ask = Callable[..., Any]


def configure(folder: Path, page: int) -> Path:
    """Scrape every half second, and let alerts wait for a second only."""
    rules = re.sub(r"for: \w+", "for: 1s", (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    (folder / "alerts.yaml").write_text(rules, encoding="utf-8")
    jobs = [{"job_name": "pluginrelease", "static_configs": [{"targets": [f"127.0.0.1:{page}"]}]}]
    every = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"global": every, "scrape_configs": jobs, "rule_files": ["alerts.yaml"]}))
    return config


@asynccontextmanager
async def prometheus(folder: Path, page: int) -> AsyncIterator[Ask]:
    """Ask it for a path of its API."""
    config, port = configure(folder, page), free_port("127.0.0.1")
    own = (
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(binaries.provide("prometheus"), *own, stdout=log, stderr=log)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def ask(path: str, **query: str) -> Any:
            async with session.get(f"/api/v1/{path}", params=query) as answer:
                found = await answer.json()
                assert answer.status == 200, found
                return found["data"]

        try:
            yield ask
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), 20)


async def becomes(ask: Ask, done: Callable[[Any], bool], path: str, **query: str) -> Any:
    """The answer as soon as it is as wanted."""
    found: Any = None
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                found = await ask(path, **query)
            except aiohttp.ClientError:
                found = None
            if found is not None and done(found):
                return found
            await asyncio.sleep(0.3)


def firing(found: Any) -> set[str]:
    return {alert["labels"]["alertname"] for alert in found["alerts"] if alert["state"] == "firing"}


async def test_alerts_fire_and_the_dashboard_is_drawn(tmp_path: Path) -> None:
    """While all is well no alert fires; a gateway without its plugin fires one and no other; it ends when that does.

    Each query of the dashboard is answered, and none of them is about nothing.
    """
    counted, standing = Metrics(), Standing(WELL)
    counted.read_from(lambda: standing)
    touch(counted)
    page = free_port("127.0.0.1")
    pages = {"/metrics": healthz.make_page(counted.render, metrics.CONTENT_TYPE)}
    async with healthz.serve(page, pages), prometheus(tmp_path, page) as ask:
        await becomes(ask, lambda found: bool(found["result"]), "query", query="pluginrelease_leader == 1")
        await becomes(ask, lambda found: not firing(found), "alerts")
        standing = replace(standing, values=UNPROTECTED)
        fired = await becomes(ask, firing, "alerts")
        assert firing(fired) == {"PluginReleaseRunningUnprotected"}
        [alert] = fired["alerts"]
        assert alert["labels"]["severity"] == "critical"
        assert alert["annotations"]["description"].startswith("2 entries")
        touch(counted)
        for expression in expressions():
            answered = await becomes(ask, lambda found: bool(found["result"]), "query", query=expression)
            assert answered["resultType"] == "vector", expression
        standing = replace(standing, values=WELL)
        await becomes(ask, lambda found: not firing(found), "alerts")


def expressions() -> list[str]:
    """The queries of the dashboard, as Grafana sends them."""
    panels = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    targets = [target["expr"] for panel in panels for target in panel["targets"]]
    # what is not ready counts too: with one in another phase the panel has something to show
    asked = [expression.replace("$__rate_interval", "10s") for expression in targets]
    return [expression for expression in asked if '!="Ready"' not in expression]


def touch(counted: Metrics) -> None:
    """Count one of each kind."""
    counted.rollouts.labels("Loaded").observe(3)
    counted.failures.labels("FetchFailed").inc()
    counted.passes.labels("Ended").observe(0.2)
    counted.turns.labels("Nothing").observe(0)
    counted.pulls.labels("Pull", "OK").observe(1)
    for each in (counted.loads, counted.looks):
        each.observe(2)
