"""A real Prometheus scrapes the operator on the node, by what the chart made for it; an alert fires and is resolved."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease_lab import Lab
from tests import wasm_modules
from tests.harness.cluster import JSON, observed, ready, unique
from tests.node import prometheus
from tests.node.cluster import NAMESPACE, RELEASE, NodeCluster
from tests.node.conftest import Start
from tests.node.prometheus import Prometheus

SCRAPERS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": prometheus.NAMESPACE}}}
MONITORING = (
    "--set=metrics.podMonitor.enabled=true",
    f"--set=metrics.podMonitor.interval={prometheus.EVERY}",
    "--set=metrics.rules.enabled=true",
    "--set=metrics.dashboard.enabled=true",
    "--set=networkPolicy.enabled=true",
    f"--set-json=networkPolicy.metricsFrom={json.dumps([SCRAPERS])}",
)
UNPROTECTED, STALLED = "PluginReleaseRunningUnprotected", "PluginReleaseStalled"
RATE = "5m"
"""What Grafana would put in the place of $__rate_interval."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node_lab(start_lab: Start) -> Lab:
    """A lab with the operator's image on its node, and the kinds of the Prometheus Operator."""
    lab = start_lab("prometheus")
    prometheus.install_kinds(lab)
    return lab


@pytest.fixture(scope="module")
def watched(node_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeCluster, Prometheus]]:
    """The chart with its defaults and what a Prometheus needs, and a Prometheus that goes by it."""
    folder = tmp_path_factory.mktemp("prometheus")
    cluster = NodeCluster(node_lab, folder)
    cluster.install(*MONITORING)
    monitor, rules = (made(node_lab, kind) for kind in prometheus.KINDS)
    config = prometheus.configure(folder, monitor, rules, cluster.pods(NAMESPACE))
    with prometheus.running(node_lab, folder, config) as running:
        running.until(lambda: bool(running.query("up == 1")))
        yield cluster, running
    cluster.clean_up()
    cluster.uninstall()


def made(lab: Lab, kind: str, name: str = RELEASE) -> JSON:
    """What Helm made, as the API server has it."""
    return dict(json.loads(lab.kubectl("get", kind, name, "-n", NAMESPACE, "-o", "json")))


def test_an_alert_fires_and_is_resolved(watched: tuple[NodeCluster, Prometheus], tmp_path: Path) -> None:
    """While all is well no alert is there. Requests kill a plugin that lets requests pass without it: the alert of the
    chart fires after its own time of a minute, and no other; it ends when a new revision runs. Each query of the
    dashboard has an answer meanwhile."""
    cluster, asked = watched
    name, ref = unique("watched"), cluster.push(wasm_modules.answering_until_trapped("one"), tmp_path)
    plugin = {"phase": "AUTHN", "failStrategy": "FAIL_OPEN"}
    manifest = cluster.manifest(name, ref, plugin=plugin, rollout={"onFailure": "Hold"})
    cluster.apply(manifest)
    cluster.await_ready(name)
    [target] = asked.ask("targets?state=active")["activeTargets"]
    print(f"scraped: {target['scrapeUrl']} {target['labels']}")
    [pod] = cluster.operator_pods()
    assert (target["labels"]["namespace"], target["labels"]["pod"]) == (NAMESPACE, pod["metadata"]["name"])
    asked.until(lambda: bool(asked.query('pluginrelease_releases{phase="Ready",reason="Loaded"} == 1')))
    asked.until(lambda: asked.alerts() == {})
    assert len(asked.ask("rules")["groups"][0]["rules"]) == len(
        made(cluster.lab, "prometheusrules")["spec"]["groups"][0]["rules"]
    )

    began = time.monotonic()
    kill_plugins(cluster)
    held = cluster.await_release(name, is_unprotected)
    print(f"{time.monotonic() - began:.0f} s: the release says {ready(held)['reason']}: {ready(held)['message']}")
    asked.until(lambda: asked.alerts().get(UNPROTECTED) == "pending")
    print(f"{time.monotonic() - began:.0f} s: {UNPROTECTED} is pending")
    took = asked.until(lambda: asked.alerts().get(UNPROTECTED) == "firing")
    print(f"{time.monotonic() - began:.0f} s: {UNPROTECTED} fires")
    assert 50 < took < 100, "its own time is a minute"
    assert {alert for alert, state in asked.alerts().items() if state == "firing"} == {UNPROTECTED}
    [fired] = [alert for alert in asked.ask("alerts")["alerts"] if alert["state"] == "firing"]
    print(json.dumps({key: fired[key] for key in ("labels", "annotations")}, indent=1))
    assert fired["labels"] == {
        "alertname": UNPROTECTED,
        "reason": "RunningUnprotected",
        "severity": "critical",
        "namespace": NAMESPACE,
        "container": "operator",
        "job": f"podMonitor/{NAMESPACE}/{RELEASE}/0",
    }
    check_dashboard(asked, made(cluster.lab, "configmap", f"{RELEASE}-dashboard"))

    manifest["spec"]["artifact"]["image"]["ref"] = cluster.push(wasm_modules.answering("two"), tmp_path)
    cluster.lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    cluster.await_ready(name)
    mended = time.monotonic()
    asked.until(lambda: asked.alerts() == {})
    print(f"{time.monotonic() - mended:.0f} s after the release is Ready again no alert is there")
    fires = f'count_over_time(ALERTS{{alertname="{UNPROTECTED}",alertstate="firing"}}[10m])'
    assert asked.query(fires)


def kill_plugins(cluster: NodeCluster) -> None:
    """Send requests that make the plugin trap, until no gateway answers through it."""
    deadline = time.monotonic() + 60
    while any("x-plugin" in headers for _, headers, _ in cluster.answers()):
        assert time.monotonic() < deadline
        for gateway in cluster.lab.gateway_pods():
            for _ in range(8):
                with contextlib.suppress(OSError):  # the worker that traps may close the connection
                    cluster.lab.request(gateway.address, headers={"x-trap": "1"})


def is_unprotected(release: JSON) -> bool:
    """Whether an entry says that requests pass without the plugin."""
    rows = release.get("status", {}).get("gateways", [])
    return observed(release) and any(row.get("reason") == "RunningUnprotected" for row in rows)


def check_dashboard(asked: Prometheus, dashboard: JSON) -> None:
    """Each query of the ConfigMap that Grafana's sidecar would load has an answer that is a number."""
    panels = json.loads(dashboard["data"]["pluginrelease.json"])["panels"]
    for panel in panels:
        for target in panel["targets"]:
            found = asked.query(target["expr"].replace("$__rate_interval", RATE))
            shown = [(series["metric"], series["value"][1]) for series in found]
            print(f"{panel['title']}: {target['expr']}\n    {shown}")
            assert shown, target["expr"]
            assert any(value != "NaN" for _, value in shown), target["expr"]


def test_the_network_policy_names_who_may_scrape(watched: tuple[NodeCluster, Prometheus]) -> None:
    """The policy takes connections to the metrics' port from Prometheus's namespace alone. The lab's network does not
    enforce a policy: what a network plugin makes of it is not shown here."""
    cluster, _ = watched
    policy = made(cluster.lab, "networkpolicy")["spec"]
    by_port = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}
    assert by_port == {"healthz": None, "metrics": [SCRAPERS]}
    [pod] = cluster.operator_pods()
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
