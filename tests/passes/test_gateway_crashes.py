"""A plugin that kills its gateways is put back or taken off, and a release beside it is not blamed for that."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import JSON, LabCluster, is_ready, observed, ready, unique

ABORTED = "Envoy exited with error: signal: aborted"  # words of Istio's agent

SOON = timedelta(seconds=5)
"""From the first crash to the decision: about a second, and the times of both are whole ones on a busy machine."""


def on(gateways: str) -> dict[str, Any]:
    """A release's parts for the gateways of a test's own."""
    gateway = {"provider": "Istio", "namespace": gateways, "selector": {"matchLabels": {"istio": gateways}}}
    return {"namespace": gateways, "gateway": gateway}


def first_end(cluster: LabCluster, namespace: str) -> datetime:
    """When the container of a gateway of this namespace ended, which one is not of interest."""
    pods = [cluster.get("pod", namespace, pod.name) for pod in cluster.gateways(namespace)]
    ends = [status["lastState"]["terminated"] for pod in pods if pod for status in pod["status"]["containerStatuses"]]
    assert all((end["exitCode"], end["reason"]) == (0, "Completed") for end in ends), "what Istio's agent makes of it"
    return min(datetime.fromisoformat(end["finishedAt"]) for end in ends)


def has_ended(name: str) -> Any:
    """The release has come to this phase."""
    return lambda it: observed(it) and it["status"].get("phase") == name


def test_what_kills_gateways_goes_at_once_and_a_release_beside_it_stays(cluster: LabCluster, tmp_path: Path) -> None:
    """The plugin that was written last is taken off, in the gateway's own words, also where failures are to be held;
    the other one keeps its object untouched, and is Ready again when the gateways are back."""
    namespace, good, bad = unique("downed"), unique("beside"), unique("deadly")
    gateways.deploy(cluster, namespace, replicas=2)
    ref = cluster.push(wasm_modules.answering(good), tmp_path)
    cluster.apply(cluster.manifest(good, ref, **on(namespace)))
    cluster.await_ready(good, namespace=namespace)
    before = cluster.get("wasmplugin", namespace, good)

    deadly = cluster.push(wasm_modules.aborts_at_configure(), tmp_path)
    held = cluster.manifest(bad, deadly, **on(namespace), rollout={"onFailure": "Hold"})
    release = cluster.apply(held)
    gone = cluster.await_release(bad, has_ended("Removed"), namespace=namespace)
    failure = gone["status"]["rollout"]["failure"]
    assert (ready(gone)["reason"], failure["reason"]) == ("GatewayCrashed", "GatewayCrashed")
    assert ABORTED in failure["message"]
    assert datetime.fromisoformat(failure["at"]) - first_end(cluster, namespace) <= SOON
    evidence.await_events(cluster.lab, release, {"GatewayCrashed", "Removed"})
    assert cluster.get("wasmplugin", namespace, bad) is None

    after = cluster.await_release(good, is_ready, namespace=namespace)
    assert after["status"]["rollout"].get("failure") is None
    assert version_of(cluster.get("wasmplugin", namespace, good)) == version_of(before)
    cluster.lab.kubectl("rollout", "status", f"deployment/{namespace}", "-n", namespace, "--timeout=60s", timeout=90)
    answers = [cluster.lab.request(pod.address, 8080).headers.get("x-plugin") for pod in cluster.gateways(namespace)]
    assert answers == [good, good]


def version_of(wasm_plugin: JSON | None) -> tuple[str, int]:
    """Which object it is, and how often its spec was written."""
    assert wasm_plugin is not None
    return wasm_plugin["metadata"]["uid"], wasm_plugin["metadata"]["generation"]
