"""What Envoy does with an odd module: each has an Envoy of its own, and those that load serve together in one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.edges import plain_envoy
from tests.edges.plain_envoy import Backends, Plugin
from tests.odd_modules import Does, Odd

PATIENCE = 120.0  # seconds
HANGING = 4.0  # seconds of the processor; all that a good one of these modules takes is a tenth of one
VMS = 3  # for each distinct module: the base, the main thread and one worker
NO_RUNTIME = "Failed to create Wasm VM using envoy.wasm.runtime.v8 runtime. Envoy was compiled without support for it"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Seen:
    """What came of a module, and what Envoy's log said."""

    does: Does
    log: str


def load(program: Path, folder: Path, odd: Odd) -> Seen:
    """Load a module as Envoy does when it validates a configuration, and for one that dies or fails later serve it."""
    module = _written(folder, odd)
    if odd.does in (Does.DIES_LATER, Does.FAILS):
        return _served(program, folder, module)
    config = folder / "validated.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [_listener(odd.name, module)]}}))
    command = [program, "--mode", "validate", "-c", config, "--use-dynamic-base-id", "--concurrency", "1"]
    with (folder / "validated.log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in command], cwd=folder, stderr=log, stdout=log)
    code = _ended(process)
    text = (folder / "validated.log").read_text(errors="replace")
    if code is None:
        return Seen(Does.HANGS, text)
    if code < 0:
        return Seen(Does.DIES, f"{text}\nended by {signal.Signals(-code).name}")
    if code == 0:
        return Seen(Does.LOADS, text)
    return Seen(Does.NO_RUNTIME if NO_RUNTIME in text else Does.REFUSES, text)


def _written(folder: Path, odd: Odd) -> Path:
    module = folder / f"{odd.name}.wasm"
    module.write_bytes(odd.make())
    return module


def _listener(name: str, module: Path) -> dict[str, object]:
    return plain_envoy.listener(name, Plugin(module), Backends())


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """How it ended; None, and it is killed, when it has taken more of the processor than it has a reason to."""
    until = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < until and _processor_time(process.pid) < HANGING:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.05)
        assert time.monotonic() < until, "neither ended nor busy"
        return None
    finally:
        process.kill()
        process.wait(10)


def _processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _served(program: Path, folder: Path, module: Path) -> Seen:
    """One request to a gateway that has the module."""
    with plain_envoy.running(folder, program=program) as gateway:
        url = gateway.serve("odd", module)
        try:
            status = requests.get(url, timeout=PATIENCE).status_code
        except requests.ConnectionError:
            assert gateway.process is not None
            code = gateway.process.wait(PATIENCE)
            return Seen(Does.DIES_LATER, f"{gateway.log}\nended by {signal.Signals(-code).name}")
        return Seen(Does.LOADS if status == 200 else Does.FAILS, gateway.log)


def serve(program: Path, folder: Path, odds: Iterable[Odd]) -> tuple[dict[str, int], int, int]:
    """All modules that load in one Envoy: the status that each answers a request with, how many VMs are active, and how
    many there have to be."""
    modules = {odd.name: _written(folder, odd) for odd in odds}
    with plain_envoy.running(folder, program=program) as gateway:
        urls = gateway.serve_all(modules)
        found = {name: requests.get(url, timeout=PATIENCE).status_code for name, url in urls.items()}
        distinct = {module.read_bytes() for module in modules.values()}
        return found, gateway.statistic("wasm.envoy.wasm.runtime.v8.active"), VMS * len(distinct)
