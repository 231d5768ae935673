"""Gateways that hang, where their owner does not let the operator end them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import LabCluster, unique
from tests.passes.test_gateway_crashes import has_ended, on

GONE_AT_ONCE = ("--grace-period=0", "--force")


@contextmanager
def operator_that_leaves_hung(cluster: LabCluster) -> Iterator[None]:
    """The operator runs with ``restartHungGateways: false`` meanwhile."""
    cluster.operator.stop()
    cluster.operator.start("--leave-hung-gateways")
    try:
        yield
    finally:
        cluster.operator.stop()
        cluster.operator.start()


def test_hung_gateways_are_named_and_left_where_their_owner_says_so(cluster: LabCluster, tmp_path: Path) -> None:
    """The plugin is taken off all the same, and the pods that cannot learn of it are named in an Event; none of them
    is ended. A person deletes them, and the gateways that come serve without the plugin."""
    namespace, name = unique("left"), unique("hangs")
    gateways.deploy(cluster, namespace, replicas=2)
    ref = cluster.push(wasm_modules.hangs_at_configure(), tmp_path)
    with operator_that_leaves_hung(cluster):
        release = cluster.apply(cluster.manifest(name, ref, **on(namespace), checks={"load": {"timeout": "5s"}}))
        gone = cluster.await_release(name, has_ended("Removed"), namespace=namespace)
        assert gone["status"]["rollout"]["failure"]["reason"] == "GatewayUnresponsive"
        assert cluster.get("wasmplugin", namespace, name) is None
        hung = cluster.gateways(namespace)
        event = evidence.await_events(cluster.lab, release, {"GatewayNotRestarted"})["GatewayNotRestarted"]
        assert [
            pod.name for pod in hung if f"{namespace}/{pod.name}" in event["note" if "note" in event else "message"]
        ]
        assert all(gateways.admin_is_silent(cluster.lab, pod) for pod in hung)
        for pod in hung:
            cluster.lab.kubectl("delete", "pod", pod.name, "-n", namespace, *GONE_AT_ONCE, timeout=90)
    cluster.lab.kubectl("rollout", "status", f"deployment/{namespace}", "-n", namespace, "--timeout=60s", timeout=90)
    back = cluster.gateways(namespace)
    assert not {pod.name for pod in back} & {pod.name for pod in hung}
    assert not any(gateways.admin_is_silent(cluster.lab, pod) for pod in back)
