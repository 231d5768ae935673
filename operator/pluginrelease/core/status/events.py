"""Which changes of the status are posted as Events."""

from __future__ import annotations

from collections.abc import Iterable

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason, StoredReason
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.status import folding
from pluginrelease.core.status.summaries import OUTCOMES

# conditions whose success is an event
STEPS_TOLD = (ConditionType.ARTIFACT_READY, ConditionType.VERIFIED, ConditionType.APPLIED)


def turns_of_rollout(before: api.Status, after: api.Status) -> Iterable[Event]:
    """Yield the events of a rollout: a failure when it is decided, and its outcome when it is seen."""
    failure = after.rollout.failure if after.rollout else None
    if failure is None:
        return
    known = before.rollout.failure if before.rollout else None
    if known != failure:
        yield Event(
            "Warning", StoredReason(failure.reason), f"Revision {failure.revision} failed: {failure.message}"[:1024]
        )
    if after.phase != before.phase and after.phase in OUTCOMES:
        ready = next(condition for condition in after.conditions if condition.type == ConditionType.READY)
        yield Event("Warning", Reason(after.phase), ready.message[-1024:])


def events(before: list[api.Condition], after: list[api.Condition], status: api.Status) -> tuple[Event, ...]:
    """Return the events for ``kubectl describe``: every change of Ready, and the result of each step once."""
    known = {condition.type: event_key(condition) for condition in before if not is_unsaid(condition, before)}
    failing = status.rollout is not None and status.rollout.failure is not None and status.switched_off is None
    turns = [
        condition
        for condition in after
        if known.get(condition.type) != event_key(condition)
        and is_published(condition, after)
        and not (failing and condition.type in (ConditionType.READY, ConditionType.RECONCILING))
    ]
    return tuple(
        Event("Normal" if is_normal(condition) else "Warning", StoredReason(condition.reason), condition.message[:1024])
        for condition in join_steps(turns)
    )


def join_steps(turns: list[api.Condition]) -> list[api.Condition]:
    """Join steps that succeeded in one pass to one change: the last of them, with the messages of all."""
    steps = [turn for turn in turns if turn.type in STEPS_TOLD and turn.status == "True"]
    if not steps:
        return turns
    *earlier, last = steps
    words = ". ".join(step.message.removesuffix(".") for step in (last, *earlier))
    joined = last.model_copy(update={"message": words if earlier else last.message})
    return [joined if turn is last else turn for turn in turns if turn not in earlier]


def is_unsaid(condition: api.Condition, before: list[api.Condition]) -> bool:
    """Return True if Ready was not reported yet because the release was still in progress.

    It is news when the wait is over.
    """
    return condition.type == ConditionType.READY and not is_published(condition, before)


def event_key(condition: api.Condition) -> tuple[str, ...]:
    """Return what makes a condition news. A successful step includes its subject: another revision is news."""
    succeeded = condition.type in STEPS_TOLD and condition.status == "True"
    return (condition.status, condition.reason, condition.message if succeeded else "")


def is_published(condition: api.Condition, after: list[api.Condition]) -> bool:
    """Return True if a change becomes an Event.

    The steps report progress. Ready is reported when it settles. Nothing is reported twice.
    """
    match condition.type:
        case ConditionType.READY:
            return not any(other.type == ConditionType.RECONCILING for other in after)
        case ConditionType.RECONCILING if condition.reason == Reason.NO_GATEWAY_PODS:
            return True
        case ConditionType.RECONCILING:
            return not any(other.reason == condition.reason for other in after if other.type == ConditionType.LOADED)
        case ConditionType.COMPATIBLE:
            follows = any(other.reason == Reason.NO_GATEWAY_PODS for other in after)  # no later condition reports it
            return condition.status == "Unknown" and condition.reason != Reason.NOT_REACHED and not follows
        case _:
            return condition.type in STEPS_TOLD and condition.status == "True"


def is_normal(condition: api.Condition) -> bool:
    """Return True if the change is good news, or a user asked for it."""
    abnormal = (ConditionType.RECONCILING, ConditionType.STALLED)
    if folding.is_warning(condition.reason):
        return False
    reason = Reason.read(condition.reason)
    is_asked_for = reason is not None and reason.is_asked_for
    return is_asked_for or (condition.status == "True" and condition.type not in abnormal)
