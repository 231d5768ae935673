"""What Envoy does with an odd module: each has an Envoy of its own, and those that load serve together in one."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.edges import plain_envoy
from tests.edges.plain_envoy import ACTIVE_VMS, Backends, PlainPlugin
from tests.odd_modules import Does, Odd

PATIENCE = 120.0  # seconds
HANGING = 4.0  # seconds of the processor; all that a good one of these modules takes is a tenth of one
COMPILING = 60.0  # the same for a heavy one
PLUGINS = "x-plugin"  # the header of answers that met the plugin that is configured twice
VMS = 3  # for each distinct module: the base, the main thread and one worker
NO_RUNTIME = "Failed to create Wasm VM using envoy.wasm.runtime.v8 runtime. Envoy was compiled without support for it"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ModuleSeen:
    """What came of a module, what Envoy's log said, and the most memory that it had, where that was looked at."""

    does: Does
    log: str
    mebibytes: int = 0


def is_as_told(odd: Odd, seen: ModuleSeen) -> bool:
    """Whether Envoy did what the table says, in its words, and took the memory."""
    return seen.does is odd.does and odd.words in seen.log and seen.mebibytes >= odd.mebibytes


def load(program: Path, folder: Path, odd: Odd) -> ModuleSeen:
    """Load a module as Envoy does when it validates a configuration, and for one that dies or fails later serve it."""
    module = _written(folder, odd)
    if act := LIVES.get(odd.does):
        return act(program, folder, module)
    config = folder / "validated.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [_listener(odd.name, module)]}}))
    command = [program, "--mode", "validate", "-c", config, "--use-dynamic-base-id", "--concurrency", "1"]
    with (folder / "validated.log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in command], cwd=folder, stderr=log, stdout=log)
    code, mebibytes = _ended(process, COMPILING if odd.heavy else HANGING)
    text = (folder / "validated.log").read_text(errors="replace")
    if code is None:
        return ModuleSeen(Does.HANGS, text)
    if code < 0:
        return ModuleSeen(Does.DIES, f"{text}\nended by {signal.Signals(-code).name}")
    if code == 0:
        return ModuleSeen(Does.LOADS, text, mebibytes)
    return ModuleSeen(Does.NO_RUNTIME if NO_RUNTIME in text else Does.REFUSES, text)


def _written(folder: Path, odd: Odd) -> Path:
    module = folder / f"{odd.name}.wasm"
    module.write_bytes(odd.make())
    return module


def _listener(name: str, module: Path) -> dict[str, object]:
    return plain_envoy.listener(name, PlainPlugin(module), Backends())


def _ended(process: subprocess.Popen[bytes], most: float) -> tuple[int | None, int]:
    """How it ended, and the MiB that it had at most. None, and it is killed, when it has taken more seconds of the
    processor than it has a reason to."""
    until, ending = time.monotonic() + PATIENCE, os.pidfd_open(process.pid)
    try:
        while time.monotonic() < until and _processor_time(process.pid) < most:
            if select.select([ending], [], [], 0.05)[0]:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode, used.ru_maxrss >> 10
        assert time.monotonic() < until, "neither ended nor busy"
        return None, 0
    finally:
        os.close(ending)
        process.kill()
        process.wait(10)


def _processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _served(program: Path, folder: Path, module: Path) -> ModuleSeen:
    """One request to a gateway that has the module."""
    with plain_envoy.running(folder, program=program) as gateway:
        url = gateway.serve("odd", module)
        try:
            status = requests.get(url, timeout=PATIENCE).status_code
        except requests.ConnectionError:
            assert gateway.process is not None
            code = gateway.process.wait(PATIENCE)
            return ModuleSeen(Does.DIES_LATER, f"{gateway.log}\nended by {signal.Signals(-code).name}")
        return ModuleSeen(Does.LOADS if status == 200 else Does.FAILS, gateway.log)


def _taken_off(program: Path, folder: Path, module: Path) -> ModuleSeen:
    """One request to a gateway that has the module, and then the plugin is taken off it."""
    with plain_envoy.running(folder, program=program) as gateway:
        status = requests.get(gateway.serve("odd", module), timeout=PATIENCE).status_code
        if status != 200:
            return ModuleSeen(Does.FAILS, gateway.log)
        return ModuleSeen(Does.HANGS_LATER if _hangs_without(gateway) else Does.LOADS, gateway.log)


def _hangs_without(gateway: plain_envoy.PlainGateway) -> bool:
    """Whether a gateway that its only plugin is taken off is silent and busy; it is killed then, as it would take no
    signal to end. One that is neither has thrown the plugin's VMs away."""
    assert gateway.process is not None
    gateway.take_off_all()
    until, before = time.monotonic() + PATIENCE, _processor_time(gateway.process.pid)
    while time.monotonic() < until:
        try:
            if gateway.statistic(ACTIVE_VMS, patience=HANGING) == 0:
                return False
        except requests.ReadTimeout:
            if _processor_time(gateway.process.pid) - before > HANGING:
                gateway.process.kill()
                return True
    raise AssertionError("neither silent and busy nor without the plugin's VMs")


def _configured_again(program: Path, folder: Path, module: Path) -> ModuleSeen:
    """Two listeners with one module and two configurations: they have the same VM on each thread."""
    with plain_envoy.running(folder, program=program) as gateway:
        urls = [gateway.serve(name, module, name) for name in ("first", "second")]
        answers = [requests.get(url, timeout=PATIENCE) for url in urls]
        met = [PLUGINS in answer.headers for answer in answers if answer.status_code == 200]
        kinds = {(True, True): Does.LOADS, (True, False): Does.RUNS_NOWHERE}
        return ModuleSeen(kinds.get(tuple(met), Does.FAILS), gateway.log)


LIVES: dict[Does, Callable[[Path, Path, Path], ModuleSeen]] = {
    Does.DIES_LATER: _served,
    Does.FAILS: _served,
    Does.HANGS_LATER: _taken_off,
    Does.RUNS_NOWHERE: _configured_again,
}


def serve(program: Path, folder: Path, odds: Iterable[Odd]) -> tuple[dict[str, int], int, int]:
    """All modules that load in one Envoy: the status that each answers a request with, how many VMs are active, and how
    many there have to be."""
    modules = {odd.name: _written(folder, odd) for odd in odds}
    with plain_envoy.running(folder, program=program) as gateway:
        urls = gateway.serve_all(modules)
        found = {name: requests.get(url, timeout=PATIENCE).status_code for name, url in urls.items()}
        distinct = {module.read_bytes() for module in modules.values()}
        return found, gateway.statistic(ACTIVE_VMS), VMS * len(distinct)
