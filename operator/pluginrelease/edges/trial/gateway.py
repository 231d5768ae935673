"""One Envoy of a trial: its files are moved, its admin port is read as a gateway's, and requests go through it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pluginrelease import api
from pluginrelease.core.gateway import documents, observations
from pluginrelease.core.gateway.documents import Documents
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import Baseline, PodObservation, PodRef
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import PodVerdict, State
from pluginrelease.core.rollout.probe import Unanswered
from pluginrelease.core.trial import layout
from pluginrelease.core.trial.plan import ANSWER_SECONDS
from pluginrelease.core.trial.records import Answer, StepRecord, TrialStep
from pluginrelease.edges.envoy import direct, probes
from pluginrelease.edges.envoy.access import GatewayAccess
from pluginrelease.edges.envoy.admin import BROKEN, Admin
from pluginrelease.edges.envoy.observing import filter_statistics
from pluginrelease.edges.envoy.tunnel import Http
from pluginrelease.edges.trial.process import EnvoyProcess

LOOK_SECONDS = 2.0
# of the time for which Envoy may be silent: how much of it a loop uses, and how often it is granted without a processor
BUSY_PART, STARVED_TIMES = 0.25, 4
PAUSE_SECONDS = 0.05
# how long a listener that was replaced may need until its plugin is gone, beyond the drain
GONE_SECONDS = 15.0
# what Envoy calls when a plugin is replaced or removed
AT_END = ("proxy_on_done", "proxy_on_log", "proxy_on_delete")
POD = PodRef("trial", "trial", "trial", ready=True)
ACCESS = GatewayAccess()


@dataclass(frozen=True)
class Waited:
    """How a wait ended: ``row`` is the last verdict, if there was one; ``silent`` the seconds without an answer."""

    row: PodVerdict | None = None
    silent: float | None = None
    is_done: bool = False


class TrialGateway:
    """An Envoy that reads its configuration from ``folder``."""

    def __init__(self, envoy: EnvoyProcess, folder: Path, hang_seconds: float) -> None:
        self.envoy, self.folder, self.hang_seconds = envoy, folder, hang_seconds
        self.version: str | None = None
        self.seen: PodObservation | None = None
        self._baselines: tuple[Baseline, ...] = ()
        self._moved_at = envoy.read_start()
        # an Envoy of another container may have started long before its driver
        self._late_by = datetime.now(UTC) - self._moved_at
        self._log_start = 0
        self._admin: tuple[str, int] | None = None

    # ------------------------------------------------------------------------------------------------ moving files

    def begin_move(self) -> None:
        """Note what Envoy shows now. What follows is judged as the effect of the next move."""
        baseline = observations.make_baseline(self.seen) if self.seen is not None else None
        self._baselines = (baseline,) if baseline is not None else ()
        self._moved_at, self._late_by = datetime.now(UTC), timedelta()
        self._log_start = self.envoy.measure_log()

    def move(self, part: str, place: str) -> None:
        """Put a prepared part at the place that Envoy watches, in one step."""
        fresh = self.folder / f"{place}.new"
        shutil.copyfile(self.folder / part, fresh)
        os.replace(fresh, self.folder / place)

    # ---------------------------------------------------------------------------------------------------- watching

    async def wait_until_live(self, seconds: float) -> Waited:
        """Wait until the admin port answers."""
        return await self._wait(self._is_live, seconds)

    async def settle(self, wanted: DesiredPlugin) -> Waited:
        """Wait until the signs of a gateway give a verdict on the plugin."""
        row: PodVerdict | None = None

        async def is_judged() -> bool:
            nonlocal row
            row = await self.judge(wanted)
            return row.state is not State.PENDING

        return replace(await self._wait(is_judged, self.hang_seconds), row=row)

    async def wait_until_gone(self) -> Waited:
        """Wait until no VM runs any more."""

        async def is_gone() -> bool:
            async with self._connect() as admin:
                answer = await admin.get(
                    "/stats?format=json&filter=%5Ewasm%5C.envoy%5C.wasm%5C.runtime%5C.v8%5C.active%24"
                )
            return '"value":0' in answer.text or '"value"' not in answer.text

        return await self._wait(is_gone, GONE_SECONDS)

    async def judge(self, wanted: DesiredPlugin) -> PodVerdict:
        """Observe Envoy once, and judge it as a gateway pod. Raises `BROKEN` or TimeoutError."""
        async with asyncio.timeout(LOOK_SECONDS):
            read = await self._read()
        now = datetime.now(UTC)
        self.seen = documents.observe_pod(POD, now, read, wanted, self._moved_at)
        self.version = self.seen.envoy_version
        judged = judging.judge(
            wanted,
            [self.seen],
            write_at=self._moved_at,
            baselines=self._baselines,
            load_timeout=timedelta(seconds=self.hang_seconds) + self._late_by,
        )
        return judged.pods[0]

    def list_traps(self) -> tuple[str, ...]:
        """Return Envoy's lines about callbacks that trapped since the move, but for those that end a plugin.

        In a trial no client sends requests meanwhile, so they are about the revision that was moved in.
        """
        crashes = self.seen.log.crashes if self.seen is not None else ()
        return tuple(crash.line for crash in crashes if not any(name in crash.line for name in AT_END))

    def count_hangs(self) -> int:
        """Return how many hangs of workers Envoy has counted."""
        return 0 if self.seen is None else self.seen.stats.worker_hangs or 0

    async def _wait(self, look: Callable[[], Awaitable[bool]], seconds: float) -> Waited:
        """Repeat a look until it is True, Envoy ends, is silent for too long, or answers but never True."""
        began = answered = time.monotonic()
        used = self.envoy.read_processor_seconds()
        while self.envoy.is_running:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    done = await self._until_ended(look())
                answered, used = time.monotonic(), self.envoy.read_processor_seconds()
                if done:
                    return Waited(is_done=True)
                if answered - began > seconds:
                    return Waited()
            except (*BROKEN, TimeoutError):
                silent = time.monotonic() - answered
                if self._hangs(silent, used):
                    return Waited(silent=silent)
            await asyncio.sleep(PAUSE_SECONDS)
        return Waited()

    def _hangs(self, silent: float, used: float | None) -> bool:
        """Return True if Envoy hangs: it is silent for its time, and had the processor for a part of it.

        On a busy machine a large module compiles for minutes without having the processor.
        """
        now = self.envoy.read_processor_seconds()
        is_starved = used is not None and now is not None and now - used < self.hang_seconds * BUSY_PART
        return silent > self.hang_seconds * (STARVED_TIMES if is_starved else 1)

    async def _until_ended(self, look: Awaitable[bool]) -> bool:
        """Return what a look finds; False as soon as Envoy ends."""
        looking = asyncio.ensure_future(look)
        both: set[asyncio.Future[Any]] = {looking, self.envoy.ended}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return looking.result() if looking.done() else False
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError, *BROKEN):
                await looking

    # -------------------------------------------------------------------------------------------------- the admin port

    async def _is_live(self) -> bool:
        if self._admin is None:
            written = self.folder / layout.ADMIN_ADDRESS
            text = written.read_text(encoding="utf-8").strip() if written.exists() else ""
            host, _, port = text.rpartition(":")
            if not host:
                return False
            self._admin = (host, int(port))
        async with self._connect() as admin:
            return (await admin.request("GET", "/ready")).status == 200

    async def find_port(self) -> int:
        """Return the port of the listener. Raises `BROKEN`."""
        async with asyncio.timeout(LOOK_SECONDS), self._connect() as admin:
            listed = (await admin.get("/listeners")).text
        found = dict(line.split("::", 1) for line in listed.splitlines() if "::" in line)
        return int(found[layout.LISTENER].strip().rpartition(":")[2])

    @contextlib.asynccontextmanager
    async def _connect(self) -> AsyncIterator[Admin]:
        if self._admin is None:
            raise ConnectionRefusedError("Envoy has not written the address of its admin port")
        async with direct.connect(*self._admin) as stream:
            yield Admin(Http(stream), ACCESS)

    async def _read(self) -> Documents:
        """Read what Envoy answers, in the order of `edges.envoy.observing.read_documents`."""
        async with self._connect() as admin:
            start = await admin.get("/config_dump?mask=last_updated")
            info = documents.trim_server_info((await admin.get("/server_info")).text)
            ecds = await admin.section("ecds_filters")
            listeners = await admin.listeners()
            stats = await admin.get(f"/stats?format=json&filter={quote(filter_statistics(None), safe='')}")
        log = self.envoy.read_log(self._log_start)
        return Documents(info, start.text, ecds, listeners, stats.text, log, log_from=self._moved_at)

    # ------------------------------------------------------------------------------------------------------- requests

    async def ask(self, port: int, request: api.Probe) -> Answer:
        """Send one request on a connection of its own. A failure is an answer, too."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), direct.connect("127.0.0.1", port) as stream:
                return await probes.exchange(Http(stream), request)
        except probes.FAILED as error:
            return Unanswered(probes.describe_failure(error))

    async def ask_times(self, port: int, request: api.Probe, times: int) -> tuple[Answer, ...]:
        """Send one request several times, one after the other. After one without an answer no other follows."""
        answers: list[Answer] = []
        for _ in range(times):
            answers.append(await self.ask(port, request))
            if isinstance(answers[-1], Unanswered):
                break
        return tuple(answers)

    def record(self, step: TrialStep, began: float, waited: Waited) -> StepRecord:
        """Return the record of a step that began at a monotonic time."""
        end = self.envoy.describe_end()
        silent = None if end is not None else waited.silent
        return StepRecord(step, time.monotonic() - began, waited.row, end, silent)
