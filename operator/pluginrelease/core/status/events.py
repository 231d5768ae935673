"""Which turns of the status are posted as Events."""

from __future__ import annotations

from collections.abc import Iterable

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason, StoredReason
from pluginrelease.core.status.report import Event
from pluginrelease.core.status.summaries import OUTCOMES

# whose success is an event
STEPS_TOLD = (ConditionType.ARTIFACT_READY, ConditionType.VERIFIED, ConditionType.APPLIED)


def turns_of_rollout(before: api.Status, after: api.Status) -> Iterable[Event]:
    """A failure is told when it is decided, and what came of it when that is seen."""
    failure = after.rollout.failure if after.rollout else None
    if failure is None:
        return
    known = before.rollout.failure if before.rollout else None
    if known != failure:
        yield Event(
            "Warning", StoredReason(failure.reason), f"Revision {failure.revision} failed: {failure.message}"[:1024]
        )
    if after.phase != before.phase and after.phase in OUTCOMES:
        ready = next(one for one in after.conditions if one.type == ConditionType.READY)
        yield Event("Warning", Reason(after.phase), ready.message[-1024:])


def events(before: list[api.Condition], after: list[api.Condition], status: api.Status) -> tuple[Event, ...]:
    """What a person wants to read in ``kubectl describe``: every turn of Ready, and what each step came to, once."""
    known = {condition.type: event_key(condition) for condition in before}
    failing = status.rollout is not None and status.rollout.failure is not None
    return tuple(
        Event("Normal" if is_normal(condition) else "Warning", StoredReason(condition.reason), condition.message[:1024])
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
        case ConditionType.RECONCILING if condition.reason == Reason.NO_GATEWAY_PODS:
            return True
        case ConditionType.RECONCILING:
            return not any(other.reason == condition.reason for other in after if other.type == ConditionType.LOADED)
        case ConditionType.COMPATIBLE:
            return condition.status == "Unknown" and condition.reason != Reason.NOT_REACHED
        case _:
            return condition.type in STEPS_TOLD and condition.status == "True"


def is_normal(condition: api.Condition) -> bool:
    """Whether the turn is one to be glad of, or one that a person asked for."""
    abnormal = (ConditionType.RECONCILING, ConditionType.STALLED)
    reason = Reason.read(condition.reason)
    is_asked_for = reason is not None and reason.is_asked_for
    return is_asked_for or (condition.status == "True" and condition.type not in abnormal)
