"""What a release costs the API server and the registry, counted in their own logs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pluginrelease import api
from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import LabCluster, conditions, observed, unique

JSON = dict[str, Any]

# what watches a namespace's pods is shared by all releases there, and the kubelet's share is nobody's
SHARED = ("list pods", "watch pods")
# asked at most once, when kopf hears of a change before the store's watch does: that depends on the machine's load, and
# is followed by one more pass, whose status is written
LATE, STATUS = "get pluginreleases", "patch pluginreleases/status"
MANY = 12
SECONDS = 120.0


def namespace_of(cluster: LabCluster) -> str:
    """A namespace of a test's own."""
    name = unique("costs")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def entry(namespace: str, name: str = "public") -> JSON:
    """An entry whose gateways are not there."""
    return {"name": name, "namespace": namespace, "selector": {"matchLabels": {"gateway": unique("none")}}}


def release(namespace: str, ref: str, *entries: JSON, **image: Any) -> JSON:
    """A release with these entries."""
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "metadata": {"name": unique("release"), "namespace": namespace},
        "spec": {
            "provider": "Istio",
            "artifact": {"image": {"ref": ref, "insecure": True, **image}},
            "gateways": list(entries),
            "plugin": {"phase": "AUTHN"},
        },
    }


def is_settled(found: JSON) -> bool:
    """Written, and waiting for pods."""
    told = conditions(found)
    return observed(found) and told["Applied"]["status"] == "True" and told["Loaded"]["reason"] == "NoGatewayPods"


def settle(cluster: LabCluster, manifest: JSON) -> JSON:
    """Apply a release; return it when it has settled and its Events are there."""
    cluster.apply(manifest)
    own = manifest["metadata"]
    found = cluster.await_release(own["name"], is_settled, namespace=own["namespace"], seconds=SECONDS)
    evidence.await_events(cluster.lab, found, {"Applied", "NoGatewayPods"})
    return found


def count(cluster: LabCluster, *namespaces: str) -> Counter[str]:
    """What the operator asked about these namespaces."""
    asked = (what for place, what in evidence.asked(cluster.lab) if place in namespaces)
    found = Counter(what for what in asked if what not in SHARED)
    late = found.pop(LATE, 0)
    assert late <= 1, found
    found[STATUS] -= min(late, max(found[STATUS] - 2, 0))
    return found


@pytest.fixture
def ref(cluster: LabCluster, tmp_path: Path) -> str:
    """An image. The operator watches by now: it settled a release, so that it knows that the next one is new."""
    pushed = cluster.push(wasm_modules.answering("costs"), tmp_path)
    namespace = namespace_of(cluster)
    settle(cluster, release(namespace, pushed, entry(namespace)))
    return pushed


def test_one_entry_in_its_own_namespace(cluster: LabCluster, ref: str) -> None:
    """A release without pods is settled with seven requests, in one pass."""
    namespace = namespace_of(cluster)
    settle(cluster, release(namespace, ref, entry(namespace)))
    found = count(cluster, namespace)
    assert found.total() <= 7, found
    assert found == {
        "patch pluginreleases": 1,
        "patch controllerrevisions": 1,
        "patch wasmplugins": 1,
        "patch pluginreleases/status": 2,
        "create events": 2,
    }


def test_each_further_entry_is_one_more(cluster: LabCluster, ref: str) -> None:
    """Four entries cost three requests more than one: their objects."""
    namespace = namespace_of(cluster)
    settle(cluster, release(namespace, ref, *(entry(namespace, f"edge-{number}") for number in range(4))))
    found = count(cluster, namespace)
    assert found["patch wasmplugins"] == 4
    assert found.total() <= 7 + 3, found


def test_a_pod_until_loaded_is_twelve_more(cluster: LabCluster, ref: str) -> None:
    """One gateway pod, with the look before the write, its log level raised and restored, and all looks after it."""
    namespace = unique("costs")
    gateways.deploy(cluster, namespace, 1)
    mine = {"name": "public", "namespace": namespace, "selector": {"matchLabels": {"istio": namespace}}}
    manifest = release(namespace, ref, mine)
    cluster.apply(manifest)
    ready = cluster.await_ready(manifest["metadata"]["name"], namespace=namespace)
    evidence.await_events(cluster.lab, ready, {"Applied", "Loaded"})
    found = count(cluster, namespace)
    of_pods = [what for place, what in evidence.asked(cluster.lab) if place == namespace and "pods/" in what]
    assert len(of_pods) <= 12, of_pods
    assert found.total() <= 7 + 12, found


def test_a_copy_of_a_secret_is_two_more(cluster: LabCluster, ref: str) -> None:
    """A pull secret is read once, and where it is copied to, it is looked for and written."""
    home, edge = namespace_of(cluster), namespace_of(cluster)
    cluster.lab.kubectl("annotate", "namespace", edge, f"{api.ALLOWED_NAMESPACES_ANNOTATION}={home}")
    host = ref.partition("/")[0]
    login = {"auths": {host: {"username": "anybody", "password": "none"}}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull", "namespace": home},
        "stringData": {".dockerconfigjson": json.dumps(login)},
    }
    cluster.apply(secret)
    settle(cluster, release(home, ref, entry(edge), pullSecretRef={"name": "pull"}))
    found = count(cluster, home, edge)
    assert (found["get secrets"], found["patch secrets"]) == (2, 1)
    assert found.total() <= 8 + 2, found


def test_many_releases_of_one_image_ask_the_registry_little(cluster: LabCluster, ref: str) -> None:
    """Releases that are there at once share what the registry answers, and each is settled with seven requests."""
    namespace = namespace_of(cluster)
    manifests = [release(namespace, ref, entry(namespace)) for _ in range(MANY)]
    cluster.operator.stop()
    for manifest in manifests:
        cluster.apply(manifest)
    before = len(evidence.pulled(cluster.lab, ref))
    cluster.operator.start()
    for manifest in manifests:
        cluster.await_release(manifest["metadata"]["name"], is_settled, namespace=namespace, seconds=SECONDS)
    asked = Counter(evidence.pulled(cluster.lab, ref)[before:])
    tag = ref.rpartition(":")[2]
    assert sum(number for what, number in asked.items() if what.endswith(f"/manifests/{tag}")) <= 2, asked
    assert max(asked.values()) <= 2, asked
