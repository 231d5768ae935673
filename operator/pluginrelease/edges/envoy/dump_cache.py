"""Cache of what gateways answered last, so that unchanged parts are not read again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pluginrelease.core.gateway import log_rotation
from pluginrelease.core.gateway.container import LastWords, Termination
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.listeners import Listeners
from pluginrelease.core.gateway.log_rotation import Beginning
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.edges.envoy.snapshots import SnapshotShare


@dataclass(frozen=True)
class CachedDump:
    """Answers of one run of a pod's Envoy. ``start`` identifies the run; ``listeners`` are valid for this ``mark``."""

    start: str
    info: str
    mark: bytes = b""
    listeners: Listeners = field(default_factory=Listeners)


class DumpCache:
    """What gateways answered last, so that unchanged parts are not sent again.

    It is shared by all releases and keeps the ``limit`` pods that were observed last. Losing it only costs bytes.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, CachedDump] = OrderedDict()
        self._ends: OrderedDict[str, tuple[Termination, LastWords]] = OrderedDict()
        self._logs: OrderedDict[str, tuple[str, Beginning, bool]] = OrderedDict()

    def recall_end(self, pod: PodRef) -> LastWords | None:
        """Return what the container's last log said, if it was about its present end."""
        ended, words = self._ends.get(pod.uid, (None, None))
        return words if ended == pod.container.terminated else None

    def keep_end(self, pod: PodRef, words: LastWords) -> None:
        """Keep the last log, and replace the one of an earlier end of this pod's container."""
        if pod.container.terminated is not None:
            self._ends[pod.uid] = (pod.container.terminated, words)
            self._ends.move_to_end(pod.uid)
        while len(self._ends) > self._limit:
            self._ends.popitem(last=False)

    def recall(self, pod: PodRef, start: str) -> CachedDump | None:
        """Return what was kept of this run of the pod's Envoy."""
        kept = self._kept.get(pod.uid)
        return kept if kept and kept.start == start else None

    def keep(self, pod: PodRef, kept: CachedDump) -> None:
        """Keep answers, and replace what was kept of this pod."""
        self._kept[pod.uid] = kept
        self._forget_oldest(self._kept, pod)

    def has_long_log(self, pod: PodRef, start: str) -> bool:
        """Return whether this Envoy's log did not fit in one short answer when it was read last."""
        run, _, is_long = self._logs.get(pod.uid, ("", None, False))
        return is_long and run == start

    def learn(self, pod: PodRef, start: str, now: Beginning, *, is_long: bool) -> Beginning:
        """Return what is known of this Envoy's log after reading how the log begins now."""
        run, before, _ = self._logs.get(pod.uid, ("", None, False))
        found = log_rotation.carry(before if run == start else None, now)
        self._logs[pod.uid] = (start, found, is_long)
        self._forget_oldest(self._logs, pod)
        return found

    def _forget_oldest(self, kept: OrderedDict[str, Any], newest: PodRef) -> None:
        kept.move_to_end(newest.uid)
        while len(kept) > self._limit:
            kept.popitem(last=False)


@dataclass(frozen=True)
class ReadOptions:
    """What need not be read again: the log of pods whose Envoy is in ``verified`` is read only after ``recent``.

    ``shared``: snapshots that all releases use. One counts if it began at ``not_before`` or later (None: now).
    ``before_write``: nothing was written yet, so that no log line is needed, but the log level to restore later is.
    """

    verified: Collection[Incarnation] = ()
    recent: datetime | None = None
    cache: DumpCache | None = None
    shared: SnapshotShare | None = None
    not_before: datetime | None = None
    before_write: bool = False


READ_ALL = ReadOptions()
