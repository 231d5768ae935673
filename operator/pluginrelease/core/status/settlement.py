"""The one ending of every pass: what it learned → conditions, events, and when to look again.

The parts are decided in `summaries`, `conditions`, `events` and `requeue`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pluginrelease import api
from pluginrelease.core.gateway.verdict.values import PodVerdict, State
from pluginrelease.core.rollout import history
from pluginrelease.core.status import conditions, events, requeue, summaries
from pluginrelease.core.status.report import Event, Report


@dataclass(frozen=True)
class Ending:
    """``look_again`` in seconds, unless an event comes first."""

    status: api.Status
    look_again: float
    events: tuple[Event, ...] = field(default=())


def settle(
    release: api.Release,
    report: Report,
    *,
    now: datetime,
    attempt: int,
    resync: float,
    known: api.Status | None = None,
) -> Ending:
    """The whole status, the events that tell of its changes, and when to look again.

    ``attempt`` counts the passes in a row that did not settle, from 0; ``resync`` is in seconds. ``known`` is the
    status from before the pass, where the pass has noted something in between: what it noted is news all the same.
    """
    summary = summaries.apply_deadline(release, report, summaries.summarize(report), now)
    merged = conditions.merge(
        release, [*conditions.describe_steps(release, report), *conditions.describe_kstatus(summary)], now
    )
    before = release.status
    stable = report.running if summary.ready == "True" else before.stable_revision
    decided = report.rollout or before.rollout
    status = checkpoint(before, report).model_copy(
        update={
            "observed_generation": release.metadata.generation,
            "rollout": decided,
            "handled": report.handled or before.handled,
            "phase": summary.phase,
            "conditions": merged,
            "stable_revision": stable,
            "gateways": count_gateways(report) or (None if summary.phase == "Removed" else before.gateways),
            "history": history.update(
                before.history,
                deployed=report.deployed,
                stable=stable,
                failure=decided.failure if decided else None,
                limit=release.spec.revision_history_limit,
                now=now,
            ),
        }
    )
    old = known or before
    told = (*report.events, *events.report_rollout(old, status), *events.report_changes(old.conditions, merged, status))
    again = min(
        requeue.until_next_look(before, report, attempt, resync, now),
        requeue.until_tag_poll(release, status, now),
        requeue.until_overdue(release, report, summary, now),
        requeue.until_next_step(report, now),
    )
    return Ending(status, again, told)


def checkpoint(before: api.Status, report: Report) -> api.Status:
    """The status with what a pass is about to act on; nothing that it has not seen yet.

    A rollout that has just begun is not told before its pass has ended: beside the conditions of the one before it
    would read as failed. A pass that is cut short begins it again. That an object was somebody else's is told at once,
    and once: what is decided about a rollout later is told with its events.
    """
    adopted = report.rollout is not None and bool(report.rollout.adopted)
    told = before.rollout is not None and bool(before.rollout.adopted)
    return before.model_copy(
        update={
            "target_revision": report.target_revision or before.target_revision,
            "artifact": report.artifact or before.artifact,
            "target": report.target or before.target,
            "rollout": report.rollout if adopted and not told else before.rollout,
            "observation": report.observation or before.observation,
        }
    )


def count_gateways(report: Report) -> api.GatewaysStatus | None:
    """Exact counts and at most twenty rows, failures first (the verdict's own order)."""
    verdict = report.verdict
    if verdict is None:
        return None
    running = sum(row.state is State.LOADED for row in verdict.pods)
    return api.GatewaysStatus(
        desired=len(verdict.pods),
        loaded=running,
        failed=sum(row.state is State.UNHEALTHY for row in verdict.pods),
        summary=f"{running}/{len(verdict.pods)}",
        pods=[describe_pod(row, report.running) for row in verdict.pods[: api.MAX_POD_ROWS]],
    )


def describe_pod(row: PodVerdict, revision: str | None) -> api.PodStatus:
    """One pod's row; it names a revision only where that revision was seen running."""
    evidence = "; ".join(line for line in row.evidence if line not in row.message)
    message = f"{row.message} [{evidence}]" if evidence else row.message
    return api.PodStatus(
        name=row.pod.name,
        namespace=row.pod.namespace,
        state=row.state.value,
        revision=revision if row.state is State.LOADED else None,
        reason=row.reason,
        message=message[: api.MESSAGE_MAX],
    )
