"""Probes decide, where they are given, whether a revision may stay; and they prove what gateways do not tell."""

from __future__ import annotations

from pathlib import Path

from tests import wasm_modules
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, conditions, is_ready, observed, ready, unique


def probes(value: str) -> JSON:
    """spec.checks with a probe that only the plugin ``value`` passes."""
    return {"probes": [{"name": "header", "port": 8080, "expect": {"headers": {"x-plugin": value}}}]}


def test_a_plugin_that_loads_and_does_the_wrong_thing_is_put_back(cluster: LabCluster, tmp_path: Path) -> None:
    """An image that every gateway runs and that answers otherwise than its release expects is not Ready: the one
    before it is put back, whose own answers are then told."""
    name = unique("wrong")
    good, wrong = (cluster.push(wasm_modules.answering(value), tmp_path) for value in (name, f"not-{name}"))
    cluster.apply(cluster.manifest(name, good, checks=probes(name)))
    release = cluster.await_ready(name)
    assert conditions(release)["Probed"]["status"] == "True"
    stable = release["status"]["stableRevision"]

    cluster.apply(cluster.manifest(name, wrong, checks=probes(name)))
    back = cluster.await_release(name, lambda it: observed(it) and it["status"]["phase"] == "RolledBack")
    assert ready(back)["reason"] == "ProbeFailed"
    assert "header x-plugin" in ready(back)["message"]
    assert back["status"]["stableRevision"] == stable
    assert conditions(back)["Probed"]["status"] == "True", "what was put back answers as expected"
    assert all(headers.get("x-plugin") == name for _, headers, _ in cluster.answers())


def test_a_probe_that_no_listener_could_get_is_refused_beforehand(cluster: LabCluster, tmp_path: Path) -> None:
    """A probe of Envoy's admin port, or of a port that the gateway does not listen on, never starts a rollout."""
    name = unique("nowhere")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    for port, reason in ((15000, "ProbePortRefused"), (4711, "ProbePortUnknown")):
        cluster.apply(cluster.manifest(name, ref, checks={"probes": [{"name": "admin", "port": port}]}))
        cluster.await_reason(name, reason)
        assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None
    cluster.apply(cluster.manifest(name, ref, checks={"probes": [{"name": "any"}]}))
    cluster.await_release(name, is_ready)
