"""The container that runs Envoy: its state in the pod's status, and how it ended, from its last log lines.

The exit code says little: Istio's agent runs Envoy, and ends with 0 whatever killed Envoy (`pkg/envoy/agent.go`). Only
its log has the signal; the kubelet keeps it as the log of the *previous* container.
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
MAX_FRAMES = 2
BACK_OFF = "CrashLoopBackOff"
# the longest wait of a kubelet before it restarts a container
BACK_OFF_MAX = timedelta(minutes=5)
OUT_OF_MEMORY = "OOMKilled"
# a new sandbox ends all containers of a pod within their grace period
TOGETHER = timedelta(seconds=35)
# 128 + the signal of a process that failed by its own fault
_FATAL_CODES = frozenset(128 + number for number in (4, 5, 6, 7, 8, 11, 31))

_EXITED = re.compile(r"^Envoy exited with error: ")
# Go's words for signals; other processes send these, whatever the container did
_SIGNAL = re.compile(r"^Envoy exited with error: signal: (?!killed|terminated|interrupt|hangup|quit)")
_CAUGHT = re.compile(r"^Caught [\w ]+, suspect faulting address")
# the agent adds this to every SIGKILL (istio pkg/envoy/agent.go), also one that a user sent: it proves nothing
_GUESS = re.compile(r"^Envoy may have been out of memory killed")
# V8 writes to standard error as it dies, in no log format
_V8 = re.compile(r"^# (?:Fatal error in\b|unreachable code$|Check failed:)")
# a frame of Envoy's backtrace, if its build has symbols: the plugin or its VM was involved
_FRAME = re.compile(r"^#\d+: (?=.*(?:\bproxy_wasm::|\bWasm::|\bv8::))")
_ASKED = re.compile(r"^Agent has successfully terminated$")


class Cause(StrEnum):
    """Why a container ended.

    Asked: the agent was asked to end. Unclear: it was killed from outside, or logged nothing.
    """

    FATAL = "Fatal"
    OUT_OF_MEMORY = "OutOfMemory"
    ASKED = "Asked"
    UNCLEAR = "Unclear"


@dataclass(frozen=True)
class Termination:
    """One end of the container.

    ``is_state``: it is the present state, so its log is not yet the previous container's.
    """

    at: datetime
    reason: str = ""
    exit_code: int = 0
    is_state: bool = False


@dataclass(frozen=True)
class Container:
    """The container that runs Envoy.

    ``restarts``: how often the kubelet restarted it. ``waiting``: why it does not run, "" if not known. ``together``:
    all containers of its pod ended with it last time, for example because the pod got a new sandbox.
    """

    restarts: int = 0
    running: bool = True
    waiting: str = ""
    started_at: datetime | None = None
    terminated: Termination | None = None
    together: bool = False

    @property
    def ends(self) -> int:
        """Return how often it has ended: one more than its restarts if it has ended and is not started again yet."""
        return self.restarts + (self.terminated is not None and not self.running)


@dataclass(frozen=True)
class LastWords:
    """Why the container ended last, and the log lines that show it."""

    cause: Cause = Cause.UNCLEAR
    lines: tuple[str, ...] = ()


def read(status: Mapping[str, Any], name: str) -> Container:
    """Return the container of this name, also if it is a native sidecar.

    One that the status does not list counts as running.
    """
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
    """Return why the container ended: from its status first, then from its last log lines.

    Only lines in the gateway's own format count, because a client can put any text into an access log.
    """
    said = [words for line in log.splitlines() if (words := _read_line(line))]
    frames = [shorten(words) for line in log.splitlines() if (words := _read_frame(line))]
    lines = (*(shorten(line) for line in said[-MAX_WORDS:]), *frames[:MAX_FRAMES])
    if ended.reason == OUT_OF_MEMORY:
        return LastWords(Cause.OUT_OF_MEMORY, lines)
    if any(map(_ASKED.match, said)):
        return LastWords(Cause.ASKED, lines)
    fatal = any(pattern.match(line) for line in said for pattern in (_SIGNAL, _CAUGHT, _V8))
    return LastWords(Cause.FATAL if fatal or ended.exit_code in _FATAL_CODES else Cause.UNCLEAR, lines)


def _read_frame(line: str) -> str:
    """Return the frame of a backtrace that names Wasm; "" for any other line. Builds without symbols print none."""
    said = read_record(line)
    return said.message if said.level and _FRAME.match(said.message) else ""


def _read_line(line: str) -> str:
    """Return what the line says about the end; "" if it says nothing."""
    if _V8.match(line):
        return line
    said = read_record(line)
    known = (_EXITED, _CAUGHT, _GUESS, _ASKED)
    return said.message if said.level and any(pattern.match(said.message) for pattern in known) else ""
