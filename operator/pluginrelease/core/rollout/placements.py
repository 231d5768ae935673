"""Entries of ``spec.gateways`` that come, go, or get another name: what the status says of them follows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import Placement, placements

JSON = dict[str, Any]


def carry_over(release: api.Release) -> api.Release:
    """Return the release with the rows of renamed entries under their new names.

    A new entry whose object would be the very object of an entry that is gone is that entry under another name. So is
    one without ``objectName`` that means the same pods. It keeps the object, what is stable, and what was noted.
    """
    names, known = set(names_of(release)), {row.name for row in release.status.gateways}
    gone = [row for row in release.status.gateways if row.name not in names and row.object is not None]
    renamed = dict[str, str]()
    for placement in placements(release):
        if placement.name not in known:
            left = (row for row in gone if row.name not in renamed and is_successor(placement, row))
            renamed |= {row.name: placement.name for row in itertools.islice(left, 1)}
    return with_new_names(release, renamed) if renamed else release


def is_successor(placement: Placement, row: api.GatewayStatus) -> bool:
    """Whether a new entry has the object of this row, or leaves its name open and selects the same pods."""
    if row.object is None or row.object.namespace != placement.gateway.namespace:
        return False
    if identity(row.object) == object_place(placement):
        return True
    return placement.gateway.object_name is None and is_same_target(placement.gateway, row)


def is_same_target(gateway: api.Gateway, row: api.GatewayStatus) -> bool:
    """Whether the row was last seen running on the pods that the entry selects.

    What was never seen running has no selector here, and nothing that is worth keeping.
    """
    return row.stable is not None and row.stable.selector == gateway.selector


def with_new_names(release: api.Release, renamed: dict[str, str]) -> api.Release:
    """Return the release whose status calls these entries by their new names; old name → new name."""
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
    """Return the rollout in which the entries that go back have their new names: a new name ends no way back."""
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
    """Return the release with rows for entries whose object only the objects themselves know: the status was lost.

    ``found`` carry the release's uid. An entry that was renamed once has an object of another name than a new one gets.
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
    """Return the object that says it is the entry's, where the entry leaves its name open."""
    if placement.gateway.object_name is not None:
        return None
    wanted = (placement.gateway.namespace, placement.name)
    return next((thing for thing in there if (place_of(thing)[0], entry_of(thing)) == wanted), None)


def recalled_row(name: str, row: api.GatewayStatus | None, thing: JSON) -> api.GatewayStatus:
    """Return the row of an entry with the object that it was found to have."""
    known = row or api.GatewayStatus(name=name, state=api.GatewayState.PENDING, reason=Reason.PENDING)
    return known.model_copy(
        update={"object": describe_object(thing), "adopted": known.adopted or recall_adopted(thing)}
    )


def describe_object(thing: JSON) -> api.ObjectStatus:
    """Return what the status says of an object as the API server gives it."""
    own = thing["metadata"]
    return api.ObjectStatus(
        api_version=thing["apiVersion"],
        kind=thing["kind"],
        namespace=own["namespace"],
        name=own["name"],
        uid=own.get("uid"),
    )


def recall_adopted(thing: JSON) -> str | None:
    """Return the name of an object that says it was adopted: what keeps it as it was is not known without a status."""
    name: str = thing["metadata"]["name"]
    return name if target.is_marked_adopted(thing) else None


def entry_of(thing: JSON) -> str | None:
    """Return the name of the entry that an object says it is for."""
    named: str | None = (thing["metadata"].get("annotations") or {}).get(api.GATEWAY_ANNOTATION)
    return named


def names_of(release: api.Release) -> list[str]:
    """Return the names of the spec's entries."""
    return [gateway.name for gateway in release.spec.gateways]


def place_of(thing: JSON) -> tuple[str, str]:
    """Return namespace and name of an object as the API server gives it."""
    return thing["metadata"]["namespace"], thing["metadata"]["name"]


def identity(known: api.ObjectStatus) -> tuple[str, str]:
    """Return namespace and name of a written object."""
    return known.namespace, known.name


def object_place(placement: Placement) -> tuple[str, str]:
    """Return namespace and name of the object that an entry has, or will have."""
    return placement.gateway.namespace, target.name_object(placement)


def removed_rows(release: api.Release) -> list[api.GatewayStatus]:
    """Return the rows of entries that are gone from the spec; their objects have to go."""
    names = names_of(release)
    return [row for row in release.status.gateways if row.name not in names]


def strays(release: api.Release, found: Iterable[JSON]) -> list[JSON]:
    """Return those of the objects with the release's uid that belong to no entry of the spec."""
    own = {object_place(placement) for placement in placements(release)}
    return [thing for thing in found if place_of(thing) not in own]


def outlives(release: api.Release, row: api.GatewayStatus | None) -> bool:
    """Whether the object of an entry that goes is left where it is: ``deletionPolicy``, unset by who made it."""
    return target.leaves(release.spec.deletion_policy, is_adopted=row is not None and row.adopted is not None)
