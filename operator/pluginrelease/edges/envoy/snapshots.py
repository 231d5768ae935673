"""Snapshots of gateway pods: all releases on a pod judge one port-forward and one read of the log.

A snapshot counts for a release if it began late enough, the pod has not changed since, and its log begins early enough.
It is kept only for the current observations: losing it only costs a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pluginrelease.core.gateway.documents import Documents
from pluginrelease.core.gateway.observations import PodRef

# seconds for which a snapshot serves others; bytes of all that are kept (the oldest go first)
KEPT_SECONDS = 20.0
KEPT_BYTES = 16 * 1024 * 1024


class Call:
    """A connection that an admin port accepted, and on which it has not answered yet."""

    def __init__(self) -> None:
        self._since: float | None = None

    def start(self) -> None:
        """Note that the connection is open: from now on an answer is awaited."""
        self._since = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Note that the port has answered, or that the connection broke."""
        self._since = None

    def silence(self) -> timedelta | None:
        """Return for how long an answer has been awaited; None if none is."""
        return None if self._since is None else timedelta(seconds=asyncio.get_running_loop().time() - self._since)


@dataclass(frozen=True)
class Reading:
    """A snapshot that is complete or in progress. ``began``: by the operator's clock."""

    pod: PodRef
    began: datetime
    call: Call
    documents: asyncio.Task[Documents]

    def counts_for(self, pod: PodRef, not_before: datetime) -> bool:
        """Return whether it shows the pod as it is now, and began late enough."""
        return self.pod == pod and self.began >= not_before


# reads a pod; the second argument is the earliest log line that others need, by the gateway's clock
Read = Callable[[Call, datetime | None], Coroutine[Any, Any, Documents]]


class SnapshotShare:
    """The newest snapshot of each pod. ``now``: the operator's clock."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._newest: dict[str, Reading] = {}
        self._kept: dict[str, tuple[Reading, int]] = {}  # complete ones, oldest first
        self._bytes = 0

    def find(self, pod: PodRef, not_before: datetime) -> Reading | None:
        """Return a snapshot that counts; None if there is none."""
        known = self._newest.get(pod.uid)
        return known if known is not None and known.counts_for(pod, not_before) else None

    def begin(self, pod: PodRef, read: Read, earlier: Documents | None = None) -> Reading:
        """Begin a snapshot. ``earlier``: one whose log begins too late; the new one also serves its users."""
        call = Call()
        task = asyncio.get_running_loop().create_task(read(call, earlier.log_from if earlier else None))
        made = self._newest[pod.uid] = Reading(pod, self._now(), call, task)
        task.add_done_callback(lambda done: self._note_end(made, done))
        return made

    def _note_end(self, made: Reading, done: asyncio.Task[Documents]) -> None:
        """Keep a snapshot for a while. After an error the next caller reads again."""
        if done.cancelled() or done.exception() is not None:
            self._forget(made)
            return
        if self._newest.get(made.pod.uid) is not made:
            return
        self._drop_kept(made.pod.uid)
        size = count_bytes(done.result())
        self._kept[made.pod.uid] = made, size
        self._bytes += size
        done.get_loop().call_later(KEPT_SECONDS, self._forget, made)
        while self._bytes > KEPT_BYTES:
            self._forget(next(iter(self._kept.values()))[0])

    def _forget(self, made: Reading) -> None:
        if self._newest.get(made.pod.uid) is made:
            del self._newest[made.pod.uid]
        if self._kept.get(made.pod.uid, (None,))[0] is made:
            self._drop_kept(made.pod.uid)

    def _drop_kept(self, uid: str) -> None:
        self._bytes -= self._kept.pop(uid, (None, 0))[1]


def count_bytes(found: Documents) -> int:
    """Return roughly how many bytes of memory a snapshot takes."""
    return len(found.log) + len(found.ecds) + len(found.stats)
