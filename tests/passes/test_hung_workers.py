"""A worker of a gateway hangs in a request, and so takes nothing that is put back: its gateway is started again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pluginrelease_lab.host import GatewayPod
from tests import wasm_modules
from tests.harness import gateways
from tests.harness.cluster import JSON, LabCluster, unique
from tests.passes.test_gateway_crashes import has_ended, on

CHECKS: JSON = {"load": {"timeout": "8s"}}


@dataclass(frozen=True)
class HungWorker:
    """What was put back, and two gateways: one whose worker hangs, and one that died of a fault."""

    name: str
    namespace: str
    hung: GatewayPod
    cluster: LabCluster

    def restarts(self) -> int:
        """How often the container of the gateway that hangs was started again."""
        pod = self.cluster.get("pod", self.namespace, self.hung.name)
        assert pod is not None
        return int(pod["status"]["containerStatuses"][0]["restartCount"])

    def serve(self) -> set[str | None]:
        """What the plugin of each gateway calls itself, in some requests, so that each worker gets one."""
        pods = self.cluster.gateways(self.namespace) * 8
        return {self.cluster.lab.request(pod.address).headers.get("x-plugin") for pod in pods}


def hang(cluster: LabCluster, folder: Path) -> HungWorker:
    """Let a worker hang of a revision that runs everywhere, and the other gateway die, so that the one before is put
    back."""
    namespace = unique("worker")
    gateways.deploy(cluster, namespace, replicas=2)
    for module in (wasm_modules.answering("v1"), wasm_modules.answering_until_hung("v2")):
        ref = cluster.push(module, folder)
        cluster.apply(cluster.manifest(namespace, ref, **on(namespace), checks=CHECKS))
        cluster.await_ready(namespace, namespace=namespace)
    hung, dies = cluster.gateways(namespace)
    gateways.filter_level(cluster.lab, hung, "debug")  # so that its log shows which workers take what is put back
    with pytest.raises(TimeoutError):
        cluster.lab.request(hung.address, headers={"x-trap": "1"}, timeout=2.0)
    gateways.calm_busiest_thread(hung)
    gateways.break_envoy(dies)
    found = cluster.await_release(namespace, has_ended("RolledBack"), namespace=namespace)
    assert found["status"]["rollout"]["failure"]["reason"] == "GatewayCrashed"
    return HungWorker(namespace, namespace, hung, cluster)


def is_back(release: JSON) -> bool:
    """Whether every gateway was seen running what was put back."""
    return all("loadedAt" in fallback for fallback in release["status"]["rollout"]["fallbacks"])


def test_a_worker_that_hangs_takes_nothing_that_is_put_back(cluster: LabCluster, tmp_path: Path) -> None:
    """Its gateway is ended through its agent. Then what was put back runs on each worker."""
    found = hang(cluster, tmp_path)
    cluster.await_release(found.name, lambda it: has_fallbacks(it) and is_back(it), namespace=found.namespace)
    assert found.restarts() == 1
    where = ("-n", found.namespace, "--timeout=60s")
    cluster.lab.kubectl("rollout", "status", f"deployment/{found.namespace}", *where, timeout=90)
    assert found.serve() == {"v1"}


def has_fallbacks(release: JSON) -> bool:
    return bool(release["status"]["rollout"].get("fallbacks"))
