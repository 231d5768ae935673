"""The clean-up of a deleted PluginRelease: the plugin leaves the gateways first, all else follows.

The object that carries the plugin holds up the finalizer until it is deleted or let go. The copied secret and the log
levels do not: a gateway that crashes or hangs takes no log level, and a user must be able to end an outage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import structlog

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import loggers, removal
from pluginrelease.controller.context import Context
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway.raised_loggers import RaisedLogger
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import placements as placed
from pluginrelease.core.rollout import placements
from pluginrelease.core.status.report import Event
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.resources import Resource

JSON = dict[str, Any]

log = structlog.get_logger(__name__)

# seconds for everything that is not the plugin itself, and between two tries of it
AFTERMATH_SECONDS = 15.0
AFTERMATH_PAUSE = 1.0


@dataclass(frozen=True)
class Departure:
    """What must be known of a release that goes, read from the object as it is: it may not fit its schema.

    ``objects`` are where its plugins' objects are: kind, namespace, name. What it wrote beside them is found by its
    uid label.
    """

    uid: str
    policy: str | None
    objects: tuple[tuple[Resource, str, str], ...]

    @classmethod
    def read(cls, body: JSON) -> Departure:
        """Read it from the PluginRelease as the API server has it. Never raises."""
        metadata, policy = body["metadata"], stored.read_path(body, "spec", "deletionPolicy")
        try:
            release = api.Release.model_validate(body)
        except ValueError:
            return cls(metadata["uid"], policy, ())
        kind = resources.resource_for(providers.of(release.spec).TARGET)
        places = [placements.object_place(placement) for placement in placed(release)]
        places += [placements.identity(row.object) for row in release.status.gateways if row.object is not None]
        return cls(metadata["uid"], policy, tuple((kind, *place) for place in dict.fromkeys(places)))

    def leaves(self, observed: JSON) -> bool:
        """Whether an object outlives the release; unset, the policy leaves what was adopted."""
        return target.leaves(self.policy, is_adopted=target.is_marked_adopted(observed))


async def clean_up(world: Context, body: JSON) -> tuple[Event, ...]:
    """Take the plugin off the gateways, or leave it, as ``deletionPolicy`` says; return what a user should know.

    Only what carries the release's uid is touched. Can be run again from any point. Raises `ReleaseError` while an
    object could not be deleted or let go; nothing else holds up the release, and no object holds up another.
    """
    departure = Departure.read(body)
    await world.gates.close(departure.uid)
    known = await let_known_go(world, departure)
    carriers = [*known, *await let_others_go(world, departure)]
    copies = [(own["metadata"]["namespace"], target.name_copy(own["metadata"]["name"])) for own in carriers]
    copies += [(namespace, target.name_copy(name)) for _, namespace, name in departure.objects]
    events = await asyncio.gather(
        let_copies_go(world, departure, list(dict.fromkeys(copies))),
        restore_loggers(world, body, departure),
    )
    return tuple(event for event in events if event is not None)


async def let_known_go(world: Context, departure: Departure) -> list[JSON]:
    """Let go the objects whose names are known, all at once; raise the first error when every one was tried."""
    results = await asyncio.gather(
        *(let_named_go(world, departure, *place) for place in departure.objects), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [observed for found in results if not isinstance(found, BaseException) for observed in found]


async def let_named_go(
    world: Context, departure: Departure, resource: Resource, namespace: str, name: str
) -> list[JSON]:
    """Let go the one object of this name, if it carries the release's uid; return it."""
    found = await get_own(world, departure, resource, namespace, name)
    for observed in found:
        await let_go(world, departure, observed)
    return found


async def let_others_go(world: Context, departure: Departure) -> list[JSON]:
    """Let go what carries the release's uid under other names: the status may have been lost."""
    kinds = [resources.resource_for(kind) for kind in providers.TARGETS]
    found = [observed for kind in kinds for observed in await removal.find_own(world.cluster, kind, departure.uid)]
    for observed in found:
        await let_go(world, departure, observed)
    return found


async def get_own(world: Context, departure: Departure, resource: Resource, namespace: str, name: str) -> list[JSON]:
    """Return the one object of this name, if it carries the release's uid."""
    observed = await world.cluster.get(resource, namespace, name)
    return [observed] if observed is not None and is_of(departure, observed) else []


def is_of(departure: Departure, observed: JSON) -> bool:
    """Whether the object carries the release's uid."""
    return bool((observed["metadata"].get("labels") or {}).get(api.UID_LABEL) == departure.uid)


async def let_go(world: Context, departure: Departure, observed: JSON) -> None:
    """Delete one object, or make it outlive the release."""
    what = f"{observed['kind']} {observed['metadata']['namespace']}/{observed['metadata']['name']}"
    if departure.leaves(observed):
        await world.cluster.disown(observed)
        log.info("left behind, as deletionPolicy says", object=what)
        return
    await world.cluster.delete(observed)
    log.info("deleted", object=what)


async def let_copies_go(world: Context, departure: Departure, copies: Collection[tuple[str, str]]) -> Event | None:
    """Delete the copies of the pull secret, or make them outlive the release; return the event that names what stays.

    Tried again for at most `AFTERMATH_SECONDS`.
    """
    why = "the API server did not answer in time"
    try:
        async with asyncio.timeout(AFTERMATH_SECONDS):
            while True:
                try:
                    for namespace, name in copies:
                        for observed in await get_own(world, departure, resources.SECRETS, namespace, name):
                            await let_go(world, departure, observed)
                except ReleaseError as error:
                    why = error.sentence()
                    await asyncio.sleep(AFTERMATH_PAUSE)
                else:
                    return None
    except TimeoutError:
        names = ", ".join(f"{namespace}/{name}" for namespace, name in copies)
        log.warning("secrets left behind", secrets=names, why=why)
        text = f"The release is deleted, and the copy of its pull secret may still be there ({names}): {why}"
        return Event("Warning", Reason.SECRET_NOT_DELETED, text[:1024])


async def restore_loggers(world: Context, body: JSON, departure: Departure) -> Event | None:
    """Restore the gateways' log levels; return the event that names those that did not take theirs."""
    try:
        async with asyncio.timeout(AFTERMATH_SECONDS):
            await world.gates.close(loggers.gate(departure.uid))
            kept = await still_raised(world, await newest(world, body))
    except TimeoutError:
        kept = loggers.raised_by(body)
    except ReleaseError as error:
        log.warning("log levels not restored", reason=error.reason, message=error.message)
        kept = loggers.raised_by(body)
    if not kept:
        return None
    names = ", ".join(f"{one.namespace}/{one.pod}" for one in kept)
    text = f"Envoy's filter logger stays at {loggers.RAISED} in {names}, which did not answer; a restart resets it"
    return Event("Warning", Reason.LOGGER_NOT_RESTORED, text[:1024])


async def newest(world: Context, body: JSON) -> JSON:
    """Return the release as it is now: a pass that was under way may have noted more log levels since."""
    metadata = body["metadata"]
    found = await world.cluster.get(resources.RELEASES, metadata["namespace"], metadata["name"])
    return found if found is not None and found["metadata"]["uid"] == metadata["uid"] else body


async def still_raised(world: Context, body: JSON) -> list[RaisedLogger]:
    """Restore what the release noted; return what is still raised."""
    raised = loggers.raised_by(body)
    uid = body["metadata"]["uid"]
    return await loggers.restore_all(world.cluster, uid, raised, world.reach, world.left) if raised else []
