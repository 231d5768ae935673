"""One look at many gateway pods in a process of its own, and what it took: ``python -m bench.look KUBECONFIG COUNT …``.

Prints one line of JSON. Memory is the process's peak during the look, above what it had when it was connected and had
listed the pods.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import fleet
from pluginrelease.core.gateway import pods
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.edges.envoy import observing
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import PODS

DEADLINE = 300.0
SINCE = datetime(2020, 1, 1, tzinfo=UTC)


async def measure(kubeconfig: Path, count: int, digest: str) -> dict[str, float]:
    """Seconds, CPU seconds and KiB for one look at the first ``count`` pods."""
    async with await Cluster.connect(kubeconfig) as cluster:
        listed = await cluster.list(PODS, fleet.NAMESPACE, {"istio": "fleet"})
        selected = pods.select(listed, fleet.CONTAINER)[:count]
        del listed
        wanted = DesiredPlugin(fleet.NAMESPACE, "header", digest, {"allow": True, "size": 1}, "FAIL_CLOSE")
        forget_peak()
        before, began, worked = memory("VmRSS"), time.monotonic(), time.process_time()
        seen = await observing.observe(cluster, selected, wanted, since=SINCE, deadline_seconds=DEADLINE)
        figures = {
            "seconds": time.monotonic() - began,
            "cpu": time.process_time() - worked,
            "kib": memory("VmHWM") - before,
            "process": memory("VmHWM"),
        }
    check(seen, selected, count)
    return figures


def check(seen: Sequence[PodObservation], selected: Sequence[PodRef], count: int) -> None:
    """Every pod was there and was read."""
    blind = [one.unreachable for one in seen if one.unreachable is not None]
    if len(selected) != count or blind:
        raise SystemExit(f"{len(selected)} pods of {count}; {len(blind)} could not be read: {blind[:1]}")


def forget_peak() -> None:
    """The kernel's mark of the highest memory begins anew."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(field: str) -> float:
    """A line of /proc/self/status, in KiB."""
    [found] = re.findall(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return float(found)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))))
