"""The verdict on one gateway pod, and the verdict on a release in all of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.outage import Silence


class State(StrEnum):
    LOADED = "Loaded"
    PENDING = "Pending"
    UNHEALTHY = "Unhealthy"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class PodVerdict:
    """``evidence``: what was seen, with the gateway's own log lines; ``is_crash``: the plugin trapped."""

    pod: PodRef
    state: State
    reason: Reason
    message: str
    evidence: tuple[str, ...] = ()
    is_crash: bool = False


@dataclass(frozen=True)
class Verdict:
    """``pods``: one row per pod that is not being deleted, failures first.

    ``verified`` and ``silent`` are for the next check.
    """

    state: State
    reason: Reason
    message: str
    pods: tuple[PodVerdict, ...] = ()
    verified: frozenset[Incarnation] = frozenset()
    silent: tuple[Silence, ...] = ()
