"""Many releases of one image until all have settled: the cost, compared with Flux's source-controller.

Each release has one entry in its own namespace, which has no gateway pod. Each OCIRepository names the same image. Both
are measured from the first object on: CPU and memory from the kernel, requests from the API server's audit log.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import Figure
from pluginrelease_lab import Lab, LabError, flux, network, operator

SIZES = (50, 100, 250, 500, 1000)
COMPARED = 500
SETTLED_WITHIN = 900.0
BATCH = 100
TICKS = 100.0  # per second: the kernel's unit of CPU time

JSON = dict[str, Any]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Course:
    """One controller with this many objects: seconds until all settled, CPU seconds, MiB at the end and at the peak."""

    who: str
    size: int
    seconds: float
    cpu: float
    mib: float
    peak: float
    requests: Counter[str] = field(default_factory=Counter)

    def row(self) -> tuple[str, ...]:
        """Return the row for the table."""
        each = sum(self.requests.values()) / self.size
        return (
            self.who,
            str(self.size),
            f"{self.seconds:.1f} s",
            f"{self.cpu:.1f} s",
            f"{self.mib:.0f} MiB",
            f"{self.peak:.0f} MiB",
            f"{each:.1f}",
        )


HEADER = ("controller", "objects", "all settled", "CPU", "memory", "at most", "requests an object")


@dataclass(frozen=True)
class Contestant:
    """What is measured: how it starts, its objects, when one has settled, and whose requests count."""

    name: str
    kind: str
    start: Callable[[], subprocess.Popen[Any]]
    is_ready: Callable[[], bool]
    render: Callable[[str, int], JSON]
    is_settled: Callable[[JSON], bool]
    user: str


def run(lab: Lab, ref: str, sizes: Sequence[int], report: Report) -> tuple[list[Figure], list[tuple[str, ...]]]:
    """Measure both at each size; return the ratios at `COMPARED`, and the table's rows."""
    courses = [
        measure(lab, contestant, size) for size in sizes for contestant in (ours(lab, ref), source_controller(lab, ref))
    ]
    for course in courses:
        report("  ".join(course.row()))
        report(f"    {', '.join(f'{what} {count}' for what, count in course.requests.most_common(12))}")
    return ratios(courses), [HEADER, *(course.row() for course in courses)]


def ratios(courses: Sequence[Course]) -> list[Figure]:
    """Return our cost over the other's, at one size."""
    by = {(course.who, course.size): course for course in courses}
    mine, theirs = by.get(("pluginrelease", COMPARED)), by.get(("source-controller", COMPARED))
    if mine is None or theirs is None:
        return []
    named = (("seconds", "s"), ("cpu", "s"), ("peak", "MiB"))
    return [
        Figure(f"releases-{COMPARED}-{name}", (getattr(mine, name),), (getattr(theirs, name),), unit)
        for name, unit in named
    ]


def measure(lab: Lab, contestant: Contestant, size: int) -> Course:
    """Measure one newly started controller with this many objects; delete all afterwards."""
    namespace = f"many-{contestant.name}-{size}"
    lab.kubectl("create", "namespace", namespace)
    process = contestant.start()
    try:
        until(contestant.is_ready, process)
        used, asked = cpu_of(process.pid), len(requests_of(lab, contestant.user))
        began = time.monotonic()
        create(lab, [contestant.render(namespace, number) for number in range(size)])
        await_settled(lab, contestant, namespace, size)
        seconds = time.monotonic() - began
        course = Course(
            contestant.name,
            size,
            seconds,
            cpu_of(process.pid) - used,
            memory_of(process.pid, "VmRSS"),
            memory_of(process.pid, "VmHWM"),
            Counter(requests_of(lab, contestant.user)[asked:]),
        )
        lab.kubectl("delete", contestant.kind, "--all", "-n", namespace, timeout=600)
    finally:
        process.terminate()
        process.wait(40)
    lab.kubectl("delete", "namespace", namespace, timeout=120)
    return course


def create(lab: Lab, objects: Sequence[JSON]) -> None:
    """Create objects with kubectl, in batches."""
    for start in range(0, len(objects), BATCH):
        batch = objects[start : start + BATCH]
        lab.kubectl("create", "-f", "-", stdin="\n---\n".join(map(json.dumps, batch)), timeout=180)


def await_settled(lab: Lab, contestant: Contestant, namespace: str, size: int) -> None:
    """Return when this many objects have settled. Raises LabError after a deadline."""
    settled: set[str] = set()
    for found in lab.watch(contestant.kind, "-n", namespace, seconds=SETTLED_WITHIN):
        name = found["metadata"]["name"]
        settled.add(name) if contestant.is_settled(found) else settled.discard(name)
        if len(settled) == size:
            return
    raise LabError(f"{len(settled)} of {size} {contestant.kind} settled within {SETTLED_WITHIN:.0f} s")


def until(done: Callable[[], bool], process: subprocess.Popen[Any], seconds: float = 120.0) -> None:
    """Return when ``done`` is True. Raises LabError if the process ends before that, or after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"it did not begin to work within {seconds:.0f} s")
        time.sleep(0.2)


# ------------------------------------------------------------------------------------------------- the two of them


def ours(lab: Lab, ref: str) -> Contestant:
    """Return the operator with the chart's ServiceAccount and default settings."""
    port = 18190
    return Contestant(
        "pluginrelease",
        "pluginreleases",
        lambda: operator.run(lab, "--liveness-port", str(port), log=lab.log("operator")),
        lambda: answers_ok(lab, f"http://127.0.0.1:{port}/readyz"),
        lambda namespace, number: release(ref, namespace, number),
        is_ours_settled,
        f"system:serviceaccount:{operator.NAMESPACE}:{operator.service_account()}",
    )


def release(ref: str, namespace: str, number: int) -> JSON:
    """Return a release with gateways in its own namespace, which has none."""
    gateway = {"name": "public", "namespace": namespace, "selector": {"matchLabels": {"gateway": f"g{number}"}}}
    return {
        "apiVersion": "pluginrelease.io/v1alpha1",
        "kind": "PluginRelease",
        "metadata": {"name": f"r{number:04}", "namespace": namespace},
        "spec": {
            "provider": "Istio",
            "artifact": {"image": {"ref": ref, "insecure": True}},
            "gateways": [gateway],
            "plugin": {"phase": "AUTHN"},
        },
    }


def is_ours_settled(found: JSON) -> bool:
    """Return whether the newest spec was written, and the operator only waits for pods."""
    status = found.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    applied, loaded = conditions.get("Applied", {}), conditions.get("Loaded", {})
    is_newest = status.get("observedGeneration") == found["metadata"]["generation"]
    return bool(is_newest and applied.get("status") == "True" and loaded.get("reason") == "NoGatewayPods")


def source_controller(lab: Lab, ref: str) -> Contestant:
    """Return Flux's source-controller with its own default of workers set explicitly. It stores what it fetches."""
    return Contestant(
        "source-controller",
        "ocirepositories.source.toolkit.fluxcd.io",
        lambda: start_source_controller(lab),
        lambda: answers_ok(lab, f"http://{network.ADDRESS}:{flux.SOURCE_HEALTH_PORT}/readyz"),
        lambda namespace, number: repository(ref, namespace, number),
        is_repository_settled,
        f"system:serviceaccount:{flux.NAMESPACE}:{flux.SOURCE}",
    )


def start_source_controller(lab: Lab) -> subprocess.Popen[Any]:
    """Install its kinds, and start it."""
    flux.install(lab, flux.SOURCE)
    return flux.start_source_controller(lab, "--concurrent=10")


def repository(ref: str, namespace: str, number: int) -> JSON:
    """Return one OCIRepository of the same image."""
    url, _, tag = ref.rpartition(":")
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "OCIRepository",
        "metadata": {"name": f"r{number:04}", "namespace": namespace},
        "spec": {"interval": "10m", "url": f"oci://{url}", "ref": {"tag": tag}, "insecure": True},
    }


def is_repository_settled(found: JSON) -> bool:
    """Return whether it reports Ready."""
    conditions = found.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


# ----------------------------------------------------------------------------------------------------- what it took


def answers_ok(lab: Lab, url: str) -> bool:
    """Return whether a server in the lab's network answers 200."""
    argv = ["curl", "-s", "-o", "/dev/null", "--max-time", "5", "-w", "%{http_code}", url]
    with lab.popen(argv, stdout=subprocess.PIPE, text=True) as curl:
        return bool(curl.communicate(timeout=10)[0] == "200")


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process and its threads have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_of(pid: int, name: str) -> float:
    """Return a line of a process's status in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def requests_of(lab: Lab, user: str) -> list[str]:
    """Return ``verb resource`` of each request of a user in the audit log, except those of kubectl."""
    return [what for event in operator.audited(lab, user) for what in describe(event)]


def describe(event: JSON) -> Iterator[str]:
    """Yield one request, unless kubectl or a probe sent it."""
    if event.get("userAgent", "").startswith("kubectl"):
        return
    about = event.get("objectRef", {})
    names = [about.get("resource", event["requestURI"].partition("?")[0]), about.get("subresource")]
    yield f"{event['verb']} {'/'.join(name for name in names if name)}"
