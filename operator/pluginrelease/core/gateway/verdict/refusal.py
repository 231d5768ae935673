"""Whether Envoy, or its listeners, refused the configuration that it received."""

from __future__ import annotations

from datetime import datetime

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.logs import LogEvent, LogKind
from pluginrelease.core.gateway.verdict import cases, workers
from pluginrelease.core.gateway.verdict.cases import ANSWERS_TO_CONFIGURATION, NAMED_STATS_SINCE, PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State


def check_accepted(case: PodCase) -> PodVerdict | None:
    """Envoy has the wanted configuration and would not run it: what ran before goes on running."""
    received = max((entry.last_updated for entry in case.sighting.entries if entry.last_updated), default=None)
    event = case.sighting.log.newest(*ANSWERS_TO_CONFIGURATION)
    if event and event.kind is not LogKind.LOADED and cases.is_not_before(event.at, received):
        return _explain_refusal(case, event)
    loaded = event.at if event and event.kind is LogKind.LOADED and cases.is_not_before(event.at, received) else None
    for error in case.sighting.listener_errors:
        if _is_about_current(case, error.attempted, received, loaded):
            message = f"The gateway refuses its listeners' updates because of this plugin: {error.details}"
            return case.row(State.UNHEALTHY, Reason.LISTENER_REJECTED, message, error.details)
    return None


def _is_about_current(
    case: PodCase, attempted: datetime | None, received: datetime | None, loaded: datetime | None
) -> bool:
    """Whether a refused listener update is about the configuration that is there now.

    A control plane sends listeners before plugins, so the listener that comes with a mended plugin is refused for the
    plugin of before, within the same millisecond, and stays refused until something else changes it.
    """
    if attempted is None or received is None:
        return True
    if loaded is not None:
        return attempted > loaded
    return attempted > received if case.verified else attempted >= received


def _explain_refusal(case: PodCase, event: LogEvent) -> PodVerdict:
    if event.kind is LogKind.REFUSED_BY_WORKERS:
        return workers.report_refused(case, *cases.quote_lines(event))
    if event.kind is LogKind.LISTENER_REJECTED:
        message = f"The gateway refuses its listeners' updates because of this plugin. It says: {cases.quote(event)}"
        return case.row(State.UNHEALTHY, Reason.LISTENER_REJECTED, message, *cases.quote_lines(event))
    effect = (
        "the gateway answers 500 to every request"
        if _runs_no_earlier_version(case)
        else "what ran before goes on running"
    )
    message = f"Envoy refused the plugin; {effect}. It says: {cases.quote(event)}"
    return case.row(State.UNHEALTHY, Reason.PLUGIN_REJECTED, message, *cases.quote_lines(event))


def _runs_no_earlier_version(case: PodCase) -> bool:
    """Whether this Envoy runs no earlier version of the plugin: its listener then has a gap in the filter's place."""
    before = case.baseline
    if cases.started_after_write(case) or before is None:
        return cases.started_after_write(case)
    never_created = before.named is False and cases.envoy_release(case.sighting) >= NAMED_STATS_SINCE
    return before.digest_hex is None or never_created
