"""The single end of every pass: turn what it learned into the whole status, events, and the time of the next pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.rollout import history, watch
from pluginrelease.core.rollout.report import Event, Report
from pluginrelease.core.status import conditions, events, folding, patience, requeue, room, rows, summaries
from pluginrelease.core.status.summaries import Summary


@dataclass(frozen=True)
class Ending:
    """``look_again``: seconds until the next pass, unless an event comes first."""

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
    """Return the whole status, the events for its changes, and when the next pass begins.

    ``attempt`` counts the passes in a row that did not settle, from 0. ``resync`` is in seconds. ``known`` is the
    status from before the pass, if the pass wrote the status in between: those changes still cause events.
    """
    before = release.status
    summary = patience.limit(release, report, summarize(release, report), now)
    steps = [*conditions.steps(release, report)]
    summary = warn(before, summary, steps)
    found = conditions.merge(release, [*steps, *kstatus(summary)], now)
    decided = report.rollout or before.rollout
    entries = rows.gateway_rows(release, report, decided, now)
    stable = stable_revision(before, report, entries)
    names: list[str | None] = [gateway.name for gateway in release.spec.gateways]
    settled = checkpoint(release, report).model_copy(
        update={
            "observed_generation": release.metadata.generation,
            "rollout": decided,
            "handled": report.handled or before.handled,
            "switched_off": report.switched_off,
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
                watched=watch.list_needed(entries),
                limit=release.spec.revision_history_limit,
                now=now,
            ),
        }
    )
    old, status = known or before, room.fit(settled)
    posted = (
        *report.events,
        *events.turns_of_rollout(old, status),
        *events.events(old.conditions, status.conditions, status),
    )
    return Ending(status, requeue.look_again(release, report, status, summary, attempt, resync, now), posted)


def summarize(release: api.Release, report: Report) -> Summary:
    """Return Ready, and the fields that depend on it."""
    return (
        patience.summarize_suspended(release)
        if report.suspended and report.switched_off is None
        else summaries.summarize(report)
    )


def warn(before: api.Status, summary: Summary, steps: Iterable[Finding]) -> Summary:
    """Return the summary, with warnings beside Ready: a deleted image, foreign fields, a second object."""
    if summary.ready != "True":
        return summary
    kept = before.condition(ConditionType.ARTIFACT_READY)
    told: dict[str, tuple[str, str]] = {kept.type: (kept.reason, kept.message)} if kept is not None else {}
    told |= {finding.type: (finding.reason, finding.message) for finding in steps}
    warnings = [message for reason, message in told.values() if folding.is_warning(reason)]
    texts = [f"{summary.message.rstrip('.')}.", *(f"Warning: {message.rstrip('.')}." for message in warnings)]
    return replace(summary, message=" ".join(texts)) if warnings else summary


def stable_revision(before: api.Status, report: Report, rows: Iterable[api.GatewayStatus]) -> str | None:
    """Return the revision that runs in all pods of all placed entries, or the last one that did.

    If it failed after it ran everywhere, it does not count. Then it is the one before it, if all entries have the same.
    """
    failure = report.rollout.failure if report.rollout is not None else None
    if failure is not None and failure.revision == before.stable_revision:
        left = {row.stable.revision if row.stable is not None else None for row in rows}
        return left.pop() if len(left) == 1 else None
    placed = [entry for entry in report.entries if entry.failure is None]
    running = {entry.running for entry in placed if entry.running}
    has_failed = report.failure is not None or report.rollout is None or report.rollout.failure is not None
    is_seen = all(entry.verdict is not None and entry.verdict.state is State.LOADED for entry in placed)
    return running.pop() if is_seen and not has_failed and len(running) == 1 else before.stable_revision


def checkpoint(release: api.Release, report: Report) -> api.Status:
    """Return the status with what a pass is about to act on, and nothing that it has not seen yet.

    Do not publish a new rollout in the middle of a pass: next to the old conditions it would look failed. An
    interrupted pass begins it again. An adoption is published at once.
    """
    before = release.status
    return before.model_copy(
        update={
            **note_switch(before, report),
            "target_revision": report.target_revision or before.target_revision,
            "artifact": report.artifact or before.artifact,
            "gateways": noted_rows(release, report),
            "checkpoint": observations(release, report),
        }
    )


def note_switch(before: api.Status, report: Report) -> dict[str, object]:
    """Return what a pass in progress writes of the switch: only that it is off, because `on` begins a rollout."""
    if report.switched_off is None or report.handled is None:
        return {}
    handled = (before.handled or api.Handled()).model_copy(update={"off": report.handled.off, "on": report.handled.on})
    return {"switched_off": report.switched_off, "handled": handled}


def noted_rows(release: api.Release, report: Report) -> list[api.GatewayStatus]:
    """Return the earlier rows, each with the object and the adopted one that the pass knows by now."""
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
    """Return the records of each entry: this pass's, else the earlier ones; of removed entries only unfinished ones."""
    before = release.status.checkpoint
    noted = {known.name: known for known in before.gateways} if before else {}
    noted |= {entry.name: entry.observation for entry in report.entries if entry.observation is not None}
    names = {gateway.name for gateway in release.spec.gateways}
    kept = [known for name, known in noted.items() if name in names or known.raised_loggers]
    return api.Checkpoint(gateways=kept) if kept else None


def kstatus(summary: Summary) -> Iterable[Finding]:
    """Yield Ready always; Reconciling and Stalled while True, and never both, because a tool would keep waiting."""
    yield Finding(ConditionType.READY, summary.ready, summary.reason, summary.message)
    if summary.reconciling and not summary.stalled:
        yield Finding(ConditionType.RECONCILING, "True", summary.reason, summary.message)
    if summary.stalled:
        reason = summary.stalled_because or summary.reason
        yield Finding(ConditionType.STALLED, "True", reason, summary.message)
