"""The same plugin by an object that no release made: found by repository and pods, whatever it is called."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import bare_plugins
from tests.harness.releases import placement

JSON = dict[str, Any]
MESH = target.MeshSettings()
GATEWAY = {"matchLabels": {"istio": "ingressgateway"}}


def bare(name: str = "old", namespace: str = "istio-ingress", **spec: Any) -> JSON:
    """A WasmPlugin that somebody made by hand."""
    whole = {"url": "oci://registry.example.com/plugins/auth:1.0", "selector": GATEWAY, **spec}
    return {
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


@pytest.mark.parametrize(
    ("thing", "found", "reason"),
    [
        (bare(), True, "another version of the same plugin, on the same pods"),
        (bare(url="registry.example.com/plugins/auth@sha256:" + "1" * 64), True, "Istio takes it without a scheme"),
        (bare(selector=None), True, "without a selector it means every pod of its namespace"),
        (bare(selector={"matchLabels": {"app": "x"}}), True, "pods may have both labels; who lists them sees"),
        (bare(namespace="istio-system", selector=None), True, "the root namespace reaches every other"),
        (bare(url="oci://registry.example.com/plugins/other:1.0"), False, "another plugin"),
        (bare(url="https://registry.example.com/plugins/auth"), False, "no image"),
        (bare(url="oci://"), False, "nothing that can be read"),
        (bare(namespace="apps"), False, "other pods"),
        (bare(selector={"matchLabels": {"istio": "egressgateway"}}), False, "a pod has one value of a label"),
        (bare("auth-public"), False, "the object that the entry has, or is to adopt"),
    ],
)
def test_what_is_the_same_plugin(thing: JSON, found: bool, reason: str) -> None:
    """Requests would run it twice, if a pod is among both."""
    assert bool([*bare_plugins.find_twins(placement(), [thing], MESH)]) is found, reason


def test_a_gateway_that_is_named_is_known_by_its_label() -> None:
    """targetRefs name Gateways, whose pods carry the name: with a selector that pods have as well both may be one."""
    refs = [{"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "edge"}]
    [(_, where)] = bare_plugins.find_twins(placement(), [bare(selector=None, targetRefs=refs)], MESH)
    assert where.labels == {"gateway.networking.k8s.io/gateway-name": "edge", "istio": "ingressgateway"}


@pytest.mark.parametrize(
    ("labels", "expected"), [({}, True), ({"team": "edge"}, True), ({api.UID_LABEL: "another"}, False)]
)
def test_what_a_release_made_is_not_bare(labels: JSON, expected: bool) -> None:
    """Two releases are told apart by their own rule, with who was there first."""
    thing = {"metadata": {"name": "x", "namespace": "y", "labels": labels}}
    assert bare_plugins.is_bare(thing) is expected


@pytest.mark.parametrize(
    ("wanted", "theirs", "alike", "reason"),
    [
        ({}, {}, True, "nothing is said"),
        ({}, {"phase": "UNSPECIFIED_PHASE", "pluginConfig": {}}, True, "that says nothing, either"),
        ({"pluginConfig": {"a": 1}}, {"pluginConfig": {"a": 1.0}}, True, "one configuration"),
        ({"pluginConfig": {"a": 1}}, {"pluginConfig": {"a": 2}}, False, "one plugin is often used twice so"),
        ({"phase": "AUTHN"}, {"phase": "STATS"}, False, "in two places of the chain"),
        ({"pluginName": "a"}, {"pluginName": "b"}, False, "two of the plugins in one module"),
    ],
)
def test_what_is_used_alike(wanted: JSON, theirs: JSON, alike: bool, reason: str) -> None:
    """Only that is refused before the first write: another use of the same plugin may be meant."""
    assert bare_plugins.is_used_alike({"spec": wanted}, bare(**theirs)) is alike, reason
