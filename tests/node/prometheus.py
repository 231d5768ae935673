"""A real Prometheus beside the node, which takes its orders from what the chart made: PodMonitor and PrometheusRule.

It is a process in the lab's network, and connects to the pod's address. The Prometheus Operator, which turns a
PodMonitor into a configuration, does not run: `configure` does the same for what this chart uses. It names the pods
itself, because some builds of Prometheus, such as Debian's, cannot look for them.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from pluginrelease_lab import Lab, binaries, network
from tests.harness.cluster import JSON

NAMESPACE = "monitoring"
PORT = 9465
KINDS = ("podmonitors", "prometheusrules")
CRDS = Path("example/prometheus-operator-crd")
EVERY = "5s"
SECONDS = 120.0


def install_kinds(lab: Lab) -> None:
    """Install the kinds as the Prometheus Operator publishes them: the API server checks what Helm sends by them."""
    folder = binaries.module_dir("prometheus-operator") / CRDS
    names = [f"{kind}.monitoring.coreos.com" for kind in KINDS]
    for kind in KINDS:
        lab.kubectl("apply", "--server-side", "-f", str(folder / f"monitoring.coreos.com_{kind}.yaml"))
    lab.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", *names)


def configure(folder: Path, monitor: JSON, rules: JSON, pods: list[JSON]) -> Path:
    """Write the configuration that follows from these two objects for the pods that there are; return its file."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]), encoding="utf-8")
    about, [endpoint] = monitor["metadata"], monitor["spec"]["podMetricsEndpoints"]
    job = {
        "job_name": f"podMonitor/{about['namespace']}/{about['name']}/0",
        "scrape_interval": endpoint["interval"],
        "metrics_path": endpoint["path"],
        "static_configs": list(find_targets(monitor, pods)),
    }
    config = {"global": {"evaluation_interval": EVERY}, "scrape_configs": [job], "rule_files": ["rules.yaml"]}
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def find_targets(monitor: JSON, pods: list[JSON]) -> Iterator[JSON]:
    """Yield a target for each container of these pods that the PodMonitor selects: by labels, and by a port's name."""
    wanted, [endpoint] = monitor["spec"]["selector"]["matchLabels"], monitor["spec"]["podMetricsEndpoints"]
    for pod in pods:
        about = pod["metadata"]
        if not wanted.items() <= about["labels"].items():
            continue
        for container in pod["spec"]["containers"]:
            labels = {"namespace": about["namespace"], "pod": about["name"], "container": container["name"]}
            for port in container.get("ports", []):
                if port.get("name") == endpoint["port"]:
                    address = f"{pod['status']['podIP']}:{port['containerPort']}"
                    yield {"targets": [address], "labels": labels}


class Prometheus:
    """One that runs: what it answers."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def ask(self, path: str) -> Any:
        """Return the data of an answer of its API."""
        answer = self._lab.request(network.ADDRESS, PORT, f"/api/v1/{path}")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)["data"]

    def query(self, expression: str) -> list[JSON]:
        """Return the series of an instant query."""
        found: list[JSON] = self.ask(f"query?query={quote(expression)}")["result"]
        return found

    def alerts(self) -> dict[str, str]:
        """Return the alerts that are pending or firing, by name."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.ask("alerts")["alerts"]}

    def until(self, done: Callable[[], bool], seconds: float = SECONDS) -> float:
        """Wait until it is so; return how many seconds that took."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() < began + seconds, f"alerts: {self.alerts()}"
            time.sleep(0.5)
        return time.monotonic() - began


@contextmanager
def running(lab: Lab, folder: Path, config: Path) -> Iterator[Prometheus]:
    """Run Prometheus in the lab's network."""
    argv: list[str | Path] = [
        binaries.provide("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={network.ADDRESS}:{PORT}",
    ]
    with lab.log("prometheus").open("ab") as log:
        process = lab.popen(argv, stdout=log, stderr=log)
    try:
        lab.await_answer("prometheus", process, PORT, "/-/ready", status=200, within=60)
        yield Prometheus(lab)
    finally:
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process as the kubelet does."""
    process.terminate()
    process.wait(20)
