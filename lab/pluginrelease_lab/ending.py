"""Find a running lab, end it from the host, and keep only its logs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from pluginrelease_lab.errors import LabError

GUARD_WITHIN = 5.0
"""Seconds from taking the lock until the guard must have started."""
DOWN_WITHIN = 20.0
"""Seconds that the kernel may take to end all processes."""


def guard_of(state: Path) -> int | None:
    """Return the process id of the lab's guard; None if no process holds the lock.

    Raises FileNotFoundError if there is no lab.
    """
    deadline = time.monotonic() + GUARD_WITHIN
    with (state / "lock").open() as lock:
        while _held(lock.fileno()):
            if said := os.pread(lock.fileno(), 32, 0):
                return int(said)
            if time.monotonic() > deadline:
                raise LabError(f"whoever holds {state / 'lock'} does not say who it is")
            time.sleep(0.02)
    return None


def _held(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def end(guard: int) -> None:
    """End a lab through its guard, after the host's programs in its network."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(guard)
        try:
            visitors = list(_visitors(guard))
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            _wait_for_end(handle, DOWN_WITHIN)
            for visitor in visitors:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(visitor, signal.SIGKILL)
        finally:
            os.close(handle)


def wait(guard: int) -> None:
    """Wait without a limit until the lab has ended."""
    handle = os.pidfd_open(guard)
    try:
        _wait_for_end(handle, None)
    finally:
        os.close(handle)


def _wait_for_end(handle: int, within: float | None) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(None if within is None else within * 1000):
        raise LabError(f"the lab did not end within {within:.0f} s")


def _visitors(guard: int) -> Iterator[int]:
    """Yield processes in the lab's network that are not its own: started by `lab exec` or `Lab.popen`."""
    theirs = _namespaces_of(guard)
    if theirs is None:
        return
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) not in {guard, os.getpid()}:
            network_of, processes_of = _namespaces_of(int(entry.name)) or ("", "")
            if network_of == theirs[0] and processes_of == theirs[1]:
                yield int(entry.name)


def _namespaces_of(pid: int) -> tuple[str, str] | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net"), os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def keep_only_logs(state: Path) -> None:
    """Delete all files of an ended lab except its logs, including its keys."""
    for entry in state.iterdir():
        if entry.is_dir() and entry.name != "logs":
            shutil.rmtree(entry)
        elif entry.is_file():
            entry.unlink()
