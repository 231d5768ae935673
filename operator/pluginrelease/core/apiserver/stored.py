"""PluginReleases as the API server keeps them. One may not fit the models of this version: after a downgrade it has
values that only the newer one knew. That is its own trouble, and never that of the others in a list."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core import timestamps
from pluginrelease.core.errors import Refused

JSON = dict[str, Any]


def read(found: JSON) -> api.Release:
    """The release; raises `Refused` (ReleaseUnreadable)."""
    try:
        return api.Release.model_validate(found)
    except ValidationError as error:
        own = found["metadata"]
        raise Refused(
            Reason.RELEASE_UNREADABLE,
            f"PluginRelease {own['namespace']}/{own['name']} is not one that this version knows: "
            f"{find_first_fault(error)}",
            "Run the operator, with its CRD, in the version that wrote it, or make a new PluginRelease",
        ) from error


def sort_out(listed: Iterable[JSON]) -> tuple[list[api.Release], list[Refused]]:
    """Of a list those that can be read, and why the others cannot."""
    releases: list[api.Release] = []
    unreadable: list[Refused] = []
    for found in listed:
        try:
            releases.append(read(found))
        except Refused as refused:
            unreadable.append(refused)
    return releases, unreadable


def find_first_fault(error: ValidationError) -> str:
    """Where an object is wrong, and how, in one line."""
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"[:500]


def read_gateway_namespaces(found: JSON) -> frozenset[str]:
    """Return the namespaces of a release's gateways, as far as it says them."""
    named = (read_path(gateway, "namespace") for gateway in read_items(read_path(found, "spec", "gateways")))
    return frozenset(namespace for namespace in named if isinstance(namespace, str))


def read_items(found: Any) -> list[Any]:
    """Return a list, an empty one where there is none."""
    return found if isinstance(found, list) else []


def read_path(found: Any, *path: str) -> Any:
    """What is at a path; None where there is nothing."""
    for name in path:
        found = found.get(name) if hasattr(found, "get") else None
    return found


def describe_status(found: JSON, refused: Refused, now: datetime) -> JSON:
    """The status of a release that cannot be read: what it has, and that a person must act. What it says of its
    gateways is kept, as whoever can read it again goes on from that."""
    generation = found["metadata"].get("generation", 0)
    before = read_path(found, "status", "conditions") or []
    ours = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)
    conditions = [
        make_condition(
            kind, status, refused, generation, find_since(before, kind, status) or timestamps.metav1_time(now)
        )
        for kind, status in ((ConditionType.READY, "False"), (ConditionType.STALLED, "True"))
    ]
    others = [one for one in before if one["type"] not in ours]
    known = read_path(found, "status") or {}
    return {**known, "observedGeneration": generation, "phase": "Refused", "conditions": [*conditions, *others]}


def find_since(conditions: list[JSON], kind: ConditionType, status: str) -> str | None:
    """Since when a condition has this status; None where it has another."""
    return next(
        (one["lastTransitionTime"] for one in conditions if (one["type"], one["status"]) == (kind, status)), None
    )


def make_condition(kind: ConditionType, status: str, refused: Refused, generation: int, changed: str) -> JSON:
    """One condition that says why."""
    return {
        "type": kind.value,
        "status": status,
        "reason": refused.reason,
        "message": refused.sentence()[: api.MESSAGE_MAX],
        "lastTransitionTime": changed,
        "observedGeneration": generation,
    }
