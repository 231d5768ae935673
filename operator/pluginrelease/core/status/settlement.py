"""The one ending of every pass: what it learned → the whole status, events, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.rollout import history
from pluginrelease.core.status import conditions, events, requeue, rows, summaries
from pluginrelease.core.status.report import Event, Report
from pluginrelease.core.status.summaries import Summary


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
    """Return the whole status, the events that tell of its changes, and when to look again.

    ``attempt`` counts the passes in a row that did not settle, from 0; ``resync`` is in seconds. ``known`` is the
    status from before the pass, where the pass has noted something in between: what it noted is news all the same.
    """
    before = release.status
    summary = summaries.apply_deadline(release, report, summaries.summarize(report), now)
    found = conditions.merge(release, [*conditions.steps(release, report), *kstatus(summary)], now)
    decided = report.rollout or before.rollout
    entries = rows.gateway_rows(release, report, decided)
    stable = stable_revision(before, report)
    names: list[str | None] = [gateway.name for gateway in release.spec.gateways]
    status = checkpoint(release, report).model_copy(
        update={
            "observed_generation": release.metadata.generation,
            "rollout": decided,
            "handled": report.handled or before.handled,
            "phase": summary.phase,
            "summary": rows.summary(entries),
            "conditions": found,
            "stable_revision": stable,
            "gateways": entries,
            "pods": rows.pod_rows(before, report, names),
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
    posted = (*report.events, *events.turns_of_rollout(old, status), *events.events(old.conditions, found, status))
    return Ending(status, requeue.look_again(release, report, status, summary, attempt, resync, now), posted)


def stable_revision(before: api.Status, report: Report) -> str | None:
    """Return the revision that runs in all pods of all placed entries, or the one that did last."""
    placed = [entry for entry in report.entries if entry.failure is None]
    running = {entry.running for entry in placed if entry.running}
    has_failed = report.failure is not None or report.rollout is None or report.rollout.failure is not None
    is_seen = all(entry.verdict is not None and entry.verdict.state is State.LOADED for entry in placed)
    return running.pop() if is_seen and not has_failed and len(running) == 1 else before.stable_revision


def checkpoint(release: api.Release, report: Report) -> api.Status:
    """Return the status with what a pass is about to act on; nothing that it has not seen yet.

    Do not publish a new rollout in the middle of a pass: beside the conditions of the one before it would look failed.
    A pass that is cut short begins it again. That an object was adopted is published at once.
    """
    before = release.status
    return before.model_copy(
        update={
            "target_revision": report.target_revision or before.target_revision,
            "artifact": report.artifact or before.artifact,
            "gateways": noted_rows(release, report),
            "checkpoint": observations(release, report),
        }
    )


def noted_rows(release: api.Release, report: Report) -> list[api.GatewayStatus]:
    """Return the rows of before, each with the object and the adopted one that the pass knows by now."""
    known = {row.name: row for row in release.status.gateways}
    for entry in report.entries:
        if entry.object is None and entry.adopted is None:
            continue
        state = api.GatewayState.REMOVING if entry.is_removed else api.GatewayState.PENDING
        row = known.get(entry.name) or api.GatewayStatus(name=entry.name, state=state, reason=str(state))
        news = {"object": entry.object or row.object, "adopted": entry.adopted or row.adopted}
        known[entry.name] = row.model_copy(update=news)
    return list(known.values())


def observations(release: api.Release, report: Report) -> api.Checkpoint | None:
    """Return the notes on each entry: this pass's, else those from before; of removed entries only unfinished ones."""
    before = release.status.checkpoint
    noted = {known.name: known for known in before.gateways} if before else {}
    noted |= {entry.name: entry.observation for entry in report.entries if entry.observation is not None}
    names = {gateway.name for gateway in release.spec.gateways}
    kept = [known for name, known in noted.items() if name in names or known.raised_loggers]
    return api.Checkpoint(gateways=kept) if kept else None


def kstatus(summary: Summary) -> Iterable[Finding]:
    """Ready always; Reconciling and Stalled while they are True."""
    yield Finding(ConditionType.READY, summary.ready, summary.reason, summary.message)
    if summary.reconciling:
        yield Finding(ConditionType.RECONCILING, "True", summary.reason, summary.message)
    if summary.stalled:
        reason = summary.stalled_because or summary.reason
        yield Finding(ConditionType.STALLED, "True", reason, summary.message)
