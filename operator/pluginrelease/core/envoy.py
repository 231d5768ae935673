"""One gateway pod, as its Envoy describes itself: admin documents, statistics and log lines become a `Sighting`.

Nothing is decided here. A document whose shape is not known becomes an entry of `Sighting.unknown`, which
`verdict.judge` never takes for health.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any


class Kind(StrEnum):
    """What the gateway runs under the plugin's name."""

    WASM = "Wasm"
    RBAC_DENY = "RbacDeny"
    RBAC_ALLOW = "RbacAllow"
    OTHER = "Other"


@dataclass(frozen=True)
class PodRef:
    """A gateway pod as the API server shows it. ``deleting``: it has a deletionTimestamp."""

    namespace: str
    name: str
    uid: str
    ready: bool
    deleting: bool = False


@dataclass(frozen=True)
class Wanted:
    """What every selected gateway pod should run.

    ``namespace`` and ``name`` are the WasmPlugin's; ``digest_hex`` the manifest's sha256 without prefix; ``config``
    the plugin's configuration (None and {} are the same); ``fail_strategy`` FAIL_CLOSE, FAIL_OPEN or FAIL_RELOAD.
    """

    namespace: str
    name: str
    digest_hex: str
    config: Mapping[str, Any] | None
    fail_strategy: str

    def ecds_name_matches(self, name: str) -> bool:
        raise NotImplementedError

    def plugin_name_matches(self, name: str) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class Entry:
    """One extension configuration (ECDS) that carries our name."""

    name: str
    kind: Kind
    type_url: str
    path: str
    digest_hex: str | None
    config: Any
    fail: str
    last_updated: datetime | None


@dataclass(frozen=True)
class Stats:
    """Counters and gauges; None where the gateway hides them."""

    config_reload: int | None = None
    config_fail: int | None = None
    update_rejected: int | None = None
    vm_created: int | None = None
    vm_active: int | None = None


class LogKind(StrEnum):
    """What one log line says about our plugin."""

    LOADED = "Loaded"
    REJECTED = "Rejected"
    FETCH_FAILED = "FetchFailed"
    LISTENER_REJECTED = "ListenerRejected"


@dataclass(frozen=True)
class LogEvent:
    """``line`` is the gateway's own sentence; ``causes`` the lines before it, of the same thread, that say why."""

    at: datetime | None
    kind: LogKind
    line: str
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogFindings:
    """Events about our plugin, oldest first; ``truncated``: the log was cut, earlier events may be missing."""

    events: tuple[LogEvent, ...] = ()
    truncated: bool = False

    @property
    def newest(self) -> LogEvent | None:
        return self.events[-1] if self.events else None


@dataclass(frozen=True)
class Sighting:
    """One pod, looked at once. ``unreachable`` is the reason when nothing (or not enough) could be read."""

    pod: PodRef
    at: datetime
    unreachable: str | None = None
    envoy_version: str | None = None
    istio_version: str | None = None
    concurrency: int | None = None
    started_at: datetime | None = None
    entries: tuple[Entry, ...] = ()
    code_files: int = 0
    code_shared: bool = False
    listener_errors: tuple[str, ...] = ()
    other_listener_errors: tuple[str, ...] = ()
    warming: tuple[str, ...] = ()
    referenced: bool | None = None
    stats: Stats = field(default_factory=Stats)
    log: LogFindings = field(default_factory=LogFindings)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Incarnation:
    """One run of one pod's Envoy: what a verification holds for."""

    uid: str
    started_at: datetime


@dataclass(frozen=True)
class Baseline:
    """What a pod's counters were before the write, for one incarnation."""

    incarnation: Incarnation
    config_reload: int | None
    config_fail: int | None
    update_rejected: int | None


def incarnation(sighting: Sighting) -> Incarnation | None:
    """None when the Envoy's start is not known."""
    raise NotImplementedError


def baseline(sighting: Sighting) -> Baseline | None:
    """What to keep (in the API) of a look before a write; None when the pod could not be read."""
    raise NotImplementedError


def read_log(lines: Iterable[str], wanted: Wanted, since: datetime | None) -> LogFindings:
    """Events about the wanted plugin at or after ``since``, oldest first."""
    raise NotImplementedError
