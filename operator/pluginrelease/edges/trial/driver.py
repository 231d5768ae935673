"""The order of a trial: the stable revision, the new one in place, requests, back, removed.

The driver does the steps and records them. `core.trial.verdict` judges; nothing is decided here but when to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pluginrelease.core.gateway.plugin_logs import read_plugin_lines
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.trial import control, host_calls, layout, verdict
from pluginrelease.core.trial.plan import TrialPlan
from pluginrelease.core.trial.records import Answer, StepRecord, TrialExchange, TrialMemory, TrialStep
from pluginrelease.core.trial.result import PluginLine, TrialResult
from pluginrelease.edges.trial import process
from pluginrelease.edges.trial.gateway import TrialGateway, Waited
from pluginrelease.edges.trial.process import EnvoyProcess

START_SECONDS = 30.0
MAX_LINES = 500
TRACE_SECONDS = 0.1
# Envoy's words at the end of each refusal
REFUSED = " failed to load"

Tick = Callable[[TrialStep], None]


class Trial:
    """A trial under way. Each step returns its record, which is kept as well."""

    def __init__(
        self, program: Path | None, envoy: EnvoyProcess, folder: Path, plan: TrialPlan, tick: Tick | None = None
    ) -> None:
        self.plan = plan
        self._program, self._folder = program, folder
        self.envoy = envoy
        self.gateway = TrialGateway(envoy, folder, plan.hang_seconds)
        self.records: list[StepRecord] = []
        self.memory = TrialMemory()
        self.port = 0
        self._before: dict[str, Answer] = {}
        self._tick = tick or (lambda _: None)

    async def run(self) -> TrialResult:
        """Do all steps until one fails, and return the result."""
        for step in (self.start, self.load, self.ask, self.back, self.remove):
            if not self.goes_on(await step()):
                break
        return self.conclude()

    def goes_on(self, record: StepRecord) -> bool:
        """Return True if the next step makes sense: Envoy runs, answers, and has what it should have."""
        if record.end is not None or record.silent is not None or record.error or record.traps:
            return False
        if record.step is TrialStep.START and self.plan.stable is not None:
            return True
        answered = record.step is not TrialStep.REQUESTS or not record.hung
        return answered and (record.row is None or record.row.state is State.LOADED)

    async def start(self) -> StepRecord:
        """Begin with the stable revision, or prove with the control plugin that this Envoy runs plugins."""
        began = self._begin(TrialStep.START)
        waited = await self.gateway.wait_until_live(START_SECONDS)
        if waited.is_done:
            first = self.plan.stable or control.make()
            waited = await self.gateway.settle(first.wanted)
        if waited.is_done and self.plan.stable is None and waited.row and waited.row.state is State.LOADED:
            self.gateway.move(layout.LISTEN_PLAIN, layout.LISTENERS)
            gone = await self.gateway.wait_until_gone()
            waited = replace(waited, silent=gone.silent)
        record = self.gateway.record(TrialStep.START, began, waited)
        if record.end is None and record.silent is None and self.gateway.version is None:
            record = replace(record, error=f"its admin port did not answer within {START_SECONDS:.0f} s")
        if record.end is None and not record.error and record.silent is None:
            self.port = await self.gateway.find_port()
            self._before = {probe.name: await self.gateway.ask(self.port, probe) for probe in self.plan.requests}
            record = self.gateway.record(TrialStep.START, began, waited)
            self._measure(base=True)
        return self._keep(record)

    async def load(self) -> StepRecord:
        """Give Envoy the new revision, as a gateway receives it: in place, or with the listener."""
        began = self._begin(TrialStep.LOAD)
        self.gateway.begin_move()
        self.gateway.move(layout.NEW, layout.EXTENSION)
        self.gateway.move(layout.LISTEN_PLUGIN, layout.LISTENERS)
        waited = await self.gateway.settle(self.plan.revision.wanted)
        record = self.gateway.record(TrialStep.LOAD, began, waited)
        if verdict.needs_trace(self.plan, record):
            record = replace(record, failed_calls=await self._trace())
        return self._keep(replace(record, traps=self.gateway.list_traps()))

    async def ask(self) -> StepRecord:
        """Send every request through the plugin, and judge the plugin once more."""
        began, hangs = self._begin(TrialStep.REQUESTS), self.gateway.count_hangs()
        exchanges: list[TrialExchange] = []
        for probe in self.plan.requests:
            answers = await self.gateway.ask_times(self.port, probe, self.plan.times)
            exchanges.append(TrialExchange(probe, self._before.get(probe.name), answers))
            if not self.envoy.is_running:
                break
        self._measure()
        waited = await self.gateway.settle(self.plan.revision.wanted)
        record = self.gateway.record(TrialStep.REQUESTS, began, waited)
        hung, traps = self.gateway.count_hangs() - hangs, self.gateway.list_traps()
        return self._keep(replace(record, exchanges=tuple(exchanges), hung=hung, traps=traps))

    async def back(self) -> StepRecord:
        """Put the stable revision back; without one there is nothing to do."""
        began = self._begin(TrialStep.BACK)
        waited = Waited()
        if self.plan.stable is not None:
            self.gateway.begin_move()
            self.gateway.move(layout.STABLE, layout.EXTENSION)
            waited = await self.gateway.settle(self.plan.stable.wanted)
        return self._keep(self.gateway.record(TrialStep.BACK, began, waited))

    async def remove(self) -> StepRecord:
        """Remove the plugin, and wait until its VMs are gone."""
        began = self._begin(TrialStep.REMOVE)
        self.gateway.move(layout.LISTEN_PLAIN, layout.LISTENERS)
        waited = await self.gateway.wait_until_gone()
        return self._keep(self.gateway.record(TrialStep.REMOVE, began, waited))

    def conclude(self) -> TrialResult:
        """Return the result of the steps so far."""
        lines = [PluginLine(*line) for line in read_plugin_lines(self.envoy.read_log().splitlines())]
        judged = verdict.judge(self.plan, self.records)
        memory = replace(self.memory, peak=self.envoy.most_memory)
        return TrialResult(judged, tuple(self.records), memory, self.gateway.version, tuple(lines[-MAX_LINES:]))

    async def _trace(self) -> tuple[str, ...] | None:
        """Return which host calls failed for the plugin: a second Envoy loads it once more, and traces its VMs."""
        if self._program is None:
            return None
        arguments = layout.list_arguments(str(self._folder), self.plan.concurrency, wasm_level="trace")
        log, until = self._folder / layout.TRACE, time.monotonic() + self.plan.hang_seconds
        async with process.run(self._program, arguments, self._folder, log, self.plan.mebibytes) as envoy:
            while envoy.is_running and time.monotonic() < until and REFUSED not in envoy.read_log():
                await asyncio.wait({envoy.ended}, timeout=TRACE_SECONDS)
            return host_calls.read_failed(envoy.read_log().splitlines())

    def _begin(self, step: TrialStep) -> float:
        self._tick(step)
        return time.monotonic()

    def _keep(self, record: StepRecord) -> StepRecord:
        self.records.append(record)
        return record

    def _measure(self, *, base: bool = False) -> None:
        memory, known = self.envoy.read_memory(), self.memory
        if memory is None:
            return
        self.memory = replace(known, base=memory[0]) if base else replace(known, rest=memory[0])


def write_files(folder: Path, files: Mapping[str, str], modules: Mapping[str, bytes]) -> None:
    """Write what a trial needs; only the user can read it, because a configuration may have secrets."""
    encoded = {name: text.encode() for name, text in files.items()}
    for name, content in {**encoded, **{f"modules/{name}": module for name, module in modules.items()}}.items():
        place = folder / name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = place.with_name(f"{place.name}.new")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.replace(place)


@contextlib.asynccontextmanager
async def begin(
    program: Path, folder: Path, plan: TrialPlan, *, wasm_level: str = "info", tick: Tick | None = None
) -> AsyncIterator[Trial]:
    """Start the Envoy of a trial whose files are in ``folder``; it ends on leaving. Raises OSError."""
    arguments = layout.list_arguments(str(folder), plan.concurrency, wasm_level=wasm_level)
    async with process.run(program, arguments, folder, folder / layout.LOG, plan.mebibytes) as envoy:
        yield Trial(program, envoy, folder, plan, tick)


@contextlib.asynccontextmanager
async def attach(folder: Path, plan: TrialPlan) -> AsyncIterator[Trial]:
    """Drive the Envoy that another container starts with the files of ``folder``. Raises OSError if there is none."""
    bootstrap, log = folder / layout.BOOTSTRAP, folder / layout.LOG
    async with process.attach(bootstrap, log, plan.mebibytes, START_SECONDS) as envoy:
        yield Trial(None, envoy, folder, plan)
