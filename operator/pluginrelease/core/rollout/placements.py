"""Entries of ``spec.gateways`` that are added, removed or renamed: keep the status in step with them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import Placement, placements

JSON = dict[str, Any]


def carry_over(release: api.Release) -> api.Release:
    """Return the release with the rows of renamed entries under their new names.

    A new entry whose object would be the object of a removed entry is that entry under another name. A new entry
    without ``objectName`` that selects the same pods is one, too. It keeps the object, the stable revision, and the
    records. If an entry was never seen running, its pods are not known. Then the only new entry of its namespace takes
    over its object, because deleting it first would leave gateways without the plugin.
    """
    names, known = set(names_of(release)), {row.name for row in release.status.gateways}
    gone = [row for row in release.status.gateways if row.name not in names and row.object is not None]
    new = [placement for placement in placements(release) if placement.name not in known]
    renamed = dict[str, str]()
    for placement in new:
        left = (row for row in gone if row.name not in renamed and is_successor(placement, row))
        renamed |= {row.name: placement.name for row in itertools.islice(left, 1)}
    renamed |= find_heirs(
        [placement for placement in new if placement.name not in renamed.values()],
        [row for row in gone if row.name not in renamed],
    )
    return with_new_names(release, renamed) if renamed else release


def find_heirs(new: Iterable[Placement], gone: Iterable[api.GatewayStatus]) -> dict[str, str]:
    """Return which new entry gets the object of a removed one that was never seen running: old name → new name.

    This holds only if a namespace has one of each, the new one does not set ``objectName``, and nothing was adopted.
    """
    heirs, left = defaultdict[str, list[str]](list), defaultdict[str, list[api.GatewayStatus]](list)
    for placement in new:
        heirs[placement.gateway.namespace] += [placement.name] if placement.gateway.object_name is None else []
    for row in gone:
        left[row.object.namespace if row.object else ""].append(row)
    pairs = ((rows, heirs[namespace]) for namespace, rows in left.items())
    return {
        rows[0].name: names[0]
        for rows, names in pairs
        if len(rows) == len(names) == 1 and rows[0].stable is None and rows[0].adopted is None
    }


def is_successor(placement: Placement, row: api.GatewayStatus) -> bool:
    """Return True if a new entry has the object of this row, or leaves its name open and selects the same pods."""
    if row.object is None or row.object.namespace != placement.gateway.namespace:
        return False
    if identity(row.object) == object_place(placement):
        return True
    return placement.gateway.object_name is None and is_same_target(placement.gateway, row)


def is_same_target(gateway: api.Gateway, row: api.GatewayStatus) -> bool:
    """Return True if the row was last seen running on the pods that the entry selects."""
    return row.stable is not None and row.stable.attachment == gateway.attachment


def with_new_names(release: api.Release, renamed: dict[str, str]) -> api.Release:
    """Return the release with these entries renamed in its status; old name → new name."""
    status, new = release.status, set(renamed.values())

    def rename(item: Any) -> Any:
        return item.model_copy(update={"name": renamed.get(item.name, item.name)})

    noted = (
        [rename(known) for known in status.checkpoint.gateways if known.name not in new] if status.checkpoint else []
    )
    pods = [row.model_copy(update={"gateway": renamed.get(row.gateway or "", row.gateway)}) for row in status.pods]
    news = {
        "gateways": [rename(row) for row in status.gateways],
        "checkpoint": status.checkpoint and status.checkpoint.model_copy(update={"gateways": noted}),
        "pods": pods,
        "rollout": status.rollout and with_names_in_rollout(status.rollout, renamed),
    }
    return release.model_copy(update={"status": status.model_copy(update=news)})


def with_names_in_rollout(rollout: api.RolloutStatus, renamed: dict[str, str]) -> api.RolloutStatus:
    """Return the rollout with the new names of entries that roll back: a new name does not end a rollback."""
    fallbacks = [
        fallback.model_copy(update={"name": renamed.get(fallback.name, fallback.name)})
        for fallback in rollout.fallbacks
    ]
    failure = rollout.failure
    if failure is not None:
        gateways = sorted(renamed.get(name, name) for name in failure.gateways)
        failure = failure.model_copy(update={"gateways": gateways})
    return rollout.model_copy(update={"fallbacks": fallbacks, "failure": failure})


def recall_objects(release: api.Release, found: Iterable[JSON]) -> api.Release:
    """Return the release with rows for entries whose status was lost, read from their objects.

    ``found`` carry the release's uid. If an entry was renamed once, its object has another name than a new entry gets.
    """
    there = {place_of(thing): thing for thing in found}
    rows = []
    for placement in placements(release):
        row = release.status.gateway(placement.name)
        if row is None or row.object is None:
            thing = there.get(object_place(placement)) or find_by_entry(placement, there.values())
            rows += [recalled_row(placement.name, row, thing)] if thing is not None else []
    new = {row.name for row in rows}
    kept = [row for row in release.status.gateways if row.name not in new]
    status = release.status.model_copy(update={"gateways": [*kept, *rows]})
    return release.model_copy(update={"status": status}) if rows else release


def find_by_entry(placement: Placement, there: Iterable[JSON]) -> JSON | None:
    """Return the object whose annotation names this entry, if the entry does not set the object's name."""
    if placement.gateway.object_name is not None:
        return None
    wanted = (placement.gateway.namespace, placement.name)
    return next((thing for thing in there if (place_of(thing)[0], entry_of(thing)) == wanted), None)


def recalled_row(name: str, row: api.GatewayStatus | None, thing: JSON) -> api.GatewayStatus:
    """Return the row of an entry with the object that was found."""
    known = row or api.GatewayStatus(name=name, state=api.GatewayState.PENDING, reason=Reason.PENDING)
    return known.model_copy(
        update={"object": describe_object(thing), "adopted": known.adopted or recall_adopted(thing)}
    )


def describe_object(thing: JSON) -> api.ObjectStatus:
    """Return the status of an object, given as the API server returns it."""
    own = thing["metadata"]
    return api.ObjectStatus(
        api_version=thing["apiVersion"],
        kind=thing["kind"],
        namespace=own["namespace"],
        name=own["name"],
        uid=own.get("uid"),
    )


def recall_adopted(thing: JSON) -> str | None:
    """Return the name of an adopted object. Without a status it is not known what it was before."""
    name: str = thing["metadata"]["name"]
    return name if target.is_marked_adopted(thing) else None


def entry_of(thing: JSON) -> str | None:
    """Return the name of the entry in an object's annotations."""
    named: str | None = (thing["metadata"].get("annotations") or {}).get(api.GATEWAY_ANNOTATION)
    return named


def names_of(release: api.Release) -> list[str]:
    """Return the names of the spec's entries."""
    return [gateway.name for gateway in release.spec.gateways]


def place_of(thing: JSON) -> tuple[str, str]:
    """Return namespace and name of an object, given as the API server returns it."""
    return thing["metadata"]["namespace"], thing["metadata"]["name"]


def identity(known: api.ObjectStatus) -> tuple[str, str]:
    """Return namespace and name of a written object."""
    return known.namespace, known.name


def object_place(placement: Placement) -> tuple[str, str]:
    """Return namespace and name of the object that an entry has, or will have."""
    return placement.gateway.namespace, target.name_object(placement)


def removed_rows(release: api.Release) -> list[api.GatewayStatus]:
    """Return the rows of entries that were removed from the spec. Their objects must be deleted or released."""
    names = names_of(release)
    return [row for row in release.status.gateways if row.name not in names]


def strays(release: api.Release, found: Iterable[JSON]) -> list[JSON]:
    """Return the objects with the release's uid that belong to no entry of the spec."""
    own = {object_place(placement) for placement in placements(release)}
    return [thing for thing in found if place_of(thing) not in own]


def outlives(release: api.Release, row: api.GatewayStatus | None) -> bool:
    """Return True if the object of a removed entry stays: ``deletionPolicy``; by default if it was adopted."""
    return target.leaves(release.spec.deletion_policy, is_adopted=row is not None and row.adopted is not None)
