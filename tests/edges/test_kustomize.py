"""deploy/releases: what Kustomize, as kubectl has it, makes of releases with the component and without."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from pluginrelease_lab import binaries
from tests.edges.test_manifests import DEPLOY, a_release

SECONDS = 30.0


def kustomize(folder: Path) -> str:
    """What `kubectl kustomize` writes."""
    argv = [str(binaries.provide("kubectl")), "kustomize", str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def test_a_patch_merges_lists_by_name(tmp_path: Path) -> None:
    """With the component, a patch of one entry keeps the others; Kustomize still knows the lists of its own kinds."""
    (tmp_path / "releases").symlink_to(DEPLOY / "releases")
    pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}, {"name": "b"}]}}
    workload = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": pods}}
    about = {key: a_release()[key] for key in ("apiVersion", "kind", "metadata")}
    changes = {"gateways": [{"name": "internal", "objectName": "x"}], "plugin": {"env": [{"name": "B", "value": "3"}]}}
    change = {"metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b"}]}}}}
    patches = [{**about, "spec": changes}, {**workload, **change}]
    folder = tmp_path / "overlay"
    folder.mkdir()
    (folder / "all.yaml").write_text(yaml.safe_dump_all([a_release(), workload]))
    whole = {"resources": ["all.yaml"], "components": ["../releases"]}
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump({**whole, "patches": [{"patch": yaml.safe_dump(patch)} for patch in patches]})
    )
    found = {it["kind"]: it["spec"] for it in yaml.safe_load_all(kustomize(folder))}
    gateways = {it["name"]: it.get("objectName") for it in found["PluginRelease"]["gateways"]}
    assert gateways == {"public": None, "internal": "x"}
    assert {it["name"]: it["value"] for it in found["PluginRelease"]["plugin"]["env"]} == {"A": "1", "B": "3"}
    containers = found["Deployment"]["template"]["spec"]["containers"]
    assert {it["name"]: it["image"] for it in containers} == {"a": "a", "b": "b"}


def test_the_component_sets_images_and_names(tmp_path: Path) -> None:
    """An overlay's `images` and `namePrefix` come to the release: its tag, and the Secrets and ConfigMaps it names."""
    (tmp_path / "releases").symlink_to(DEPLOY / "releases")
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "edge"}}
    folder = tmp_path / "overlay"
    folder.mkdir()
    limits = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits", "namespace": "edge"}}
    release = a_release()
    sources = [
        {"kind": "Secret", "name": "keys", "key": "a", "path": "/a"},
        {"kind": "ConfigMap", "name": "limits", "key": "b"},
    ]
    release["spec"]["plugin"] |= {"configFrom": sources, "matchRules": [{"domain": ["a"], "configFrom": sources}]}
    (folder / "all.yaml").write_text(yaml.safe_dump_all([release, keys, limits]))
    image = {"name": "registry.example.com/plugins/auth", "newTag": "1.1"}
    whole = {"resources": ["all.yaml"], "components": ["../releases"], "images": [image], "namePrefix": "team-"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    found = {it["kind"]: it for it in yaml.safe_load_all(kustomize(folder))}
    artifact = found["PluginRelease"]["spec"]["artifact"]
    assert artifact["image"]["ref"] == "registry.example.com/plugins/auth:1.1"
    assert found["Secret"]["metadata"]["name"] == "team-keys"
    plugin = found["PluginRelease"]["spec"]["plugin"]
    for named in (plugin["configFrom"], plugin["matchRules"][0]["configFrom"]):
        assert [source["name"] for source in named] == ["team-keys", "team-limits"]
    assert {artifact["image"]["pullSecretRef"]["name"], artifact["verify"]["secretRef"]["name"]} == {"team-keys"}
