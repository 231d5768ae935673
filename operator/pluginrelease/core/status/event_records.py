"""Events as the API server stores them: events.k8s.io/v1, with what was being done, and a series for repetitions.

The conventions are those of Kubernetes (k8s.io/api/events/v1, KEP 383) and of its client's recorder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.explanations import SECTIONS
from pluginrelease.core.rollout.report import Event

JSON = dict[str, Any]

API_VERSION, KIND = "events.k8s.io/v1", "Event"
CONTROLLER = f"{api.GROUP}/operator"
NOTE_MAX, INSTANCE_MAX, NAME_MAX = 1024, 128, 253
RECONCILE, CLEAN_UP = "Reconcile", "CleanUp"

# a repetition within this time belongs to the same series; its count is written this often at most
SERIES = timedelta(minutes=6)
WRITTEN_EVERY = timedelta(minutes=1)

_ACTIONS = {
    ConditionType.ARTIFACT_READY: "Fetch",
    ConditionType.VERIFIED: "Verify",
    ConditionType.COMPATIBLE: "Check",
    ConditionType.APPLIED: "Apply",
    ConditionType.LOADED: "Observe",
    ConditionType.PROBED: "Probe",
}
# by reason: what was being done, from the condition that uses the reason
_ACTION_OF = {
    str(reason): _ACTIONS[place]
    for section in SECTIONS
    for reason, explained in section.rows.items()
    for place in (explained.where or section.where)[:1]
    if isinstance(place, ConditionType) and place in _ACTIONS
}


@dataclass(frozen=True)
class Regarding:
    """The release that an Event is about, as references name it."""

    namespace: str
    name: str
    uid: str
    version: str = ""

    @classmethod
    def of(cls, body: JSON) -> Regarding:
        """Read it from the release as the API server stores it."""
        own = body["metadata"]
        return cls(own["namespace"], own["name"], own["uid"], own.get("resourceVersion", ""))

    def reference(self) -> JSON:
        """Return an ObjectReference."""
        found = {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }
        return {**found, "resourceVersion": self.version} if self.version else found


@dataclass(frozen=True)
class EventRecord:
    """An Event that was posted, identified by the API server's answer.

    ``count``: how often it happened. ``said``: when last. ``written``: when that was last written.
    """

    body: JSON
    count: int
    said: datetime
    written: datetime


def name_action(event: Event) -> str:
    """Return what was being done, in one word."""
    return _ACTION_OF.get(str(event.reason), RECONCILE)


def render(regarding: Regarding, event: Event, *, action: str, instance: str, now: datetime) -> JSON:
    """Return the Event for its creation."""
    when = times.format_micro_time(now)
    word = f"{regarding.uid}/{event.reason}/{event.message}/{instance}/{when}"
    suffix = hashlib.sha256(word.encode()).hexdigest()[:16]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "namespace": regarding.namespace,
            "name": f"{regarding.name[: NAME_MAX - len(suffix) - 1].rstrip('.-')}.{suffix}",
        },
        "eventTime": when,
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:INSTANCE_MAX],
        "action": action,
        "reason": str(event.reason),
        "type": event.type,
        "note": event.message[:NOTE_MAX],
        "regarding": regarding.reference(),
    }


def is_of_series(record: EventRecord, now: datetime) -> bool:
    """Return True if a repetition now belongs to the Event that was posted."""
    return now - record.said <= SERIES


def is_due(record: EventRecord, now: datetime) -> bool:
    """Return True if the series must be written now: at the first repetition, and later from time to time."""
    return record.count == 1 or now - record.written >= WRITTEN_EVERY


def count_up(record: EventRecord, now: datetime, *, body: JSON | None = None) -> EventRecord:
    """Return the record with one more repetition. ``body``: the API server's answer when that was written."""
    if body is None:
        return EventRecord(record.body, record.count + 1, now, record.written)
    return EventRecord(body, record.count + 1, now, now)


def identify(made: JSON) -> JSON:
    """Return the fields of an Event that are needed to write it again."""
    own = {name: made["metadata"][name] for name in ("namespace", "name", "uid", "resourceVersion")}
    return {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": own}


def render_series(record: EventRecord, now: datetime) -> JSON:
    """Return the patch that writes one more repetition."""
    own = record.body["metadata"]
    return {
        "metadata": {"uid": own["uid"], "resourceVersion": own["resourceVersion"]},
        "series": {"count": record.count + 1, "lastObservedTime": times.format_micro_time(now)},
    }
