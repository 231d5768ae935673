"""`helm upgrade` and `helm rollback` over a CRD of another shape, with a release of the older one stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease.core.mesh import istio
from pluginrelease_lab import Lab, operator
from tests import wasm_modules
from tests.harness.cluster import GATEWAY_LABELS, GATEWAY_NAMESPACE, JSON, observed, ready, unique
from tests.node.cluster import NAMESPACE, RELEASE, NodeCluster
from tests.node.conftest import Start

OLDER_CRD = Path(__file__).parents[1] / "fixtures" / "crds" / "one-gateway.yaml"
UNREADABLE = "ReleaseUnreadable"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node_lab(start_lab: Start) -> Lab:
    """A lab of its own: its CRD is another one at times."""
    return start_lab("upgrade")


@pytest.fixture
def older_chart(tmp_path: Path) -> Path:
    """The chart with the CRD of before."""
    copied = tmp_path / "chart"
    shutil.copytree(operator.chart(), copied)
    shutil.copyfile(OLDER_CRD, copied / "files" / "crds" / "pluginrelease.io_pluginreleases.yaml")
    return copied


@pytest.fixture
def upgraded(cluster: NodeCluster, older_chart: Path) -> Iterator[NodeCluster]:
    """A lab in which the older chart is installed; what is there at the end goes with the operator's help."""
    cluster.install(chart=older_chart)
    yield cluster
    cluster.clean_up()
    cluster.uninstall()


def older_release(cluster: NodeCluster, name: str, ref: str) -> JSON:
    """A release as it was written for that CRD, as its operator left it: with the finalizer."""
    gateway = {"provider": "Istio", "namespace": GATEWAY_NAMESPACE, "selector": {"matchLabels": GATEWAY_LABELS}}
    spec = {"artifact": {"image": {"ref": ref, "insecure": True}}, "gateway": gateway, "plugin": {"phase": "AUTHN"}}
    about = {"name": name, "namespace": GATEWAY_NAMESPACE, "finalizers": [api.FINALIZER]}
    return cluster.apply({"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": about, "spec": spec})


def its_plugin(cluster: NodeCluster, release: JSON, ref: str) -> JSON:
    """The object that it has on the gateways, with the marks by which it is known to be its own."""
    own = release["metadata"]
    labels = {api.MANAGED_BY_LABEL: api.MANAGED_BY, api.UID_LABEL: own["uid"]}
    marks = {api.RELEASE_ANNOTATION: f"{own['namespace']}/{own['name']}"}
    about = {"name": own["name"], "namespace": own["namespace"], "labels": labels, "annotations": marks}
    spec = {"selector": {"matchLabels": GATEWAY_LABELS}, "url": f"oci://{ref}", "phase": "AUTHN"}
    manifest = {"apiVersion": istio.TARGET.api_version, "kind": istio.TARGET.name, "metadata": about, "spec": spec}
    return dict(json.loads(cluster.lab.kubectl("apply", "-o", "json", "-f", "-", stdin=json.dumps(manifest))))


def test_a_release_of_an_older_crd_outlives_the_upgrade(upgraded: NodeCluster, tmp_path: Path) -> None:
    """A release that the new CRD cannot hold says so, and its plugin stays as it is on the gateways, through upgrade,
    rollback and upgrade of the chart; another release is not held up; a new version of it, written as the new
    CRD wants it, goes on with the object that it has."""
    name, other = unique("older"), unique("newer")
    ref = upgraded.push(wasm_modules.answering(name), tmp_path)
    release = older_release(upgraded, name, ref)
    plugin = its_plugin(upgraded, release, ref)
    await_served(upgraded, name)
    assert says_unreadable(upgraded, name)

    print(upgraded.upgrade("--set", "operator.logLevel=debug"))
    assert says_unreadable(upgraded, name)
    served = upgraded.manifest(other, upgraded.push(wasm_modules.answering(other), tmp_path), plugin={"phase": "AUTHZ"})
    upgraded.apply(served)
    upgraded.await_ready(other)
    upgraded.delete(api.PLURAL, GATEWAY_NAMESPACE, other)

    print(upgraded.helm("rollback", RELEASE, "1", "--wait"))
    assert says_unreadable(upgraded, name)
    print(upgraded.upgrade())
    assert says_unreadable(upgraded, name)
    left = upgraded.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert left is not None
    assert left["metadata"]["resourceVersion"] == plugin["metadata"]["resourceVersion"]
    await_served(upgraded, name)

    newer = f"{name}-2"
    upgraded.apply(upgraded.manifest(name, upgraded.push(wasm_modules.answering(newer), tmp_path)))
    upgraded.await_ready(name)
    taken_over = upgraded.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert taken_over is not None
    assert taken_over["metadata"]["uid"] == plugin["metadata"]["uid"]
    await_served(upgraded, newer)


def test_a_release_of_an_older_crd_can_be_deleted(upgraded: NodeCluster, tmp_path: Path) -> None:
    """What was written for it is known by its mark: the plugin leaves the gateways, and the release goes."""
    name = unique("older")
    ref = upgraded.push(wasm_modules.answering(name), tmp_path)
    its_plugin(upgraded, older_release(upgraded, name, ref), ref)
    upgraded.upgrade()
    assert says_unreadable(upgraded, name)
    upgraded.delete(api.PLURAL, GATEWAY_NAMESPACE, name)
    assert upgraded.get(api.PLURAL, GATEWAY_NAMESPACE, name) is None
    assert upgraded.get("wasmplugin", GATEWAY_NAMESPACE, name) is None


def await_served(cluster: NodeCluster, name: str) -> None:
    """Every gateway answers through the plugin of this name."""
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, name))


def says_unreadable(cluster: NodeCluster, name: str) -> bool:
    """Whether the release comes to say that it cannot be read, and that a person must act."""
    said = cluster.await_release(name, lambda it: observed(it) and ready(it)["reason"] == UNREADABLE)
    print(f"{NAMESPACE}: {ready(said)['message']}")
    return (said["status"]["phase"], ready(said)["status"]) == ("Refused", "False")
