"""Releases that are shown to a real API server: one that is whole, changes to it by path, and the constraints of the
schema by the same paths."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pluginrelease import api
from pluginrelease.api import crd
from pluginrelease_lab.host import Lab

NAMESPACE = "crd-rules"
CEL = "x-kubernetes-validations"
UNSET = object()
HIGRESS_ONLY = {"matchRules", "configDisabled"}

Node = dict[str, Any]

GATEWAY: Node = {
    "name": "public",
    "namespace": "istio-system",
    "selector": {"matchLabels": {"istio": "ingressgateway"}},
}
HIGRESS: Node = {"name": "public", "namespace": "higress-system"}
RELEASE: Node = {
    "apiVersion": api.API_VERSION,
    "kind": api.KIND,
    "metadata": {"name": "auth", "namespace": NAMESPACE},
    "spec": {
        "provider": "Istio",
        "artifact": {"image": {"ref": "registry.example.com/plugins/auth:1.2"}},
        "gateways": [GATEWAY],
    },
}

TARGET: Node = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}
SOURCE: Node = {"kind": "Secret", "name": "token", "key": "token", "path": "/token"}
HTTP: Node = {"url": "https://files.example.com/auth.wasm", "sha256": "0" * 64}
PROBE: Node = {"name": "hello"}
# what an item of a list has, beside the field that a row is about
ITEMS: dict[str, Node] = {
    "gateways": GATEWAY,
    "targetRefs": TARGET,
    "probes": PROBE,
    "matchRules": {},
    "match": {"mode": "CLIENT"},
    "ports": {"number": 8080},
    "configFrom": SOURCE,
    "env": {"name": "LEVEL", "value": "info"},
}
# what must be beside a field
BESIDE: dict[str, Node] = {"spec.plugin.matchRules[].config": {"domain": ["api.example.com"]}}
SIGNER: Node = {"issuer": "https://issuer[.]example[.]com", "subject": ".*@example[.]com"}
ITEMS["matchOIDCIdentity"] = SIGNER
VERIFY = "spec.artifact.verify"
ROOT = f"{VERIFY}.trustedRootSecretRef"
SEMVER = "spec.artifact.image.semver"


class CrdRule(NamedTuple):
    """One constraint of the schema, a value it takes, a value it refuses, and words of the refusal if it is not CEL."""

    path: str
    keyword: str
    accepted: Any
    refused: Any
    words: str = ""


def release(path: str = "", value: object = UNSET) -> Node:
    """RELEASE with one field set, or without it; ``probes[]`` is its only probe. With semver the ref has no tag. What
    only Higress has makes it one of Higress's."""
    changed = copy.deepcopy(RELEASE)
    if not path:
        return changed
    if path == SEMVER:
        changed["spec"]["artifact"]["image"]["ref"] = "registry.example.com:5000/plugins/auth"
    *parents, last = path.split(".")
    node = changed
    for parent in parents:
        if parent.endswith("[]"):
            name = parent.removesuffix("[]")
            [node] = node.setdefault(name, [copy.deepcopy(ITEMS[name])])
        else:
            node = node.setdefault(parent, {})
    if last.endswith("[]"):
        last, value = last.removesuffix("[]"), [value]
    node[last] = value
    if value is UNSET:
        del node[last]
    if last == "valueFrom":
        del node["value"]
    node |= BESIDE.get(path, {})
    complete(changed, path)
    return changed


def complete(changed: Node, path: str) -> None:
    """Set what else a release needs where the field of this path is set."""
    if path.startswith("spec.gateways[].targetRefs"):
        del changed["spec"]["gateways"][0]["selector"]
    if path.startswith("spec.artifact.http"):
        artifact, field = changed["spec"]["artifact"], path.rpartition(".")[2]
        del artifact["image"]
        artifact["http"] = {**{key: value for key, value in HTTP.items() if key != field}, **artifact["http"]}
    if path.startswith("spec.plugin.matchRules[].configFrom"):
        changed["spec"]["plugin"]["matchRules"][0]["domain"] = ["api.example.com"]
    if path.startswith((ROOT, f"{VERIFY}.provider")):
        changed["spec"]["artifact"]["verify"]["matchOIDCIdentity"] = [SIGNER]
    if path.startswith("spec.plugin") and HIGRESS_ONLY & changed["spec"]["plugin"].keys():
        changed["spec"] |= {"provider": "Higress", "gateways": [copy.deepcopy(HIGRESS)]}
        changed["spec"]["plugin"]["priority"] = 1


def gateways(*entries: Node, **spec: object) -> Node:
    """RELEASE with these entries of gateways."""
    changed = release("spec.gateways", [copy.deepcopy(entry) for entry in entries])
    changed["spec"] |= spec
    return changed


def offer(lab: Lab, manifest: Node, *verb: str) -> str:
    """Show the API server an object without storing it. Raises LabError with the server's words."""
    return lab.kubectl(*(verb or ("create",)), "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest))


def cel_messages() -> dict[tuple[str, str], str]:
    """The message of each CEL rule of the CRD, by path and keyword."""
    schema = crd.object_schema()
    return {
        ("metadata.name", "cel"): schema[CEL][0]["message"],
        **dict(find_messages(schema["properties"]["spec"], "spec")),
    }


def find_messages(node: Node, path: str) -> Iterator[tuple[tuple[str, str], str]]:
    """The messages of the CEL rules below a schema node, each with its path and keyword."""
    rules = node.get(CEL, [])
    for number, rule in enumerate(rules):
        yield (path, "cel" if len(rules) == 1 else f"cel {number}"), rule["message"]
    for name, child in node.get("properties", {}).items():
        yield from find_messages(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from find_messages(node[key], f"{path}{mark}")


def constraints(node: Node, path: str) -> Iterator[tuple[str, str]]:
    """Every constraint below a schema node as (path, keyword)."""
    for keyword in (
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "maxProperties",
    ):
        if keyword in node:
            yield path, keyword
    rules = node.get(CEL, [])
    for number in range(len(rules)):
        yield path, "cel" if len(rules) == 1 else f"cel {number}"
    for name in node.get("required", []):
        yield f"{path}.{name}", "required"
    for name, child in node.get("properties", {}).items():
        yield from constraints(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from constraints(node[key], f"{path}{mark}")
