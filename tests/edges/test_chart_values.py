"""The chart's values: each is described, has an effect, and is refused by the schema where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from pluginrelease_lab.errors import LabError
from release import values_table
from tests.edges.chart_values import CHART, EFFECTS, NEEDS, Node, leaves, text_of

# words of the JSON schema library that Helm uses
PATTERN = "does not match pattern"
ONE_OF = "value must be one of"
REFUSED = [
    ("replicas=-1", "minimum: got -1, want 0"),
    ('operator.watchNamespaces=["a"]', "additional properties 'watchNamespaces' not allowed"),
    ("watchNamespaces=[]", "minItems"),
    ('gatewayNamespaces=["Edge"]', PATTERN),
    ('operator.logLevel="loud"', f"{ONE_OF} 'debug', 'info', 'warning', 'error'"),
    ('operator.logFormat="xml"', f"{ONE_OF} 'json', 'text'"),
    ('operator.resync="5 minutes"', PATTERN),
    ("operator.livenessPort=80", "minimum: got 80, want 1,024"),
    ('operator.gatewayAdminPort="15000"', ", want integer"),
    ('operator.allowPrivateRealms="yes"', ", want boolean"),
    ('operator.allowedRegistries=["https://ghcr.io"]', PATTERN),
    ('operator.privateRealmsOf="ghcr.io"', ", want array"),
    ('operator.cacheSize="100Mi"', PATTERN),
    ('operator.istioRootNamespace=""', "minLength"),
    ('image.repository=""', "minLength"),
    ('image.digest="latest"', PATTERN),
    ('image.pullPolicy="Sometimes"', f"{ONE_OF} 'Always', 'IfNotPresent', 'Never'"),
    ('imagePullSecrets=["keys"]', ", want object"),
    ('podLabels={"team":1}', ", want string"),
    ("extraArgs=[1]", ", want string"),
    ('extraArgs=["run"]', PATTERN),
    ('env=[{"name":"A","valueOf":"x"}]', "additional properties 'valueOf' not allowed"),
    ('volumes=[{"name":"a","secrets":{}}]', f"{ONE_OF} 'configMap', 'csi'"),
    ('volumes=[{"name":"a"}]', "minProperties"),
    ('volumeMounts=[{"name":"a"}]', "missing property 'mountPath'"),
    ('resources={"limit":{"memory":"1Gi"}}', f"{ONE_OF} 'claims', 'limits', 'requests'"),
    ("podSecurityContext.runAsUsr=1", f"{ONE_OF} 'appArmorProfile'"),
    ("containerSecurityContext.readOnlyFilesystem=true", f"{ONE_OF} 'allowPrivilegeEscalation'"),
    ('openshift.adaptSecurityContext="yes"', f"{ONE_OF} 'auto', 'force', 'disabled'"),
    ('tolerations=[{"keys":"a"}]', "'keys'"),
    ('affinity={"nodeAfinity":{}}', f"{ONE_OF} 'nodeAffinity'"),
    ('topologySpreadConstraints=[{"maxSkew":1}]', "missing properties"),
    ("commonLabels.team=1", ", want string"),
]


@pytest.fixture(scope="module")
def schema() -> Node:
    parsed: Node = json.loads((CHART / "values.schema.json").read_text())
    return parsed


def test_every_value_is_described_and_closed(schema: Node) -> None:
    """The schema has a sentence for every value and takes no name that is not there."""
    for path, leaf in leaves(schema):
        assert leaf.get("description"), f"{path} has no description"
    assert schema["additionalProperties"] is False
    assert all(
        child["additionalProperties"] is False for child in schema["properties"].values() if "properties" in child
    )


def test_values_and_schema_have_the_same_names(schema: Node) -> None:
    """Every value of the schema has a default in values.yaml, and no other name stands there."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def named(node: Node, below: Node, path: str = "") -> Iterator[str]:
        for name, value in node.items():
            here = f"{path}.{name}" if path else name
            inner = below.get("properties", {}).get(name, {})
            yield from named(value, inner, here) if inner.get("properties") else [here]

    assert set(named(values, schema)) == {path for path, _ in leaves(schema)} - {"global"}


def test_every_value_is_tried(schema: Node) -> None:
    """The table of effects has a row for each value of the schema: no value is without effect."""
    assert {effect.split("=")[0] for effect, _ in EFFECTS} == {path for path, _ in leaves(schema)} - {"global"}


@pytest.mark.parametrize(("value", "shows"), EFFECTS, ids=lambda it: it.split("=")[0])
def test_a_value_has_its_effect(value: str, shows: str) -> None:
    """A value that is set shows in the rendered objects, and did not show before."""
    others = [NEEDS[value]] if value in NEEDS else []
    before, after = text_of(*others), text_of(*others, value)
    assert before != after
    assert shows in after
    assert not shows or shows not in before


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=lambda it: it.split("=")[0])
def test_a_wrong_value_is_refused(value: str, words: str) -> None:
    """The schema refuses unknown names and wrong shapes before anything reaches the cluster."""
    with pytest.raises(LabError) as refusal:
        text_of(value)
    assert words in str(refusal.value)


def test_the_readme_has_every_value() -> None:
    """The table in the chart's README is the one that `make manifests` writes from values and schema."""
    page = (CHART / "README.md").read_text(encoding="utf-8")
    assert values_table.fill(page, CHART) == page
    assert "| `operator.resync` | `5m` |" in page
