"""Why the API server takes no WasmPlugin, as a release says it: of the meanings of 403 a missing right is but one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease_lab.errors import LabError
from tests import wasm_modules
from tests.harness.cluster import JSON, LabCluster, ready, unique

SELECTOR = {"matchLabels": {"istio": "nowhere"}}


@pytest.fixture
def namespace(cluster: LabCluster) -> Iterator[str]:
    """One without gateways: what is written there waits for some."""
    name = unique("refused-writes")
    cluster.lab.kubectl("create", "namespace", name)
    yield name
    cluster.lab.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def release(cluster: LabCluster, namespace: str, ref: str) -> JSON:
    gateway = {"provider": "Istio", "namespace": namespace, "selector": SELECTOR}
    return cluster.manifest("plugin", ref, namespace=namespace, gateway=gateway)


def test_a_quota(cluster: LabCluster, namespace: str, tmp_path: Path) -> None:
    """A quota is named as such, and the plugin is written once there is room."""
    ref = cluster.push(wasm_modules.answering("quota"), tmp_path)
    hard = {"count/wasmplugins.extensions.istio.io": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": namespace}}
    cluster.apply({**quota, "spec": {"hard": hard}})
    cluster.lab.kubectl(
        "wait", "resourcequota/none", "-n", namespace, "--for=jsonpath={.status.hard}", "--timeout=60s", timeout=90
    )
    cluster.apply(release(cluster, namespace, ref))
    refused = cluster.await_reason("plugin", "QuotaExceeded", namespace=namespace)
    assert "none" in ready(refused)["message"]
    assert "ServiceAccount" not in ready(refused)["message"]
    cluster.delete("resourcequota", namespace, "none")
    cluster.await_reason("plugin", "NoGatewayPods", namespace=namespace)


def test_a_policy(cluster: LabCluster, namespace: str, tmp_path: Path) -> None:
    """A policy that denies is named, with its own words, also where it denies with the code of a missing right."""
    ref = cluster.push(wasm_modules.answering("policy"), tmp_path)
    rule = {"apiGroups": ["extensions.istio.io"], "apiVersions": ["*"], "resources": ["wasmplugins"]}
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    version = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": namespace}}
    spec = {
        "matchConstraints": {
            "namespaceSelector": where,
            "resourceRules": [{**rule, "operations": ["CREATE"]}],
        },
        "validations": [{"expression": "false", "message": "no plugins on Fridays", "reason": "Forbidden"}],
    }
    binding = {"policyName": namespace, "validationActions": ["Deny"]}
    cluster.apply({**version, "kind": "ValidatingAdmissionPolicy", "spec": spec})
    cluster.apply({**version, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding})
    await_policy(cluster, namespace)
    cluster.apply(release(cluster, namespace, ref))
    refused = cluster.await_reason("plugin", "AdmissionDenied", namespace=namespace)
    assert "no plugins on Fridays" in ready(refused)["message"]
    assert f"ValidatingAdmissionPolicy '{namespace}'" in ready(refused)["message"]


def await_policy(cluster: LabCluster, namespace: str) -> None:
    """The API server takes a policy to heart a moment after it is made."""
    metadata = {"name": "try", "namespace": namespace}
    one = {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "metadata": metadata}
    text = json.dumps({**one, "spec": {"url": "oci://registry.example.com/a:1"}})
    for _ in range(100):
        try:
            cluster.lab.kubectl("create", "--dry-run=server", "-f", "-", stdin=text)
        except LabError as error:
            if "Fridays" in str(error):
                return
            raise
    raise AssertionError("the policy has no effect")
