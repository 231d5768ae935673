"""One program of the lab: its start, its readiness, and the report when it exits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pluginrelease_lab.errors import LabError

READY_WITHIN = 90.0
"""Seconds until a part must be ready. A slow machine is no error, so this is long; a part that exits is one."""
POLL_EVERY = 0.05
LAST_LINES = 15
_TAIL_BYTES = 16 * 1024

Argv = Sequence[str | os.PathLike[str]]
Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Program:
    """What to run. ``ready`` returns whether it works yet; None: it is ready as soon as it is started."""

    name: str
    argv: Argv
    log: Path
    ready: Probe | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    descriptors: tuple[int, ...] = ()


@dataclass
class Part:
    """A program that was started."""

    program: Program
    process: asyncio.subprocess.Process
    started: float

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    async def wait_until_ready(self, within: float = READY_WITHIN) -> float:
        """Return the seconds from its start until it was ready. Raises LabError if it exits first or takes too long."""
        ready = asyncio.ensure_future(self._poll())
        ended = asyncio.ensure_future(self.process.wait())
        try:
            done, _ = await asyncio.wait({ready, ended}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            ended.cancel()
        if ended in done:
            raise LabError(self.obituary())
        if ready not in done:
            raise LabError(f"{self.program.name} was not ready within {within:.0f} s. {self._last_words()}")
        return time.monotonic() - self.started

    async def _poll(self) -> None:
        if self.program.ready is not None:
            await until(self.program.ready)

    def obituary(self) -> str:
        """Return one sentence with the exit status, then the last lines of the log."""
        return f"{self.program.name} ended ({_exit_text(self.process.returncode)}). {self._last_words()}"

    def _last_words(self) -> str:
        lines = last_lines(self.program.log)
        return f"The end of {self.program.log}:\n" + "\n".join(f"    {line}" for line in lines)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and to all processes in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


async def until(probe: Probe) -> None:
    """Call ``probe`` until it returns True. The caller sets a deadline."""
    while not await probe():  # noqa: ASYNC110 - another program's health can only be asked for
        await asyncio.sleep(POLL_EVERY)


async def start(program: Program) -> Part:
    """Start ``program`` in its own session, with its output appended to its log."""
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**clean_environment(), **program.env},
            cwd=program.cwd,
            pass_fds=program.descriptors,
            start_new_session=True,
        )
    return Part(program, process, time.monotonic())


def clean_environment() -> dict[str, str]:
    """Return the environment of a part: enough to run, and nothing about the user's cluster or proxy."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}


def last_lines(log: Path, count: int = LAST_LINES) -> list[str]:
    """Return the last ``count`` lines of a log of any size; none if there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return file.read(_TAIL_BYTES).decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"exit status {code}"
