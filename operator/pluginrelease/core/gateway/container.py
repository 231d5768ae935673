"""The container that runs Envoy, as its pod's status shows it, and how it ended, as its last log lines show it.

The exit code says little: Istio's agent runs Envoy and ends with 0 whatever killed that (`pkg/envoy/agent.go`). Only
its log, which the kubelet keeps as that of the *previous* container, has the signal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pluginrelease.core.gateway.logs import read_record, shorten

MAX_WORDS = 4
BACK_OFF = "CrashLoopBackOff"
OUT_OF_MEMORY = "OOMKilled"
# a new sandbox ends all containers of a pod at once, within their grace
TOGETHER = timedelta(seconds=35)
# 128 + the number of a signal by which a process ends that has done something wrong
_FATAL_CODES = frozenset(128 + number for number in (4, 5, 6, 7, 8, 11, 31))

_EXITED = re.compile(r"^Envoy exited with error: ")
# Go's words for signals; these are sent by others, and not for what a process did
_SIGNAL = re.compile(r"^Envoy exited with error: signal: (?!killed|terminated|interrupt|hangup|quit)")
_CAUGHT = re.compile(r"^Caught [\w ]+, suspect faulting address")
_MEMORY = re.compile(r"^Envoy may have been out of memory killed")
# V8 writes to the standard error as it dies, in no log format
_V8 = re.compile(r"^# (?:Fatal error in\b|unreachable code$|Check failed:)")
_ASKED = re.compile(r"^Agent has successfully terminated$")


class Cause(StrEnum):
    """Why a container ended. Asked: the agent was asked to end. Unclear: killed from outside, or without a word."""

    FATAL = "Fatal"
    OUT_OF_MEMORY = "OutOfMemory"
    ASKED = "Asked"
    UNCLEAR = "Unclear"


@dataclass(frozen=True)
class Termination:
    """An end of the container. ``is_state``: it is its present state, so the log is not yet that of a previous one."""

    at: datetime
    reason: str = ""
    exit_code: int = 0
    is_state: bool = False


@dataclass(frozen=True)
class Container:
    """``restarts``: how often the kubelet started it again; ``waiting``: why it does not run, "" where that is not
    known; ``together``: its last end was that of all containers of its pod, as when a pod's sandbox is made again."""

    restarts: int = 0
    running: bool = True
    waiting: str = ""
    started_at: datetime | None = None
    terminated: Termination | None = None
    together: bool = False

    @property
    def ends(self) -> int:
        """How often it has ended: one that has, and is not started again yet, has ended once more than restarted."""
        return self.restarts + (self.terminated is not None and not self.running)


@dataclass(frozen=True)
class LastWords:
    """Why the container ended last, and the lines that show it."""

    cause: Cause = Cause.UNCLEAR
    lines: tuple[str, ...] = ()


def read(status: Mapping[str, Any], name: str) -> Container:
    """The container of this name, also where it is a native sidecar; one that no status shows counts as running."""
    listed = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    own = next((status for status in listed if status["name"] == name), None)
    if own is None:
        return Container()
    state, last = own.get("state", {}), own.get("lastState", {})
    ended = _read_termination(state, is_state=True) or _read_termination(last)
    started = state.get("running", {}).get("startedAt")
    return Container(
        restarts=own.get("restartCount", 0),
        running="running" in state or not state,
        waiting=state.get("waiting", {}).get("reason", ""),
        started_at=datetime.fromisoformat(started) if started else None,
        terminated=ended,
        together=ended is not None and _is_same_time(ended, status.get("containerStatuses", []), name),
    )


def _read_termination(state: Mapping[str, Any], *, is_state: bool = False) -> Termination | None:
    ended = state.get("terminated")
    if not ended or not ended.get("finishedAt"):
        return None
    at = datetime.fromisoformat(ended["finishedAt"])
    return Termination(at, ended.get("reason", ""), ended.get("exitCode", 0), is_state)


def _is_same_time(ended: Termination, listed: Iterable[Mapping[str, Any]], name: str) -> bool:
    others = [status for status in listed if status["name"] != name]
    ends = [
        _read_termination(status.get("state", {})) or _read_termination(status.get("lastState", {}))
        for status in others
    ]
    return bool(others) and all(end is not None and abs(end.at - ended.at) <= TOGETHER for end in ends)


def read_last_words(ended: Termination, log: str) -> LastWords:
    """Why the container ended, by its status first, then by its last lines.

    Only lines in the gateway's own format count, as a client can put any text into an access log.
    """
    said = [words for line in log.splitlines() if (words := _read_line(line))]
    lines = tuple(shorten(line) for line in said[-MAX_WORDS:])
    if ended.reason == OUT_OF_MEMORY or any(map(_MEMORY.match, said)):
        return LastWords(Cause.OUT_OF_MEMORY, lines)
    if any(map(_ASKED.match, said)):
        return LastWords(Cause.ASKED, lines)
    fatal = any(pattern.match(line) for line in said for pattern in (_SIGNAL, _CAUGHT, _V8))
    return LastWords(Cause.FATAL if fatal or ended.exit_code in _FATAL_CODES else Cause.UNCLEAR, lines)


def _read_line(line: str) -> str:
    """What the line says of the end; "" for one that says nothing of it."""
    if _V8.match(line):
        return line
    said = read_record(line)
    known = (_EXITED, _CAUGHT, _MEMORY, _ASKED)
    return said.message if said.level and any(pattern.match(said.message) for pattern in known) else ""
