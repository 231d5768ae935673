"""The CustomResourceDefinition, rendered from the models of `api`.

pydantic's JSON schema is turned into a structural schema (Kubernetes: "Specifying a structural schema"): references
are inlined, nullable unions and titles dropped, constants made enums. `render` is pure; ``pluginrelease crd --write``
puts the bytes into ``crds/`` and into the chart, and a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pluginrelease import api
from pluginrelease.api.rules import cel

JSON = dict[str, Any]

COLUMNS: tuple[JSON, ...] = (
    {"name": "Gateways", "type": "string", "jsonPath": ".status.summary.gateways"},
    {"name": "Loaded", "type": "string", "jsonPath": ".status.summary.pods"},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    # kubectl shows an empty cell if there is no value, as before the reference is resolved: so it is the last column
    {"name": "Revision", "type": "string", "jsonPath": ".status.targetRevision"},
    {"name": "Digest", "type": "string", "jsonPath": ".status.artifact.digest", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)

# etcd's limit for an object is 1.5 MB; Kubernetes' limit for a name is 253 characters
NAME_RULE = cel(
    "self.metadata.name.size() <= 200",
    "use a name of at most 200 characters: the names of the written objects contain it",
)


def render() -> JSON:
    """Return the whole CRD as a mapping, ready for YAML."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{api.PLURAL}.{api.GROUP}"},
        "spec": {
            "group": api.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": api.KIND,
                "listKind": f"{api.KIND}List",
                "plural": api.PLURAL,
                "singular": api.SINGULAR,
                "shortNames": [api.SHORT_NAME],
                "categories": list(api.CATEGORIES),
            },
            "versions": [
                {
                    "name": api.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(COLUMNS),
                    "schema": {"openAPIV3Schema": object_schema()},
                }
            ],
        },
    }


def object_schema() -> JSON:
    """Return the schema of the whole object. The status of a new object is `api.UNSEEN`."""
    return {
        "type": "object",
        "description": (
            "Releases a Wasm plugin from an OCI image to Istio or Higress gateways, until every selected "
            "gateway pod runs it."
        ),
        "required": ["spec"],
        "x-kubernetes-validations": [NAME_RULE],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(api.Spec),
            "status": {**structural(api.Status), "default": api.UNSEEN},
        },
    }


def structural(model: type[api.Model]) -> JSON:
    """Return the structural schema of one model."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions: JSON = schema.pop("$defs", {})
    return inline(schema, definitions)


def find_examples(node: JSON, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the examples of the fields below a node, each with the path of its field; ``[]`` marks a list."""
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}"
        if "example" in child:
            yield here, child["example"]
        yield from find_examples(child.get("items", child), f"{here}[]" if "items" in child else here)


def inline(node: JSON, definitions: JSON) -> JSON:
    """Return one schema node without references, unions and titles."""
    node = dereference(node, definitions)
    node.pop("title", None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    explain(node)
    if node.get("x-kubernetes-preserve-unknown-fields"):
        node.pop("additionalProperties", None)
    if "properties" in node:
        node["properties"] = {name: inline(child, definitions) for name, child in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            node[key] = inline(node[key], definitions)
        elif key in node:
            node.pop(key)
    return order(node)


def explain(node: JSON) -> None:
    """Add the default and an example to the description: `kubectl explain` shows neither."""
    for example in node.pop("examples", []):
        node["example"] = example
    words = {"Default": node.get("default"), "Example": node.get("example")}
    shown = [f"{name}: {write(value)}." for name, value in words.items() if is_shown(value)]
    if "description" in node:
        node["description"] = " ".join([node["description"], *shown])


def is_shown(value: Any) -> bool:
    """Return False for a default that says nothing: a count of 0, or an empty value."""
    return value is False or bool(value)


def write(value: Any) -> str:
    """Return a value as a user may write it in YAML, on one line."""
    return value if isinstance(value, str) and value.isidentifier() else json.dumps(value)


def dereference(node: JSON, definitions: JSON) -> JSON:
    """Follow ``$ref`` and the one non-null branch of ``anyOf``. Keys beside a reference take precedence."""
    node = dict(node)
    if "anyOf" in node:
        [branch] = [branch for branch in node.pop("anyOf") if branch.get("type") != "null"]
        node = {**dereference(branch, definitions), **node}
    if "$ref" in node:
        target = definitions[node.pop("$ref").rsplit("/", 1)[-1]]
        node = {**dereference(target, definitions), **node}
    if node.get("default", ...) is None:
        node.pop("default")
    return node


def order(node: JSON) -> JSON:
    """Put type and description first, because people read a CRD."""
    first: JSON = {key: node[key] for key in ("type", "description") if key in node}
    return {**first, **{key: value for key, value in node.items() if key not in first}}
