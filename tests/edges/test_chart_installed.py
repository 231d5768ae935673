"""The chart on a real API server: taken by it, installed by real Helm, upgraded, and uninstalled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pluginrelease.cli import crd
from pluginrelease_lab import operator
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab
from tests.edges import scheduling
from tests.edges.chart_values import CHART, CHECKOUT, EFFECTS, FULLNAME, NAMESPACE, RELEASE

HELMS_REFUSAL = "invalid ownership metadata"

SELECTED = f"app.kubernetes.io/instance={RELEASE}"
OF_PROMETHEUS = "monitoring.coreos.com"
WAITING = ("--wait", "--timeout=50s")
RELEASE_MANIFEST = (
    (CHECKOUT / "examples/header-authorization/pluginrelease.yaml")
    .read_text()
    .replace("name: header-authorization", "name: left")
    .replace("namespace: istio-ingress", f"namespace: {NAMESPACE}")
)


@pytest.fixture(scope="module")
def namespace(lab: Lab) -> Iterator[str]:
    """A namespace that allows only restricted pods."""
    lab.kubectl("create", "namespace", NAMESPACE)
    lab.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    yield NAMESPACE
    lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def helm_on(lab: Lab, *arguments: str | Path) -> str:
    """Helm against the lab."""
    return operator.helm(*arguments, "--namespace", NAMESPACE, "--kubeconfig", lab.kubeconfig)


def installed(lab: Lab) -> set[str]:
    """Everything on the API server that this release of the chart made."""
    kinds = "deployments,replicasets,pods,serviceaccounts,secrets,clusterroles,clusterrolebindings"
    kinds += ",flowschemas,prioritylevelconfigurations"
    mine = f"app.kubernetes.io/instance={RELEASE}"
    names = lab.kubectl("get", kinds, "-n", NAMESPACE, "-l", mine, "-o", "name").split()
    names += lab.kubectl("get", "roles,rolebindings", "-n", "kube-system", "-l", mine, "-o", "name").split()
    records = lab.kubectl("get", "secrets", "-n", NAMESPACE, "-l", "owner=helm", "-o", "name").split()
    return {*names, *records}


EVERYTHING = [effect for effect, _ in EFFECTS if not effect.startswith("crds.install")]


@pytest.mark.parametrize("values", [[], EVERYTHING], ids=["defaults", "every value"])
def test_the_api_server_takes_the_rendering(lab: Lab, namespace: str, values: list[str]) -> None:
    """With default values and with every value changed the objects pass the API server's own validation.

    The lab has no Prometheus Operator: what is for that is validated by promtool and a real Prometheus elsewhere.
    """
    manifests = [thing for thing in operator.render(namespace, values) if OF_PROMETHEUS not in thing["apiVersion"]]
    make_namespaces(lab, {thing["metadata"].get("namespace", namespace) for thing in manifests})
    applied = lab.kubectl("apply", "--dry-run=server", "-o", "name", "-f", "-", stdin=yaml.safe_dump_all(manifests))
    assert len(applied.split()) == len(manifests)


def make_namespaces(lab: Lab, names: set[str]) -> None:
    """Those that a chart's Roles are for, where they are missing."""
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(names)]
    lab.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(spaces))


def uninstall(lab: Lab, release: str = RELEASE, *settings: str) -> None:
    """As a user does it; then until the garbage collector has taken what belonged to the Deployment."""
    helm_on(lab, "uninstall", release, "--cascade=foreground", "--wait", *settings)
    lab.kubectl("wait", "--for=delete", f"deployment/{release}-pluginrelease", "-n", NAMESPACE, "--timeout=30s")


def apply_crd(lab: Lab) -> None:
    """As `kubectl apply` makes it."""
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=crd.text())
    operator.await_established(lab)


@pytest.fixture
def crd_of_nobody(lab: Lab, namespace: str) -> Iterator[None]:
    """The CRD, which no release of the chart has; it is there again for other tests."""
    lab.kubectl("delete", operator.CRD, "--ignore-not-found", "--timeout=60s", timeout=90)
    apply_crd(lab)
    yield
    apply_crd(lab)


def test_install_and_uninstall(lab: Lab, namespace: str, crd_of_nobody: None) -> None:
    """`helm install --wait` brings a running pod under restricted Pod Security and says what to do next; an uninstall
    leaves nothing but the CRD, and a second install finds that one and goes on. (It takes over what kubectl made.)"""
    with scheduling.running(lab, NAMESPACE):
        notes = helm_on(lab, "install", RELEASE, CHART, "--take-ownership", "--force-conflicts", *WAITING)
        assert "pluginrelease.io/allowed-namespaces" in notes
        assert f"rollout status deployment/{FULLNAME}" in notes
        assert "add --take-ownership" in notes
    uninstall(lab)
    assert installed(lab) == set()
    lab.kubectl("get", operator.CRD)
    helm_on(lab, "install", RELEASE, CHART)
    uninstall(lab)
    assert installed(lab) == set()
    lab.kubectl("get", operator.CRD)


def test_a_kept_crd_and_another_name(lab: Lab, namespace: str, crd_of_nobody: None) -> None:
    """A CRD that an older release of the chart left is not taken without a word; --take-ownership takes it, and what
    stands in the cluster stays."""
    lab.kubectl("apply", "-f", "-", stdin=RELEASE_MANIFEST)
    helm_on(lab, "install", RELEASE, CHART, "--take-ownership", "--force-conflicts")
    uninstall(lab)
    with pytest.raises(LabError, match=HELMS_REFUSAL):
        helm_on(lab, "install", "second", CHART)
    helm_on(lab, "install", "second", CHART, "--take-ownership")
    owner = "jsonpath={.metadata.annotations.meta\\.helm\\.sh/release-name}"
    assert lab.kubectl("get", operator.CRD, "-o", owner) == "second"
    uninstall(lab, "second")
    lab.kubectl("delete", "prel", "left", "-n", NAMESPACE, "--timeout=30s")


@pytest.mark.parametrize("file", ["values-production.yaml", "values-try.yaml"])
def test_the_values_files_are_installed(lab: Lab, namespace: str, crd_of_nobody: None, file: str) -> None:
    """With either file `helm install --wait` ends well, and what it says is in the cluster."""
    values = yaml.safe_load((CHART / file).read_text())
    with scheduling.running(lab, NAMESPACE):
        adopting = ["--take-ownership", "--force-conflicts"]
        notes = helm_on(lab, "install", RELEASE, CHART, "--values", CHART / file, *adopting, *WAITING)
    pods = json.loads(lab.kubectl("get", "pods", "-n", NAMESPACE, "-l", SELECTED, "-o", "json"))["items"]
    assert len(pods) == values.get("replicas", 1)
    pod = pods[0]
    [container] = pod["spec"]["containers"]
    assert container["imagePullPolicy"] == values["image"]["pullPolicy"]
    assert container["resources"] == values["resources"]
    assert f"--log-format={values['operator']['logFormat']}" in container["args"]
    assert pod["spec"].get("priorityClassName") == values.get("priorityClassName")
    keep = values["crds"]["keep"]
    assert ("crds.keep is false" in notes) is not keep
    # nobody runs the job that would ask before: tests/node has a node for that
    uninstall(lab, RELEASE, "--no-hooks")
    assert installed(lab) == set()
    assert ("pluginreleases" in lab.kubectl("get", "crd", "-o", "name")) is keep
