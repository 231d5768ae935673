"""Sightings → what may be said about a release: Loaded, Pending, Unhealthy or Unknown, each with a reason and evidence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .envoy import Baseline, Incarnation, PodRef, Sighting, Wanted


class State(StrEnum):
    LOADED = "Loaded"
    PENDING = "Pending"
    UNHEALTHY = "Unhealthy"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class PodVerdict:
    pod: PodRef
    state: State
    reason: str
    message: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """``pods``: one row per pod that is not being deleted, failures first. ``verified``: what to keep for the next look."""

    state: State
    reason: str
    message: str
    pods: tuple[PodVerdict, ...] = ()
    verified: frozenset[Incarnation] = frozenset()


def judge(
    wanted: Wanted,
    sightings: Sequence[Sighting],
    *,
    write_at: datetime,
    baselines: Collection[Baseline] = (),
    verified: Collection[Incarnation] = (),
    deadline_passed: bool = False,
) -> Verdict:
    """See docs/signs.md for the table of signs and reasons."""
    raise NotImplementedError
