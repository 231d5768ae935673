"""Check one PluginRelease of a file as the API server would when it is created."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from pluginrelease import api
from pluginrelease.api import crd
from pluginrelease.core.offline import schema
from pluginrelease.core.offline.schema import Fault, Matches, Rule

JSON = dict[str, Any]
Holds = Callable[[Rule], str | None]

MAX_ANNOTATION_BYTES = 256 * 1024
# Kubernetes' ObjectMeta (k8s.io/apimachinery, pkg/apis/meta/v1/types.go): the fields that strict decoding accepts
_TEXT: JSON = {"type": "string"}
_SOME_TEXT: JSON = {"type": "string", "minLength": 1}
_FLAG: JSON = {"type": "boolean"}
_NUMBER: JSON = {"type": "integer"}
_TEXTS: JSON = {"type": "object", "additionalProperties": _TEXT}
_ANY: JSON = {"type": "array", "items": {"type": "object", schema.OPEN: True}}
_TIME: JSON = {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,}(Z|[-+][0-9:]{5})$"}
_OWNER: JSON = {
    "type": "object",
    "required": ["apiVersion", "kind", "name", "uid"],
    "properties": {
        **dict.fromkeys(("apiVersion", "kind", "name", "uid"), _SOME_TEXT),
        **dict.fromkeys(("controller", "blockOwnerDeletion"), _FLAG),
    },
}
METADATA: JSON = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion", "selfLink"), _TEXT),
        **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), _TIME),
        **dict.fromkeys(("generation", "deletionGracePeriodSeconds"), _NUMBER),
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "finalizers": {"type": "array", "items": _TEXT},
        "ownerReferences": {"type": "array", "items": _OWNER},
        "managedFields": _ANY,
    },
}
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@cache
def object_schema() -> JSON:
    """Return the CRD's schema, with Kubernetes' own for the metadata."""
    whole = crd.object_schema()
    return {**whole, "properties": {**whole["properties"], "metadata": METADATA}}


def is_release(document: Any) -> bool:
    """Return True if a document is meant to be a PluginRelease, of any version and spelling."""
    if not isinstance(document, dict):
        return False
    return _group(document) == api.GROUP or (document.get("kind") == api.KIND and not _group(document))


def _group(document: JSON) -> str:
    group, slash, _ = str(document.get("apiVersion", "")).partition("/")
    return group if slash else ""


def find_faults(document: JSON, matches: Matches, holds: Holds) -> tuple[Fault, ...]:
    """Return all faults of one PluginRelease.

    ``matches(pattern, text)``: whether RE2 finds the pattern. ``holds(rule)``: None, or the message of a broken CEL
    rule.
    """
    if document.get("apiVersion") != api.API_VERSION:
        told = f'Unsupported value: {document.get("apiVersion")!r}: supported values: "{api.API_VERSION}"'
        return (Fault(("apiVersion",), told),)
    if document.get("kind") != api.KIND:
        told = f'Unsupported value: {document.get("kind")!r}: supported values: "{api.KIND}"'
        return (Fault(("kind",), told),)
    whole = object_schema()
    found = list(schema.find_unknown(whole, document))
    # A new object has no status, whatever its file says: the API server removes it.
    wanted = schema.apply_defaults(whole, {key: value for key, value in document.items() if key != "status"})
    wanted.pop("status", None)
    found += schema.find_faults(whole, wanted, matches)
    if not any(fault.path[:1] == ("metadata",) for fault in found):
        found += _find_metadata_faults(wanted.get("metadata") or {})
    if found:
        return tuple(found)
    return tuple(_find_broken_rules(whole, wanted, holds))


def _find_broken_rules(whole: JSON, wanted: JSON, holds: Holds) -> Iterator[Fault]:
    metadata = wanted["metadata"]
    with_name = {**wanted, "metadata": {"name": f"{metadata.get('generateName', '')}xxxxx", **metadata}}
    for rule in schema.find_rules(whole, with_name):
        said = holds(rule)
        if said is not None:
            yield Fault(rule.path, f"Invalid value: {said}")


def _find_metadata_faults(metadata: JSON) -> Iterator[Fault]:
    """Yield faults of an object's metadata by Kubernetes' rules (k8s.io/apimachinery, pkg/api/validation)."""
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    if not name and not metadata.get("generateName"):
        yield Fault(("metadata", "name"), "Required value: name or generateName is required")
    if name and not (len(name) <= 253 and _SUBDOMAIN.fullmatch(name)):
        told = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
        yield Fault(("metadata", "name"), f"Invalid value: {name[:80]!r}: {told}")
    if namespace and not (len(namespace) <= 63 and re.fullmatch(_LABEL, namespace)):
        yield Fault(("metadata", "namespace"), f"Invalid value: {namespace[:80]!r}: no RFC 1123 label")
    for key, value in (metadata.get("labels") or {}).items():
        if not _is_key(key):
            yield Fault(("metadata", "labels", key), "Invalid value: no qualified name of a label")
        if value and not (len(value) <= 63 and _WORD.fullmatch(value)):
            yield Fault(("metadata", "labels", key), f"Invalid value: {value[:80]!r}: no value of a label")
    annotations: dict[str, str] = metadata.get("annotations") or {}
    for key in annotations:
        if not _is_key(key.lower()):
            yield Fault(("metadata", "annotations", key), "Invalid value: no qualified name of an annotation")
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > MAX_ANNOTATION_BYTES:
        yield Fault(("metadata", "annotations"), f"Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes")


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and _SUBDOMAIN.fullmatch(prefix)):
        return False
    return len(name) <= 63 and bool(_WORD.fullmatch(name))
