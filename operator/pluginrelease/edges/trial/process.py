"""Envoy's process: started, watched for its memory, and ended with all its children in any case."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
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
ATTACH_SECONDS = 0.1
LOG_LIMIT = 8 * 1024 * 1024
MEBIBYTE = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class EnvoyProcess:
    """One Envoy. ``mebibytes``: it is ended when it has more memory than this; 0: it is not.

    ``most_memory``: the most resident memory that it was seen with, in MiB; None if the system does not show it.
    """

    def __init__(
        self, pid: int, ended: asyncio.Future[int | None], log: Path, mebibytes: int, *, is_ours: bool = True
    ) -> None:
        """``ended`` has the exit code as `subprocess` gives it; None if only the parent of the process knows it."""
        self.pid, self.ended = pid, ended
        self._log, self._limit, self._is_ours = log, mebibytes, is_ours
        self._beyond = 0
        self.most_memory: int | None = None
        self._watch = asyncio.ensure_future(self._watch_memory())

    @property
    def is_running(self) -> bool:
        """Return True if it has not ended."""
        return not self.ended.done()

    def describe_end(self) -> EnvoyEnd | None:
        """Return how it ended, with its last words; None if it runs."""
        if self.is_running:
            return None
        code = self.ended.result()
        shown = 0 if code is None else 128 - code if code < 0 else code  # as a container's exit code
        ended = Termination(datetime.now(UTC), OUT_OF_MEMORY if self._beyond else "", shown)
        words = container.read_last_words(ended, self.read_log())
        if code is None:
            return EnvoyEnd(None, words=words, mebibytes=self._beyond)
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

    def read_start(self) -> datetime:
        """Return when it started, to a second; now if the system does not show it."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
            booted = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(encoding="utf-8"), re.MULTILINE)
        except OSError:
            booted = None
        if booted is None:
            return datetime.now(UTC)
        ticks = int(stat.rpartition(")")[2].split()[19])
        return datetime.fromtimestamp(int(booted[1]) + ticks / os.sysconf("SC_CLK_TCK") - 1, UTC)

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
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await asyncio.shield(self.ended)
        self.kill()
        await self.ended

    def kill(self) -> None:
        """End it at once, and its children if this process started it."""
        if self.is_running or self._is_ours:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if self._is_ours else os.kill)(self.pid, signal.SIGKILL)

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
    envoy = EnvoyProcess(process.pid, asyncio.ensure_future(_wait(process)), log, mebibytes)
    try:
        yield envoy
    finally:
        await asyncio.shield(envoy.stop())


async def _wait(process: asyncio.subprocess.Process) -> int | None:
    return await process.wait()


@contextlib.asynccontextmanager
async def attach(bootstrap: Path, log: Path, mebibytes: int, seconds: float) -> AsyncIterator[EnvoyProcess]:
    """Find the Envoy that another container of the pod starts with this bootstrap, and end it on leaving.

    The containers share their processes (``shareProcessNamespace``) and the folder. Raises OSError if there is none
    within the time.
    """
    until = asyncio.get_running_loop().time() + seconds
    while (pid := _find_process(bootstrap, log)) is None:
        if asyncio.get_running_loop().time() > until:
            raise TimeoutError(f"no process reads {bootstrap}, or there is no {log}")
        await asyncio.sleep(ATTACH_SECONDS)
    envoy = EnvoyProcess(pid, asyncio.ensure_future(_await_end(pid)), log, mebibytes, is_ours=False)
    try:
        yield envoy
    finally:
        await asyncio.shield(envoy.stop())


def _find_process(bootstrap: Path, log: Path) -> int | None:
    """Return the process that reads a bootstrap, once it writes its log; None before."""
    wanted = str(bootstrap).encode()
    if not log.exists():
        return None
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in place.read_bytes().split(b"\0"):
                return int(place.parent.name)
    return None


async def _await_end(pid: int) -> int | None:
    """Wait until a process of another parent has ended; a zombie has."""
    while _has_process(pid):  # noqa: ASYNC110 - the process of another parent sends no event
        await asyncio.sleep(ATTACH_SECONDS)
    return None


def _has_process(pid: int) -> bool:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


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
