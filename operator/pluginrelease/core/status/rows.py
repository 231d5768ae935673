"""Turn what a pass saw of entries and pods into ``status.gateways``, ``status.pods`` and their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import GatewayState
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.verdict.values import PodVerdict, State
from pluginrelease.core.rollout import decisions, watch
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.report import EntryReport, Report

_ORDER = ("Unhealthy", "Pending", "Unknown", "Loaded")
# goals that can make a revision stable: what was tried, and not what was restored
_FORWARD = frozenset({Goal.SPEC, Goal.REVISION})


def gateway_rows(
    release: api.Release, report: Report, decided: api.RolloutStatus | None, now: datetime
) -> list[api.GatewayStatus]:
    """Return one row for each entry of the spec, in its order, and for removed ones whose object still exists."""
    before = {row.name: row for row in release.status.gateways}
    reports = {entry.name: entry for entry in report.entries}
    names = [gateway.name for gateway in release.spec.gateways]
    removed = [entry.name for entry in report.entries if entry.is_removed and entry.name not in names]
    rows = [
        with_watch(release, gateway_row(reports.get(name), before.get(name), name, decided), before.get(name), now)
        for name in [*names, *removed]
    ]
    untold = [] if report.swept else [row for name, row in before.items() if name not in {*names, *removed}]
    return [*(row for row in rows if row is not None), *map(removing, untold)]


def removing(row: api.GatewayStatus) -> api.GatewayStatus:
    """Return the row of a removed entry whose object was not deleted yet."""
    if row.state is GatewayState.REMOVING:
        return row
    return row.model_copy(update={"state": GatewayState.REMOVING, "reason": Reason.REMOVING, "message": ""})


def gateway_row(
    entry: EntryReport | None, before: api.GatewayStatus | None, name: str, decided: api.RolloutStatus | None
) -> api.GatewayStatus | None:
    """Return the row of one entry. If the pass did not reach the entry, it is the earlier row."""
    if entry is None:
        return before
    known = before or api.GatewayStatus(name=name, state=GatewayState.PENDING, reason=Reason.PENDING)
    if known.state is GatewayState.REMOVING and not entry.is_removed:  # it is back in the spec
        known = known.model_copy(update={"state": GatewayState.PENDING, "reason": Reason.PENDING, "message": ""})
    news = {**what_is_written(entry, known), **what_was_seen(entry, known)}
    verdict = entry.verdict
    is_tried = verdict is not None and entry.intent.goal in _FORWARD and entry.failure is None
    if is_tried and verdict and decided and entry.running and decisions.becomes_stable(decided, name, verdict):
        news["stable"] = api.StableRevision(revision=entry.running, **entry.attachment._asdict())
    elif is_unproved(entry, known, decided) and known.watch is not None:
        news |= {"stable": watch.find_before(known.watch), "watch": None}
    return known.model_copy(update=news)


def is_unproved(entry: EntryReport, known: api.GatewayStatus, decided: api.RolloutStatus | None) -> bool:
    """Return True if the entry's stable revision failed while it was watched: it then falls back to the one before."""
    failure = decided.failure if decided is not None else None
    if known.stable is None or known.watch is None:
        return False
    is_failed = failure is not None and (entry.name in failure.gateways and failure.revision == known.stable.revision)
    return is_failed or entry.is_unproved


def with_watch(
    release: api.Release, row: api.GatewayStatus | None, before: api.GatewayStatus | None, now: datetime
) -> api.GatewayStatus | None:
    """Return a row with the watch that begins with a new stable revision, and without one that is over."""
    if row is None:
        return None
    stable, watched = (before.stable, before.watch) if before is not None else (None, None)
    rollout = release.spec.rollout
    if row.stable is not None and row.stable != stable and row.watch == watched:
        return row.model_copy(update={"watch": watch.begin(stable, rollout, now)})
    is_over = row.watch is not None and not watch.is_running(row.watch, rollout, now)
    return row.model_copy(update={"watch": None}) if is_over else row


def what_is_written(entry: EntryReport, known: api.GatewayStatus) -> dict[str, object]:
    """Return the object and the revision that it contains."""
    if entry.running is None:
        return {"object": entry.object or known.object, "adopted": entry.adopted or known.adopted}
    is_gone = entry.running == "" and entry.intent.goal in (Goal.NOTHING, Goal.OFF)
    return {
        "object": None if is_gone else entry.object or known.object,
        "adopted": entry.adopted or known.adopted,
        "revision": entry.running or None,
    }


def what_was_seen(entry: EntryReport, known: api.GatewayStatus) -> dict[str, object]:
    """Return state, reason, message and counts. An error is reported instead of what runs well in the meantime."""
    verdict, failure = entry.verdict, entry.failure
    seen: dict[str, object] = {}
    if verdict is not None:
        seen = {
            "state": GatewayState(verdict.state.value),
            "reason": verdict.reason,
            "message": verdict.message[: api.ENTRY_MESSAGE_MAX],
            "desired": len(verdict.pods),
            "loaded": sum(row.state is State.LOADED for row in verdict.pods),
            "failed": sum(row.state is State.UNHEALTHY for row in verdict.pods),
        }
    elif entry.intent.goal is Goal.ADOPTED and entry.running == "":
        text = "the operator restored the object as it was before it was adopted"
        seen = {"state": GatewayState.UNKNOWN, "reason": Reason.ADOPTED_PUT_BACK, "message": text, "loaded": 0}
    elif entry.intent.goal is Goal.NOTHING and entry.running == "":
        seen = {"state": GatewayState.UNHEALTHY, "reason": Reason.REMOVED, "message": "", "loaded": 0, "failed": 0}
    elif entry.intent.goal is Goal.OFF and entry.running == "":
        seen = {"state": GatewayState.OFF, "reason": Reason.SWITCHED_OFF, "message": "", "loaded": 0, "failed": 0}
    if failure is not None:
        state = GatewayState.REMOVING if entry.is_removed else GatewayState.NOT_PLACED
        told = {"reason": failure.error.reason, "message": failure.error.sentence()[: api.ENTRY_MESSAGE_MAX]}
        seen = {"state": state, **seen, **told}
    return seen


def summary(rows: Iterable[api.GatewayStatus]) -> api.GatewaysSummary | None:
    """Return the counts over all entries; None before the first check."""
    counted = [row for row in rows if row.state is not GatewayState.REMOVING]
    if not counted:
        return None
    desired, loaded = sum(row.desired for row in counted), sum(row.loaded for row in counted)
    whole = sum(row.state is GatewayState.LOADED for row in counted)
    return api.GatewaysSummary(
        gateways=f"{whole}/{len(counted)}",
        pods=f"{loaded}/{desired}",
        desired=desired,
        loaded=loaded,
        failed=sum(row.failed for row in counted),
    )


def pod_rows(before: api.Status, report: Report, names: Collection[str | None]) -> list[api.PodStatus]:
    """Return at most `api.MAX_POD_ROWS` rows of all entries, failures first.

    Rows of an entry that was not checked stay as they were. Of each state, all entries have an equal share.
    """
    seen = {entry.name: entry for entry in report.entries if entry.verdict is not None}
    gone = {entry.name for entry in report.entries if entry.running == ""}
    kept = [row for row in before.pods if row.gateway in names and row.gateway not in seen and row.gateway not in gone]
    found = [
        pod_row(row, entry)
        for entry in seen.values()
        for row in (entry.verdict.pods[: api.MAX_POD_ROWS] if entry.verdict else ())
    ]
    return share_out([*found, *kept])[: api.MAX_POD_ROWS]


def share_out(listed: Iterable[api.PodStatus]) -> list[api.PodStatus]:
    """Return the rows by state, from bad to good; of each state, first one of every entry, then a second one."""
    places, counted = list[tuple[int, int, api.PodStatus]](), Counter[tuple[str | None, str]]()
    for row in listed:
        counted[row.gateway, row.state] += 1
        places.append((_ORDER.index(row.state), counted[row.gateway, row.state], row))
    return [row for _, _, row in sorted(places, key=lambda place: place[:2])]


def pod_row(row: PodVerdict, entry: EntryReport) -> api.PodStatus:
    """Return one pod's row. It names a revision only if that was seen running."""
    evidence = "; ".join(line for line in row.evidence if line not in row.message)
    message = f"{row.message} [{evidence}]" if evidence else row.message
    return api.PodStatus(
        gateway=entry.name,
        name=row.pod.name,
        namespace=row.pod.namespace,
        state=row.state.value,
        revision=entry.running if row.state is State.LOADED else None,
        reason=row.reason,
        message=message[: api.ENTRY_MESSAGE_MAX],
    )
