"""One pass over one release: look at the world, decide in `core`, act, and end in `status.settle`.

A pass starts from what is in the API server and nothing else. What must survive the operator's death is noted in the
status before the act that needs it, so a pass that was cut short anywhere is simply run again.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from pluginrelease import delivery, watching
from pluginrelease.core import (
    api,
    plan,
    rollout,
    status,
    target,
)
from pluginrelease.core.api import ConditionType
from pluginrelease.core.errors import ReleaseError, Transient, Waiting
from pluginrelease.core.rollout import Goal, Intent
from pluginrelease.core.status import Event, Failure
from pluginrelease.core.verdict import State
from pluginrelease.edges import cluster as clusters
from pluginrelease.work import Work
from pluginrelease.world import World

log = structlog.get_logger(__name__)


async def reconcile(world: World, release: api.Release, *, attempt: int) -> status.Ending:
    """One pass and its one ending; the status is written whatever happened.

    ``attempt`` counts the passes in a row that did not settle. Raises `Transient` only when the status itself cannot
    be written.
    """
    work = Work(world, release)
    failure = await attempt_pass(work)
    if failure is not None and failure.step not in (ConditionType.LOADED, ConditionType.PROBED):
        await work.put_loggers_back()
    ending = status.settle(
        work.release,
        replace(work.report, failure=failure),
        now=world.now(),
        attempt=attempt,
        resync=world.settings.resync,
        known=release.status,
    )
    if ending.status != work.release.status:
        await world.cluster.apply_status(work.release, ending.status)
    return ending


async def attempt_pass(work: Work) -> Failure | None:
    """Runs the pass; an error becomes a value. A fault of ours is told as one and tried again."""
    try:
        await run(work)
    except ReleaseError as error:
        log.info("pass ended early", step=str(work.step), reason=error.reason, message=error.message)
        return Failure(work.step, error)
    except Exception as error:
        log.exception("internal error", step=str(work.step))
        text = f"the operator failed with {type(error).__name__}; its log has the details"
        return Failure(work.step, Transient("InternalError", text, "Please report it"))
    return None


async def run(work: Work) -> None:
    """What the gateways are to run was decided before: by the spec, or by what became of it."""
    check_alive(work)
    if work.release.spec.suspend:
        await work.put_loggers_back()
        work.learn(suspended=True)
        return
    begun = rollout.start(work.release, work.world.now())
    work.learn(rollout=begun.rollout, handled=begun.handled)
    await check_permission(work)
    work.start = await delivery.follow_tag(work, begun)
    work.learn(rollout=work.start.rollout)
    if work.start.anew:
        watching.rest_nudges(work)
    intent = rollout.intent(work.start.rollout)
    if intent.goal is Goal.TAKEN_OFF:
        await delivery.take_off(work)
        return
    try:
        candidate = await delivery.bring(work, intent)
    except ReleaseError:
        await mind_what_runs(work, intent)
        raise
    await delivery.keep_secret_in_step(work, candidate)
    await watching.look(work, candidate)


async def mind_what_runs(work: Work, intent: Intent) -> None:
    """While a revision is refused or awaited before it is written, the one before it runs: it is kept as it was, and
    what the gateways show of it is told. Its own troubles end in the log, as the pass ends with the other's."""
    stable, known = work.release.status.stable_revision, work.release.status.observation
    if intent.goal is Goal.PUT_BACK or known is None:
        return
    if known.revision == work.report.target_revision != stable:
        return  # the one that is wanted was noted, and may be written
    step = work.step
    try:
        if stable is None:
            await mind_overtaken(work, known.revision)
        else:
            await watching.glance(work, await delivery.put_right(work, stable))
    except ReleaseError as error:
        log.warning("what runs could not be looked after", reason=error.reason, message=error.message)
    finally:
        work.step = step


async def mind_overtaken(work: Work, revision: str) -> None:
    """A first revision, whose successor came before it was seen to run and is itself refused: when the gateways cannot
    run it, it is taken off as it would have been."""
    observed = await work.observe()
    if observed is None or plan.carried(observed) != revision or not plan.is_ours(work.release, observed):
        return
    candidate = await delivery.recalled(work, revision)
    work.learn(running=candidate.revision)
    judged = await watching.glance(work, candidate)
    nothing_before = rollout.fallback(work.release, work.known_rollout()) == ""
    if judged.state is State.UNHEALTHY and nothing_before:
        await delivery.take_off(work)
        text = f"Revision {revision}, which was written first, failed: {judged.message}"
        work.learn(events=(*work.report.events, Event("Warning", "Removed", text[:1024])))


def check_alive(work: Work) -> None:
    """Nothing is written for a release that is going, as its clean-up may be under way, or that says nonsense."""
    if work.release.metadata.deletion_timestamp:
        raise Waiting("Deleting", "the PluginRelease is being deleted")
    work.load_timeout()
    work.progress_deadline()


async def check_permission(work: Work) -> None:
    """The gateway's namespace must allow the release's; raises `Refused` (NamespaceNotAllowed)."""
    work.step = ConditionType.APPLIED
    if target.is_local(work.release):
        return
    theirs = work.release.spec.gateway.namespace
    found = await work.world.cluster.get(clusters.NAMESPACES, None, theirs)
    if found is None:
        raise Waiting(
            "NamespaceNotFound",
            f"gateway.namespace names {theirs}, which does not exist",
            "Create it, or make a new PluginRelease that names another",
        )
    plan.check_allowed(work.release, found)
