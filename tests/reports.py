"""Reports of passes to settle: what a pass learned of one entry, or of several, and how a release stands by that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.report import EntryReport, Failure, Report
from pluginrelease.core.status import settlement
from tests.harness.reasons import give_reason
from tests.harness.releases import ARTIFACT, release

NOW = datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC)
RESYNC = 300.0
OLD, NEW = "aaaaaaaaaa", "0123456789"
PUBLIC, INTERNAL, PARTNERS = "public", "internal", "partners"
SELECTOR = api.Selector(match_labels={"istio": "ingressgateway"})

APPLIED = (
    Finding(ConditionType.COMPATIBLE, "True", Reason.COMPATIBLE, "all imports are there"),
    Finding(
        ConditionType.APPLIED, "True", Reason.APPLIED, f"WasmPlugin istio-ingress/auth-public carries revision {NEW}"
    ),
)
READY = Finding(ConditionType.ARTIFACT_READY, "True", Reason.ARTIFACT_READY, "auth:1.2 is sha256:abab")


def row(name: str, state: State, reason: str = "Loaded", *evidence: str) -> PodVerdict:
    return PodVerdict(
        PodRef("istio-ingress", name, f"uid-{name}", ready=True),
        state,
        give_reason(state, reason),
        f"{name} says",
        evidence,
    )


def judged(state: State, reason: str, *rows: PodVerdict) -> Verdict:
    return Verdict(state, give_reason(state, reason), f"because of {reason}", rows)


def entry(name: str = PUBLIC, verdict: Verdict | None = None, **news: Any) -> EntryReport:
    """An entry whose object was written, and with a verdict looked at."""
    known = EntryReport(name, attachment=api.Attachment(SELECTOR), findings=APPLIED, verdict=verdict, running=NEW)
    return replace(known, **news)


def left_out(name: str, error: ReleaseError, **news: Any) -> EntryReport:
    """An entry that ended with an error before anything was written."""
    return EntryReport(name, attachment=api.Attachment(SELECTOR), failure=Failure(ConditionType.APPLIED, error), **news)


def whole(*entries: EntryReport, **news: Any) -> Report:
    """A pass that came to its end, with these entries."""
    return Report(findings=(READY,), entries=entries, target_revision=NEW, artifact=ARTIFACT, **news)


def seen(state: State, reason: str, *rows: PodVerdict) -> Report:
    """A whole pass over one entry that ended with this verdict."""
    return whole(entry(verdict=judged(state, reason, *rows)))


def with_entry(report: Report, **news: Any) -> Report:
    """The same, with this to be said of its one entry."""
    [known] = report.entries or (EntryReport(PUBLIC),)
    return replace(report, entries=(replace(known, **news),))


def verdict_of(report: Report) -> Verdict:
    [known] = report.entries
    assert known.verdict is not None
    return known.verdict


def failed(step: ConditionType, error: ReleaseError) -> Report:
    return Report(failure=Failure(step, error))


LOADED = seen(State.LOADED, "Loaded", row("a", State.LOADED))
PENDING = seen(State.PENDING, "AwaitingConfig", row("a", State.PENDING, "AwaitingConfig"))
UNHEALTHY = seen(State.UNHEALTHY, "PluginRejected", row("a", State.UNHEALTHY, "PluginRejected"))
UNKNOWN = seen(State.UNKNOWN, "NoPositiveSign", row("a", State.UNKNOWN, "NoPositiveSign"))
NO_PODS = seen(State.PENDING, "NoGatewayPods")
REFUSED = failed(ConditionType.COMPATIBLE, Refused(Reason.UNKNOWN_ABI, "no ABI that Envoy knows", "Build it anew"))
WAITING = failed(
    ConditionType.ARTIFACT_READY, Waiting(Reason.MANIFEST_NOT_FOUND, "no such tag", "Push it", retry_after=60)
)
TRANSIENT = failed(ConditionType.ARTIFACT_READY, Transient(Reason.REGISTRY_UNAVAILABLE, "it does not answer"))
DELETING = failed(ConditionType.APPLIED, Waiting(Reason.DELETING, "the PluginRelease is being deleted"))
SUSPENDED = Report(suspended=True)
NOT_ALLOWED = Refused(Reason.NAMESPACE_NOT_ALLOWED, "Namespace edge does not allow it", "Annotate it", recheck=30.0)


def settle(
    report: Report, before: api.Release | None = None, *, attempt: int = 0, now: datetime = NOW
) -> settlement.Ending:
    return settlement.settle(before or release(), report, now=now, attempt=attempt, resync=RESYNC)


def after(*reports: Report, before: api.Release | None = None) -> api.Release:
    """The release once these passes have ended, one after the other."""
    found = before or release()
    for report in reports:
        found = found.model_copy(update={"status": settle(report, found).status})
    return found


def by_type(found: api.Status) -> dict[str, api.Condition]:
    return {condition.type: condition for condition in found.conditions}


def told(*reports: Report) -> list[tuple[str, str]]:
    """Type and reason of the events of the last of these passes."""
    return [(event.type, event.reason) for event in settle(reports[-1], after(*reports[:-1])).events]


# ------------------------------------------------------------------------------------------------- after a failure

WHY = api.RolloutFailure(
    revision=NEW, gateways=[PUBLIC], reason="PluginRejected", message="It says: no.", at="2026-01-01T11:59:00Z"
)
TRYING = api.RolloutStatus(spec_hash="h", started_at="2026-01-01T11:58:00Z")
BACK = TRYING.model_copy(update={"failure": WHY})
HELD = TRYING.model_copy(update={"failure": WHY.model_copy(update={"held": True})})
BLOCKED = Waiting(Reason.ROLLBACK_BLOCKED, "it could not be fetched", "Push it again", retry_after=30)
LOST = Refused(Reason.REVISION_NOT_FOUND, "revision aaaaaaaaaa is not kept", "See which are")
SILENT = Transient(Reason.API_SERVER_UNAVAILABLE, "it does not answer")
ROLLBACK = {"intent": Intent(Goal.ROLLBACK, OLD), "puts_back": OLD, "running": OLD}
JOINED = with_entry(
    seen(State.LOADED, "Loaded", row("new", State.PENDING, "PodNotReady"), row("a", State.LOADED)),
    observation=api.Observation(name=PUBLIC, revision=NEW, since="2026-01-01T11:58:00Z"),
)


def running(report: Report, decided: api.RolloutStatus, revision: str = OLD) -> Report:
    """The same, seen of the revision that is to run by this decision; OLD is put back."""
    news: dict[str, Any] = ROLLBACK if revision == OLD else {"running": revision}
    return replace(with_entry(report, **news), rollout=decided)


def broken(decided: api.RolloutStatus, error: ReleaseError, goal: Goal = Goal.ROLLBACK) -> Report:
    """A pass whose one entry did not come to its look."""
    puts_back = OLD if goal is Goal.ROLLBACK else None
    return whole(left_out(PUBLIC, error, intent=Intent(goal, puts_back), puts_back=puts_back), rollout=decided)


def taken_off(decided: api.RolloutStatus) -> Report:
    """A pass that took the plugin off the gateways of its one entry."""
    return whole(
        EntryReport(PUBLIC, attachment=api.Attachment(SELECTOR), intent=Intent(Goal.NOTHING), running=""),
        rollout=decided,
    )


def switched_off(error: ReleaseError | None = None) -> Report:
    """A pass over a release that is off: its one entry has no object, or it could not be deleted."""
    failure = Failure(ConditionType.APPLIED, error) if error is not None else None
    entry = EntryReport(
        PUBLIC,
        attachment=api.Attachment(SELECTOR),
        intent=Intent(Goal.OFF),
        running=None if error else "",
        failure=failure,
    )
    return whole(entry, switched_off=api.SwitchedOff(at=times.to_seconds(NOW), reason="it drops requests"))


def stood_before(name: str = PUBLIC, **news: Any) -> api.GatewayStatus:
    """The row of an entry that ran OLD everywhere."""
    fields = {"state": "Loaded", "reason": "Loaded", "revision": OLD, "desired": 1, "loaded": 1, **news}
    stable = api.StableRevision(revision=OLD, selector=SELECTOR)
    return api.GatewayStatus(**{"name": name, "stable": stable, **fields})


def knowing(known: api.RolloutStatus | None, **given: Any) -> api.Release:
    """A release with this rollout in its status; ``given``: more of the status, or parts of the manifest by path."""
    parts = {path: given.pop(path) for path in list(given) if "__" in path}
    fields = {"rollout": known, "stable_revision": OLD, "gateways": [stood_before()], **given}
    return release(**parts).model_copy(update={"status": api.Status(**fields)})
