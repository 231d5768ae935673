"""deploy/: one file to apply, and a base for Kustomize, both from the chart and both on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease.cli import crd
from pluginrelease_lab import operator
from pluginrelease_lab.host import Lab
from release import manifests

DEPLOY = manifests.CHECKOUT / "deploy"
NAMESPACE = manifests.NAMESPACE
MINE = "app.kubernetes.io/instance=pluginrelease"
DIGEST = f"sha256:{'0' * 64}"


def test_it_is_the_chart() -> None:
    """The committed file is the one that `make manifests` writes."""
    assert (DEPLOY / "install.yaml").read_text(encoding="utf-8") == manifests.install_text()


def test_nothing_says_that_helm_made_it() -> None:
    """No label or annotation of Helm's: `helm install` can take it over, and an uninstall by hand deletes it."""
    text = (DEPLOY / "install.yaml").read_text()
    assert [word for word in ("helm.sh/", "managed-by") if word in text] == []
    kinds = [it["kind"] for it in yaml.safe_load_all(text)]
    assert kinds[:2] == ["Namespace", "CustomResourceDefinition"]
    roles = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    assert set(kinds[2:]) == {"ServiceAccount", "FlowSchema", "PriorityLevelConfiguration", "Deployment", *roles}
    assert next(yaml.safe_load_all(text.partition("---")[2]))["metadata"]["name"] == "pluginreleases.pluginrelease.io"


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A folder beside the base, as a platform team has it, with the page's own example and a release of theirs."""
    (tmp_path / "deploy").symlink_to(DEPLOY)
    page = (manifests.CHECKOUT / "docs/install.md").read_text()
    [example] = [block for block in page.split("```") if block.startswith("yaml\napiVersion: kustomize")]
    kustomization = yaml.safe_load(example.removeprefix("yaml\n"))
    kustomization["resources"].append("release.yaml")
    kustomization["images"].append({"name": "registry.example.com/plugins/auth", "digest": DIGEST})
    kustomization["secretGenerator"] = [{"name": "keys", "namespace": "edge", "literals": ["a=b"]}]
    folder = tmp_path / "overlay"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    (folder / "release.yaml").write_text(yaml.safe_dump(a_release()))
    return folder


def a_release() -> dict[str, Any]:
    """A release of a platform team, with Secrets and two gateways."""
    image = {"ref": "registry.example.com/plugins/auth:1.0", "pullSecretRef": {"name": "keys"}}
    return {
        "apiVersion": "pluginrelease.io/v1alpha1",
        "kind": "PluginRelease",
        "metadata": {"name": "auth", "namespace": "edge"},
        "spec": {
            "provider": "Istio",
            "artifact": {"image": image, "verify": {"secretRef": {"name": "keys"}}},
            "gateways": [{"name": name, "namespace": "edge"} for name in ("public", "internal")],
            "plugin": {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        },
    }


def test_an_overlay_sets_images_and_secrets(lab: Lab, overlay: Path) -> None:
    """Kustomize changes the operator's image and that of a release, and the names of the Secrets that one refers to."""
    found = {it["kind"]: it for it in yaml.safe_load_all(lab.kubectl("kustomize", str(overlay)))}
    [container] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/ops/pluginrelease-operator:0.1.0"
    artifact, secret = found["PluginRelease"]["spec"]["artifact"], found["Secret"]["metadata"]["name"]
    assert artifact["image"]["ref"] == f"registry.example.com/plugins/auth@{DIGEST}"
    assert secret != "keys"
    assert {artifact["image"]["pullSecretRef"]["name"], artifact["verify"]["secretRef"]["name"]} == {secret}


@pytest.mark.parametrize("by", ["file", "base"])
def test_kubectl_apply(lab: Lab, by: str) -> None:
    """`kubectl apply` makes all of it, pods included, in a namespace that allows only restricted ones."""
    how = ["-f", str(DEPLOY / "install.yaml")] if by == "file" else ["-k", str(DEPLOY)]
    try:
        lab.kubectl("apply", "--server-side", "--force-conflicts", *how)
        operator.await_established(lab)
        selected = ["-n", NAMESPACE, "-l", MINE]
        lab.kubectl("wait", "--for=create", "pod", *selected, "--timeout=30s")
        [pod] = json.loads(lab.kubectl("get", "pods", *selected, "-o", "json"))["items"]
        assert pod["spec"]["serviceAccountName"] == "pluginrelease"
        enforced = lab.kubectl("get", "namespace", NAMESPACE, "-o", "jsonpath={.metadata.labels}")
        assert json.loads(enforced)["pod-security.kubernetes.io/enforce"] == "restricted"
    finally:
        lab.kubectl("delete", "deployment,serviceaccount", "-n", NAMESPACE, "-l", MINE)
        lab.kubectl("delete", "clusterrole,clusterrolebinding", "-l", MINE)
    served = json.loads(lab.kubectl("get", operator.CRD, "-o", "json"))
    assert served["spec"]["versions"][0]["name"] == yaml.safe_load(crd.text())["spec"]["versions"][0]["name"]
