"""Every state of docs/states.md as the API server would have it, and what a tool that follows kstatus makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.gateway.verdict.values import State as VerdictState
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.images import KeptImage
from pluginrelease.core.rollout.report import Report
from pluginrelease.core.status import artifact_ready
from tests import reports
from tests.harness.releases import ARTIFACT, OBJECT, release
from tests.reports import NEW, NOW, OLD, SELECTOR, knowing, running, settle, stood_before, with_entry

JSON = dict[str, Any]

LATE_BEGIN = NOW - timedelta(hours=1)
NOTED = api.Observation(name=reports.PUBLIC, revision=NEW, since=times.to_microseconds(NOW))
BUSY = Transient(Reason.API_SERVER_UNAVAILABLE, "it answered 503")
CURRENT, IN_PROGRESS, FAILED, TERMINATING = "Current", "InProgress", "Failed", "Terminating"


@dataclass(frozen=True)
class State:
    """``name``: the state in docs/states.md. ``case`` tells its forms apart. ``found`` is the whole object."""

    name: str
    case: str
    found: JSON
    kstatus: str


def ended(report: Report, before: api.Release | None = None) -> JSON:
    """Return the object once a pass has come to this."""
    known = before or knowing(reports.TRYING)
    return {**OBJECT, "status": settle(report, known).status.wire()}


def under_way(report: Report, *, late: bool = False) -> Report:
    """Return the same of a rollout that has just begun, or that began an hour ago."""
    begun = reports.TRYING.model_copy(update={"started_at": LATE_BEGIN if late else times.to_seconds(NOW)})
    return replace(report, rollout=begun)


def switched_off_late() -> Report:
    """Return a pass that could not take the plugin off an hour after it was to."""
    report = reports.switched_off(BUSY)
    return replace(report, switched_off=api.SwitchedOff(at=LATE_BEGIN, reason="it drops requests"))


def unknown(since: timedelta) -> Report:
    """Return a pass that could not tell whether what was written so long ago runs."""
    noted = NOTED.model_copy(update={"since": times.to_microseconds(NOW - since)})
    return with_entry(under_way(reports.UNKNOWN, late=True), observation=noted)


def settled(**news: Any) -> api.Release:
    """Return a release that was seen running everywhere."""
    spec_hash = revision.spec_hash(release().spec)
    done = reports.TRYING.model_copy(update={"completed_at": LATE_BEGIN, "spec_hash": spec_hash})
    stable = api.StableRevision(revision=NEW, selector=SELECTOR)
    row = stood_before(revision=NEW, stable=stable)
    return knowing(done, **{"target_revision": NEW, "stable_revision": NEW, "gateways": [row], **news})


def by_command() -> JSON:
    """Return a release in which an old revision runs that somebody asked for."""
    asked = reports.TRYING.model_copy(update={"rollback_to": OLD})
    report = with_entry(reports.LOADED, running=OLD, intent=Intent(Goal.REVISION, OLD))
    return ended(replace(report, rollout=asked), knowing(asked, stable_revision=NEW))


def unreadable() -> JSON:
    """Return a release with a value that this version does not know."""
    refused = Refused(Reason.RELEASE_UNREADABLE, "spec.provider: Linkerd is not known", "Run the version that wrote it")
    return {**OBJECT, "status": stored.describe_status({**OBJECT, "status": {}}, refused, NOW)}


def deleting() -> JSON:
    """Return a release that is being deleted."""
    found = ended(reports.DELETING)
    return {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-01-01T12:00:00Z"}}


def in_part() -> Report:
    """Return a pass in which one of two entries may not be placed."""
    two = reports.whole(
        reports.entry(verdict=reports.verdict_of(reports.LOADED)),
        reports.left_out(reports.INTERNAL, reports.NOT_ALLOWED),
    )
    return under_way(two)


def image_gone() -> JSON:
    """Return a release that runs an image which its registry has no more."""
    gone = artifact_ready.describe_gone([KeptImage(NEW, ARTIFACT.image)])
    report = under_way(reports.LOADED)
    return ended(replace(report, findings=(gone,)))


ADOPTED = reports.seen(
    VerdictState.LOADED, "RunningNotProven", reports.row("a", VerdictState.LOADED, "RunningNotProven")
)
OVERDUE_BACK = reports.BACK.model_copy(
    update={"failure": reports.WHY.model_copy(update={"at": LATE_BEGIN}), "started_at": LATE_BEGIN}
)

STATES = (
    State("New", "nobody has looked", {**OBJECT, "status": api.UNSEEN}, IN_PROGRESS),
    State("Loaded", "seen running", ended(under_way(reports.LOADED)), CURRENT),
    State("Running, not proven", "just adopted", ended(under_way(ADOPTED)), CURRENT),
    State("Loading", "on its way", ended(under_way(reports.PENDING)), IN_PROGRESS),
    State("No pods", "since a moment", ended(under_way(reports.NO_PODS)), IN_PROGRESS),
    State("No pods", "too long", ended(under_way(reports.NO_PODS, late=True)), FAILED),
    State("Image gone", "it runs", image_gone(), CURRENT),
    State("Coming up", "a pod joins", ended(under_way(reports.JOINED)), CURRENT),
    State(
        "Rolling back",
        "just decided",
        ended(running(reports.PENDING, reports.BACK), knowing(reports.BACK)),
        IN_PROGRESS,
    ),
    State("Rolling back", "too long", ended(running(reports.PENDING, OVERDUE_BACK), knowing(OVERDUE_BACK)), FAILED),
    State("Rolled back", "it runs again", ended(running(reports.LOADED, reports.BACK), knowing(reports.BACK)), FAILED),
    State("Rolled back by command", "the old one runs", by_command(), FAILED),
    State("In part", "one is refused", ended(in_part()), FAILED),
    State("Removed", "the first one failed", ended(reports.taken_off(reports.BACK), knowing(reports.BACK)), FAILED),
    State("Held", "still failing", ended(running(reports.UNHEALTHY, reports.HELD, NEW), knowing(reports.HELD)), FAILED),
    State(
        "Rollback blocked",
        "its image is gone",
        ended(reports.broken(reports.BACK, reports.BLOCKED), knowing(reports.BACK)),
        FAILED,
    ),
    State(
        "Rollback failed",
        "it does not run either",
        ended(running(reports.UNHEALTHY, reports.BACK), knowing(reports.BACK)),
        FAILED,
    ),
    State("Unhealthy", "a gateway refuses it", ended(under_way(reports.UNHEALTHY)), FAILED),
    State("Overdue", "a tag does not come", ended(under_way(reports.WAITING, late=True)), FAILED),
    State("Overdue", "a registry is silent", ended(under_way(reports.TRANSIENT, late=True)), FAILED),
    State("Overdue", "it does not load", ended(under_way(reports.PENDING, late=True)), FAILED),
    State("Unknown", "since a moment", ended(unknown(timedelta(seconds=30))), IN_PROGRESS),
    State("Unknown", "too long", ended(unknown(timedelta(minutes=3))), FAILED),
    State(
        "Too many pods",
        "more than there is room for",
        ended(
            with_entry(
                under_way(reports.LOADED),
                verdict=replace(
                    reports.verdict_of(reports.LOADED),
                    pods=reports.verdict_of(reports.LOADED).pods * (api.MAX_PODS + 1),
                ),
            )
        ),
        FAILED,
    ),
    State("Refused", "before the write", ended(under_way(reports.REFUSED)), FAILED),
    State("Unreadable", "another version's", unreadable(), FAILED),
    State("Waiting", "a tag may come", ended(under_way(reports.WAITING)), IN_PROGRESS),
    State("Retrying", "a registry is silent", ended(under_way(reports.TRANSIENT)), IN_PROGRESS),
    State("Suspended", "what runs is wanted", ended(reports.SUSPENDED, settled()), CURRENT),
    State("Suspended", "what runs is not wanted", ended(reports.SUSPENDED, settled(target_revision=OLD)), FAILED),
    State("Switching off", "the API server is silent", ended(reports.switched_off(BUSY)), IN_PROGRESS),
    State("Switching off", "for too long", ended(switched_off_late()), FAILED),
    State("Off", "it is gone", ended(reports.switched_off()), FAILED),
    State("Deleting", "the clean-up is under way", deleting(), TERMINATING),
)
