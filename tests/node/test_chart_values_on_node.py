"""Values of the chart that only a kubelet can show to be right: trying it, an uninstall that asks first, and a
company's authority in the operator's pod."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease_lab import Lab, binaries, operator
from tests import wasm_modules
from tests.harness import registries
from tests.harness.cluster import GATEWAY_NAMESPACE, ready, unique
from tests.node.cluster import HELM_SECONDS, NAMESPACE, RELEASE, NodeCluster
from tests.node.conftest import Start

CHART = operator.chart()
AUTHORITY = Path(__file__).parents[1] / "fixtures" / "tls" / "lab-registry.pem"  # for 10.244.0.1; worth nothing

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node_lab(start_lab: Start) -> Lab:
    """A lab with the operator's image on its node."""
    return start_lab("values")


def uninstall_says(cluster: NodeCluster) -> tuple[int, str]:
    """The exit code of `helm uninstall`, and all that it prints."""
    argv = [binaries.provide("helm"), "uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]
    argv += ["--kubeconfig", cluster.lab.kubeconfig]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=HELM_SECONDS, check=False)
    return done.returncode, done.stdout + done.stderr


def test_an_uninstall_that_deletes_the_crd_asks_first(cluster: NodeCluster, tmp_path: Path) -> None:
    """With the values for trying an uninstall refuses while there is a release, and says which; the operator is still
    there to take the plugin off; then an uninstall leaves nothing, not even the CRD."""
    cluster.install("--values", str(CHART / "values-try.yaml"))
    [pod] = cluster.operator_pods()
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == "Never"
    name = unique("asked")
    cluster.apply(cluster.manifest(name, cluster.push(wasm_modules.answering(name), tmp_path)))
    cluster.await_ready(name)

    code, said = uninstall_says(cluster)
    print(said)
    assert code != 0
    assert f"there are PluginReleases: {GATEWAY_NAMESPACE}/{name}" in said
    assert [each["metadata"]["uid"] for each in cluster.operator_pods()] == [pod["metadata"]["uid"]]
    cluster.clean_up()
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None

    code, said = uninstall_says(cluster)
    print(said)
    assert code == 0
    kinds = "deployments,jobs,pods,serviceaccounts"
    cluster.lab.kubectl("wait", "--for=delete", "pod", "--all", "-n", NAMESPACE, "--timeout=60s", timeout=90)
    left = cluster.lab.kubectl(
        "get", kinds, "-n", NAMESPACE, "-l", "app.kubernetes.io/name=pluginrelease", "-o", "name"
    )
    assert left == ""
    assert "pluginrelease" not in cluster.lab.kubectl("get", "crd", "-o", "name")


@pytest.fixture
def registry(cluster: NodeCluster, tmp_path: Path) -> Iterator[registries.Registry]:
    """A registry in the lab's network that the test may set up otherwise."""
    started = registries.Registry(cluster.lab, tmp_path)
    started.start()
    yield started
    started.stop()


def test_the_companys_authority_is_in_the_pod(cluster: NodeCluster, registry: registries.Registry) -> None:
    """Without it the operator does not believe the registry; with the example's values it does, and says that the
    gateways, which were not told, would not."""
    name = unique("company")
    ref = registry.push(wasm_modules.answering(name), name)
    registry.stop()
    registry.tls = AUTHORITY
    registry.start()
    cluster.install()
    manifest = cluster.manifest(name, ref)
    manifest["spec"]["artifact"]["image"].pop("insecure", None)
    cluster.apply(manifest)
    assert ready(cluster.await_reason(name, "RegistryTLS"))["status"] == "False"

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "company-ca", "namespace": NAMESPACE}}
    cluster.lab.kubectl(
        "apply", "-f", "-", stdin=json.dumps({**secret, "stringData": {"ca.crt": AUTHORITY.read_text()}})
    )
    cluster.upgrade("--values", str(CHART / "examples" / "company-ca.yaml"))
    cluster.retry(name)
    refused = cluster.await_reason(name, "RegistryNotAcceptedByGateway")
    assert registry.host in ready(refused)["message"]
    cluster.clean_up()
    cluster.uninstall()
