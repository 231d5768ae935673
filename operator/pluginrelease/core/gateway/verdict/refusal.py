"""Find out whether Envoy, or its listeners, rejected the configuration that it received."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.logs import LogEvent, LogKind
from pluginrelease.core.gateway.verdict import cases, workers
from pluginrelease.core.gateway.verdict.cases import ANSWERS_TO_CONFIGURATION, NAMED_STATS_SINCE, PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State


class RefusalText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    REJECTED = "Envoy rejected the plugin; {effect}. It says: {quote}"
    NO_CODE_RUNS = "the gateway answers 500 to every request"
    OLD_CODE_RUNS = "what ran before keeps running"
    LISTENERS = "The gateway rejects listener updates because of this plugin. It says: {quote}"


def check_accepted(case: PodCase) -> PodVerdict | None:
    """Return a verdict if Envoy rejected the configuration: the previous code then keeps running."""
    received = max((entry.last_updated for entry in case.sighting.entries if entry.last_updated), default=None)
    event = case.sighting.log.newest(*ANSWERS_TO_CONFIGURATION)
    if event and event.kind is not LogKind.LOADED and cases.is_not_before(event.at, received):
        return _explain_refusal(case, event)
    loaded = event.at if event and event.kind is LogKind.LOADED and cases.is_not_before(event.at, received) else None
    for error in case.sighting.listener_errors:
        if _is_about_current(case, error.attempted, received, loaded):
            message = RefusalText.LISTENERS.format(quote=error.details)
            return case.row(State.UNHEALTHY, Reason.LISTENER_REJECTED, message, error.details)
    return None


def _is_about_current(
    case: PodCase, attempted: datetime | None, received: datetime | None, loaded: datetime | None
) -> bool:
    """Return True if a refused listener update is about the configuration that is there now.

    A control plane sends listeners before plugins. So the listener that comes with a repaired plugin is refused because
    of the earlier plugin, within the same millisecond. It stays refused until something else changes it.
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
        message = RefusalText.LISTENERS.format(quote=cases.quote(event))
        return case.row(State.UNHEALTHY, Reason.LISTENER_REJECTED, message, *cases.quote_lines(event))
    effect = RefusalText.NO_CODE_RUNS if _runs_no_earlier_version(case) else RefusalText.OLD_CODE_RUNS
    message = RefusalText.REJECTED.format(effect=effect, quote=cases.quote(event))
    return case.row(State.UNHEALTHY, Reason.PLUGIN_REJECTED, message, *cases.quote_lines(event))


def _runs_no_earlier_version(case: PodCase) -> bool:
    """Return True if this Envoy runs no earlier version of the plugin.

    Then requests pass its listener without the filter.
    """
    before = case.baseline
    if cases.started_after_write(case) or before is None:
        return cases.started_after_write(case)
    never_created = before.named is False and cases.envoy_release(case.sighting) >= NAMED_STATS_SINCE
    return before.digest_hex is None or never_created
