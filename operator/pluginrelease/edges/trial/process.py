"""Envoy's process: started, watched for its memory, and ended with all its children in any case."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pluginrelease.core.gateway import container
from pluginrelease.core.gateway.container import OUT_OF_MEMORY, Termination
from pluginrelease.core.trial.records import EnvoyEnd

SIGNAL_ON_PARENT_DEATH = 1  # PR_SET_PDEATHSIG, linux/prctl.h
# time between two reads of the memory: a loop fills about 50 MB in it
MEMORY_SECONDS = 0.02
END_SECONDS = 3.0
LOG_LIMIT = 8 * 1024 * 1024
MEBIBYTE = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class EnvoyProcess:
    """One Envoy. ``mebibytes``: it is ended when it has more memory than this; 0: it is not.

    ``most_memory``: the most resident memory that it was seen with, in MiB; None if the system does not show it.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path, mebibytes: int) -> None:
        self.pid = process.pid
        self._process, self._log, self._limit = process, log, mebibytes
        self._beyond = 0
        self.most_memory: int | None = None
        self.ended: asyncio.Future[int] = asyncio.ensure_future(process.wait())
        self._watch = asyncio.ensure_future(self._watch_memory())

    @property
    def is_running(self) -> bool:
        """Return True if it has not ended."""
        return self._process.returncode is None

    def describe_end(self) -> EnvoyEnd | None:
        """Return how it ended, with its last words; None if it runs."""
        code = self._process.returncode
        if code is None:
            return None
        shown = 128 - code if code < 0 else code  # as a container's exit code
        ended = Termination(datetime.now(UTC), OUT_OF_MEMORY if self._beyond else "", shown)
        words = container.read_last_words(ended, self.read_log())
        return EnvoyEnd(max(code, 0), _name_signal(code), words, self._beyond)

    def read_log(self, start: int = 0) -> str:
        """Return the log from a byte on; of a longer one its last `LOG_LIMIT` bytes."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - LOG_LIMIT))
            return file.read(LOG_LIMIT).decode(errors="replace")

    def measure_log(self) -> int:
        """Return the size of the log in bytes."""
        return self._log.stat().st_size

    def read_memory(self) -> tuple[int, int] | None:
        """Return resident memory now and at most, in MiB; None if the system does not show it."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return None
        found = dict(line.split(":", 1) for line in text.splitlines() if line.startswith(("VmRSS:", "VmHWM:")))
        if len(found) < 2:
            return None  # it has ended, and its parent has not read that yet
        now, most = (int(found[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM"))
        return now, most

    def read_processor_seconds(self) -> float | None:
        """Return the seconds of processor time that it has used; None if the system does not show it."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return None
        used = text.rpartition(")")[2].split()[11:13]
        return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")

    async def stop(self) -> None:
        """End it: first politely, then by SIGKILL for it and its children."""
        self._watch.cancel()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await asyncio.shield(self.ended)
        self.kill()
        await self.ended

    def kill(self) -> None:
        """End it and its children at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _watch_memory(self) -> None:
        while self.is_running:
            memory = self.read_memory()
            if memory is not None:
                self.most_memory = memory[1]
            if memory is not None and self._limit and memory[0] > self._limit:
                self._beyond = memory[0]
                self.kill()
                return
            await asyncio.sleep(MEMORY_SECONDS)


@contextlib.asynccontextmanager
async def run(
    program: Path, arguments: Sequence[str], folder: Path, log: Path, mebibytes: int
) -> AsyncIterator[EnvoyProcess]:
    """Start Envoy with an empty environment, and end it on leaving, also when the caller is cancelled.

    It also ends when this process dies. Raises OSError if it cannot be started.
    """
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            str(program),
            *arguments,
            cwd=folder,
            env={},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    envoy = EnvoyProcess(process, log, mebibytes)
    try:
        yield envoy
    finally:
        await asyncio.shield(envoy.stop())


def _name_signal(code: int) -> str:
    if code >= 0:
        return ""
    known = {number.value: number.name for number in signal.Signals}
    return known.get(-code, f"signal {-code}")


async def ask_version(program: Path) -> str:
    """Return the version that a program reports as Envoy does; "" if it reports none within 10 s."""
    try:
        process = await asyncio.create_subprocess_exec(
            str(program), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={}
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(10):
            said, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return said.decode(errors="replace").strip()[-200:]


def _die_with_parent() -> None:
    """Run in the child before Envoy starts. A hung Envoy ignores every signal but SIGKILL."""
    if _libc is not None:
        _libc.prctl(SIGNAL_ON_PARENT_DEATH, signal.SIGKILL)
