"""The way back does not wait for a pass that asks a registry: measured by the API server's audit log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pluginrelease import api
from tests import wasm_modules
from tests.harness import evidence, gateways, registries
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, unique
from tests.passes.hanging import SOON, WAITS, await_operator, hanging_pass, hold, seconds_after


def test_a_rollback_to_does_not_wait_for_a_registry(
    cluster: LabCluster, registry: registries.Registry, held: tuple[str, str]
) -> None:
    """The stable revision is written within a second, while a pass waits for another registry."""
    name, stable = held
    with hanging_pass(cluster, registry, name):
        began = datetime.now(UTC).isoformat()
        token = f"{api.ROLLBACK_ANNOTATION}={stable}:1"
        cluster.lab.kubectl("annotate", "--overwrite", api.PLURAL, name, "-n", GATEWAY_NAMESPACE, token)
        asked = datetime.now(UTC)
        written = await_operator(cluster, "patch", name, began)
    assert seconds_after(written, asked) < SOON
    plugin_now = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert plugin_now is not None
    assert plugin_now["metadata"]["annotations"][api.REVISION_ANNOTATION] == stable


def test_a_deletion_does_not_wait_for_a_registry(
    cluster: LabCluster, registry: registries.Registry, held: tuple[str, str]
) -> None:
    """The plugin is off the gateways within a second, while a pass waits for a registry."""
    name, _ = held
    with hanging_pass(cluster, registry, name):
        began = datetime.now(UTC).isoformat()
        cluster.lab.kubectl("delete", api.PLURAL, name, "-n", GATEWAY_NAMESPACE, "--wait=false")
        asked = datetime.now(UTC)
        deleted = await_operator(cluster, "delete", name, began)
    assert seconds_after(deleted, asked) < SOON


def has_ended(pod: JSON) -> bool:
    """Whether the pod's status shows that a container of it ended."""
    shown = pod.get("status", {}).get("containerStatuses", [])
    return any("terminated" in {**container.get("state", {}), **container.get("lastState", {})} for container in shown)


def await_crash(cluster: LabCluster, namespace: str) -> datetime:
    """Return when the API server had written the pod's status that first shows the crash."""
    for pod in cluster.lab.watch("pods", "-n", namespace, seconds=WAITS):
        if has_ended(pod):
            seen = datetime.now(UTC)
            written = evidence.status_writes(cluster.lab, namespace, pod["metadata"]["name"])
            return max(at for at in written if at <= seen)
    raise AssertionError(f"no gateway of {namespace} crashed")


def test_a_crash_does_not_wait_for_a_registry(
    cluster: LabCluster, registry: registries.Registry, tmp_path: Path
) -> None:
    """What ran before is written back within a second of the pod's status that shows a crash, while a pass waits for a
    registry: the gateway dies of a fault with a revision that it refused, and that is held."""
    name = unique("urgent")
    on: dict[str, Any] = {
        "namespace": name,
        "gateway": {"provider": "Istio", "namespace": name, "selector": {"matchLabels": {"istio": name}}},
    }
    gateways.deploy(cluster, name, replicas=1)
    ref = cluster.push(wasm_modules.answering(name, refuses_configuration=True), tmp_path)
    stable = hold(cluster, name, ref, **on)
    assert carried(cluster, name) != stable

    with hanging_pass(cluster, registry, name, **on):
        began = datetime.now(UTC).isoformat()
        gateways.break_envoy(*cluster.gateways(name))
        crashed = await_crash(cluster, name)
        written = await_operator(cluster, "patch", name, began)
    took = seconds_after(written, crashed)
    print(f"from the pod's status to the write: {took:.3f} s")
    assert took < SOON
    assert carried(cluster, name) == stable


def carried(cluster: LabCluster, name: str) -> str:
    """Return the revision that the WasmPlugin carries in the namespace of this name."""
    found = cluster.get("wasmplugin", name, name)
    assert found is not None
    return str(found["metadata"]["annotations"][api.REVISION_ANNOTATION])
