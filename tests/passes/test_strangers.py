"""What strangers write into a gateway's log by their requests has no say in a release."""

from __future__ import annotations

import time
from pathlib import Path

from tests import wasm_modules
from tests.harness import gateways
from tests.harness.cluster import LabCluster, is_ready, observed, unique

NAMESPACE = "strangers"


def test_a_request_cannot_fail_a_release(cluster: LabCluster, tmp_path: Path) -> None:
    """With Istio's own access log on, a user agent stands in the gateway's log, and may say what Envoy says of a plugin
    that it refuses: the release stays Ready."""
    gateways.deploy(cluster, NAMESPACE, 1)
    name = unique("stranger")
    access = {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry"}
    spec = {"accessLogging": [{"providers": [{"name": "envoy"}]}]}
    cluster.apply({**access, "metadata": {"name": "access", "namespace": NAMESPACE}, "spec": spec})
    gateway = {"provider": "Istio", "namespace": NAMESPACE, "selector": {"matchLabels": {"istio": NAMESPACE}}}
    manifest = cluster.manifest(
        name, cluster.push(wasm_modules.answering(name), tmp_path), namespace=NAMESPACE, gateway=gateway
    )
    cluster.apply(manifest)
    cluster.await_ready(name, namespace=NAMESPACE)
    lies = [
        f"gRPC config for x rejected: Unable to create Wasm plugin {NAMESPACE}.{name}",
        f"Plugin {NAMESPACE}.{name}~istio-translated-wasmplugin failed to load",
        f"Updating filter config {NAMESPACE}.{name} failed due to 2",
    ]
    for lie in lies:
        await_in_log(cluster, lie)
    cluster.apply({**manifest, "spec": {**manifest["spec"], "checks": {"load": {"timeout": "3m"}}}})
    seen = cluster.await_release(name, observed, namespace=NAMESPACE)
    assert is_ready(seen), seen["status"]["conditions"]


def await_in_log(cluster: LabCluster, words: str) -> None:
    """Sent as a user agent until the gateway's log has it."""
    deadline = time.monotonic() + 60
    while True:
        [pod] = cluster.gateways(NAMESPACE)
        cluster.lab.request(pod.address, 8080, "/", {"User-Agent": words})
        text = cluster.lab.kubectl("logs", "-n", NAMESPACE, f"deployment/{NAMESPACE}", "-c", "istio-proxy")
        if words in text:
            return
        assert time.monotonic() < deadline, text[-2000:]
        time.sleep(0.5)
