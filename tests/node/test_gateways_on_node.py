"""Gateways that are pods of a real node: what a kubelet does with one that a plugin kills, and then the operator."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pluginrelease_lab import Lab
from tests import wasm_modules
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, is_ready, observed, ready, unique
from tests.node.cluster import NodeCluster, eventually
from tests.node.conftest import Start

GATEWAYS = "istio-ingressgateway"
LIMIT_MEBIBYTES = 320
"""What a gateway may have: an agent and an Envoy with a small plugin need half of it."""
EATEN_MEBIBYTES = 600

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node_lab(start_lab: Start) -> Lab:
    """A lab whose gateways are pods of its real node, with the operator installed by Helm."""
    return start_lab("gateways", gateways_on_node=True)


@pytest.fixture(scope="module")
def helm_release(node_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The operator, by the chart with its defaults."""
    NodeCluster(node_lab, tmp_path_factory.mktemp("helm")).install()


@pytest.fixture
def stable(cluster: NodeCluster, helm_release: None, tmp_path: Path) -> tuple[str, JSON]:
    """The name of a release that is Ready on both gateways, and its manifest."""
    name = unique("on-pods")
    manifest = cluster.manifest(name, cluster.push(wasm_modules.answering(name), tmp_path))
    cluster.apply(manifest)
    cluster.await_ready(name)
    return name, manifest


def gateway_pods(cluster: NodeCluster) -> list[JSON]:
    """Whole, without those on their way out."""
    found = cluster.pods(GATEWAY_NAMESPACE, "istio=ingressgateway")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def proxies(cluster: NodeCluster) -> list[JSON]:
    """The container status of each gateway."""
    return [status for pod in gateway_pods(cluster) for status in pod["status"]["containerStatuses"]]


def change(cluster: NodeCluster, manifest: JSON, module: bytes, scratch: Path) -> str:
    """Point the release to another module; its reference."""
    manifest["spec"]["artifact"]["image"]["ref"] = ref = cluster.push(module, scratch)
    cluster.lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    return ref


def is_put_back(release: JSON) -> bool:
    """The rollout of the newest spec has failed, and what ran before runs again."""
    return observed(release) and release["status"].get("phase") == "RolledBack"


def test_a_release_is_ready_on_pods_of_a_real_node(cluster: NodeCluster, stable: tuple[str, JSON]) -> None:
    """Both gateways are on the node, and both serve the plugin that the operator saw in them."""
    name, _ = stable
    assert [pod["spec"]["nodeName"] for pod in gateway_pods(cluster)] == ["real-node", "real-node"]
    assert cluster.release(name)["status"]["summary"]["pods"] == "2/2"
    assert {headers.get("x-plugin") for _, headers, _ in cluster.answers()} == {name}


def test_a_plugin_that_crashes_the_gateways_is_put_back(
    cluster: NodeCluster, stable: tuple[str, JSON], tmp_path: Path
) -> None:
    """The kubelet restarts the containers, the operator puts back what ran, and the gateways serve it again."""
    name, manifest = stable
    before = [status["restartCount"] for status in proxies(cluster)]
    change(cluster, manifest, wasm_modules.aborts_at_configure(), tmp_path)
    began = time.monotonic()
    release = cluster.await_release(name, is_put_back)
    print(f"put back {time.monotonic() - began:.1f} s after the change")
    assert ready(release)["reason"] == "GatewayCrashed"
    assert max(status["restartCount"] for status in proxies(cluster)) > max(before)
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, name), seconds=120)


def test_a_plugin_that_takes_too_much_memory_is_put_back(
    cluster: NodeCluster, stable: tuple[str, JSON], tmp_path: Path
) -> None:
    """The kernel ends what goes over the pod's limit, the kubelet says OOMKilled, and so does the release."""
    name, manifest = stable
    limit = f"--limits=memory={LIMIT_MEBIBYTES}Mi"
    where = ["-n", GATEWAY_NAMESPACE]
    cluster.lab.kubectl("set", "resources", f"deployment/{GATEWAYS}", *where, "-c", "istio-proxy", limit)
    cluster.lab.kubectl("rollout", "status", f"deployment/{GATEWAYS}", *where, "--timeout=120s", timeout=150)
    cluster.await_release(name, lambda it: is_ready(it) and it["status"]["summary"]["pods"] == "2/2")

    change(cluster, manifest, wasm_modules.eats_memory(EATEN_MEBIBYTES), tmp_path)
    killed = eventually(lambda: [each for each in map(last_end, proxies(cluster)) if each.get("reason") == "OOMKilled"])
    assert killed
    began = time.monotonic()
    release = cluster.await_release(name, is_put_back)
    print(f"put back {time.monotonic() - began:.1f} s after the first kill")
    failure = release["status"]["rollout"]["failure"]
    assert (ready(release)["reason"], failure["reason"]) == ("GatewayCrashed", "GatewayCrashed")
    assert "OOMKilled" in failure["message"]
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, name), seconds=120)


def last_end(status: JSON) -> JSON:
    """How the container's last run ended; empty when it never did."""
    found = {**status.get("lastState", {}), **status.get("state", {})}
    return dict(found.get("terminated", {}))
