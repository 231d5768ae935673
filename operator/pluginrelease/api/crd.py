"""The CustomResourceDefinition, rendered from the models of `api`.

pydantic's JSON schema is turned into a structural schema (Kubernetes: "Specifying a structural schema"): references
are inlined, nullable unions and titles dropped, constants made enums. `render` is pure; ``pluginrelease crd --write``
puts the bytes into ``crds/`` and into the chart, and a test compares them.
"""

from __future__ import annotations

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
    # kubectl leaves a cell without a value blank, and this one has none until the reference is resolved: it comes last
    {"name": "Revision", "type": "string", "jsonPath": ".status.targetRevision"},
    {"name": "Digest", "type": "string", "jsonPath": ".status.artifact.digest", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)

# an object of 1.5 MB is etcd's limit; a name up to 253 characters is Kubernetes' own
NAME_RULE = cel(
    "self.metadata.name.size() <= 200",
    "the name of a PluginRelease may have 200 characters at most: the objects written for it are named after it",
)


def render() -> JSON:
    """The whole CRD as a mapping, ready for YAML."""
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
    """The schema of the whole object; a new object's status is `api.UNSEEN`."""
    return {
        "type": "object",
        "description": "A Wasm plugin, from an image to seen running in every selected gateway pod.",
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
    """The structural schema of one model."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions: JSON = schema.pop("$defs", {})
    return inline(schema, definitions)


def inline(node: JSON, definitions: JSON) -> JSON:
    """One schema node without references, unions and titles."""
    node = dereference(node, definitions)
    node.pop("title", None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("x-kubernetes-preserve-unknown-fields"):
        node.pop("additionalProperties", None)
    if "properties" in node:
        node["properties"] = {name: inline(child, definitions) for name, child in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            node[key] = inline(node[key], definitions)
        elif key in node:
            node.pop(key)
    return ordered(node)


def dereference(node: JSON, definitions: JSON) -> JSON:
    """Follows ``$ref`` and the one non-null branch of ``anyOf``; what stands beside a reference wins over it."""
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


def ordered(node: JSON) -> JSON:
    """Type and description first: a CRD is read by people."""
    first: JSON = {key: node[key] for key in ("type", "description") if key in node}
    return {**first, **{key: value for key, value in node.items() if key not in first}}
