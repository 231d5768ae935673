"""What the driver of a trial saw, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pluginrelease import api
from pluginrelease.core.gateway.container import LastWords
from pluginrelease.core.gateway.verdict.values import PodVerdict
from pluginrelease.core.rollout.probe import ProbeResponse, Unanswered

Answer = ProbeResponse | Unanswered


class TrialStep(StrEnum):
    """The steps, in their order."""

    START = "start"
    LOAD = "load"
    REQUESTS = "requests"
    BACK = "back"
    REMOVE = "remove"


@dataclass(frozen=True)
class EnvoyEnd:
    """How Envoy's process ended.

    ``code``: its exit code; None if only the status of its container has it. ``signal``: the name of the signal
    instead, such as ``SIGSEGV``. ``mebibytes``: what it had when the trial ended it for its memory; 0 if the trial did
    not.
    """

    code: int | None
    signal: str = ""
    words: LastWords = field(default_factory=LastWords)
    mebibytes: int = 0


@dataclass(frozen=True)
class TrialExchange:
    """One request, and how Envoy answered it before and after it had the revision. Several connections give several
    answers; ``before`` is one of them."""

    request: api.Probe
    before: Answer | None
    after: tuple[Answer, ...]


@dataclass(frozen=True)
class StepRecord:
    """One step.

    ``row``: the last verdict on the plugin by the gateways' signs. ``silent``: for how many seconds the admin port did
    not answer at the end. ``hung``: how many workers' hangs Envoy counted during the step. ``traps``: Envoy's lines
    about callbacks of the revision that trapped. ``failed_calls``: host calls that depend on the gateway and failed
    before the plugin refused; None if they were not traced. ``error``: why the step could not be done.
    """

    step: TrialStep
    seconds: float = 0.0
    row: PodVerdict | None = None
    end: EnvoyEnd | None = None
    silent: float | None = None
    hung: int = 0
    traps: tuple[str, ...] = ()
    failed_calls: tuple[str, ...] | None = None
    exchanges: tuple[TrialExchange, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class TrialMemory:
    """Resident memory of Envoy in MiB: before the plugin, with it at rest, and at most. None: not read."""

    base: int | None = None
    rest: int | None = None
    peak: int | None = None
