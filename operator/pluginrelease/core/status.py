"""The one ending of every pass: what it learned → conditions, events, and when to look again.

Ready, Reconciling and Stalled follow kstatus: Ready is always there; Reconciling and Stalled only while True.
The table of every state is in ``docs/states.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pluginrelease.core import api
from pluginrelease.core.api import ConditionType
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.verdict import PodVerdict, State, Verdict

TriState = Literal["True", "False", "Unknown"]

# in the order in which a pass reaches them
STEPS = (
    ConditionType.ARTIFACT_READY,
    ConditionType.COMPATIBLE,
    ConditionType.APPLIED,
    ConditionType.LOADED,
)

# whose success is an event
STEPS_TOLD = (ConditionType.ARTIFACT_READY, ConditionType.APPLIED)

NOT_REACHED = "NotReached"
SUSPENDED = "Suspended"

BACKOFF_FIRST = 1.0
BACKOFF_MAX = 60.0
PENDING_FIRST = 0.3
PENDING_MAX = 5.0
UNHEALTHY_LOOK = 15.0  # and of what could not be told: both can heal by themselves
LOGGER_LOOK = 5.0  # a gateway whose log level could not be put back is not left waiting for the resync


@dataclass(frozen=True)
class Finding:
    """What one step of the pass ended with."""

    type: ConditionType
    status: TriState
    reason: str
    message: str


@dataclass(frozen=True)
class Failure:
    """The error that ended the pass, and the step that it ended at."""

    step: ConditionType
    error: ReleaseError


@dataclass(frozen=True)
class Report:
    """What a pass learned. What is None was not reached and stays as it was."""

    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    verdict: Verdict | None = None
    target_revision: str | None = None
    artifact: api.ArtifactStatus | None = None
    target: api.TargetStatus | None = None
    observation: api.Observation | None = None
    suspended: bool = False


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event on the PluginRelease; its reason is a condition's reason."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Ending:
    """``look_again`` in seconds, unless an event comes first."""

    status: api.Status
    look_again: float
    events: tuple[Event, ...] = field(default=())


@dataclass(frozen=True)
class Summary:
    """Ready, with what goes with it."""

    phase: str
    ready: TriState
    reason: str
    message: str
    reconciling: bool = False
    stalled: bool = False


def settle(release: api.Release, report: Report, *, now: datetime, attempt: int, resync: float) -> Ending:
    """The whole status, the events that tell of its changes, and when to look again.

    ``attempt`` counts the passes in a row that did not settle, from 0; ``resync`` is in seconds.
    """
    summary = summarize(report)
    conditions = merge(release, [*steps(report), *kstatus(summary)], now)
    before = release.status
    status = before.model_copy(
        update={
            "observed_generation": release.metadata.generation,
            "phase": summary.phase,
            "conditions": conditions,
            "target_revision": report.target_revision or before.target_revision,
            "stable_revision": report.target_revision if summary.ready == "True" else before.stable_revision,
            "artifact": report.artifact or before.artifact,
            "target": report.target or before.target,
            "gateways": gateways(report) or before.gateways,
            "observation": report.observation or before.observation,
        }
    )
    return Ending(status, look_again(report, attempt, resync), events(before.conditions, conditions))


def summarize(report: Report) -> Summary:
    """Ready from what the pass ended with: the failure first, then what was seen."""
    if report.suspended:
        text = "spec.suspend is true: what runs goes on running, and is not looked at. Set it to false to go on"
        return Summary("Suspended", "Unknown", SUSPENDED, text)
    if report.failure is not None:
        return failed(report.failure.error)
    if report.verdict is not None:
        return seen(report.verdict)
    return Summary("Pending", "False", "Pending", "the first look has not ended yet", reconciling=True)


def failed(error: ReleaseError) -> Summary:
    """Stalled when a person must act, Reconciling when the operator goes on by itself."""
    if isinstance(error, Refused):
        return Summary("Refused", "False", error.reason, error.sentence(), stalled=True)
    phase = "Waiting" if isinstance(error, Waiting) else "Retrying"
    return Summary(phase, "False", error.reason, error.sentence(), reconciling=True)


def seen(verdict: Verdict) -> Summary:
    """A verdict in kstatus's words."""
    match verdict.state:
        case State.LOADED:
            return Summary("Ready", "True", verdict.reason, verdict.message)
        case State.PENDING:
            return Summary("Loading", "False", verdict.reason, verdict.message, reconciling=True)
        case State.UNHEALTHY:
            return Summary("Unhealthy", "False", verdict.reason, verdict.message, stalled=True)
        case State.UNKNOWN:
            return Summary("Unknown", "Unknown", verdict.reason, verdict.message)


def steps(report: Report) -> Iterable[Finding]:
    """The findings of the pass; a step after the failed one was not reached, and says so."""
    yield from report.findings
    if report.verdict is not None:
        yield loaded(report.verdict)
    if report.failure is None:
        return
    step, error = report.failure.step, report.failure.error
    yield Finding(step, "False", error.reason, error.sentence())
    for later in STEPS[STEPS.index(step) + 1 :]:
        yield Finding(later, "Unknown", NOT_REACHED, f"{step} comes first")


def loaded(verdict: Verdict) -> Finding:
    """The condition Loaded: what was seen in the gateways."""
    status: dict[State, TriState] = {State.LOADED: "True", State.UNKNOWN: "Unknown"}
    return Finding(ConditionType.LOADED, status.get(verdict.state, "False"), verdict.reason, verdict.message)


def kstatus(summary: Summary) -> Iterable[Finding]:
    """Ready always; Reconciling and Stalled while they are True."""
    yield Finding(ConditionType.READY, summary.ready, summary.reason, summary.message)
    if summary.reconciling:
        yield Finding(ConditionType.RECONCILING, "True", summary.reason, summary.message)
    if summary.stalled:
        yield Finding(ConditionType.STALLED, "True", summary.reason, summary.message)


def merge(release: api.Release, findings: Iterable[Finding], now: datetime) -> list[api.Condition]:
    """New findings over the old conditions; a transition time moves only when the status does."""
    before = {condition.type: condition for condition in release.status.conditions}
    found = {finding.type: finding for finding in findings}
    return [
        renewed(found[kind], before.get(kind), release, now) if kind in found else before[kind]
        for kind in ConditionType
        if kind in found or (kind in before and kind not in (ConditionType.RECONCILING, ConditionType.STALLED))
    ]


def renewed(finding: Finding, before: api.Condition | None, release: api.Release, now: datetime) -> api.Condition:
    """One condition after this pass."""
    unchanged = before is not None and before.status == finding.status
    return api.Condition(
        type=finding.type,
        status=finding.status,
        reason=finding.reason,
        message=finding.message[: api.MESSAGE_MAX],
        last_transition_time=before.last_transition_time if before and unchanged else timestamp(now),
        observed_generation=release.metadata.generation,
    )


def gateways(report: Report) -> api.GatewaysStatus | None:
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
        pods=[pod_row(row, report.target_revision) for row in verdict.pods[: api.MAX_POD_ROWS]],
    )


def pod_row(row: PodVerdict, revision: str | None) -> api.PodStatus:
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


def look_again(report: Report, attempt: int, resync: float) -> float:
    """Seconds until the next look: soon while something moves, at the resync otherwise."""
    error = report.failure.error if report.failure else None
    if isinstance(error, Waiting):
        return min(error.retry_after, resync)
    if isinstance(error, Refused) and error.recheck is not None:
        return min(error.recheck, resync)
    if isinstance(error, Transient):
        backoff = min(BACKOFF_FIRST * 2.0 ** min(attempt, 10), BACKOFF_MAX)
        return max(error.retry_after or 0.0, backoff)
    if report.observation is not None and report.observation.raised_loggers and not is_pending(report):
        return min(LOGGER_LOOK, resync)
    if report.verdict is None or error is not None:
        return resync
    match report.verdict.state:
        case State.PENDING if not report.verdict.pods:
            return resync
        case State.PENDING:
            return min(PENDING_FIRST * 1.3 ** min(attempt, 20), PENDING_MAX)
        case State.UNHEALTHY | State.UNKNOWN:
            return min(UNHEALTHY_LOOK, resync)
        case State.LOADED:
            return resync


def stands(status: api.Status) -> bool:
    """Whether the steps before the look need no second thought: all were reached, and none failed.

    A release that was checked before any gateway pod told its version is checked again when there is one.
    """
    found = {condition.type: condition for condition in status.conditions}
    steps_before = [found.get(kind) for kind in STEPS if kind is not ConditionType.LOADED]
    if any(step is None or step.status == "False" or step.reason == NOT_REACHED for step in steps_before):
        return False
    unchecked = found[ConditionType.COMPATIBLE].status == "Unknown"
    return not (unchecked and (status.gateways is None or status.gateways.desired == 0))


def is_pending(report: Report) -> bool:
    """Whether the gateways are still being waited for."""
    return report.verdict is not None and report.verdict.state is State.PENDING


def events(before: list[api.Condition], after: list[api.Condition]) -> tuple[Event, ...]:
    """What a person wants to read in ``kubectl describe``: every turn of Ready, and what each step came to, once."""
    known = {condition.type: turn(condition) for condition in before}
    return tuple(
        Event("Normal" if is_good(condition) else "Warning", condition.reason, condition.message[:1024])
        for condition in after
        if known.get(condition.type) != turn(condition) and is_told(condition, after)
    )


def turn(condition: api.Condition) -> tuple[str, ...]:
    """What makes a condition news. A step that succeeds names what it was about: another revision is news."""
    succeeded = condition.type in STEPS_TOLD and condition.status == "True"
    return (condition.status, condition.reason, condition.message if succeeded else "")


def is_told(condition: api.Condition, after: list[api.Condition]) -> bool:
    """Progress is told by the steps; Ready tells when it settles one way or the other; nothing is told twice."""
    match condition.type:
        case ConditionType.READY:
            return not any(other.type == ConditionType.RECONCILING for other in after)
        case ConditionType.RECONCILING if condition.reason == "NoGatewayPods":
            return True
        case ConditionType.RECONCILING:
            return not any(other.reason == condition.reason for other in after if other.type == ConditionType.LOADED)
        case ConditionType.COMPATIBLE:
            return condition.status == "Unknown" and condition.reason != NOT_REACHED
        case _:
            return condition.type in STEPS_TOLD and condition.status == "True"


def is_good(condition: api.Condition) -> bool:
    """Whether the turn is one to be glad of, or one that a person asked for."""
    abnormal = (ConditionType.RECONCILING, ConditionType.STALLED)
    return condition.reason == SUSPENDED or (condition.status == "True" and condition.type not in abnormal)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time is written."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
