"""A release as Istio's WasmPlugin: pinned by digest, named so that releases never meet, a revision for what matters."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.mesh import istio, target
from tests.harness.releases import ARTIFACT, DIGEST, IMAGE, UID, abroad, placed, placement, release

KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def test_the_whole_wasmplugin() -> None:
    """A release with everything set is this WasmPlugin and no other."""
    whole = release(
        spec__artifact__image__pullSecretRef={"name": "keys"},
        spec__plugin={
            "name": "root",
            "phase": "AUTHN",
            "priority": 10,
            "failStrategy": "FAIL_OPEN",
            "config": {"allow": ["a"]},
        },
    )
    assert istio.wasm_plugin(placed(whole), ARTIFACT) == {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {
            "name": "auth-public",
            "namespace": "istio-ingress",
            "labels": {"app.kubernetes.io/managed-by": "pluginrelease", "pluginrelease.io/uid": UID},
            "annotations": {
                "pluginrelease.io/release": "istio-ingress/auth",
                "pluginrelease.io/gateway": "public",
                "pluginrelease.io/revision": revision.compute_identity(whole.spec, DIGEST),
            },
            "ownerReferences": [
                {
                    "apiVersion": "pluginrelease.io/v1alpha1",
                    "kind": "PluginRelease",
                    "name": "auth",
                    "uid": UID,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "selector": {"matchLabels": {"istio": "ingressgateway"}},
            "url": f"oci://{IMAGE}",
            "imagePullPolicy": "IfNotPresent",
            "imagePullSecret": "keys",
            "failStrategy": "FAIL_OPEN",
            "pluginName": "root",
            "phase": "AUTHN",
            "priority": 10,
            "pluginConfig": {"allow": ["a"]},
        },
    }


def test_what_is_not_said_is_not_written() -> None:
    """A release without options leaves Istio's own defaults alone, but always says what happens on failure."""
    spec = istio.wasm_plugin(placement(), ARTIFACT)["spec"]
    assert spec.keys() == {"selector", "url", "imagePullPolicy", "failStrategy"}
    assert spec["failStrategy"] == "FAIL_CLOSE"


@pytest.mark.parametrize("priority", [0, -1])
def test_a_priority_of_zero_is_a_priority(priority: int) -> None:
    """Zero and negative numbers are written: unset means another order to Istio."""
    written = istio.wasm_plugin(placement(spec__plugin__priority=priority), ARTIFACT)
    assert written["spec"]["priority"] == priority


def test_an_empty_configuration_is_written_as_none() -> None:
    """To Envoy they are the same, and where there was one before, a server-side apply of `{}` is merged to null."""
    assert "pluginConfig" not in istio.wasm_plugin(placement(spec__plugin__config={}), ARTIFACT)["spec"]


def test_a_tag_never_reaches_a_gateway() -> None:
    """The URL names the repository and the digest; the tag that was asked for is not in the object."""
    assert (
        istio.wasm_plugin(placement(), ARTIFACT)["spec"]["url"] == f"oci://registry.example.com/plugins/auth@{DIGEST}"
    )


# --------------------------------------------------------------------------------------------------------- ownership


def test_an_owner_in_another_namespace_is_never_named() -> None:
    """The garbage collector would delete an object whose owner it looks for in the wrong namespace."""
    assert "ownerReferences" not in istio.wasm_plugin(placed(abroad()), ARTIFACT)["metadata"]


def test_what_is_to_stay_has_no_owner() -> None:
    """With deletionPolicy Orphan the garbage collector must not take the plugin off the gateways."""
    orphan = placement(spec__deletionPolicy="Orphan")
    assert "ownerReferences" not in istio.wasm_plugin(orphan, ARTIFACT)["metadata"]


def test_the_copied_secret_is_the_releases() -> None:
    """The copy has the type that gateways need, its own name, and says whose it is."""
    there = placed(abroad(spec__artifact__image__pullSecretRef={"name": "keys"}))
    copy = target.render_pull_secret(there, "e30=")
    assert copy["type"] == "kubernetes.io/dockerconfigjson"
    assert copy["data"] == {".dockerconfigjson": "e30="}
    assert copy["metadata"]["name"] == target.pull_secret_name(there) == f"{target.name_object(there)}-pull"
    assert copy["metadata"]["namespace"] == "istio-ingress"
    assert copy["metadata"]["labels"][api.UID_LABEL] == UID
    assert copy["metadata"]["annotations"] == {api.RELEASE_ANNOTATION: "team-a/auth", api.GATEWAY_ANNOTATION: "public"}


def test_at_home_the_secret_is_named_and_not_copied() -> None:
    """In the gateway's own namespace the gateways read the very secret that the release names."""
    assert target.pull_secret_name(placement(spec__artifact__image__pullSecretRef={"name": "keys"})) == "keys"
    assert target.pull_secret_name(placement()) is None


# ---------------------------------------------------------------------------------------------------------- revision


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec__plugin__config": {"a": 1}}, "another configuration"),
        ({"spec__plugin__config": {}}, "an empty configuration is not none"),
        ({"spec__plugin__phase": "AUTHN"}, "another place in the chain"),
        ({"spec__plugin__priority": 0}, "a priority where there was none"),
        ({"spec__plugin__failStrategy": "FAIL_OPEN"}, "another way to fail"),
        ({"spec__plugin__name": "root"}, "another plugin of the module"),
        ({"spec__artifact__image__pullSecretRef": {"name": "keys"}}, "gateways pull with another secret"),
    ],
)
def test_what_gateways_notice_is_a_new_revision(changes: dict[str, Any], reason: str) -> None:
    """A change that reaches the gateways is rolled out and looked at anew."""
    assert revision.compute_identity(release(**changes).spec, DIGEST) != revision.compute_identity(
        release().spec, DIGEST
    ), reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec__gateways__0__selector__matchLabels": {"istio": "egressgateway"}}, "where it runs is no part of it"),
        ({"spec__suspend": True}, "a pause changes nothing that runs"),
        ({"spec__deletionPolicy": "Orphan"}, "what happens later changes nothing that runs"),
        ({"spec__checks": {"load": {"timeout": "9m"}}}, "patience changes nothing that runs"),
        ({"spec__artifact__image__ref": "registry.example.com/plugins/auth:latest"}, "another tag of the same digest"),
        ({"spec__artifact__wasmSha256": "0" * 64}, "a check of ours"),
        ({"spec__artifact__image__insecure": True}, "our own way to the registry"),
        ({"metadata__name": "other"}, "names are not content"),
    ],
)
def test_what_gateways_do_not_notice_is_none(changes: dict[str, Any], reason: str) -> None:
    """A change that no gateway can see does not start a rollout."""
    assert revision.compute_identity(release(**changes).spec, DIGEST) == revision.compute_identity(
        release().spec, DIGEST
    ), reason


def test_other_bytes_are_another_revision() -> None:
    """The same spec with another digest is another revision."""
    assert revision.compute_identity(release().spec, "sha256:" + "00" * 32) != revision.compute_identity(
        release().spec, DIGEST
    )


def test_a_revision_is_the_same_tomorrow() -> None:
    """Neither the order of keys nor the operator's restart changes it; a new value here would roll out everything."""
    forth = release(spec__plugin__config={"a": 1, "b": {"c": 2, "d": 3}})
    back = release(spec__plugin__config={"b": {"d": 3, "c": 2}, "a": 1})
    assert revision.compute_identity(forth.spec, DIGEST) == revision.compute_identity(back.spec, DIGEST)
    assert revision.compute_identity(release().spec, DIGEST) == "ef3f3f5582"


@pytest.mark.parametrize(
    ("changes", "same", "reason"),
    [
        ({"spec__plugin__phase": "AUTHZ"}, True, "another phase moves the filter within the listener"),
        ({"spec__plugin__priority": 7}, True, "another priority does too"),
        (
            {"spec__gateways__0__selector__matchLabels": {"app": "edge"}},
            True,
            "another selector moves it between pods, and a pod that is new to it has no proof to keep",
        ),
        ({"spec__plugin__config": {"a": 1}}, False, "Envoy configures the plugin anew"),
        ({"spec__plugin__failStrategy": "FAIL_OPEN"}, False, "Envoy makes the plugin anew"),
        ({"spec__plugin__name": "second"}, False, "another plugin of the module runs"),
    ],
)
def test_what_envoy_loads_anew(changes: dict[str, Any], same: bool, reason: str) -> None:
    """A change that gives Envoy nothing new to load keeps what was proved of its pods; every other asks again."""
    assert (
        revision.compute_load(release(**changes).spec, DIGEST) == revision.compute_load(release().spec, DIGEST)
    ) is same, reason


def test_istios_root_namespace_reaches_every_namespace() -> None:
    """Gateways are looked for where the WasmPlugin reaches: its namespace, or from the root namespace everywhere."""
    gateway = release().spec.gateways[0]
    assert istio.pods(gateway, target.MeshSettings()).namespace == "istio-ingress"
    assert istio.pods(gateway, target.MeshSettings(istio_root_namespace="istio-ingress")).namespace is None
