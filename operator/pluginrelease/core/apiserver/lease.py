"""Decide which of several operators acts: read a Lease, take it, renew it, and know until when a write may begin.

Times are seconds of one monotonic clock of this process. Another process's clock is never read: the time of another
holder counts from when this process first saw the record (kubernetes client-go, tools/leaderelection).

A renewal counts from before its request was sent. The holder begins no write later than `RENEWED_WITHIN` after that,
and the API server ends each write within `WRITE_SECONDS`. So the last write is over before `DURATION` is, and no other
process can hold the Lease earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pluginrelease.api import times
from pluginrelease.core.apiserver import stored

JSON = dict[str, Any]

API_VERSION, KIND = "coordination.k8s.io/v1", "Lease"
NAME = "pluginrelease"
# the first words of the answer of /readyz while another operator acts
WAITS = "waits for the Lease"
NAMESPACE = "kube-system"

DURATION = 12
RENEWED_WITHIN = 8.0
RENEW_EVERY = 2.0
WRITE_SECONDS = 3


@dataclass(frozen=True)
class LeaseRecord:
    """The content of a Lease. ``holder`` is empty after it was given back; ``duration`` is in seconds."""

    holder: str
    transitions: int
    renewed: str = ""
    acquired: str = ""
    duration: float = DURATION
    version: str = ""


@dataclass(frozen=True)
class ObservedLease:
    """A record, and the time since which this process sees it unchanged."""

    record: LeaseRecord
    since: float


def choose_places(watched: Sequence[str], namespace: str) -> tuple[tuple[str, str], ...]:
    """Return namespace and name of each Lease that the operator must hold, in the order in which it takes them.

    They depend on what is watched, not on the install: two installs that watch the same namespaces compete for the same
    Leases. Each namespace in ``watched`` has its own Lease. If the operator watches all namespaces, the Lease is in
    ``namespace``.
    """
    return tuple((place, NAME) for place in sorted(set(watched))) or ((namespace, NAME),)


def read(found: JSON) -> LeaseRecord:
    """Read a Lease. A field that is missing or malformed counts as if no process held it."""
    spec = stored.read_path(found, "spec")
    duration = stored.read_path(spec, "leaseDurationSeconds")
    transitions = stored.read_path(spec, "leaseTransitions")
    return LeaseRecord(
        holder=str(stored.read_path(spec, "holderIdentity") or ""),
        transitions=transitions if isinstance(transitions, int) else 0,
        renewed=str(stored.read_path(spec, "renewTime") or ""),
        acquired=str(stored.read_path(spec, "acquireTime") or ""),
        duration=float(duration) if isinstance(duration, int) else DURATION,
        version=str(found["metadata"].get("resourceVersion", "")),
    )


def observe(before: ObservedLease | None, record: LeaseRecord, now: float) -> ObservedLease:
    """Return the record with the time since which it is unchanged. A new resourceVersion alone is no renewal."""
    if before is not None and replace(before.record, version=record.version) == record:
        return ObservedLease(record, before.since)
    return ObservedLease(record, now)


def may_take(observed: ObservedLease | None, identity: str, now: float) -> bool:
    """Return True if this process may write its name into the Lease. ``observed`` None: there is no Lease yet.

    A holder with the same identity was an earlier container of this pod; the kubelet starts the next one only after its
    end.
    """
    if observed is None or observed.record.holder in ("", identity):
        return True
    return now - observed.since > max(observed.record.duration, DURATION)


def take(observed: ObservedLease | None, identity: str, now: datetime) -> LeaseRecord:
    """Return the record after this process takes the Lease.

    The number of transitions grows, so that an earlier holder notices.
    """
    moment = times.format_micro_time(now)
    before = observed.record if observed is not None else LeaseRecord("", -1)
    return LeaseRecord(identity, before.transitions + 1, moment, moment, version=before.version)


def renew(held: LeaseRecord, now: datetime) -> LeaseRecord:
    """Return the same record with a newer time."""
    return replace(held, renewed=times.format_micro_time(now))


def give_back(held: LeaseRecord, now: datetime) -> LeaseRecord:
    """Return the record that frees the Lease, so that the next process need not wait."""
    return replace(renew(held, now), holder="", duration=1.0)


def is_still_held(held: LeaseRecord, found: LeaseRecord) -> bool:
    """Return True if this process still holds the Lease, although another client changed it or an answer was lost."""
    return (held.holder, held.transitions) == (found.holder, found.transitions)


def may_begin_write(renewed_at: float | None, now: float) -> bool:
    """Return True if a write may begin. ``renewed_at``: when the last renewal that was answered was sent."""
    return renewed_at is not None and now < renewed_at + RENEWED_WITHIN


def render(place: tuple[str, str], record: LeaseRecord) -> JSON:
    """Return the Lease as the API server takes it. It names the resourceVersion that it replaces, if there is one."""
    namespace, name = place
    version = {"resourceVersion": record.version} if record.version else {}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"namespace": namespace, "name": name, **version},
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": int(record.duration),
            "acquireTime": record.acquired,
            "renewTime": record.renewed,
            "leaseTransitions": record.transitions,
        },
    }


def describe_wait(place: tuple[str, str], observed: ObservedLease | None) -> str:
    """Describe which Lease a process waits for."""
    holder = observed.record.holder if observed is not None else ""
    return f"{WAITS}: {'/'.join(place)} is held by {holder or 'no operator'}"
