"""Foreign fields taken away from somebody else's object, on a real API server: in one write, and nothing else goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.controller.writer import Writer
from pluginrelease.core.apiserver import projections
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.rollout import plan
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease_lab.host import Lab
from tests.edges.test_applied import unowned
from tests.harness.releases import ARTIFACT, UID, placement

JSON = dict[str, Any]

NAMESPACE = "foreign"
KIND = resources.resource_for(istio.TARGET)
THEIRS: JSON = {
    "apiVersion": istio.TARGET.api_version,
    "kind": "WasmPlugin",
    "metadata": {"name": "auth-public", "namespace": NAMESPACE, "labels": {"team": "edge"}},
    "spec": {
        "url": "oci://registry.example.com/plugins/auth:1.1",
        "selector": {"matchLabels": {"istio": "ingressgateway"}},
        "sha256": "0" * 64,
        "match": [{"mode": "SERVER"}],
        "pluginConfig": {"mode": "a", "debug": True, "deep": {"theirs": 1}},
        "vmConfig": {"env": [{"name": "LEVEL", "value": "debug"}, {"name": "THEIRS", "value": "1"}]},
    },
}


@pytest.fixture
def theirs(cluster: Lab) -> Iterator[JSON]:
    """A WasmPlugin that two people made: the one by `kubectl apply`, the other by a patch of one field."""
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(THEIRS))
    patch = json.dumps({"spec": {"priority": 7}})
    where = ("auth-public", "-n", NAMESPACE)
    cluster.kubectl("patch", "wasmplugin", *where, "--type=merge", "-p", patch, "--field-manager=hand")
    yield read(cluster)
    cluster.kubectl("delete", "wasmplugin", *where, "--ignore-not-found")


def read(cluster: Lab) -> JSON:
    found: JSON = json.loads(
        cluster.kubectl("get", "wasmplugin", "auth-public", "-n", NAMESPACE, "-o", "json", "--show-managed-fields")
    )
    return found


def adopting(*, asks: bool = True, **changes: Any) -> Placement:
    """The entry that takes it over."""
    annotations = {api.REMOVE_FOREIGN_FIELDS_ANNOTATION: "*"} if asks else {}
    return placement(
        metadata__annotations=annotations,
        spec__gateways__0__namespace=NAMESPACE,
        spec__gateways__0__adopt=True,
        metadata__namespace=NAMESPACE,
        **{
            "spec__plugin__config": {"mode": "b", "deep": {"ours": 1}},
            "spec__plugin__env": [{"name": "LEVEL", "value": "info"}],
            **changes,
        },
    )


def write(cluster: Lab, entry: Placement) -> JSON:
    """Draft the object against what is there, and write it."""
    manifest = unowned(istio.wasm_plugin(entry, ARTIFACT))

    async def act() -> JSON:
        async with await Cluster.connect(cluster.kubeconfig) as connected:
            observed = await connected.get(KIND, NAMESPACE, "auth-public")
            assert observed is not None
            # the store keeps no field of who owns what
            [drafted] = plan.draft(entry, [(manifest, projections.project_carrier(observed))]).writes
            return await Writer(connected).apply(UID, drafted)

    return asyncio.run(act())


def test_all_that_is_foreign_goes_in_one_write(cluster: Lab, theirs: JSON) -> None:
    """Fields of two people, within maps and lists of named items: the spec is what the release wants and nothing else,
    after one change of it. Labels and annotations stay whose they are."""
    entry = adopting()
    made = write(cluster, entry)
    assert made["spec"] == istio.wasm_plugin(entry, ARTIFACT)["spec"]
    assert made["metadata"]["generation"] == theirs["metadata"]["generation"] + 1
    assert made["metadata"]["labels"]["team"] == "edge"
    assert "kubectl.kubernetes.io/last-applied-configuration" in made["metadata"]["annotations"]


def test_what_the_release_drops_later_goes_too(cluster: Lab, theirs: JSON) -> None:
    """Nobody else owns a part of the spec any more, so that the next revision leaves nothing of this one behind."""
    write(cluster, adopting())
    later = adopting(spec__plugin__config={"mode": "c"}, spec__plugin__env=[])
    made = write(cluster, later)
    assert made["spec"] == istio.wasm_plugin(later, ARTIFACT)["spec"]
    owners = {entry["manager"] for entry in read(cluster)["metadata"]["managedFields"] if "f:spec" in entry["fieldsV1"]}
    assert owners == {api.FIELD_MANAGER}


def test_what_is_added_later_goes_as_well(cluster: Lab, theirs: JSON) -> None:
    """The permission stands: a field that another hand adds is drift, and is taken away by the same way."""
    write(cluster, adopting())
    patch = json.dumps({"spec": {"sha256": "1" * 64, "vmConfig": {"env": [{"name": "MORE", "value": "1"}]}}})
    cluster.kubectl("patch", "wasmplugin", "auth-public", "-n", NAMESPACE, "--type=merge", "-p", patch)
    made = write(cluster, adopting())
    assert made["spec"] == istio.wasm_plugin(adopting(), ARTIFACT)["spec"]


def test_nothing_goes_unasked(cluster: Lab, theirs: JSON) -> None:
    """Without the annotation an apply leaves what others own: this is what the refusal is for."""
    made = write(cluster, adopting(asks=False))
    assert {"sha256", "match", "priority"} <= made["spec"].keys()
