"""The one ending of every pass: what it learned → conditions, events, and when to look again.

Ready, Reconciling and Stalled follow kstatus: Ready is always there; Reconciling and Stalled only while True.
The table of every state is in ``docs/states.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.core import duration, timestamps
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.findings import Finding, TriState
from pluginrelease.core.gateway import refetch
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import decisions, detour, history
from pluginrelease.core.signing import signature

# in the order in which a pass reaches them
STEPS = (
    ConditionType.ARTIFACT_READY,
    ConditionType.VERIFIED,
    ConditionType.COMPATIBLE,
    ConditionType.APPLIED,
    ConditionType.LOADED,
    ConditionType.PROBED,
)

# whose success is an event
STEPS_TOLD = (ConditionType.ARTIFACT_READY, ConditionType.VERIFIED, ConditionType.APPLIED)

# the phases that a failed rollout ends in
OUTCOMES = ("RolledBack", "Removed", "Held", "RollbackBlocked", "RollbackFailed")

NOT_REACHED = "NotReached"
SUSPENDED = "Suspended"

BACKOFF_FIRST = 1.0
BACKOFF_MAX = 60.0
PENDING_FIRST = 0.3
PENDING_MAX = 5.0
UNHEALTHY_LOOK = 15.0  # and of what could not be told: both can heal by themselves
SOON = 2.0  # a probe has begun to fail, or a gateway was just made to fetch anew
JUST_AFTER = 0.1  # a deadline has to be over when it is looked at
LOGGER_LOOK = 5.0  # a gateway whose log level could not be put back is not left waiting for the resync


@dataclass(frozen=True)
class Failure:
    """The error that ended the pass, and the step that it ended at."""

    step: ConditionType
    error: ReleaseError


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event on the PluginRelease; its reason is a condition's reason."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Report:
    """What a pass learned. What is None was not reached and stays as it was.

    ``target_revision`` is the revision that is wanted, ``running`` the one that the gateways are to run: after a
    failure they differ. ``events`` are told beside those that the conditions make.
    """

    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    verdict: Verdict | None = None
    target_revision: str | None = None
    running: str | None = None
    artifact: api.ArtifactStatus | None = None
    target: api.TargetStatus | None = None
    rollout: api.RolloutStatus | None = None
    handled: api.Handled | None = None
    deployed: history.Deployed | None = None
    observation: api.Observation | None = None
    suspended: bool = False
    events: tuple[Event, ...] = ()


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
    stalled_because: str | None = None


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
    summary = apply_deadline(release, report, summarize(report), now)
    conditions = merge(release, [*steps(release, report), *kstatus(summary)], now)
    before = release.status
    stable = report.running if summary.ready == "True" else before.stable_revision
    decided = report.rollout or before.rollout
    status = checkpoint(before, report).model_copy(
        update={
            "observed_generation": release.metadata.generation,
            "rollout": decided,
            "handled": report.handled or before.handled,
            "phase": summary.phase,
            "conditions": conditions,
            "stable_revision": stable,
            "gateways": gateways(report) or (None if summary.phase == "Removed" else before.gateways),
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
    told = (*report.events, *turns_of_rollout(old, status), *events(old.conditions, conditions, status))
    again = min(
        look_again(before, report, attempt, resync, now),
        until_tag_poll(release, status, now),
        until_overdue(release, report, summary, now),
        until_next_step(report, now),
    )
    return Ending(status, again, told)


def until_tag_poll(release: api.Release, status: api.Status, now: datetime) -> float:
    """Seconds until a tag that is followed is to be asked for again."""
    try:
        due = tags.next_question(release.model_copy(update={"status": status}))
    except Refused:
        return math.inf
    return max((due - now).total_seconds(), SOON) if due is not None else math.inf


def until_overdue(release: api.Release, report: Report, summary: Summary, now: datetime) -> float:
    """Return the seconds until a rollout that goes on takes longer than it may: that must be said in time."""
    if report.rollout is None or not summary.reconciling or is_waiting_for_pods(report):
        return math.inf
    try:
        deadline = duration.parse(release.spec.rollout.progress_deadline)
    except Refused:
        return math.inf
    left = decisions.until_overdue(report.rollout, now, deadline)
    return left.total_seconds() + JUST_AFTER if left is not None else math.inf


def until_next_step(report: Report, now: datetime) -> float:
    """Return the seconds until the next step of healing gateways that refuse what is put back."""
    pause = detour.pause(report.rollout, now) if report.rollout is not None else None
    return math.inf if pause is None else pause


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


def summarize(report: Report) -> Summary:
    """Ready from what the pass ended with: an earlier failure of the rollout first, then the error, then the look."""
    if report.suspended:
        text = "spec.suspend is true: what runs goes on running, and is not looked at. Set it to false to go on"
        return Summary("Suspended", "Unknown", SUSPENDED, text)
    if report.rollout is not None and report.rollout.failure is not None:
        return after_failure(report, report.rollout, report.rollout.failure)
    if report.failure is not None:
        return summarize_error(report.failure.error)
    if report.verdict is not None:
        return summarize_verdict(report, report.verdict)
    return Summary("Pending", "False", "Pending", "the first look has not ended yet", reconciling=True)


def after_failure(report: Report, decided: api.RolloutStatus, failure: api.RolloutFailure) -> Summary:
    """Ready's reason stays that of the failure, whatever is put back; the phase tells how far that has come."""
    phase, outcome, moving = describe_fallback(report, decided, failure)
    message = f"Revision {failure.revision} failed: {failure.message.rstrip('.')}. {outcome}"
    return Summary(phase, "False", failure.reason, message, reconciling=moving, stalled=not moving)


def describe_fallback(report: Report, decided: api.RolloutStatus, failure: api.RolloutFailure) -> tuple[str, str, bool]:
    """The phase after a failure, what it means, and whether the operator is still at it."""
    kept = decided.puts_back
    if kept is None:
        return "Held", "It stays, as rollout.onFailure is Hold or nothing of this release ran before", False
    if report.failure is not None:
        error = report.failure.error
        blocked = isinstance(error, Refused) or error.reason == "RollbackBlocked"
        return "RollbackBlocked" if blocked else "RollingBack", error.sentence(), not blocked
    if kept == "":
        done = report.running != failure.revision
        text = "Nothing ran before, so the plugin is taken off the gateways"
        return "Removed" if done else "RollingBack", text, not done
    if detour.is_under_way(decided):
        return "RollingBack", detour.described(decided), True
    if report.running == failure.revision or report.verdict is None or report.verdict.state is State.PENDING:
        return "RollingBack", f"Revision {kept} is being put back", True
    if report.verdict.state is State.UNHEALTHY:
        why = f"{detour.described(decided)}. " if decided.detour is not None else ""
        return "RollbackFailed", f"Revision {kept} was put back, and: {why}{report.verdict.message}", False
    return "RolledBack", f"Revision {kept} was put back: {report.verdict.message}", False


def apply_deadline(release: api.Release, report: Report, summary: Summary, now: datetime) -> Summary:
    """A rollout that takes longer than it may is Stalled beside going on: whoever waits for it may stop waiting."""
    known = report.rollout
    if known is None or summary.stalled or not summary.reconciling or is_waiting_for_pods(report):
        return summary
    text = release.spec.rollout.progress_deadline
    try:
        overdue = decisions.is_overdue(known, now, duration.parse(text))
    except Refused:
        return summary
    if not overdue or known.failure is not None:
        return summary
    message = f"{summary.message.rstrip('.')}. It has taken longer than rollout.progressDeadline ({text})"
    return replace(summary, message=message, stalled=True, stalled_because=decisions.OVERDUE)


def is_waiting_for_pods(report: Report) -> bool:
    """Whether there is nothing to load the plugin: that may last."""
    return report.failure is None and report.verdict is not None and not report.verdict.pods


def summarize_error(error: ReleaseError) -> Summary:
    """Stalled when a person must act, Reconciling when the operator goes on by itself."""
    if isinstance(error, Refused):
        return Summary("Refused", "False", error.reason, error.sentence(), stalled=True)
    phase = "Waiting" if isinstance(error, Waiting) else "Retrying"
    return Summary(phase, "False", error.reason, error.sentence(), reconciling=True)


def in_place_of(report: Report) -> str:
    """Said where something else runs than the spec says, because somebody asked for it."""
    asked = report.rollout is not None and report.rollout.rollback_to is not None
    text = f" Revision {report.running} was asked for by {api.ROLLBACK_ANNOTATION}, in place of what the spec says."
    return text if asked else ""


def summarize_verdict(report: Report, verdict: Verdict) -> Summary:
    """A verdict in kstatus's words."""
    match verdict.state:
        case State.LOADED:
            return Summary("Ready", "True", verdict.reason, verdict.message + in_place_of(report))
        case State.PENDING:
            return Summary("Loading", "False", verdict.reason, verdict.message, reconciling=True)
        case State.UNHEALTHY:
            return Summary("Unhealthy", "False", verdict.reason, verdict.message, stalled=True)
        case State.UNKNOWN:
            return Summary("Unknown", "Unknown", verdict.reason, verdict.message)


def steps(release: api.Release, report: Report) -> Iterable[Finding]:
    """The findings of the pass; a step after the failed one was not reached, and says so."""
    yield from report.findings
    if report.verdict is not None:
        yield loaded(report)
    if report.failure is None:
        return
    step, error = report.failure.step, report.failure.error
    yield Finding(step, "False", error.reason, error.sentence())
    for later in STEPS[STEPS.index(step) + 1 :]:
        if is_asked(later, release):
            yield Finding(later, "Unknown", NOT_REACHED, f"{step} comes first")


def loaded(report: Report) -> Finding:
    """The condition Loaded: whether the wanted revision was seen in the gateways."""
    verdict, decided = report.verdict, report.rollout
    assert verdict is not None  # noqa: S101  asked for only with one
    if decided is not None and decided.failure is not None and decided.failure.revision != report.running:
        text = f"Revision {report.running} is to run in place of {decided.failure.revision}. {verdict.message}"
        return Finding(ConditionType.LOADED, "False", decided.failure.reason, text)
    status: dict[State, TriState] = {State.LOADED: "True", State.UNKNOWN: "Unknown"}
    return Finding(ConditionType.LOADED, status.get(verdict.state, "False"), verdict.reason, verdict.message)


def kstatus(summary: Summary) -> Iterable[Finding]:
    """Ready always; Reconciling and Stalled while they are True."""
    yield Finding(ConditionType.READY, summary.ready, summary.reason, summary.message)
    if summary.reconciling:
        yield Finding(ConditionType.RECONCILING, "True", summary.reason, summary.message)
    if summary.stalled:
        reason = summary.stalled_because or summary.reason
        yield Finding(ConditionType.STALLED, "True", reason, summary.message)


def merge(release: api.Release, findings: Iterable[Finding], now: datetime) -> list[api.Condition]:
    """New findings over the old conditions; a transition time moves only when the status does."""
    before = {condition.type: condition for condition in release.status.conditions}
    found = {finding.type: finding for finding in findings}
    return [
        renewed(found[kind], before.get(kind), release, now) if kind in found else before[kind]
        for kind in ConditionType
        if kind in found or (kind in before and is_kept(kind, release))
    ]


def found_so_far(release: api.Release, report: Report, now: datetime) -> list[api.Condition]:
    """The conditions in the middle of a pass: what it has found is told, all others are as they were."""
    known = {one.type: one for one in release.status.conditions}
    known |= {one.type: one for one in merge(release, report.findings, now)}
    return [known[kind] for kind in ConditionType if kind in known]


def is_kept(kind: ConditionType, release: api.Release) -> bool:
    """Whether a condition that this pass says nothing about stays as it was."""
    return kind not in (ConditionType.RECONCILING, ConditionType.STALLED) and is_asked(kind, release)


def is_asked(kind: ConditionType, release: api.Release) -> bool:
    """Whether a release has this condition at all: two are there only where the spec asks for what they tell."""
    if kind is ConditionType.PROBED:
        return bool(release.spec.checks.probes)
    return kind is not ConditionType.VERIFIED or release.spec.artifact.verify is not None


def renewed(finding: Finding, before: api.Condition | None, release: api.Release, now: datetime) -> api.Condition:
    """One condition after this pass."""
    unchanged = before is not None and before.status == finding.status
    return api.Condition(
        type=finding.type,
        status=finding.status,
        reason=finding.reason,
        message=finding.message[: api.MESSAGE_MAX],
        last_transition_time=before.last_transition_time if before and unchanged else timestamps.metav1_time(now),
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
        pods=[pod_row(row, report.running) for row in verdict.pods[: api.MAX_POD_ROWS]],
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


def look_again(before: api.Status, report: Report, attempt: int, resync: float, now: datetime) -> float:
    """Seconds until the next look: at once after a decision, soon while something moves, at the resync otherwise."""
    if decisions.goes_back(before.rollout, report.rollout):
        return 0.0
    if report.failure is not None:
        waits = after_error(report.failure.error, report, attempt, resync)
        return min(waits, PENDING_MAX) if awaits_pods(report) else waits
    if has_raised_loggers(report) and not is_pending(report):
        return min(LOGGER_LOOK, resync)
    if report.verdict is None:
        return resync
    if needs_early_recheck(report, now):
        return min(SOON, resync)
    return after_verdict(report.verdict, attempt, resync)


def after_error(error: ReleaseError, report: Report, attempt: int, resync: float) -> float:
    """Seconds until another try."""
    if isinstance(error, Waiting):
        return min(error.retry_after, resync)
    if isinstance(error, Refused) and error.recheck is not None:
        return min(error.recheck, resync)
    if isinstance(error, Transient):
        longest = PENDING_MAX if decisions.is_going_back(report.rollout) else BACKOFF_MAX
        return max(error.retry_after or 0.0, min(BACKOFF_FIRST * 2.0 ** min(attempt, 10), longest))
    return min(LOGGER_LOOK, resync) if has_raised_loggers(report) else resync


def after_verdict(verdict: Verdict, attempt: int, resync: float) -> float:
    """Seconds until the next look at the gateways."""
    match verdict.state:
        case State.PENDING if not verdict.pods:
            return resync
        case State.PENDING:
            return min(PENDING_FIRST * 1.3 ** min(attempt, 20), PENDING_MAX)
        case State.UNHEALTHY | State.UNKNOWN:
            return min(UNHEALTHY_LOOK, resync)
        case State.LOADED:
            return resync


def has_raised_loggers(report: Report) -> bool:
    """Whether some log level is still to be put back."""
    return report.observation is not None and bool(report.observation.raised_loggers)


def needs_early_recheck(report: Report, now: datetime) -> bool:
    """Whether a probe has begun to fail, a gateway may still be fetching anew, or another one is coming up."""
    observation, verdict = report.observation, report.verdict
    if observation is None or verdict is None:
        return False
    nudged = observation.nudge is not None and refetch.is_fresh(observation.nudge, now)
    if verdict.state is not State.LOADED:
        return nudged
    return observation.probes_failing_since is not None or any(row.state is not State.LOADED for row in verdict.pods)


def checks_still_valid(release: api.Release) -> bool:
    """Whether the steps before the look need no second thought: all were reached, and none failed.

    A release that was checked before any gateway pod told its version is checked again when there is one, and one
    that was verified by another policy than it has now is verified again.
    """
    status = release.status
    found = {condition.type: condition for condition in status.conditions}
    later = (ConditionType.LOADED, ConditionType.PROBED)
    steps_before = [found.get(kind) for kind in STEPS if kind not in later and is_asked(kind, release)]
    if not signature.is_done(release.spec.artifact, status.artifact):
        return False
    if any(step is None or step.status == "False" or step.reason == NOT_REACHED for step in steps_before):
        return False
    unchecked = found[ConditionType.COMPATIBLE].status == "Unknown"
    return not (unchecked and (status.gateways is None or status.gateways.desired == 0))


def awaits_pods(report: Report) -> bool:
    """Whether what runs meanwhile is still coming up, or going wrong, in some gateway."""
    return report.verdict is not None and report.verdict.state is State.PENDING and bool(report.verdict.pods)


def is_pending(report: Report) -> bool:
    """Whether the gateways are still being waited for."""
    return report.verdict is not None and report.verdict.state is State.PENDING


def turns_of_rollout(before: api.Status, after: api.Status) -> Iterable[Event]:
    """A failure is told when it is decided, and what came of it when that is seen."""
    failure = after.rollout.failure if after.rollout else None
    if failure is None:
        return
    known = before.rollout.failure if before.rollout else None
    if known != failure:
        yield Event("Warning", failure.reason, f"Revision {failure.revision} failed: {failure.message}"[:1024])
    if after.phase != before.phase and after.phase in OUTCOMES:
        ready = next(one for one in after.conditions if one.type == ConditionType.READY)
        yield Event("Warning", after.phase, ready.message[-1024:])


def events(before: list[api.Condition], after: list[api.Condition], status: api.Status) -> tuple[Event, ...]:
    """What a person wants to read in ``kubectl describe``: every turn of Ready, and what each step came to, once."""
    known = {condition.type: event_key(condition) for condition in before}
    failing = status.rollout is not None and status.rollout.failure is not None
    return tuple(
        Event("Normal" if is_normal(condition) else "Warning", condition.reason, condition.message[:1024])
        for condition in after
        if known.get(condition.type) != event_key(condition)
        and is_published(condition, after)
        and not (failing and condition.type in (ConditionType.READY, ConditionType.RECONCILING))
    )


def event_key(condition: api.Condition) -> tuple[str, ...]:
    """What makes a condition news. A step that succeeds names what it was about: another revision is news."""
    succeeded = condition.type in STEPS_TOLD and condition.status == "True"
    return (condition.status, condition.reason, condition.message if succeeded else "")


def is_published(condition: api.Condition, after: list[api.Condition]) -> bool:
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


def is_normal(condition: api.Condition) -> bool:
    """Whether the turn is one to be glad of, or one that a person asked for."""
    abnormal = (ConditionType.RECONCILING, ConditionType.STALLED)
    return condition.reason == SUSPENDED or (condition.status == "True" and condition.type not in abnormal)
