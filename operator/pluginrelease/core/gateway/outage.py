"""A gateway that is down since a write: its container ended, or its main thread hangs.

The pod's status shows the first, and Envoy's admin port, which does not answer, the second. A pod that was ill before
the write is never judged by either.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.container import BACK_OFF, Cause, LastWords, Termination
from pluginrelease.core.gateway.observations import Baseline, PodObservation, hash_image

# two ends of whatever cause, in one pod or in two, are no accident
ENOUGH = 2
# what has run everywhere is well again when its gateway has been up for so long
RECOVERED = timedelta(seconds=60)
# the next start of a gateway may still be with what a neighbour has just withdrawn
WITHDRAWN = timedelta(seconds=30)
# the API server's times have whole seconds, and a node's clock is not ours
CLOCK_TOLERANCE = timedelta(seconds=2)
# what a kubelet says of containers that it finds ended, for example after its node was started again
_FOUND_ENDED = frozenset({"Unknown", "ContainerStatusUnknown"})
_CERTAIN = (Cause.FATAL, Cause.OUT_OF_MEMORY)


@dataclass(frozen=True)
class Silence:
    """Since when a pod's admin port takes connections and does not answer; ``pod`` is its `identity.pod_mark`."""

    pod: str
    since: datetime


@dataclass(frozen=True)
class Neighbour:
    """Another release, which wrote at ``since`` to the pods ``uids``; ``failed_at``: when it was decided to undo it."""

    name: str
    uids: frozenset[str]
    since: datetime
    failed_at: datetime | None = None


@dataclass(frozen=True)
class Outage:
    """``at``: when it began, or happened last; ``lines``: the gateway's own."""

    reason: Reason
    message: str
    at: datetime
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Life:
    """One pod since a write. ``well``: what it showed before that, if it was well then; ``settled``: the revision has
    run everywhere, so that what happened once long ago is no news; ``silent_since``: None for one that answers."""

    sighting: PodObservation
    write_at: datetime
    well: Baseline | None = None
    settled: bool = False
    silent_since: datetime | None = None

    @property
    def words(self) -> LastWords:
        """How its container ended last."""
        return self.sighting.last_words or LastWords()


def count_ends(life: Life) -> int:
    """How often the container ended since the write, where that can be the plugin's doing: never of a pod that was ill
    before it, nor when the agent was asked to end, the image is another one, or the node or the sandbox was new."""
    pod = life.sighting.pod
    ended = pod.container.terminated
    if ended is None or pod.container.together or life.words.cause is Cause.ASKED or ended.reason in _FOUND_ENDED:
        return 0
    if life.well is not None:
        changed = life.well.image not in (None, hash_image(pod))
        return 0 if changed else max(0, pod.container.ends - (life.well.restarts or 0))
    came_later = pod.created_at is not None and pod.created_at >= life.write_at - CLOCK_TOLERANCE
    return pod.container.ends if came_later or life.settled else 0


def find_crash(life: Life, fallen: int) -> Outage | None:
    """The container ended, and not because somebody asked it to; ``fallen``: how many pods' containers did.

    A signal that only a fault sends, too much memory, and a second end are no accident. One kill without another word
    may be one. What has run everywhere counts as crashed while the gateway is down, and for a minute after.
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
    """Envoy's main thread hangs: it serves what it has, takes no configuration, and Kubernetes still calls it ready.

    It is also silent while it compiles a plugin, so it has the time to load one.
    """
    if life.silent_since is None:
        return None
    waited = life.sighting.at - max(life.silent_since, life.write_at)
    if waited < load_timeout:
        return None
    message = (
        f"The gateway's admin port has not answered for {waited.total_seconds():.0f} s, and did before: Envoy's main "
        "thread hangs. It takes no configuration and no certificates any more, and Kubernetes still calls it ready. "
        "What is written now reaches it when it is started again: delete the pod if it stays like this."
    )
    return Outage(Reason.GATEWAY_UNRESPONSIVE, message, life.silent_since)


def find_blamed_first(
    outage: Outage, uid: str, write_at: datetime, neighbours: Collection[Neighbour]
) -> Neighbour | None:
    """The release that wrote to the pod after ours, and before the outage; None: ours is to blame.

    A neighbour whose write is being undone is still to blame for what happens until that has reached the pod.
    """
    return next(
        (neighbour for neighbour in neighbours if uid in neighbour.uids and _explains(neighbour, outage, write_at)),
        None,
    )


def _explains(neighbour: Neighbour, outage: Outage, write_at: datetime) -> bool:
    undone = neighbour.failed_at is not None and outage.at > neighbour.failed_at + WITHDRAWN
    return write_at < neighbour.since <= outage.at + CLOCK_TOLERANCE and not undone
