"""The operator's metrics for Prometheus. docs/metrics.md lists them, and a test compares.

Events are counted when they happen. The current state is counted when Prometheus asks (`Standing`), so that no copy
must be kept up to date. Every label has a bounded number of values: none names a release, an image or a pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from time import perf_counter
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pluginrelease import __version__

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

Labels = tuple[str, ...]
# by label values, a tuple of words; typed wider, because Mapping's key is invariant
Values = Mapping[Any, float]

# seconds: for one step, for a pass, and for what takes as long as users wait
STEP_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
LONG_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
OK = "OK"
GIVEN_UP = "GivenUp"


class PassResult(StrEnum):
    """How a pass ended: with a status, cancelled for something urgent, after its time, or with an error."""

    ENDED = "Ended"
    GIVEN_UP = GIVEN_UP
    TIMED_OUT = "TimedOut"
    FAILED = "Failed"


prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Standing:
    """The current state at a scrape: values by the labels of the gauge or counter of that name."""

    values: Mapping[str, Values] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A metric that is read at each scrape."""

    name: str
    help: str
    labels: Labels = ()
    is_counter: bool = False

    def render(self, values: Values) -> Metric:
        """Return the metric with its values."""
        kind = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        family: CounterMetricFamily | GaugeMetricFamily = kind(self.name, self.help, labels=self.labels)
        for labels, value in sorted(values.items()):
            family.add_metric(labels, value)
        return family


FAMILIES = (
    Family("pluginrelease_build_info", "The version of the operator; always 1.", ("version",)),
    Family("pluginrelease_releases", "PluginReleases, by phase and by the reason of Ready.", ("phase", "reason")),
    Family(
        "pluginrelease_release_conditions",
        "PluginReleases that have a condition, by its type, status and reason.",
        ("type", "status", "reason"),
    ),
    Family("pluginrelease_entries", "Entries of status.gateways, by state and reason.", ("state", "reason")),
    Family(
        "pluginrelease_gateway_pods",
        "Gateway pods, once for each release that selects them: Loaded, Failed, or Unproven.",
        ("state",),
    ),
    Family("pluginrelease_leader", "Whether this operator holds its Leases and acts: 1 or 0."),
    Family("pluginrelease_lease_age_seconds", "Seconds since the Lease was renewed, the oldest of several."),
    Family("pluginrelease_ready", "Whether /readyz answers 200: 1 or 0."),
    Family("pluginrelease_logged_in", "Whether the API server's last answer knew the operator: 1 or 0."),
    Family("pluginrelease_main_loop_stalled_seconds", "Seconds for which the main loop has not turned."),
    Family("pluginrelease_watch_open", "Whether a watch that is needed is open, by its path: 1 or 0.", ("path",)),
    Family(
        "pluginrelease_passes", "Passes that wait for their turn, or have it, by what is at stake.", ("stake", "state")
    ),
    Family("pluginrelease_longest_pass_seconds", "Seconds for which the oldest pass is under way; 0 where none is."),
    Family(
        "pluginrelease_api_requests_total",
        "Requests to the API server, by verb, resource and code; the code is Failed where no answer came.",
        ("verb", "resource", "code"),
        is_counter=True,
    ),
)


class Reading(Collector):
    """Collect `FAMILIES` with the current state."""

    def __init__(self, read: Callable[[], Standing]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return every family without a value, so that the names are known without a read."""
        return [family.render({}) for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        values: dict[str, Values] = {**self._read().values, "pluginrelease_build_info": {(__version__,): 1.0}}
        for family in FAMILIES:
            yield family.render(values.get(family.name, {}))


class Metrics:
    """All metrics of one operator. Any thread may count and render."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.rollouts = self._histogram(
            "pluginrelease_rollout_duration_seconds",
            "Seconds from the beginning of a rollout to its end, by outcome: Loaded, or the phase after a failure.",
            ("outcome",),
            LONG_BUCKETS,
        )
        self.loads = self._histogram(
            "pluginrelease_load_duration_seconds",
            "Seconds from a write to the check that saw it running in all gateway pods of its entry.",
            (),
            LONG_BUCKETS,
        )
        self.failures = self._counter(
            "pluginrelease_failed_loads_total", "Revisions that were found to have failed, by reason.", ("reason",)
        )
        self.events = self._counter(
            "pluginrelease_events_total", "Events about releases, by type and reason.", ("type", "reason")
        )
        self.passes = self._histogram(
            "pluginrelease_pass_duration_seconds",
            "Seconds that a pass took in its turn, by how it ended: Ended, GivenUp, TimedOut or Failed.",
            ("result",),
            STEP_BUCKETS,
        )
        self.turns = self._histogram(
            "pluginrelease_pass_wait_seconds",
            "Seconds that a pass waited for its turn, by what is at stake.",
            ("stake",),
        )
        self.looks = self._histogram(
            "pluginrelease_look_duration_seconds", "Seconds of one look at all gateway pods of an entry.", ()
        )
        self.snapshots = self._counter(
            "pluginrelease_pod_snapshots_total",
            "Gateway pods that were checked, by the result of the connection.",
            ("result",),
        )
        self.pulls = self._histogram(
            "pluginrelease_registry_request_duration_seconds",
            "Seconds that a registry was asked for, by operation and result: OK, or the reason.",
            ("operation", "result"),
        )
        self.limited = self._histogram(
            "pluginrelease_api_wait_seconds",
            "Seconds that a request waited for its turn, by lane: WayBack or Rest.",
            ("lane",),
        )

    def read_from(self, read: Callable[[], Standing]) -> None:
        """From now on, also render the current state, read at each scrape."""
        self.registry.register(Reading(read))

    def render(self) -> bytes:
        """Return the page."""
        return prometheus_client.generate_latest(self.registry)

    def _counter(self, name: str, text: str, labels: Labels) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: Labels, buckets: tuple[float, ...] = STEP_BUCKETS) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)


@contextmanager
def timed(observe: Callable[[float], None]) -> Iterator[None]:
    """Measure how many seconds the body takes, also if it fails."""
    began = perf_counter()
    try:
        yield
    finally:
        observe(perf_counter() - began)
