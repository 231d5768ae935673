"""What an Envoy of some version does with odd modules: the ones that it survives all in one, each other in its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.edges import plain_envoy
from tests.edges.plain_envoy import API, Backends, Plugin
from tests.odd_modules import Does, Odd

PATIENCE = 120.0  # seconds
HANGING = 3.0  # seconds of the processor that Envoy takes for loading nothing; a good module of this size takes a tenth
NO_RUNTIME = "envoy.wasm.runtime.v8"
OPTIONS = ("--use-dynamic-base-id", "--concurrency", "1", "--component-log-level", "wasm:info,config:info")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Seen:
    """What came of a module, and what Envoy's log said meanwhile. ``peak``: MiB, where it had an Envoy of its own."""

    does: Does
    log: str
    peak: int = 0


def all_of(program: Path, folder: Path, odds: Sequence[Odd]) -> dict[str, Seen]:
    """What this Envoy does with each of the modules."""
    alone = [one for one in odds if one.heavy or one.does in (Does.DIES, Does.HANGS)]
    later = [one for one in odds if one.does is Does.DIES_LATER]
    seen = {one.name: by_itself(program, _place(folder, one), one) for one in alone}
    seen |= {one.name: at_a_request(program, _place(folder, one), one) for one in later}
    return seen | together(program, folder, [one for one in odds if one.name not in seen])


def _place(folder: Path, odd: Odd) -> Path:
    place = folder / odd.name
    place.mkdir()
    (place / "plugin.wasm").write_bytes(odd.make())
    return place


def by_itself(program: Path, place: Path, odd: Odd) -> Seen:
    """One module, while Envoy validates a configuration with it."""
    config = place / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [_listener(odd, place)]}}))
    with (place / "envoy.log").open("wb") as log:
        command = [program, "--mode", "validate", "-c", config, *OPTIONS]
        process = subprocess.Popen([str(word) for word in command], cwd=place, stderr=log, stdout=log)
    hangs = _ended(process) is None
    peak = _end(process)
    text = (place / "envoy.log").read_text(errors="replace")
    if hangs:
        return Seen(Does.HANGS, text, peak)
    if process.returncode < 0:
        return Seen(Does.DIES, f"{text}\nended by {signal.Signals(-process.returncode).name}", peak)
    return Seen(Does.LOADS if process.returncode == 0 else _refusal(text), text, peak)


def _refusal(log: str) -> Does:
    return Does.NO_RUNTIME if f"using {NO_RUNTIME} runtime" in log else Does.REFUSES


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """How it ended; None when it goes on for longer than any module here has a reason to."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and _processor_time(process.pid) < 20 * HANGING:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(0.05)
    return None


def _processor_time(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _end(process: subprocess.Popen[bytes]) -> int:
    peak = 0
    if process.returncode is None:
        process.kill()
        process.wait(10)
    return peak
