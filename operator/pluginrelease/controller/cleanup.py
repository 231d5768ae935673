"""The clean-up of a deleted PluginRelease: the plugin leaves the gateways first, all else follows.

The object that carries the plugin holds up the finalizer until it is deleted or let go. The copied secret and the log
levels do not: a gateway that crashes or hangs takes no log level, and a user must be able to end an outage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from pluginrelease import api
from pluginrelease.controller import loggers
from pluginrelease.controller.context import Context
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.status.report import Event
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.resources import RELEASES, SECRETS, Resource

JSON = dict[str, Any]

log = structlog.get_logger(__name__)

# seconds for everything that is not the plugin itself, and between two tries of it
AFTERMATH_SECONDS = 15.0
AFTERMATH_PAUSE = 1.0


@dataclass(frozen=True)
class Departure:
    """What must be known of a release that goes, read from the object as it is: it may not fit its schema.

    ``carrier`` is where its plugin's object is: kind, namespace, name. None where the object does not say it; what it
    wrote is then found by its uid label.
    """

    uid: str
    orphans: bool
    carrier: tuple[Resource, str, str] | None
    secret: tuple[str, str] | None

    @classmethod
    def read(cls, body: JSON) -> Departure:
        """Read it from the PluginRelease as the API server has it. Never raises."""
        metadata, spec = body["metadata"], body.get("spec") or {}
        orphans = spec.get("deletionPolicy") == api.DeletionPolicy.ORPHAN
        try:
            release = api.Release.model_validate(body)
        except ValueError:
            return cls(metadata["uid"], orphans, None, None)
        kind, namespace = (
            resources.resource_for(providers.of(release.spec.gateway).TARGET),
            release.spec.gateway.namespace,
        )
        carrier = (kind, namespace, target.name_object(release))
        return cls(metadata["uid"], orphans, carrier, (namespace, target.copied_secret_name(release)))

    def copies(self, carriers: Iterable[JSON]) -> list[tuple[str, str]]:
        """Return namespace and name of each copy of the pull secret that there may be; Secrets are never listed."""
        if self.secret is not None:
            return [self.secret]
        own = [observed["metadata"] for observed in carriers]
        return [(metadata["namespace"], target.name_copy(metadata["name"])) for metadata in own]


async def clean_up(world: Context, body: JSON) -> tuple[Event, ...]:
    """Take the plugin off the gateways, or leave it, as ``deletionPolicy`` says; return what a user should know.

    Only what carries the release's uid is touched. Can be run again from any point. Raises `ReleaseError` while the
    plugin's object could not be deleted or let go; nothing else holds up the release.
    """
    departure = Departure.read(body)
    await world.gates.close(departure.uid)
    carriers = await find_carriers(world, departure)
    for observed in carriers:
        await let_go(world, departure, observed)
    copies = departure.copies(carriers)
    events = await asyncio.gather(
        let_copies_go(world, departure, copies),
        restore_loggers(world, body, departure),
    )
    return tuple(event for event in events if event is not None)


async def find_carriers(world: Context, departure: Departure) -> list[JSON]:
    """Return the objects that carry the release's plugin, by name, or by label where no name can be told."""
    if departure.carrier is not None:
        return await get_own(world, departure, *departure.carrier)
    kinds = [resources.resource_for(kind) for kind in providers.TARGETS]
    found = [await find_labelled(world, departure, kind) for kind in kinds]
    return [observed for objects in found for observed in objects]


async def get_own(world: Context, departure: Departure, resource: Resource, namespace: str, name: str) -> list[JSON]:
    """Return the one object of this name, if it carries the release's uid."""
    observed = await world.cluster.get(resource, namespace, name)
    return [observed] if observed is not None and is_of(departure, observed) else []


async def find_labelled(world: Context, departure: Departure, resource: Resource) -> list[JSON]:
    """Return what carries the release's uid, in any namespace; nothing where the kind is not installed."""
    try:
        listed = await world.cluster.list(resource, None, {api.UID_LABEL: departure.uid})
    except NotFound:
        return []
    return [{**observed, **resources.type_meta(resource)} for observed in listed]


def is_of(departure: Departure, observed: JSON) -> bool:
    """Whether the object carries the release's uid."""
    return bool((observed["metadata"].get("labels") or {}).get(api.UID_LABEL) == departure.uid)


async def let_go(world: Context, departure: Departure, observed: JSON) -> None:
    """Delete one object, or make it outlive the release."""
    what = f"{observed['kind']} {observed['metadata']['namespace']}/{observed['metadata']['name']}"
    if departure.orphans:
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
                        for observed in await get_own(world, departure, SECRETS, namespace, name):
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
        return Event("Warning", "SecretNotDeleted", text[:1024])


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
    return Event("Warning", "LoggerNotRestored", text[:1024])


async def newest(world: Context, body: JSON) -> JSON:
    """Return the release as it is now: a pass that was under way may have noted more log levels since."""
    metadata = body["metadata"]
    found = await world.cluster.get(RELEASES, metadata["namespace"], metadata["name"])
    return found if found is not None and found["metadata"]["uid"] == metadata["uid"] else body


async def still_raised(world: Context, body: JSON) -> list[api.RaisedLogger]:
    """Restore what the release noted; return what is still raised."""
    raised = loggers.raised_by(body)
    uid = body["metadata"]["uid"]
    return await loggers.restore_all(world.cluster, uid, raised, world.reach, world.left) if raised else []
