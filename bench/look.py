"""Observe many gateway pods in a process of its own, and print the cost: ``python -m bench.look KUBECONFIG COUNT …``.

Prints one line of JSON. Memory is the process's peak during the observation, minus its memory after connecting and
listing the pods.
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
    """Return seconds, CPU seconds and KiB for one observation of the first ``count`` pods."""
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
    """Check that every pod existed and was read."""
    blind = [observation.unreachable for observation in seen if observation.unreachable is not None]
    if len(selected) != count or blind:
        raise SystemExit(f"{len(selected)} pods of {count}; {len(blind)} could not be read: {blind[:1]}")


def forget_peak() -> None:
    """Reset the kernel's mark of the highest memory."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(field: str) -> float:
    """Return a line of /proc/self/status in KiB."""
    [found] = re.findall(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return float(found)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))))
