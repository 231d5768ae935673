"""All that is known when one pod is judged, and facts that several checks need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.logs import LogEvent, LogKind
from pluginrelease.core.gateway.observations import Baseline, PodObservation
from pluginrelease.core.gateway.outage import Life
from pluginrelease.core.gateway.verdict.values import PodVerdict, State

# an HTTP Date has whole seconds, so a gateway's clock is known only to about that
CLOCK_TOLERANCE = timedelta(seconds=2)

# Envoy has one VM per worker, one on the main thread, and the base that it clones; a new file costs a canary too
VMS_BESIDE_WORKERS = 2
NAMED_STATS_SINCE = (1, 33)

# with FAIL_RELOAD Envoy creates a new VM at the first request after about a second; without a crash for this long it
# runs
CRASH_QUIET = timedelta(seconds=60)

# what Envoy logs about a configuration that it has tried
ANSWERS_TO_CONFIGURATION = (LogKind.LOADED, LogKind.REFUSED_BY_WORKERS, LogKind.REJECTED, LogKind.LISTENER_REJECTED)


@dataclass(frozen=True)
class PodCase:
    """All that is known when one pod is judged."""

    wanted: DesiredPlugin
    sighting: PodObservation
    write_at: datetime
    baseline: Baseline | None
    known: frozenset[Incarnation]
    verified: bool
    late: bool
    life: Life
    may_run_already: bool = False

    def row(self, state: State, reason: Reason, message: str, *evidence: str) -> PodVerdict:
        return PodVerdict(self.sighting.pod, state, reason, message, evidence)

    def report_waiting(self, reason: Reason, message: str, *, then: tuple[State, Reason], hint: str = "") -> PodVerdict:
        """Return Pending until the deadline, and after it the state that the missing sign means."""
        if not self.late:
            return self.row(State.PENDING, reason, message)
        return self.row(*then, f"{message} {hint}".strip())

    def is_since_write(self, moment: datetime | None) -> bool:
        """Return True if something at this time of the gateway's clock can be about this write."""
        return moment is None or moment - self.sighting.skew >= self.write_at - CLOCK_TOLERANCE


def restarts_plugin(case: PodCase) -> bool:
    return all(entry.fail == "FAIL_RELOAD" for entry in case.sighting.entries)


def count_needed_vms(seen: PodObservation) -> int:
    return (VMS_BESIDE_WORKERS + (seen.concurrency or 0)) * max(seen.code_files, 1)


def started_after_write(case: PodCase) -> bool:
    """Return True if this Envoy started after the write. Then all that it ever loaded came with or after it."""
    started = case.sighting.started_at
    return started is not None and started - case.sighting.skew > case.write_at


def envoy_release(sighting: PodObservation) -> tuple[int, ...]:
    """Return Envoy's (major, minor). An unknown version counts as new, and newer ones must show more."""
    parts = (sighting.envoy_version or "").split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 else NAMED_STATS_SINCE


def is_not_before(moment: datetime | None, received: datetime | None) -> bool:
    """Return False for what is older than the configuration, because it is about an earlier one.

    Without a time it counts.
    """
    return moment is None or received is None or moment >= received


def quote_lines(event: LogEvent | None) -> tuple[str, ...]:
    return (*event.causes, event.line) if event else ()


def quote(event: LogEvent) -> str:
    return " / ".join(quote_lines(event))
