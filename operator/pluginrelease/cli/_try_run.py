"""Run a trial on this machine: once, or until the user ends it (``--serve``, ``--watch``)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pluginrelease import api
from pluginrelease.cli._try_subject import Subject
from pluginrelease.core import compat
from pluginrelease.core.compat import Host
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.rollout import probe
from pluginrelease.core.trial import control, layout, plan, revisions, stubs
from pluginrelease.core.trial.gateway_facts import GatewayFacts
from pluginrelease.core.trial.layout import TrialPlace, Upstream
from pluginrelease.core.trial.plan import TrialPlan
from pluginrelease.core.trial.result import TrialResult
from pluginrelease.core.trial.revisions import TrialRevision
from pluginrelease.edges.trial import driver, echo
from pluginrelease.edges.trial.driver import Trial

T = TypeVar("T")

POLL_SECONDS = 0.2
ENDED_BY_SIGNAL = 128
SERVING = "Requests go to http://127.0.0.1:{port}/ and Envoy's log to {log}. Ctrl-C ends it."


@dataclass(frozen=True)
class TrialSettings:
    """How the trial is run. ``port`` 0: a free one. ``hang_seconds`` None: by the module's size."""

    program: Path
    facts: GatewayFacts
    upstream: Upstream | None = None
    requests: tuple[api.Probe, ...] = ()
    clusters: tuple[str, ...] = ()
    mebibytes: int = plan.DEFAULT_MEBIBYTES
    hang_seconds: float | None = None
    port: int = 0
    log_level: str = "info"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialOutput:
    """Where results go, and lines of progress."""

    result: Callable[[TrialResult], None]
    progress: Callable[[str], None]


class EndedBySignal(Exception):
    """The user, or the system, asked this process to end."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.code = ENDED_BY_SIGNAL + number


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end. SIGINT, SIGTERM and SIGHUP cancel it, so that Envoy ends and its files go: `EndedBySignal`."""
    received: list[signal.Signals] = []

    async def guarded() -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def end(number: signal.Signals) -> None:
            received.append(number)
            if task is not None:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, functools.partial(end, number))
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if not received:
            raise
        raise EndedBySignal(received[0]) from None


async def try_once(subject: Subject, stable: Subject | None, settings: TrialSettings, show: TrialOutput) -> TrialResult:
    """Do all steps of a trial."""
    async with _begin(subject, stable, settings, show) as (trial, _):
        return _note(await trial.run(), subject, settings)


async def serve(
    subject: Subject,
    stable: Subject | None,
    settings: TrialSettings,
    show: TrialOutput,
    watch: FileWatch | None = None,
) -> None:
    """Load the plugin and serve with it until the user ends it; with ``watch``, load each changed version.

    A version that Envoy does not survive leaves the next one a new Envoy. Returns only by cancellation, or if there is
    nothing to wait for: Envoy ended and nothing is watched.
    """
    while True:
        async with _begin(subject, stable, settings, show) as (trial, place):
            for step in (trial.start, trial.load, trial.ask):
                if not trial.goes_on(await step()):
                    break
            show.result(_note(trial.conclude(), subject, settings))
            show.progress(SERVING.format(port=trial.port, log=f"{place.root}/{layout.LOG}"))
            if watch is None:
                await trial.envoy.ended
                return
            subject = await _reload_while_it_runs(trial, place, subject, settings, show, watch)


async def _reload_while_it_runs(
    trial: Trial, place: TrialPlace, subject: Subject, settings: TrialSettings, show: TrialOutput, watch: FileWatch
) -> Subject:
    """Load each version into the same Envoy; return the version for a new Envoy once this one has ended or hangs."""
    while True:
        fresh = await _await_change(subject, show, watch)
        if not trial.envoy.is_running or any(record.silent is not None for record in trial.records):
            return fresh
        subject = fresh
        revision = describe(fresh, settings)
        trial.plan = replace(trial.plan, revision=revision, hang_seconds=_find_hang_seconds(fresh, settings))
        trial.records.clear()
        files = layout.render_parts(place, revision, None)
        driver.write_files(Path(place.root), layout.dump(files), {revision.module_file: fresh.content})
        if trial.goes_on(await trial.load()):
            await trial.ask()
        show.result(_note(trial.conclude(), subject, settings))


async def _await_change(subject: Subject, show: TrialOutput, watch: FileWatch) -> Subject:
    """Wait until a watched file changes and gives another version."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if not watch.has_changed():
            continue
        try:
            fresh = await asyncio.to_thread(watch.find)
        except ReleaseError as error:
            show.progress(f"{error.reason}: {error.sentence()}")
            continue
        if (fresh.content, fresh.candidate.wanted()) != (subject.content, subject.candidate.wanted()):
            return fresh


class FileWatch:
    """Files, and what they give. The state of the files is noted before they are read, so that no change is lost."""

    def __init__(self, files: Iterable[Path], find: Callable[[], Subject]) -> None:
        self._files = tuple(files)
        self._find = find
        self._known: dict[str, tuple[int, int]] = {}

    def find(self) -> Subject:
        """Read the files. Raises `ReleaseError`."""
        self._known = _stamp(self._files)
        return self._find()

    def has_changed(self) -> bool:
        """Return True if a file is not as it was when it was read."""
        return _stamp(self._files) != self._known


def _stamp(watched: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Return time and size of each file, and of the source files in folders."""
    found: dict[str, tuple[int, int]] = {}
    for place in watched:
        files = [each for pattern in ("*.go", "go.*") for each in place.rglob(pattern)] if place.is_dir() else [place]
        for file in files:
            with contextlib.suppress(OSError):
                seen = file.stat()
                found[str(file)] = (seen.st_mtime_ns, seen.st_size)
    return found


def describe(subject: Subject, settings: TrialSettings) -> TrialRevision:
    """Return the revision as Envoy should receive it. Here stock Envoy runs it, so native code is not."""
    return replace(revisions.describe(subject.candidate, subject.module, find_host(settings)), native=False)


def find_host(settings: TrialSettings) -> Host:
    """Return the version of the Envoy that runs the trial; its name was asked before."""
    return compat.envoy(settings.facts.envoy)


def _find_hang_seconds(subject: Subject, settings: TrialSettings) -> float:
    return settings.hang_seconds or plan.find_hang_seconds(len(subject.content))


@contextlib.asynccontextmanager
async def _begin(
    subject: Subject, stable: Subject | None, settings: TrialSettings, show: TrialOutput
) -> AsyncIterator[tuple[Trial, TrialPlace]]:
    """Start the echo and Envoy in a folder of their own. All of that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="pluginrelease-try-") as name, echo.serve() as port:
        folder, own = Path(name), Upstream("127.0.0.1", port)
        new, old = describe(subject, settings), None if stable is None else describe(stable, settings)
        if old is not None:  # two revisions of one plugin have one name
            old = replace(
                old,
                wanted=replace(old.wanted, namespace=new.wanted.namespace, name=new.wanted.name),
                ecds_name=new.ecds_name,
                plugin_name=new.plugin_name,
            )
        found = stubs.find(new.wanted.config, settings.facts.clusters)
        names = tuple(dict.fromkeys([*settings.clusters, *found]))[: stubs.MAX_STUBS]
        place = TrialPlace(str(folder), settings.upstream or own, own, settings.port, names, settings.facts)
        modules = {new.module_file: subject.content, control.make().module_file: control.CONTENT}
        if old is not None and stable is not None:
            modules[old.module_file] = stable.content
        driver.write_files(folder, layout.render_files(place, new, old), modules)
        planned = TrialPlan(
            revision=new,
            stable=old,
            requests=settings.requests or plan.DEFAULT_REQUESTS,
            hang_seconds=_find_hang_seconds(subject, settings),
            mebibytes=settings.mebibytes,
            # an upstream of the user receives each request once
            concurrency=settings.facts.concurrency,
            times=1 if settings.upstream else probe.count_connections(settings.facts.concurrency),
        )
        async with driver.begin(
            settings.program,
            folder,
            planned,
            wasm_level=settings.log_level,
            tick=lambda step: show.progress(f"… {step}"),
        ) as trial:
            yield trial, place


def _note(found: TrialResult, subject: Subject, settings: TrialSettings) -> TrialResult:
    return replace(found, notes=(*settings.notes, *subject.notes))
