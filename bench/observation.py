"""Measure the observation of 10, 100 and 500 gateway pods: time, memory and bytes from the API server.

A figure compares the cost of a pod among many with its cost among ten in the same run. A ratio near 1 means that the
cost grows only with the number of pods.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench import fleet
from bench.figures import Figure
from bench.relay import RequestCounter, relay
from pluginrelease_lab import Lab

SIZES = (10, 100, 500)
LOOK_WITHIN = 400.0
RECORDED = Path(__file__).parents[1] / "tests" / "fixtures" / "envoy" / "loaded"

Report = Callable[[str], None]


@dataclass
class Looks:
    """The costs of the observations of one size; each list has one number per observation."""

    size: int
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    kib: list[float] = field(default_factory=list)
    process: list[float] = field(default_factory=list)
    received: list[float] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        """Return the medians for the table."""
        return (
            str(self.size),
            f"{statistics.median(self.seconds):.2f} s",
            f"{statistics.median(self.cpu):.2f} s",
            f"{statistics.median(self.kib) / 1024:.1f} MiB",
            f"{statistics.median(self.process) / 1024:.0f} MiB",
            f"{statistics.median(self.received) / 1024:.0f} KiB",
        )


HEADER = ("pods", "look", "CPU of the operator", "memory for the look", "peak of the process", "from the API server")


def run(lab: Lab, workplace: Path, turns: int, report: Report) -> tuple[list[Figure], list[tuple[str, ...]]]:
    """Return (the ratios, the table's rows) of ``turns`` observations of each size. The lab may have no gateways."""
    log = lab.state / "logs" / "fleet.log"
    fleet.write_log((RECORDED / "log.txt").read_text(), log)
    digest = (RECORDED / "digest.txt").read_text().strip().removeprefix("sha256:")
    looks = {size: Looks(size) for size in SIZES}
    with fleet.admin_port(lab, RECORDED):
        fleet.make(lab, log, range(max(SIZES)))
        report(f"{max(SIZES)} simulated gateway pods are ready")
        for _ in range(turns):
            for look_taken in looks.values():
                look(lab, look_taken, digest, workplace)
                report("  ".join(look_taken.row()))
    return ratios(looks), [HEADER, *(look_taken.row() for look_taken in looks.values())]


def look(lab: Lab, one: Looks, digest: str, workplace: Path) -> None:
    """Observe twice: once for time and memory, and once with a count of the bytes."""
    for name, value in measured(lab.kubeconfig, one.size, digest).items():
        getattr(one, name).append(value)
    with counted(lab.kubeconfig, workplace) as (through, counter):
        measured(through, one.size, digest)
    one.received.append(float(counter.received))


def measured(kubeconfig: Path, size: int, digest: str) -> dict[str, float]:
    """Return what `bench.look` prints."""
    argv = [sys.executable, "-m", "bench.look", str(kubeconfig), str(size), digest]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LOOK_WITHIN, check=False)
    if done.returncode:
        raise RuntimeError(f"a look at {size} pods failed: {done.stderr[-500:]}")
    return dict(json.loads(done.stdout))


def ratios(looks: dict[int, Looks]) -> list[Figure]:
    """Return the cost of a pod among many over that among the fewest, in milliseconds and in KiB."""
    few, *many = looks.values()
    return [
        Figure(f"look-{what}-per-pod-{more.size}-against-{few.size}", per_pod(more, what), per_pod(few, what), unit)
        for more in many
        for what, unit in (("seconds", "ms"), ("kib", "KiB"), ("received", "KiB"))
    ]


def per_pod(one: Looks, what: str) -> tuple[float, ...]:
    """Return each observation's cost divided by its pods."""
    scale = {"seconds": 1000.0, "kib": 1.0, "received": 1 / 1024}[what]
    return tuple(value * scale / one.size for value in getattr(one, what))


# ------------------------------------------------------------------------------------------------- bytes on their way


@contextmanager
def counted(kubeconfig: Path, workplace: Path) -> Iterator[tuple[Path, RequestCounter]]:
    """Yield (a kubeconfig that leads through a relay, the relay's count of the API server's bytes)."""
    content = yaml.safe_load(kubeconfig.read_text())
    cluster = content["clusters"][0]["cluster"]
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    counter, loop = RequestCounter(), asyncio.new_event_loop()
    server = loop.run_until_complete(relay("127.0.0.1", 0, host, int(port), counter))
    cluster["server"] = f"https://{host}:{server.sockets[0].getsockname()[1]}"
    through = workplace / "counted.kubeconfig"
    through.touch(mode=0o600)
    through.write_text(yaml.safe_dump(content))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield through, counter
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(ended(loop))
        loop.close()


async def ended(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is still running."""
    left = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
