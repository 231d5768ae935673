"""A gateway's log that is rotated, as the API server serves it: real agents and Envoys, and the file taken away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pluginrelease.core.gateway import logs, pods
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.edges.envoy import observing
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease_lab import Lab
from tests.harness import gateways

NAMESPACE = "rotating"
WANTED = DesiredPlugin(NAMESPACE, "absent", "a" * 64, {}, "FAIL_CLOSE")


@pytest.fixture
def pod(lab: Lab) -> Iterator[PodRef]:
    """A gateway of its own, whose log may be taken away."""
    for manifest in gateways.manifests(NAMESPACE, 1):
        lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    lab.kubectl("rollout", "status", f"deployment/{NAMESPACE}", "-n", NAMESPACE, "--timeout=120s", timeout=150)
    [found] = json.loads(lab.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
    [chosen] = pods.select([found], "istio-proxy")
    yield chosen
    lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def look(lab: Lab, pod: PodRef, since: datetime) -> tuple[PodObservation, datetime | None]:
    """The pod, with its log since a time, and how its log begins."""

    async def ask() -> tuple[PodObservation, datetime | None]:
        async with await Cluster.connect(lab.kubeconfig) as cluster:
            (seen,) = await observing.observe(cluster, [pod], WANTED, since=since, deadline_seconds=30)
            head = await cluster.read_log_head(pod.namespace, pod.name, "istio-proxy", limit_bytes=1024)
            return seen, logs.parse_time(head.partition(" ")[0])

    return asyncio.run(ask())


def test_a_rotation_shows_in_how_the_log_begins(lab: Lab, pod: PodRef) -> None:
    """The agent's first words are from before Envoy started, and all since any time is there; of a file that was taken
    away nothing is, and that is said."""
    now = datetime.now(UTC)
    seen, begins = look(lab, pod, now)
    assert seen.unreachable is None
    assert begins is not None
    assert seen.started_at is not None
    assert begins <= seen.started_at
    for since in (now, now - timedelta(hours=1), now + timedelta(seconds=30)):
        assert not look(lab, pod, since)[0].log.truncated
    files = list((lab.state / "logs" / "pods").glob(f"{pod.namespace}_{pod.name}_*/*.log"))
    assert files
    for file in files:
        file.write_bytes(b"")
    seen, begins = look(lab, pod, now)
    assert (begins, seen.log.truncated) == (None, True)
