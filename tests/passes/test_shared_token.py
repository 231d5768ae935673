"""The example whose configuration has a token from a Secret, as its README says, on the lab's gateways."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from pluginrelease.edges.toolchain import builder
from tests.harness.cluster import GATEWAY_LABELS, GATEWAY_NAMESPACE, JSON, LabCluster, unique

EXAMPLE = Path(__file__).parents[2] / "examples" / "shared-token"
DRAIN_SECONDS = 60.0


def example(name: str, ref: str) -> JSON:
    """The manifest of the example for the lab's gateways, with another image and another Secret."""
    manifest: JSON = yaml.safe_load((EXAMPLE / "pluginrelease.yaml").read_text())
    spec = manifest["spec"]
    spec["artifact"]["image"] = {"ref": ref, "insecure": True}
    spec["gateways"][0] |= {"namespace": GATEWAY_NAMESPACE, "selector": {"matchLabels": GATEWAY_LABELS}}
    spec["plugin"]["configFrom"][0]["name"] = name
    return {**manifest, "metadata": {"name": name, "namespace": GATEWAY_NAMESPACE}}


def secret(name: str, token: str) -> JSON:
    metadata = {"name": name, "namespace": GATEWAY_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}}


def statuses(cluster: LabCluster, token: str) -> set[int]:
    return {status for status, _, _ in cluster.answers(x_token=token)}


def await_statuses(cluster: LabCluster, token: str, wanted: int) -> None:
    """Every gateway answers so; a listener that drains may take up to 45 s."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while (seen := statuses(cluster, token)) != {wanted}:
        assert time.monotonic() < deadline, f"the gateways answer {seen}"


def test_the_token_of_the_secret_opens_the_gateways(cluster: LabCluster, tmp_path: Path) -> None:
    """Another token in the Secret is a rollout, after which the old one is refused."""
    name = unique("token")
    built = builder.compile_go(EXAMPLE, tmp_path / "plugin.wasm", deadline=280)
    cluster.apply(secret(name, "one"))
    cluster.apply(example(name, cluster.push(built.path, tmp_path)))
    first = cluster.await_ready(name)["status"]["stableRevision"]
    await_statuses(cluster, "one", 200)
    assert statuses(cluster, "two") == {403}

    cluster.apply(secret(name, "two"))
    cluster.retry(name)
    cluster.await_release(
        name, lambda it: it["status"].get("phase") == "Ready" and it["status"]["stableRevision"] != first
    )
    await_statuses(cluster, "two", 200)
    await_statuses(cluster, "one", 403)
