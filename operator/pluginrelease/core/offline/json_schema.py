"""The schema of a PluginRelease for editors, and for tools that check manifests without a cluster, such as kubeconform.

JSON Schema draft 7, made from the CRD's structural schema. It refuses unknown fields where the API server does with
``--validate=strict``. What JSON Schema cannot say is left to `pluginrelease lint`: CEL rules and unique names in lists.
"""

from __future__ import annotations

from typing import Any

from pluginrelease import api
from pluginrelease.core.offline import manifest
from pluginrelease.core.offline.schema import OPEN

JSON = dict[str, Any]

_KUBERNETES_ONLY = "x-kubernetes-"


def render() -> JSON:
    """Return the whole schema, ready for JSON."""
    whole = close(manifest.object_schema())
    fields: JSON = whole["properties"]
    fields |= {"apiVersion": {"type": "string", "enum": [api.API_VERSION]}}
    fields |= {"kind": {"type": "string", "enum": [api.KIND]}}
    # a new object has no status, whatever a file says: nothing about it helps a writer
    fields["status"] = {"type": "object", "description": "Written by the operator."}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"{api.KIND} {api.API_VERSION}"}
    return {**head, **whole, "required": ["apiVersion", "kind", "metadata", "spec"]}


def close(node: JSON) -> JSON:
    """Return one node of a structural schema in the words of JSON Schema, closed unless the CRD keeps all fields."""
    kept = {key: value for key, value in node.items() if not key.startswith(_KUBERNETES_ONLY)}
    if "example" in kept:
        kept["examples"] = [kept.pop("example")]
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = close(kept[key])
    if "properties" in kept:
        kept["properties"] = {name: close(child) for name, child in kept["properties"].items()}
        kept["additionalProperties"] = bool(node.get(OPEN))
    return kept
