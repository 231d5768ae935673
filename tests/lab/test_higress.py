"""The lab's Higress: its copy of the kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pluginrelease.lab import Lab, LabError
from pluginrelease.lab.controlplane import MANIFESTS

NAMESPACE = "higress-kind"


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Iterator[Lab]:
    """The lab with Higress's kind, and a namespace for this module."""
    kinds = str(MANIFESTS / "higress-kinds.yaml")
    lab.kubectl("apply", "-f", kinds)
    lab.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", kinds)
    lab.kubectl("create", "namespace", NAMESPACE)
    yield lab
    lab.kubectl("delete", "namespace", NAMESPACE)
    lab.kubectl("delete", "-f", kinds)


def plugin(name: str, **spec: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "extensions.higress.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
    )


def stored(lab: Lab, name: str) -> dict[str, Any]:
    found = lab.kubectl("get", "wasmplugins.extensions.higress.io", name, "-n", NAMESPACE, "-o", "json")
    return dict(json.loads(found).get("spec", {}))


def test_the_kind_drops_what_higress_does_not_know_without_a_word(cluster: Lab) -> None:
    """A selector, a target, a listener's match and a type are gone from what was applied, and kubectl said nothing."""
    unknown = {"selector": {"matchLabels": {"a": "b"}}, "targetRefs": [], "match": [{"mode": "CLIENT"}], "type": "HTTP"}
    cluster.kubectl("apply", "--validate=false", "-f", "-", stdin=plugin("pruned", url="oci://r/p", **unknown))
    assert stored(cluster, "pruned") == {"url": "oci://r/p"}


def test_the_kind_keeps_any_configuration(cluster: Lab) -> None:
    """Configurations are the plugin's own business, in each of the three places."""
    config = {"any": [{"thing": 1.5}]}
    spec = {"pluginConfig": config, "defaultConfig": config, "matchRules": [{"domain": ["a.b"], "config": config}]}
    cluster.kubectl("apply", "-f", "-", stdin=plugin("kept", **spec))
    assert stored(cluster, "kept") == spec


def test_the_kind_requires_nothing(cluster: Lab) -> None:
    """Not even the plugin's url."""
    cluster.kubectl("apply", "-f", "-", stdin=plugin("empty"))
    assert stored(cluster, "empty") == {}


@pytest.mark.parametrize("field", ["failStrategy", "phase", "imagePullPolicy"])
def test_the_kind_checks_enumerations_and_nothing_else(cluster: Lab, field: str) -> None:
    """Higress has no FAIL_RELOAD; a checksum may be any text."""
    with pytest.raises(LabError, match="Unsupported value"):
        cluster.kubectl("apply", "-f", "-", stdin=plugin("refused", **{field: "FAIL_RELOAD"}))
    cluster.kubectl("apply", "-f", "-", stdin=plugin("taken", sha256="no checksum", priority=None))
