"""Compare a cold and a warm pull of a 50 MB image by the operator with ``skopeo copy`` of the same image.

Both ask one real registry (CNCF distribution) on loopback, in turns. *Cold*: nothing is cached. *Warm*: the operator's
cache and skopeo's folder have what the cold turn kept; both ask for the manifest again. The operator reads the image as
always: it checks every byte, unpacks the archive, and parses the module. skopeo keeps the layer as it is. skopeo's time
and memory are those of a whole process. The operator's are those of one call in a running process, and its memory is
what the call adds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from bench.figures import Figure
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import LabError
from tests import wasm_modules
from tests.edges import real_registry
from tests.edges.puller import PullOrder, PullOutcome

SIZE = 50 * 1000 * 1000
MIB = 1024 * 1024
SECONDS = 60.0


@dataclass(frozen=True)
class Cost:
    """One pull: seconds, CPU seconds, and bytes of memory at the peak."""

    seconds: float
    processor: float
    memory: int


def run(turns: int, workplace: Path, report: Callable[[str], None]) -> list[Figure]:
    """Return the figures. Raises `LabError` if skopeo is missing."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        raise LabError("skopeo is missing: apt-get install skopeo")
    home = workplace / "registry"
    home.mkdir()
    with real_registry.running(home) as real, puller(workplace / "puller.log") as ours:
        reference = f"{real.host}/bench/pull:1"
        file = workplace / "plugin.wasm"
        file.write_bytes(module(SIZE))
        registry.push(real.reference("bench/pull:1"), file, Access(insecure=True, deadline_seconds=SECONDS))
        pairs: list[tuple[Cost, Cost, Cost, Cost]] = []
        for turn in range(turns + 1):  # the first turn warms what both share: the registry and the file cache
            cache, copy = workplace / f"cache-{turn}", workplace / f"copy-{turn}"
            order = PullOrder(reference, cache=str(cache), deadline=SECONDS)
            once = (ours(order), copied(skopeo, reference, copy), ours(order), copied(skopeo, reference, copy))
            shutil.rmtree(cache)
            shutil.rmtree(copy)
            report(f"turn {turn}: " + ", ".join(f"{pull.seconds:.2f} s {pull.memory / MIB:.0f} MiB" for pull in once))
            pairs += [once] if turn else []
    cold, cold_other, warm, warm_other = zip(*pairs, strict=True)
    return [
        figure("pull-50mb-cold", "s", cold, cold_other, lambda pull: pull.seconds),
        figure("pull-50mb-cold-processor", "s", cold, cold_other, lambda pull: pull.processor),
        figure("pull-50mb-cold-memory", "MiB", cold, cold_other, lambda pull: pull.memory / MIB),
        figure("pull-50mb-warm", "s", warm, warm_other, lambda pull: pull.seconds),
    ]


def figure(
    name: str, unit: str, ours: tuple[Cost, ...], other: tuple[Cost, ...], of: Callable[[Cost], float]
) -> Figure:
    return Figure(name, tuple(map(of, ours)), tuple(map(of, other)), unit)


def module(size: int) -> bytes:
    """Return a plugin of about this size that no archive compresses."""
    ballast = wasm_modules.name("ballast") + random.Random(size).randbytes(size)
    return wasm_modules.plugin("0_2_1") + wasm_modules.section(0, ballast)


@contextmanager
def puller(log: Path) -> Iterator[Callable[[PullOrder], Cost]]:
    """Start a process that pulls like the operator."""
    program = [sys.executable, "-m", "tests.edges.puller"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        yield lambda order: told(order, process.stdin, process.stdout)
        process.stdin.close()


def told(order: PullOrder, ask: IO[str] | None, answers: IO[str] | None) -> Cost:
    """Send one order; return its cost."""
    assert ask is not None
    assert answers is not None
    print(json.dumps(asdict(order)), file=ask, flush=True)
    outcome = PullOutcome(**json.loads(answers.readline()))
    if outcome.reason:
        raise LabError(f"the operator did not pull: {outcome.text}")
    return Cost(outcome.seconds, outcome.processor, outcome.more)


def copied(skopeo: str, reference: str, folder: Path) -> Cost:
    """Run one ``skopeo copy`` into an OCI layout; return its cost."""
    argv = [skopeo, "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]
    began = time.monotonic()
    process = subprocess.Popen([*argv, f"docker://{reference}", f"oci:{folder}:1"], stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise LabError(f"skopeo ended with {process.returncode}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
