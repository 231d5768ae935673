"""Fields of an object's spec that the release does not set: report them, or remove them if the release asks for it.

A server-side apply keeps what other managers own, so it would stay in effect beside the revision. To remove it in the
very write that brings the revision, the release first owns the whole spec (`take_over_spec`). That is a change of
metadata, which no gateway sees. The apply that follows then drops what it does not contain (Kubernetes' documentation
of server-side apply; client-go's csaupgrade changes managers in the same way).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pluginrelease import api
from pluginrelease.core.mesh.placement import Placement

JSON = dict[str, Any]

# with the rules, the fields of a WasmPlugin that have values of ``configFrom``
CONFIGURATIONS = ("spec.pluginConfig", "spec.defaultConfig")
MANAGED = ("manager", "operation", "apiVersion")


def find(wanted: JSON, observed: JSON | None) -> list[str]:
    """Return the sorted paths of fields that an object's spec has but the wanted one has not.

    Where values of ``configFrom`` are, it names the configuration only: a key can be part of a value.
    """
    theirs = (observed or {}).get("spec") or {}
    found = find_below(wanted.get("spec") or {}, theirs, "spec")
    return sorted({shorten_path(path, wanted, observed) for path in found})


def shorten_path(path: str, *objects: JSON | None) -> str:
    """Return a path in an object's spec, at most down to its configuration if some object has ``configFrom`` there."""
    annotations = [(thing.get("metadata") or {}).get("annotations") or {} for thing in objects if thing is not None]
    if not any(api.CONFIG_FROM_ANNOTATION in found for found in annotations):
        return path
    head = ".".join(path.split(".", 2)[:2])
    return head if head in CONFIGURATIONS or head.startswith("spec.matchRules") else path


def find_below(wanted: Any, observed: Any, path: str) -> Iterator[str]:
    """Yield the same below a path. A list of named items is merged by names; any other list is one value."""
    if isinstance(wanted, dict) and isinstance(observed, dict):
        for key, value in observed.items():
            below = f"{path}.{key}"
            if key in wanted:
                yield from find_below(wanted[key], value, below)
            elif value not in (None, {}):
                yield below
        return
    ours, theirs = by_name(wanted), by_name(observed)
    if ours and theirs:
        for name, item in theirs.items():
            if name not in ours:
                yield f"{path}[{name}]"
            else:
                yield from find_below(ours[name], item, f"{path}[{name}]")


def by_name(found: Any) -> dict[str, JSON] | None:
    """Return the items of a list by their names; None for anything but a list of named items."""
    if not isinstance(found, list) or not all(isinstance(item, dict) and "name" in item for item in found):
        return None
    return {item["name"]: item for item in found}


def is_removal_asked(placement: Placement) -> bool:
    """Return True if the release allows this entry to remove foreign fields."""
    said = placement.metadata.annotations.get(api.REMOVE_FOREIGN_FIELDS_ANNOTATION, "")
    names = [name.strip() for name in said.split(",")]
    return "*" in names or placement.name in names


def take_over_spec(managed: Iterable[JSON], api_version: str) -> list[JSON]:
    """Return an object's managers after the release's apply has taken the whole spec.

    Other ownership stays unchanged.
    """
    ours = {"manager": api.FIELD_MANAGER, "operation": "Apply", "apiVersion": api_version}
    own, others, spec = dict[str, Any](), list[JSON](), dict[str, Any]()
    for entry in managed:
        fields = dict(entry.get("fieldsV1") or {})
        if not entry.get("subresource"):
            spec = merge(spec, fields.pop("f:spec", {}))
        if {key: entry.get(key) for key in MANAGED} == ours and not entry.get("subresource"):
            own = {**entry, "fieldsV1": fields}
        elif fields:
            others.append({**entry, "fieldsV1": fields})
    taken = {**ours, "fieldsType": "FieldsV1", **own}
    return [*others, {**taken, "fieldsV1": {**taken.get("fieldsV1", {}), "f:spec": spec}}]


def merge(one: JSON, other: JSON) -> JSON:
    """Return the union of two sets of fields, in the format of managedFields."""
    merged = dict(one)
    for key, value in other.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return merged
