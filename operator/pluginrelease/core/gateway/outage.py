"""Find a gateway that is down since a write: its container ended, or its main thread hangs.

The pod's status shows the first. An admin port that does not answer shows the second. A pod that was not well before
the write is never judged by either.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.container import BACK_OFF, Cause, LastWords, Termination
from pluginrelease.core.gateway.observations import Baseline, PodObservation, hash_image

# two ends for any reason, in one pod or in two, are no coincidence
ENOUGH = 2
# for a revision that has run everywhere, a gateway is well again after this time without an end
RECOVERED = timedelta(seconds=60)
# the next start of a gateway may still use what a neighbour has just removed
WITHDRAWN = timedelta(seconds=30)
# the API server's times have whole seconds, and a node's clock differs from ours
CLOCK_TOLERANCE = timedelta(seconds=2)
WHOLE_SECOND = timedelta(seconds=1)
# reasons that a kubelet gives for containers that it finds ended, for example after a restart of its node
_FOUND_ENDED = frozenset({"Unknown", "ContainerStatusUnknown"})
_CERTAIN = (Cause.FATAL, Cause.OUT_OF_MEMORY)


@dataclass(frozen=True)
class Silence:
    """A pod's admin port accepts connections but has not answered since a time. ``pod`` is its `identity.pod_mark`."""

    pod: str
    since: datetime


@dataclass(frozen=True)
class Neighbour:
    """Another release, which wrote to the pods ``uids`` at ``since``. ``failed_at``: when its rollback was decided."""

    name: str
    uids: frozenset[str]
    since: datetime
    failed_at: datetime | None = None


@dataclass(frozen=True)
class Outage:
    """A gateway that is down. ``at``: when that began, or happened last; ``lines``: the gateway's own log lines."""

    reason: Reason
    message: str
    at: datetime
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Life:
    """One pod since a write.

    ``well``: what it showed before the write, if it was well then. ``settled``: the revision has run everywhere, so
    that an old event is no news. ``silent_since``: since when it does not answer; None if it does. ``written_at``: when
    the API server accepted the write, in whole seconds (later than ``write_at``, noted before); None if unknown.
    """

    sighting: PodObservation
    write_at: datetime
    well: Baseline | None = None
    settled: bool = False
    silent_since: datetime | None = None
    written_at: datetime | None = None

    @property
    def words(self) -> LastWords:
        """Return how its container ended last."""
        return self.sighting.last_words or LastWords()


def count_ends(life: Life) -> int:
    """Return how often the container ended since the write, if the plugin can be the cause.

    It never counts for a pod that was not well before the write. It does not count either if the agent was asked to
    end, or if image, node or sandbox changed.
    """
    pod = life.sighting.pod
    ended = pod.container.terminated
    if ended is None or pod.container.together or life.words.cause is Cause.ASKED or ended.reason in _FOUND_ENDED:
        return 0
    if life.well is not None:
        changed = life.well.image not in (None, hash_image(pod))
        times = max(0, pod.container.ends - (life.well.restarts or 0))
        return 0 if changed or (times == 1 and _was_before_write(life, ended)) else times
    came_later = pod.created_at is not None and pod.created_at >= life.write_at - CLOCK_TOLERANCE
    return pod.container.ends if came_later or life.settled else 0


def _was_before_write(life: Life, ended: Termination) -> bool:
    """Return whether the container ended between the check before the write and the write.

    Both times are whole seconds, and the node's clock may be late. So only a single end is excluded: after a second
    one, both count.
    """
    return life.written_at is not None and ended.at + WHOLE_SECOND <= life.written_at


def find_crash(life: Life, fallen: int) -> Outage | None:
    """Return an outage if the container ended without being asked to. ``fallen``: how many pods' containers did.

    A signal that only a fault sends, too much memory, and a second end are no coincidence. A single kill without
    explanation may be one. After the revision has run everywhere, a gateway counts as crashed while it is down and for
    a minute after that.
    """
    times, ended = count_ends(life), life.sighting.pod.container.terminated
    if not times or ended is None or not _is_no_accident(life, times, fallen):
        return None
    often = f"{times} times" if times > 1 else "once"
    since = "" if life.settled else f" {often} since the plugin was written"
    said = f" It says: {' / '.join(life.words.lines)}." if life.words.lines else ""
    message = f"The gateway's container ended{since}: {_describe_cause(life.words, ended)}.{said}"
    return Outage(Reason.GATEWAY_CRASHED, message, ended.at, life.words.lines)


def _is_no_accident(life: Life, times: int, fallen: int) -> bool:
    certain = life.words.cause in _CERTAIN
    if life.settled:
        return (certain or life.sighting.pod.container.waiting == BACK_OFF) and not _has_recovered(life)
    if life.well is None:
        return certain and times >= ENOUGH
    return certain or max(times, fallen) >= ENOUGH


def _has_recovered(life: Life) -> bool:
    container = life.sighting.pod.container
    up_since = container.started_at if container.running else None
    return up_since is not None and life.sighting.at - up_since >= RECOVERED


def _describe_cause(words: LastWords, ended: Termination) -> str:
    match words.cause:
        case Cause.OUT_OF_MEMORY:
            return "it needed more memory than it may have (OOMKilled)"
        case Cause.FATAL:
            return "Envoy died of a fault"
        case _:
            return f"its status says {ended.reason or 'no reason'}, exit code {ended.exit_code}"


def find_hang(life: Life, load_timeout: timedelta) -> Outage | None:
    """Return an outage if Envoy's main thread hangs.

    The gateway then serves its old configuration, takes no new one, and may still be ready. The thread is also silent
    while it compiles a plugin, so it gets ``load_timeout`` for that.
    """
    if life.silent_since is None:
        return None
    waited = life.sighting.at - max(life.silent_since, life.write_at)
    if waited < load_timeout:
        return None
    message = (
        f"The gateway's admin port has not answered for {waited.total_seconds():.0f} s, and did before: Envoy's main "
        "thread hangs. It takes no configuration and no certificates any more, but Kubernetes still calls it ready. "
        "Only a restart helps: delete the pod if this remains."
    )
    return Outage(Reason.GATEWAY_UNRESPONSIVE, message, life.silent_since)


def find_blamed_first(
    outage: Outage, uid: str, write_at: datetime, neighbours: Collection[Neighbour]
) -> Neighbour | None:
    """Return the release that wrote to the pod after ours and before the outage; None: ours is to blame.

    If that write is being undone, its release is still to blame until the rollback has reached the pod.
    """
    return next(
        (neighbour for neighbour in neighbours if uid in neighbour.uids and _explains(neighbour, outage, write_at)),
        None,
    )


def _explains(neighbour: Neighbour, outage: Outage, write_at: datetime) -> bool:
    undone = neighbour.failed_at is not None and outage.at > neighbour.failed_at + WITHDRAWN
    return write_at < neighbour.since <= outage.at + CLOCK_TOLERANCE and not undone
