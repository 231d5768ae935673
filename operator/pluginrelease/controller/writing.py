"""All writes of a pass: carriers, copied Secrets, ControllerRevisions, the status, log levels.

A write that has begun is awaited, also if its pass is interrupted. None begins after the release's clean-up has begun.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import loggers
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.writer import TRIES
from pluginrelease.core.errors import ReleaseError, Transient
from pluginrelease.core.mesh import providers
from pluginrelease.core.rollout import plan
from pluginrelease.core.rollout.facts import Facts
from pluginrelease.core.rollout.release_results import Noted
from pluginrelease.core.status import conditions, settlement

log = structlog.get_logger(__name__)

JSON = dict[str, Any]
Made = TypeVar("Made")


async def apply_all(work: PassContext, release: api.Release, draft: plan.Plan) -> JSON | None:
    """Write in order; return the object of the last write, None if there was none."""
    applied = None
    for write in draft.writes:
        applied = await apply(work, release, write)
    return applied


async def apply(work: PassContext, release: api.Release, write: plan.Write) -> JSON:
    """Write one object, and log it."""
    try:
        applied = await work.context.writer.apply(release.metadata.uid, write)
    except Transient as error:
        if error.reason is Reason.CONFLICT:
            work.reader.doubt(write.manifest)
        raise providers.hide_values(error, write.secrets) from error.__cause__
    except ReleaseError as error:
        raise providers.hide_values(error, write.secrets) from error.__cause__
    work.reader.took(applied)
    work.context.wrote[release.metadata.uid] = work.now()
    log.info("applied", kind=write.manifest["kind"], name=write.manifest["metadata"]["name"], why=write.why)
    return applied


async def persist(act: Callable[[], Awaitable[Made]]) -> Made:
    """Return the result of ``act``; run it again if an object changed meanwhile. ``act`` reads, decides and writes."""
    for _ in range(TRIES - 1):
        try:
            return await act()
        except Transient as error:
            if error.reason is not Reason.CONFLICT:
                raise
            log.info("an object changed meanwhile", message=error.message)
    return await act()


async def delete(work: PassContext, release: api.Release, observed: JSON) -> None:
    """Delete one object, and log it."""
    await work.context.writer.delete(release.metadata.uid, observed)
    work.context.wrote[release.metadata.uid] = work.now()
    work.reader.lost(observed)
    log.info("deleted", kind=observed["kind"], name=observed["metadata"]["name"])


async def checkpoint(work: PassContext, facts: Facts) -> Noted | None:
    """Write the entries' notes to the status, before an action that needs them.

    Findings so far are written with them: after a kill the next pass finds the write done, and does not check again.
    """
    report = facts.whole_report()
    found = conditions.found_so_far(facts.release, report, work.now())
    noted = settlement.checkpoint(facts.release, report).model_copy(update={"conditions": found})
    if noted == facts.release.status:
        return None
    await work.context.writer.write_status(facts.release, noted)
    return Noted(noted)


async def set_levels(work: PassContext, uid: str, act: Callable[[], Awaitable[Made]]) -> Made:
    """Change log levels of gateways through a gate of their own, so that they do not delay a deletion."""
    return await work.context.writer.write(loggers.gate(uid), act)
