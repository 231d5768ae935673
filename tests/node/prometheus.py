"""A real Prometheus beside the node, which takes its orders from what the chart made: PodMonitor and PrometheusRule.

It is a process in the lab's network, with a ServiceAccount of its own. It finds the operator's pod by the API server as
a cluster's Prometheus does. The Prometheus Operator, which turns a PodMonitor into a configuration, does not run:
`configure` does the same for what this chart uses.
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
ACCOUNT = "prometheus"
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


def make_account(lab: Lab, watched: str) -> Path:
    """Return a kubeconfig of an account that may look for pods in one namespace, and nothing else."""
    about = {"name": ACCOUNT, "namespace": watched}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    objects: list[JSON] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": about, "rules": [rule]},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": about,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": ACCOUNT},
            "subjects": [subject],
        },
    ]
    lab.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))
    return lab.kubeconfig_for(NAMESPACE, ACCOUNT)


def configure(folder: Path, kubeconfig: Path, monitor: JSON, rules: JSON) -> Path:
    """Write the configuration that the Prometheus Operator makes of these two objects; return its file."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]), encoding="utf-8")
    about, [endpoint] = monitor["metadata"], monitor["spec"]["podMetricsEndpoints"]
    labels = monitor["spec"]["selector"]["matchLabels"]
    kept = [(f"__meta_kubernetes_pod_label_{as_label(name)}", value) for name, value in labels.items()]
    kept.append(("__meta_kubernetes_pod_container_port_name", endpoint["port"]))
    shown = ("namespace", "pod_name", "pod_container_name")
    job = {
        "job_name": f"podMonitor/{about['namespace']}/{about['name']}/0",
        "scrape_interval": endpoint["interval"],
        "metrics_path": endpoint["path"],
        "kubernetes_sd_configs": [
            {"role": "pod", "kubeconfig_file": str(kubeconfig), "namespaces": {"names": [about["namespace"]]}}
        ],
        "relabel_configs": [
            *({"source_labels": [name], "regex": value, "action": "keep"} for name, value in kept),
            *(
                {
                    "source_labels": [f"__meta_kubernetes_{name}"],
                    "target_label": name.removeprefix("pod_").split("_")[0],
                }
                for name in shown
            ),
        ],
    }
    config = {"global": {"evaluation_interval": EVERY}, "scrape_configs": [job], "rule_files": ["rules.yaml"]}
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def as_label(name: str) -> str:
    """Return a label's name as Prometheus spells it."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


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
    argv = [
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
