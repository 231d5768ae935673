"""The schema by which Kustomize merges patches: which lists of a PluginRelease are merged by a key.

Kustomize reads no CRD. Without a schema, a patch with one entry of ``gateways`` replaces the whole list. The form is an
OpenAPI document with `x-kubernetes-patch-merge-key` (kyaml, openapi/openapi.go). It has no more than the lists need.
"""

from __future__ import annotations

from typing import Any

from pluginrelease import api
from pluginrelease.api import crd

JSON = dict[str, Any]


def render() -> JSON:
    """Return the document, ready for JSON."""
    spec = find_keyed_lists(crd.object_schema()["properties"]["spec"])
    kind = {"group": api.GROUP, "version": api.VERSION, "kind": api.KIND}
    whole = {
        "type": "object",
        "x-kubernetes-group-version-kind": [kind],
        "properties": {"spec": spec},
    }
    reverse = ".".join(reversed(api.GROUP.split(".")))
    return {"definitions": {f"{reverse}.{api.VERSION}.{api.KIND}": whole}}


def find_keyed_lists(node: JSON) -> JSON | None:
    """Return a node of a structural schema with only its lists that have a key; None if there are none."""
    kept: JSON = {"type": node["type"]}
    if "items" in node:
        kept["items"] = find_keyed_lists(node["items"]) or {"type": node["items"]["type"]}
        keys = node.get("x-kubernetes-list-map-keys", [])
        if len(keys) == 1:
            merging = {"x-kubernetes-patch-merge-key": keys[0], "x-kubernetes-patch-strategy": "merge"}
            return {**kept, **merging}
        return kept if len(kept["items"]) > 1 else None
    below = {name: found for name, child in node.get("properties", {}).items() if (found := find_keyed_lists(child))}
    return {**kept, "properties": below} if below else None
