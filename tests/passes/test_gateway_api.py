"""Gateways of the Gateway API: which WasmPlugins reach them, and a release for one of them under load.

The Gateways have no routes, so Envoy answers each request itself with 404, and the answer passes the plugin.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pluginrelease_lab import Lab
from pluginrelease_lab.host import GatewayPod
from tests import wasm_modules
from tests.harness import gateway_api, gateways
from tests.harness.cluster import GATEWAY_LABELS, GATEWAY_NAMESPACE, LabCluster, Operator, conditions, ready, unique
from tests.harness.traffic import Answer, Traffic

JSON = dict[str, Any]
ROOT = "istio-system"
TEAM = {"team": "edge"}


class Edge(NamedTuple):
    """A namespace with the Gateways ``public`` and ``internal``; pods of ``internal`` have the label TEAM."""

    cluster: LabCluster
    namespace: str

    def pods(self, name: str) -> list[GatewayPod]:
        return gateway_api.pods_of(self.cluster, self.namespace, name)

    @property
    def where(self) -> JSON:
        """What a wait is told of a release in this namespace."""
        return {"namespace": self.namespace}

    def entry(self, **fields: Any) -> JSON:
        """One entry of spec.gateways in this namespace."""
        return {"name": "public", "namespace": self.namespace, **fields}


@pytest.fixture(scope="module")
def edge(lab: Lab, running_operator: Operator) -> Iterator[Edge]:
    cluster, namespace = LabCluster(lab, running_operator), unique("gateways")
    public, internal = (gateway_api.gateway(namespace, name, **labels) for name, labels in KINDS)
    gateway_api.deploy(cluster, namespace, public, internal)
    yield Edge(cluster, namespace)
    cluster.clean_up()


KINDS: tuple[tuple[str, dict[str, str]], ...] = (("public", {}), ("internal", TEAM))


# --------------------------------------------------------------------------------------- what istiod does


def bare(name: str, namespace: str, ref: str, **spec: Any) -> JSON:
    """A WasmPlugin that no release made."""
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"url": f"oci://{ref}", "failStrategy": "FAIL_OPEN", **spec},
    }


def received(lab: Lab, pod: GatewayPod, about: str) -> set[str]:
    """The names of those WasmPlugins of a test that a gateway has received; they begin with ``about``."""
    try:
        found = gateways.ask_admin(lab, pod, "/config_dump?mask=ecds_filters")
    except ConnectionError as error:
        if "could not be successfully applied" not in str(error):
            raise
        return set()  # what Envoy answers while it has received no plugin at all
    return set(re.findall(rf'"[^"]*\.({about}[a-z-]*)[~"]', found))


def test_istiod_attaches_as_the_table_says(edge: Edge, tmp_path: Path) -> None:
    """tests/core/attachment_cases.py, on real gateways: each WasmPlugin reaches just the pods of its row."""
    cluster, about = edge.cluster, unique("row")
    ref, here = cluster.push(wasm_modules.answering(about), tmp_path), edge.namespace
    rows = {
        "selector": bare(f"{about}-selector", here, ref, selector={"matchLabels": TEAM}),
        "target": bare(f"{about}-target", here, ref, targetRefs=[gateway_api.target("public")]),
        "root-selector": bare(f"{about}-root-selector", ROOT, ref, selector={"matchLabels": TEAM}),
        "root-target": bare(f"{about}-root-target", ROOT, ref, targetRefs=[gateway_api.target("public")]),
        "classic": bare(f"{about}-classic", GATEWAY_NAMESPACE, ref, selector={"matchLabels": GATEWAY_LABELS}),
        "classic-target": bare(
            f"{about}-classic-target", GATEWAY_NAMESPACE, ref, targetRefs=[gateway_api.target("istio-ingressgateway")]
        ),
    }
    wanted = {"public": {"target"}, "internal": {"selector", "root-selector"}, "classic": {"classic"}}
    [public], [internal] = edge.pods("public"), edge.pods("internal")
    pods = {"public": public, "internal": internal, "classic": cluster.gateways()[0]}
    expected = {name: {f"{about}-{row}" for row in found} for name, found in wanted.items()}
    deadline = time.monotonic() + 60
    try:
        for plugin in rows.values():
            cluster.apply(plugin)
        while (seen := {name: received(cluster.lab, pod, about) for name, pod in pods.items()}) != expected:
            assert time.monotonic() < deadline, f"the gateways received {seen}"
    finally:  # the next tests look at the same gateways
        for plugin in rows.values():
            cluster.delete("wasmplugin", plugin["metadata"]["namespace"], plugin["metadata"]["name"])


# ------------------------------------------------------------------------------------------ a release of it


def release(edge: Edge, name: str, ref: str, **entry: Any) -> JSON:
    """A PluginRelease in the Gateways' own namespace."""
    found: JSON = edge.cluster.manifest(name, ref, namespace=edge.namespace, gateways=[edge.entry(**entry)])
    return found


def stable_of(found: JSON) -> JSON:
    """What a rollback of the only entry restores."""
    [row] = found["status"]["gateways"]
    stable: JSON = row["stable"]
    return stable


def test_a_release_of_a_gateway_loses_no_request(edge: Edge, tmp_path: Path) -> None:
    """Update, a revision that the gateway refuses, and the rollback: each request is answered by a good revision."""
    cluster, name = edge.cluster, unique("named")
    first, second = (cluster.push(wasm_modules.answering(version), tmp_path) for version in ("v1", "v2"))
    bad = cluster.push(wasm_modules.answering("v3", refuses_configuration=True), tmp_path)
    where = edge.where
    entry = {"objectName": name, "targetRefs": [gateway_api.target("public")]}
    cluster.apply(release(edge, name, first, **entry))
    cluster.await_ready(name, **where)
    carrier = cluster.get("wasmplugin", edge.namespace, name)
    assert carrier is not None
    assert carrier["spec"]["targetRefs"] == [gateway_api.target("public")]
    assert "selector" not in carrier["spec"]
    with Traffic(cluster.lab, edge.pods("public"), rate=100) as traffic:
        cluster.apply(release(edge, name, second, **entry))
        updated = cluster.await_ready(name, **where)
        broken = release(edge, name, bad, **entry)
        broken["spec"]["plugin"]["config"] = {"mode": "strict"}
        cluster.apply(broken)
        cluster.await_reason(name, "PluginRejected", **where)
        back = cluster.await_release(
            name, lambda it: it["status"]["gateways"][0]["revision"] == updated["status"]["targetRevision"], **where
        )
        totals = traffic.stop()
    good = {Answer(404, version, "refused") for version in ("v1", "v2")}
    assert totals.odd(lambda answer: answer in good) == []
    assert set(totals.total()) == good
    assert stable_of(back) == {
        "revision": updated["status"]["targetRevision"],
        "targetRefs": [gateway_api.target("public")],
    }
    [internal] = edge.pods("internal")
    assert cluster.lab.request(internal.address, 8080).headers.get("x-plugin") is None
    cluster.delete("pluginrelease", edge.namespace, name)


def test_an_entry_moves_from_a_selector_to_a_gateway(edge: Edge, tmp_path: Path) -> None:
    """A selector works on the pods of a Gateway; the same pods by their Gateway are a rollout of this entry alone."""
    cluster, name = edge.cluster, unique("moved")
    ref, where = cluster.push(wasm_modules.answering(name), tmp_path), edge.where
    cluster.apply(release(edge, name, ref, objectName=name, selector={"matchLabels": TEAM}))
    before = cluster.await_ready(name, **where)
    [internal] = edge.pods("internal")
    with Traffic(cluster.lab, [internal], rate=100) as traffic:
        cluster.apply(release(edge, name, ref, objectName=name, targetRefs=[gateway_api.target("internal")]))
        after = cluster.await_ready(name, **where)
        totals = traffic.stop()
    assert set(totals.total()) == {Answer(404, name, "refused")}
    assert after["status"]["targetRevision"] == before["status"]["targetRevision"]
    assert stable_of(after)["targetRefs"] == [gateway_api.target("internal")]
    carrier = cluster.get("wasmplugin", edge.namespace, name)
    assert carrier is not None
    assert "selector" not in carrier["spec"]
    cluster.delete("pluginrelease", edge.namespace, name)


def test_a_plugin_for_some_listeners(edge: Edge, tmp_path: Path) -> None:
    """Requests to the other listener pass without it, and the condition Compatible says so."""
    cluster, name = edge.cluster, unique("some")
    ref, where = cluster.push(wasm_modules.answering(name), tmp_path), edge.where
    entry = {"objectName": name, "targetRefs": [gateway_api.target("public")]}
    some = release(edge, name, ref, **entry)
    some["spec"]["plugin"]["match"] = [{"ports": [{"number": gateway_api.PORT}]}]
    cluster.apply(some)
    found = cluster.await_ready(name, **where)
    assert conditions(found)["Compatible"]["reason"] == "ListenersNotMatched"
    [public] = edge.pods("public")
    answers = {port: cluster.lab.request(public.address, port) for port in (gateway_api.PORT, gateway_api.OTHER_PORT)}
    assert {port: answer.status for port, answer in answers.items()} == dict.fromkeys(answers, 404)
    assert {port: answer.headers.get("x-plugin") for port, answer in answers.items()} == {
        gateway_api.PORT: name,
        gateway_api.OTHER_PORT: None,
    }
    some["spec"]["plugin"]["match"] = [{"ports": [{"number": 9999}]}]
    cluster.apply(some)
    cluster.await_reason(name, "MatchNeverApplies", **where)
    carrier = cluster.get("wasmplugin", edge.namespace, name)
    assert carrier is not None
    assert carrier["spec"]["match"] == [{"ports": [{"number": gateway_api.PORT}]}], "what runs stays"
    cluster.delete("pluginrelease", edge.namespace, name)


def test_sidecars_are_selected_on_purpose_only(edge: Edge, tmp_path: Path) -> None:
    """A label that an application has is refused with the number of sidecars; with proxies: Sidecars they run it."""
    cluster, name = edge.cluster, unique("shop")
    ref, where = cluster.push(wasm_modules.answering(name), tmp_path), edge.where
    cluster.apply(gateway_api.application(edge.namespace, name))
    available = ("--for=condition=Available", f"deployment/{name}", "-n", edge.namespace, "--timeout=120s")
    cluster.lab.kubectl("wait", *available, timeout=150)
    entry: JSON = {"objectName": name, "selector": {"matchLabels": {"app": name}}}
    cluster.apply(release(edge, name, ref, **entry))
    refused = cluster.await_reason(name, "ProxiesDiffer", **where)
    assert re.findall(r"\b[0-9]+\b", ready(refused)["message"])[:2] == ["1", "1"], "one pod, and one sidecar"
    assert cluster.get("wasmplugin", edge.namespace, name) is None
    cluster.apply(release(edge, name, ref, **entry, proxies="Sidecars"))
    found = cluster.await_ready(name, **where)
    assert found["status"]["summary"]["pods"] == "1/1"
    cluster.delete("pluginrelease", edge.namespace, name)
    cluster.delete("deployment", edge.namespace, name)


def test_a_gateway_that_is_not_there_is_waited_for(edge: Edge, tmp_path: Path) -> None:
    """The plugin is written, and the reason says that no pod is there."""
    cluster, name = edge.cluster, unique("absent")
    ref, where = cluster.push(wasm_modules.answering(name), tmp_path), edge.where
    cluster.apply(release(edge, name, ref, targetRefs=[gateway_api.target("nowhere")]))
    found = cluster.await_reason(name, "NoGatewayPods", **where)
    assert "nowhere" in ready(found)["message"]
    cluster.delete("pluginrelease", edge.namespace, name)
