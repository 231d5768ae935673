"""Clean up after a deleted PluginRelease: first remove the plugin from the gateways, then the rest.

The finalizer stays until the object that carries the plugin is deleted or left behind. It does not wait for the copied
Secret or the log levels. A gateway that crashes or hangs accepts no log level, and a user must be able to end an
outage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import structlog

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import letting_go, loggers
from pluginrelease.controller.context import Context
from pluginrelease.controller.reading import ObjectReader, Reader
from pluginrelease.core.apiserver import stored
from pluginrelease.core.apiserver.scope import Scope
from pluginrelease.core.errors import ReleaseError, Transient
from pluginrelease.core.gateway import raised_loggers
from pluginrelease.core.gateway.raised_loggers import RaisedLogger
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import placements as placed
from pluginrelease.core.rollout import placements, plan
from pluginrelease.core.rollout.report import Event
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.resources import Resource

JSON = dict[str, Any]

log = structlog.get_logger(__name__)

# seconds for everything except the plugin itself, and between two tries of it
AFTERMATH_SECONDS = 15.0
AFTERMATH_PAUSE = 1.0


@dataclass(frozen=True)
class Departure:
    """What the clean-up must know of a release, read from the stored object, which may not fit its schema.

    ``title`` is namespace/name. ``objects`` are the places of its plugins' objects: kind, namespace, name. All other
    objects of the release are found by its uid label.
    """

    uid: str
    title: str
    policy: str | None
    objects: tuple[tuple[Resource, str, str], ...]

    @classmethod
    def read(cls, body: JSON, scope: Scope) -> Departure:
        """Read it from the PluginRelease as the API server has it. Never raises.

        For entries outside ``scope`` only the objects that the status names count: the operator wrote no others.
        """
        metadata, policy = body["metadata"], stored.read_path(body, "spec", "deletionPolicy")
        known = (metadata["uid"], f"{metadata['namespace']}/{metadata['name']}", policy)
        try:
            release = api.Release.model_validate(body)
        except ValueError:
            return cls(*known, ())
        kind = resources.resource_for(providers.plugin_api_of(release.spec).TARGET)
        within = [placement for placement in placed(release) if scope.has_gateways_in(placement.gateway.namespace)]
        places = [placements.object_place(placement) for placement in within]
        places += [placements.identity(row.object) for row in release.status.gateways if row.object is not None]
        return cls(*known, tuple((kind, *place) for place in dict.fromkeys(places)))

    def leaves(self, observed: JSON) -> bool:
        """Return whether an object outlives the release. If ``deletionPolicy`` is unset, adopted objects do."""
        return target.leaves(self.policy, is_adopted=target.is_marked_adopted(observed))

    def leave(self, what: str, error: ReleaseError) -> str:
        """Return the text for an object that cannot be reached and stays; raise the error if it must not stay.

        With ``deletionPolicy: Orphan`` the release goes even if the operator has no rights. If the API server does not
        answer now, the clean-up asks it again.
        """
        if self.policy != api.DeletionPolicy.ORPHAN or isinstance(error, Transient):
            raise error
        return f"{what}: {error.message}"


async def clean_up(context: Context, body: JSON) -> tuple[Event, ...]:
    """Remove the plugin from the gateways, or leave it, as ``deletionPolicy`` says; return events for the user.

    It touches only objects of the release, and can run again from any point. Raises `ReleaseError` while an object
    could not be deleted or left behind. Only this keeps the finalizer, and one object does not delay another.
    """
    departure = Departure.read(body, context.settings.scope)
    await context.writer.close(departure.uid)
    left, reader = list[str](), context.reader()
    known = await let_known_go(context, reader, departure, left)
    carriers = [*known, *await let_others_go(context, reader, departure, left)]
    copies = [(own["metadata"]["namespace"], target.name_copy(own["metadata"]["name"])) for own in carriers]
    copies += [(namespace, target.name_copy(name)) for _, namespace, name in departure.objects]
    events = await asyncio.gather(
        let_copies_go(context, departure, list(dict.fromkeys(copies))),
        restore_loggers(context, body, departure),
    )
    return tuple(event for event in (describe_left(left), *events) if event is not None)


def describe_left(left: Collection[str]) -> Event | None:
    """Return the event that names the objects that could not be reached and stay."""
    if not left:
        return None
    why = "The release is deleted. deletionPolicy is Orphan, so the operator left these objects as they are"
    text = f"{why}: {'; '.join(left)}"
    return Event("Warning", Reason.LEFT_BEHIND, text[:1024])


async def let_known_go(context: Context, reader: Reader, departure: Departure, left: list[str]) -> list[JSON]:
    """Let go all objects whose names are known, at once; then raise the first error."""
    results = await asyncio.gather(
        *(let_named_go(context, reader, departure, left, *place) for place in departure.objects), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [observed for found in results if not isinstance(found, BaseException) for observed in found]


async def let_named_go(
    context: Context,
    reader: Reader,
    departure: Departure,
    left: list[str],
    resource: Resource,
    namespace: str,
    name: str,
) -> list[JSON]:
    """Let go the object of this name if it belongs to the release; return it."""
    try:
        found = await get_own(reader, departure, resource, namespace, name)
        for observed in found:
            await let_go(context, departure, observed)
    except ReleaseError as error:
        left.append(departure.leave(f"{resource.plural} {namespace}/{name}", error))
        return []
    return found


async def let_others_go(context: Context, reader: Reader, departure: Departure, left: list[str]) -> list[JSON]:
    """Let go the objects that carry the release's uid under other names, in case the status was lost."""
    found = list[JSON]()
    for kind in (resources.resource_for(kind) for kind in providers.TARGETS):
        try:
            listed = await reader.owned(kind, departure.uid)
            for observed in listed:
                await let_go(context, departure, observed)
        except ReleaseError as error:
            left.append(departure.leave(f"{kind.plural} under other names", error))
        else:
            found += listed
    return found


async def get_own(
    reader: ObjectReader, departure: Departure, resource: Resource, namespace: str, name: str
) -> list[JSON]:
    """Return the object of this name if it belongs to the release."""
    observed = await reader.get(resource, namespace, name)
    return [observed] if observed is not None and plan.belongs_to(observed, departure.uid, departure.title) else []


async def let_go(context: Context, departure: Departure, observed: JSON) -> None:
    """Delete one object, or make it outlive the release."""
    await letting_go.let_go(context.writer, None, observed, leaves=departure.leaves(observed))


async def let_copies_go(context: Context, departure: Departure, copies: Collection[tuple[str, str]]) -> Event | None:
    """Delete the copies of the pull secret, or leave them behind; return the event that names those that stay.

    It tries for at most `AFTERMATH_SECONDS`.
    """
    why = "the API server did not answer in time"
    try:
        async with asyncio.timeout(AFTERMATH_SECONDS):
            while True:
                try:
                    for namespace, name in copies:
                        for observed in await get_own(context.cluster, departure, resources.SECRETS, namespace, name):
                            await let_go(context, departure, observed)
                except ReleaseError as error:
                    why = error.sentence()
                    await asyncio.sleep(AFTERMATH_PAUSE)
                else:
                    return None
    except TimeoutError:
        names = ", ".join(f"{namespace}/{name}" for namespace, name in copies)
        log.warning("could not delete copies of pull secrets", secrets=names, why=why)
        text = f"The release is deleted, and the copy of its pull secret may still be there ({names}): {why}"
        return Event("Warning", Reason.SECRET_NOT_DELETED, text[:1024])


async def restore_loggers(context: Context, body: JSON, departure: Departure) -> Event | None:
    """Restore the gateways' log levels; return the event that names the gateways that did not accept theirs."""
    try:
        async with asyncio.timeout(AFTERMATH_SECONDS):
            await context.writer.close(loggers.gate(departure.uid))
            kept = await still_raised(context, await newest(context, body))
    except TimeoutError:
        kept = raised_loggers.read_noted(body)
    except ReleaseError as error:
        log.warning("log levels not restored", reason=error.reason, message=error.message)
        kept = raised_loggers.read_noted(body)
    if not kept:
        return None
    names = ", ".join(f"{level.namespace}/{level.pod}" for level in kept)
    stays = f"Envoy's filter logger stays at {loggers.RAISED} in {names}, because these pods did not answer"
    text = f"{stays}. A restart of the pods resets it"
    return Event("Warning", Reason.LOGGER_NOT_RESTORED, text[:1024])


async def newest(context: Context, body: JSON) -> JSON:
    """Return the release as it is now: a pass that was running may have noted more log levels."""
    metadata, store = body["metadata"], context.store
    place = metadata["namespace"], metadata["name"]
    found = store.find_release(place) if store is not None else None
    if found is None:
        found = await context.cluster.get(resources.RELEASES, *place)
    return found if found is not None and found["metadata"]["uid"] == metadata["uid"] else body


async def still_raised(context: Context, body: JSON) -> list[RaisedLogger]:
    """Restore what the release noted; return what is still raised."""
    raised = raised_loggers.read_noted(body)
    if not raised:
        return []
    uid, reader = body["metadata"]["uid"], context.reader()
    return await loggers.restore_all(context.cluster, reader, uid, raised, context.reach, context.left)
