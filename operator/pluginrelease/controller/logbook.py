"""Fields of every log line, and the one line that the operator logs when a release changes its state."""

from __future__ import annotations

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType

log = structlog.get_logger(__name__)


def bind(release: api.Release) -> None:
    """Add the spec's generation to each log line of this task, and the target revision before the pass."""
    about = {"generation": release.metadata.generation, "revision": release.status.target_revision}
    structlog.contextvars.bind_contextvars(**about)


def tell_turn(before: api.Status, after: api.Status) -> None:
    """Log the new state of a release if it has changed: at rest nothing is logged."""
    now = describe(after)
    if describe(before) != now:
        phase, reason, revision = now
        log.info("the state of the release changed", phase=phase, reason=reason, revision=revision)


def describe(status: api.Status) -> tuple[str | None, str | None, str | None]:
    """Return the phase, the reason of Ready, and the target revision."""
    ready = status.condition(ConditionType.READY)
    return status.phase, ready.reason if ready is not None else None, status.target_revision
