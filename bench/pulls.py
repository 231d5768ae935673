"""A cold and a warm pull of an image of 50 MB by the operator's way to registries, against ``skopeo copy`` of the same.

Both ask one real registry (CNCF distribution) on loopback, in turns. *Cold*: nothing is there yet. *Warm*: what the
cold turn has kept is there, the operator's cache and skopeo's folder; both ask for the manifest again. The operator
reads the image as it always does: every byte is checked, the archive is unpacked and the module in it is read; skopeo
keeps the layer as it is. Its times and its memory are those of a whole process. The operator's are those of one call in
a process that runs already, as the operator does, and its memory is what comes on top of that process.
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
from tests.edges.puller import Order, Outcome

SIZE = 50 * 1000 * 1000
MIB = 1024 * 1024
SECONDS = 60.0


@dataclass(frozen=True)
class Cost:
    """One pull: seconds, those of them that a processor worked for it, and bytes of memory at the peak."""

    seconds: float
    processor: float
    memory: int


def run(turns: int, workplace: Path, report: Callable[[str], None]) -> list[Figure]:
    """The figures. Raises `LabError` when skopeo is not there."""
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
        for turn in range(turns + 1):  # the first one warms what is everybody's: the registry, the files' cache
            cache, copy = workplace / f"cache-{turn}", workplace / f"copy-{turn}"
            order = Order(reference, cache=str(cache), deadline=SECONDS)
            once = (ours(order), copied(skopeo, reference, copy), ours(order), copied(skopeo, reference, copy))
            shutil.rmtree(cache)
            shutil.rmtree(copy)
            report(f"turn {turn}: " + ", ".join(f"{one.seconds:.2f} s {one.memory / MIB:.0f} MiB" for one in once))
            pairs += [once] if turn else []
    cold, cold_other, warm, warm_other = zip(*pairs, strict=True)
    return [
        figure("pull-50mb-cold", "s", cold, cold_other, lambda one: one.seconds),
        figure("pull-50mb-cold-processor", "s", cold, cold_other, lambda one: one.processor),
        figure("pull-50mb-cold-memory", "MiB", cold, cold_other, lambda one: one.memory / MIB),
        figure("pull-50mb-warm", "s", warm, warm_other, lambda one: one.seconds),
    ]


def figure(
    name: str, unit: str, ours: tuple[Cost, ...], other: tuple[Cost, ...], of: Callable[[Cost], float]
) -> Figure:
    return Figure(name, tuple(map(of, ours)), tuple(map(of, other)), unit)


def module(size: int) -> bytes:
    """A plugin of about so many bytes, which no archive makes smaller."""
    ballast = wasm_modules.name("ballast") + random.Random(size).randbytes(size)
    return wasm_modules.plugin("0_2_1") + wasm_modules.section(0, ballast)


@contextmanager
def puller(log: Path) -> Iterator[Callable[[Order], Cost]]:
    """A process that pulls as the operator does."""
    program = [sys.executable, "-m", "tests.edges.puller"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        yield lambda order: told(order, process.stdin, process.stdout)
        process.stdin.close()


def told(order: Order, ask: IO[str] | None, answers: IO[str] | None) -> Cost:
    """One order, and what it cost."""
    assert ask is not None
    assert answers is not None
    print(json.dumps(asdict(order)), file=ask, flush=True)
    outcome = Outcome(**json.loads(answers.readline()))
    if outcome.reason:
        raise LabError(f"the operator did not pull: {outcome.text}")
    return Cost(outcome.seconds, outcome.processor, outcome.more)


def copied(skopeo: str, reference: str, folder: Path) -> Cost:
    """One ``skopeo copy`` into an OCI layout."""
    argv = [skopeo, "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]
    began = time.monotonic()
    process = subprocess.Popen([*argv, f"docker://{reference}", f"oci:{folder}:1"], stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise LabError(f"skopeo ended with {process.returncode}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
