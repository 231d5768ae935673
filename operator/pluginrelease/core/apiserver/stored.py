"""PluginReleases as the API server stores them.

A stored object may not fit the models of this version: after a downgrade it can have values that only the newer version
knew. Then only this release fails, and never the others of a list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

JSON = dict[str, Any]


def read(found: JSON) -> api.Release:
    """Return the release. Raises `Refused` (``ReleaseUnreadable``)."""
    try:
        return api.Release.model_validate(found)
    except ValidationError as error:
        own = found["metadata"]
        raise Refused(
            Reason.RELEASE_UNREADABLE,
            f"PluginRelease {own['namespace']}/{own['name']} is not one that this version knows: "
            f"{find_first_fault(error)}",
            "Apply it again in the form of the installed CRD, or install the earlier operator and its CRD again",
        ) from error


def sort_out(listed: Iterable[JSON]) -> tuple[list[api.Release], list[Refused]]:
    """Return the releases of a list that can be read, and an error for each of the others."""
    releases: list[api.Release] = []
    unreadable: list[Refused] = []
    for found in listed:
        try:
            releases.append(read(found))
        except Refused as refused:
            unreadable.append(refused)
    return releases, unreadable


class ReleaseReadings:
    """Parses each version of a release once, however often it is listed."""

    def __init__(self) -> None:
        # uid → the version, and the release or why it cannot be read
        self._known: dict[str, tuple[str, api.Release | Refused]] = {}

    def sort_out(self, listed: Iterable[JSON]) -> tuple[list[api.Release], list[Refused]]:
        """Return the same as the function `sort_out`."""
        read = {found["metadata"]["uid"]: self._read(found) for found in listed}
        self._known |= read
        values = [value for _, value in read.values()]
        readable = [value for value in values if isinstance(value, api.Release)]
        return readable, [value for value in values if isinstance(value, Refused)]

    def forget(self, uid: str) -> None:
        """Forget a deleted release."""
        self._known.pop(uid, None)

    def _read(self, found: JSON) -> tuple[str, api.Release | Refused]:
        version = str(found["metadata"].get("resourceVersion", ""))
        known = self._known.get(found["metadata"]["uid"])
        if known is not None and version and known[0] == version:
            return known
        try:
            return version, read(found)
        except Refused as refused:
            return version, refused


def find_first_fault(error: ValidationError) -> str:
    """Say in one line which field of an object is wrong, and how."""
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"[:500]


def read_gateway_namespaces(found: JSON) -> frozenset[str]:
    """Return the namespaces of a release's gateways, as far as its spec can be read."""
    named = (read_path(gateway, "namespace") for gateway in read_items(read_path(found, "spec", "gateways")))
    return frozenset(namespace for namespace in named if isinstance(namespace, str))


def is_new_wish(before: JSON | None, found: JSON) -> bool:
    """Return True if a user or a controller changed what they want of a release; a new release counts as changed."""
    return before is None or read_wish(before) != read_wish(found)


def read_wish(found: JSON) -> tuple[Any, ...]:
    """Return the fields of a release that a user or a controller may change; its status is not among them."""
    own = found["metadata"]
    annotations = own.get("annotations") or {}
    commands = tuple(annotations.get(command) for command in api.COMMAND_ANNOTATIONS)
    return (
        own["uid"],
        own.get("generation"),
        commands,
        annotations.get(api.REMOVE_FOREIGN_FIELDS_ANNOTATION),
        tuple(own.get("finalizers") or ()),
        own.get("deletionTimestamp"),
    )


def read_items(found: Any) -> list[Any]:
    """Return the list at a key, or an empty list."""
    return found if isinstance(found, list) else []


def read_path(found: Any, *path: str) -> Any:
    """Return the value at a path; None if there is none."""
    for name in path:
        found = found.get(name) if hasattr(found, "get") else None
    return found


def compute_mark(status: api.Status) -> bytes:
    """Return a short hash by which a status is recognized. Whole statuses would take 12 kB for each release."""
    return hashlib.sha256(json.dumps(status.wire(), sort_keys=True).encode()).digest()


def may_write_status(found: JSON, uid: str, generation: int, known: bytes) -> bool:
    """Return True if a status that was decided for an older version of the release may still be written.

    The spec must be the same, and the stored status must have the hash ``known``: this process read or wrote it last. A
    status that another client wrote since is not overwritten.
    """
    own = found["metadata"]
    if (own["uid"], own.get("generation", 0)) != (uid, generation):
        return False
    try:
        status = api.Status.model_validate(found.get("status") or {})
    except ValidationError:
        return False
    return compute_mark(status) == known


def describe_status(found: JSON, refused: Refused, now: datetime) -> JSON:
    """Return the status of a release that cannot be read: its old status, and conditions that ask a person to act.

    What it says of gateways is kept: a version that can read it continues from there.
    """
    generation = found["metadata"].get("generation", 0)
    before = read_path(found, "status", "conditions") or []
    ours = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)
    conditions = [
        make_condition(kind, status, refused, generation, find_since(before, kind, status) or times.format_time(now))
        for kind, status in ((ConditionType.READY, "False"), (ConditionType.STALLED, "True"))
    ]
    others = [condition for condition in before if condition["type"] not in ours]
    known = read_path(found, "status") or {}
    return {**known, "observedGeneration": generation, "phase": "Refused", "conditions": [*conditions, *others]}


def find_since(conditions: list[JSON], kind: ConditionType, status: str) -> str | None:
    """Return since when a condition has this status; None if it has another."""
    return next(
        (
            condition["lastTransitionTime"]
            for condition in conditions
            if (condition["type"], condition["status"]) == (kind, status)
        ),
        None,
    )


def make_condition(kind: ConditionType, status: str, refused: Refused, generation: int, changed: str) -> JSON:
    """Return one condition with the reason and message of an error."""
    return {
        "type": kind.value,
        "status": status,
        "reason": refused.reason,
        "message": refused.sentence()[: api.MESSAGE_MAX],
        "lastTransitionTime": changed,
        "observedGeneration": generation,
    }
