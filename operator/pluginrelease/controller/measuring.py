"""Measure for Prometheus: what each pass achieved, and the current state when Prometheus asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from pluginrelease import api
from pluginrelease.controller.context import Context
from pluginrelease.controller.lease_thread import LeaseThread
from pluginrelease.controller.store import Store
from pluginrelease.controller.turns import Stake, Turns
from pluginrelease.core.apiserver import health
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.status import census, measurements
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.edges.kubernetes.limiter import Lane
from pluginrelease.edges.metrics import Metrics, PassResult, Standing, Values


def name(member: Stake | Lane) -> str:
    """Return the name of an enum's member in CamelCase: ``WAY_BACK`` as WayBack."""
    return member.name.title().replace("_", "")


def begin_at_zero(counted: Metrics) -> None:
    """Give out each series with few label values from the start.

    Prometheus counts an increase only from a value that it has read: the first failure would not count in ``increase``.
    """
    for ending in measurements.ENDINGS:
        counted.rollouts.labels(ending)
    for reason in measurements.FAILURES:
        counted.failures.labels(reason)
    for result in PassResult:
        counted.passes.labels(result)
    for stake in Stake:
        counted.turns.labels(name(stake))
    for lane in Lane:
        counted.limited.labels(name(lane))


def observe_wait(counted: Metrics, lane: Lane, seconds: float) -> None:
    """Count the seconds that a request waited for its turn."""
    counted.limited.labels(name(lane)).observe(seconds)


def observe_ending(context: Context, before: api.Status, after: api.Status) -> None:
    """Count what a pass achieved in a rollout."""
    found, counted = measurements.measure(before, after, context.now()), context.metrics
    if found.ended is not None:
        outcome, seconds = found.ended
        counted.rollouts.labels(outcome).observe(seconds)
    if found.failed is not None:
        counted.failures.labels(found.failed).inc()
    for seconds in found.loaded:
        counted.loads.observe(seconds)


def observe_event(counted: Metrics, event: Event) -> None:
    """Count an Event."""
    counted.events.labels(event.type, census.name_reason(event.reason)).inc()


@dataclass
class TimedPass:
    """A pass that is being timed. ``result``: how it ended, if no exception ends it."""

    result: PassResult = PassResult.ENDED


@contextmanager
def timed_pass(counted: Metrics) -> Iterator[TimedPass]:
    """Count a pass, and how it ended."""
    began, timed = monotonic(), TimedPass()
    try:
        yield timed
    except asyncio.CancelledError:
        timed.result = PassResult.GIVEN_UP
        raise
    except BaseException:
        timed.result = PassResult.FAILED
        raise
    finally:
        counted.passes.labels(timed.result).observe(monotonic() - began)


@dataclass(frozen=True)
class Standings:
    """Read the current state. Any thread may call it."""

    contact: Contact
    lease: LeaseThread
    turns: Turns
    store: Store

    def read(self, facts: health.ContactFacts, now: float) -> Standing:
        """Return all values for one scrape. ``now``: by the clock of ``facts``."""
        counted = census.count(self.store.known_releases())
        age = self.lease.age()
        return Standing(
            {
                "pluginrelease_releases": counted.releases,
                "pluginrelease_release_conditions": counted.conditions,
                "pluginrelease_entries": counted.entries,
                "pluginrelease_gateway_pods": {(state,): number for state, number in counted.pods.items()},
                "pluginrelease_leader": one(float(age is not None)),
                "pluginrelease_lease_age_seconds": {} if age is None else one(age),
                "pluginrelease_ready": one(float(health.unready(facts, now) is None)),
                "pluginrelease_logged_in": one(float(facts.refusal is None)),
                "pluginrelease_main_loop_stalled_seconds": one(facts.stood_still),
                "pluginrelease_watch_open": watches(facts, now),
                "pluginrelease_passes": self._passes(),
                "pluginrelease_longest_pass_seconds": one(facts.longest_pass),
                "pluginrelease_api_requests_total": self._requests(),
            }
        )

    def _passes(self) -> Values:
        waiting = {(name(stake), "Waiting"): self.turns.waiting(stake) for stake in Stake}
        return {**waiting, **{(name(stake), "UnderWay"): self.turns.under_way(stake) for stake in Stake}}

    def _requests(self) -> Values:
        counted = self.contact.requests().items()
        return {(asked.verb, asked.resource, code): number for (asked, code), number in counted}


def one(value: float) -> Values:
    """Return the value of a gauge without labels."""
    return {(): value}


def watches(facts: health.ContactFacts, now: float) -> Values:
    """Return path → whether all its watches are open; nothing for a standby."""
    if facts.stands_by is not None:
        return {}
    closed = {watch.path for watch in facts.watches if not health.is_watched(watch, now)}
    return {(watch.path,): float(watch.path not in closed) for watch in facts.watches}
