"""A release that cannot be read: report it in its status, and leave its plugins, unless it is switched off.

The switch needs no valid spec: a user must be able to end an outage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from pluginrelease.controller import reading
from pluginrelease.controller.context import Context
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.mesh import providers
from pluginrelease.core.rollout import switch
from pluginrelease.core.rollout.report import Event
from pluginrelease.edges.kubernetes import resources

JSON = dict[str, Any]

log = structlog.get_logger(__name__)


async def leave_alone(context: Context, found: JSON, unreadable: Refused, tell: Callable[[Event], None]) -> bool:
    """Write to the status why the release is left alone; return whether nothing remains to be done."""
    log.error("the release cannot be read, so nothing is changed", reason=unreadable.reason, message=unreadable.message)
    turned = switch.decide_raw(found, context.now())
    missing = await take_off(context, found) if turned.off is not None else None
    why = switch.refuse(turned.off, unreadable, missing) if turned.off is not None else unreadable
    told = {**stored.describe_status(found, why, context.now()), **switch.render(turned)}
    if told == found.get("status"):
        return missing is None
    tell(Event("Warning", why.reason, why.sentence()[:1024]))
    try:
        await context.writer.write_raw_status(found["metadata"], told)
    except ReleaseError as error:
        log.warning("could not write the status of an unreadable release", reason=error.reason, message=error.message)
        return turned.off is None
    return missing is None


async def take_off(context: Context, found: JSON) -> ReleaseError | None:
    """Delete the objects that carry the release's uid; return the error if some may be left."""
    uid, error = found["metadata"]["uid"], None
    for kind in (resources.resource_for(kind) for kind in providers.TARGETS):
        try:
            with context.right_of_way.going_back():
                for observed in await reading.list_owned(context.cluster, kind, uid):
                    await context.writer.delete(uid, observed)
        except ReleaseError as failed:
            log.warning(
                "could not remove the plugin of an unreadable release",
                kind=kind.plural,
                reason=failed.reason,
                message=failed.message,
            )
            error = failed
    return error
