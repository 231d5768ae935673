"""The status of the largest release, written by the operator's client to a real kube-apiserver."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest

from pluginrelease import api
from pluginrelease.core.gateway import notes, raised_loggers
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease_lab.host import Lab
from tests import large

NAMESPACE = "status-size"
# of what etcd takes in one object, 1.5 MB, the status has a sixth
MAX_STATUS = 256 * 1024
# of the object with what the API server adds: who owns which field, and the spec
MAX_OBJECT = 512 * 1024


@pytest.fixture(scope="module")
def stored(cluster: Lab) -> Iterator[api.Release]:
    """A release of 64 entries on the API server."""
    made = cluster.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(large.large(NAMESPACE)))
    yield api.Release.model_validate_json(made)
    cluster.kubectl("delete", api.PLURAL, "--all", "-n", NAMESPACE)


async def write(lab: Lab, release: api.Release, status: api.Status) -> None:
    async with await Cluster.connect(lab.kubeconfig) as connected:
        await connected.apply_status(release, status)


# a rollout first and its end after it, as in a cluster: what rests leaves nothing of the rollout behind
SIZES: list[tuple[str, Callable[[], api.Status], int]] = [
    ("in a rollout, every message as long as it may be", large.status_rolling, MAX_STATUS),
    ("at rest", large.status_resting, MAX_STATUS // 2),
]


@pytest.mark.parametrize(("reason", "make", "most"), SIZES, ids=[row[0] for row in SIZES])
def test_the_largest_status_fits(
    cluster: Lab, stored: api.Release, reason: str, make: Callable[[], api.Status], most: int
) -> None:
    """64 entries with 2,000 pods are stored whole, and come back as they were noted."""
    status = make()
    asyncio.run(write(cluster, stored, status))
    text = cluster.kubectl("get", "prel", stored.metadata.name, "-n", NAMESPACE, "-o", "json", "--show-managed-fields")
    found = json.loads(text)
    sizes = {part: len(json.dumps(found[part], separators=(",", ":"))) for part in ("status", "metadata")}
    print(f"{reason}: status {sizes['status'] / 1024:.1f} KiB, metadata {sizes['metadata'] / 1024:.1f} KiB")
    assert sizes["status"] < most, reason
    assert len(json.dumps(found, separators=(",", ":"))) < MAX_OBJECT, reason
    assert api.Release.model_validate(found).status == status


def test_the_notes_are_of_all_pods() -> None:
    """The sizes above are of 2,000 pods that are all known, and in the rollout of as many raised log levels."""
    for status in (large.status_rolling(), large.status_resting()):
        assert status.checkpoint is not None
        known = [notes.read(gateway) for gateway in status.checkpoint.gateways]
        assert len({run.pod for noted in known for run in noted.loaded}) == api.MAX_PODS
        assert sum(len(noted.baselines) for noted in known) == api.MAX_PODS
    rolling = large.status_rolling().checkpoint
    assert rolling is not None
    raised = [logger for gateway in rolling.gateways for logger in raised_loggers.read(gateway.raised_loggers)]
    assert len({logger.mark for logger in raised}) == api.MAX_PODS
