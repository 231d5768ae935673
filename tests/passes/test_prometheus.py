"""A real Prometheus scrapes the operator: an alert of the chart fires, and the dashboard's queries run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from pluginrelease_lab import Lab, binaries, network
from tests.harness.cluster import LabCluster, Operator, unique
from tests.wasm_modules import answering

CHART = Path(__file__).parents[2] / "charts" / "pluginrelease"
METRICS, PROMETHEUS = 9464, 9465
SECONDS = 60.0

Ask = Callable[[str], Any]


@pytest.fixture(scope="module")
def prometheus(lab: Lab, running_operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask it for a path of its API; it scrapes the operator every second, and alerts wait for a second only."""
    folder = tmp_path_factory.mktemp("prometheus")
    rules = re.sub(r"for: \w+", "for: 1s", (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    (folder / "alerts.yaml").write_text(rules, encoding="utf-8")
    job = {"job_name": "pluginrelease", "static_configs": [{"targets": [f"{network.ADDRESS}:{METRICS}"]}]}
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = {"global": every, "scrape_configs": [job], "rule_files": ["alerts.yaml"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    running_operator.stop()
    running_operator.start("--metrics-port", str(METRICS))
    argv = [
        binaries.provide("prometheus"),
        f"--config.file={folder / 'config.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={network.ADDRESS}:{PROMETHEUS}",
    ]
    with (folder / "log").open("ab") as log:
        process = lab.popen(argv, stdout=log, stderr=log)

    def ask(path: str) -> Any:
        answer = lab.request(network.ADDRESS, PROMETHEUS, f"/api/v1/{path}")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)["data"]

    yield ask
    process.terminate()
    process.wait(20)
    running_operator.stop()
    running_operator.start()


def await_answer(ask: Ask, path: str, done: Callable[[Any], bool]) -> Any:
    """The answer as soon as it is as wanted."""
    deadline, found = time.monotonic() + SECONDS, None
    while time.monotonic() < deadline:
        try:
            found = ask(path)
        except (OSError, AssertionError) as error:
            found = error
        else:
            if done(found):
                return found
        time.sleep(0.5)
    raise AssertionError(f"{path} answers {found}")


def query(ask: Ask, expression: str) -> list[Any]:
    found: list[Any] = ask(f"query?query={quote(expression)}")["result"]
    return found


def test_an_alert_fires_and_the_dashboard_shows_it(prometheus: Ask, cluster: LabCluster, tmp_path: Path) -> None:
    """A release that is loaded is counted, with its rollout; one that is refused fires PluginReleaseStalled with its
    reason; every query of the dashboard runs, and most have an answer."""
    name, ref = unique("seen"), cluster.push(answering("seen"), tmp_path)
    cluster.apply(cluster.manifest(name, ref))
    cluster.await_ready(name)
    bad = cluster.manifest(f"{name}-bad", ref)
    bad["spec"]["artifact"]["wasmSha256"] = "0" * 64
    bad["spec"]["plugin"] = {"phase": "AUTHN", "priority": 3}
    cluster.apply(bad)
    cluster.await_reason(f"{name}-bad", "WasmMismatch")
    loaded = "query?query=" + quote('pluginrelease_releases{phase="Ready",reason="Loaded"}')
    await_answer(prometheus, loaded, lambda found: bool(found["result"]))
    fired = await_answer(prometheus, "alerts", lambda found: any(is_stalled(alert) for alert in found["alerts"]))
    [alert] = [alert for alert in fired["alerts"] if is_stalled(alert)]
    assert all(named in alert["annotations"]["description"] for named in ("1 ", "WasmMismatch"))
    firing = {alert["labels"]["alertname"] for alert in fired["alerts"] if alert["state"] == "firing"}
    assert firing == {"PluginReleaseStalled"}
    assert query(prometheus, 'pluginrelease_rollout_duration_seconds_count{outcome="Loaded"} == 1')
    assert query(prometheus, "pluginrelease_load_duration_seconds_sum < 120")
    assert query(prometheus, 'sum(pluginrelease_api_requests_total{code="200"}) > 10')
    assert query(prometheus, "pluginrelease_leader == 1 and pluginrelease_ready == 1")
    assert query(prometheus, "min(pluginrelease_watch_open) == 1")
    assert query(prometheus, 'pluginrelease_registry_request_duration_seconds_count{operation="Pull",result="OK"} > 0')

    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = [expression.replace("$__rate_interval", "30s") for expression in expressions]
    answered = [expression for expression in asked if query(prometheus, expression)]
    assert len(answered) >= len(asked) - 2, sorted({*asked} - {*answered})


def is_stalled(alert: dict[str, Any]) -> bool:
    return alert["state"] == "firing" and alert["labels"].get("reason") == "WasmMismatch"
