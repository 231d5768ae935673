"""What one look at a pod showed is judged by every release on the pod, and by none for which it is too old."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from pluginrelease.core.gateway.documents import Documents
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.listeners import Listeners
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.edges.envoy import observing, snapshots
from pluginrelease.edges.envoy.access import GatewayAccess
from pluginrelease.edges.envoy.dump_cache import ReadOptions
from pluginrelease.edges.envoy.observing import PodLook
from pluginrelease.edges.envoy.snapshots import Call, SnapshotShare

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
POD = PodRef("apps", "gateway-1", "pod-1", ready=True)
RESTARTED = replace(POD, turned_at=NOON)
WANTED = DesiredPlugin("apps", "auth", "b" * 64, {}, "FAIL_CLOSE")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class ScriptedPods:
    """Pods that are read at noon and later; ``reads``: from when on the log was read, each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        self.reads: list[datetime] = []
        self.may = asyncio.Event()
        self.may.set()
        self.fault: Exception | None = None
        self.share = SnapshotShare(lambda: self.now)
        monkeypatch.setattr(observing, "read_documents", self.read)

    async def read(self, *asked: Any) -> Documents:
        since, earliest = asked[3], asked[-1]
        log_from = min(since, earliest or since)
        self.reads.append(log_from)
        await self.may.wait()
        if self.fault is not None:
            raise self.fault
        log = f"read {len(self.reads)}"
        if asked[5].before_write and earliest is None:
            log_from = observing.NO_LOG
        return Documents("{}", "{}", "", Listeners(), "{}", log, log_from=log_from)

    async def look(
        self, not_before: datetime, since: datetime, pod: PodRef = POD, *, before_write: bool = False
    ) -> str:
        """Look for a release; return what was read of the pod."""
        options = ReadOptions(shared=self.share, not_before=not_before, before_write=before_write)
        look = PodLook(cast(Any, None), pod, WANTED, since, GatewayAccess(), options, 20.0)
        calls: dict[str, Call] = {}
        return (await look.take(calls)).log


@pytest.fixture
def pods(monkeypatch: pytest.MonkeyPatch) -> ScriptedPods:
    return ScriptedPods(monkeypatch)


# reason, the pod at the second look, its write, since when its log is needed; how often the pod is read
LOOKS: list[tuple[str, PodRef, datetime, datetime, int]] = [
    ("it wrote before the snapshot began", POD, at(-1), at(-1), 1),
    ("it wrote just as the snapshot began", POD, at(0), at(0), 1),
    ("it wrote after the snapshot began", POD, at(1), at(1), 2),
    ("the pod is another than it was", RESTARTED, at(-1), at(-1), 2),
    ("it needs more of the log", POD, at(-1), at(-60), 2),
]


@pytest.mark.parametrize(("reason", "pod", "write", "since", "reads"), LOOKS, ids=[row[0] for row in LOOKS])
async def test_which_snapshot_counts(
    pods: ScriptedPods, reason: str, pod: PodRef, write: datetime, since: datetime, reads: int
) -> None:
    """A snapshot counts for a release if it began after its write, and the pod and the log are what it needs."""
    await pods.look(at(-5), at(-5))
    pods.now = at(2)
    assert await pods.look(write, since, pod) == f"read {reads}", reason


async def test_hundreds_of_releases_are_one_read(pods: ScriptedPods) -> None:
    """Who comes while a pod is read waits for the same answer; whoever is given up takes it from nobody."""
    pods.may.clear()
    looks = [asyncio.ensure_future(pods.look(at(-1), at(-1))) for _ in range(200)]
    await asyncio.sleep(0)
    looks[0].cancel()
    pods.may.set()
    assert {*await asyncio.gather(*looks[1:])} == {"read 1"}


async def test_more_of_the_log_is_read_for_all(pods: ScriptedPods) -> None:
    """Who needs an earlier log reads it from there, and the others find theirs in it."""
    await pods.look(at(-1), at(-1))
    await pods.look(at(-1), at(-60))
    await pods.look(at(-1), at(-30))
    await pods.look(at(-1), at(-1))
    assert pods.reads == [at(-1), at(-60)]


async def test_a_look_before_a_write_takes_any_log(pods: ScriptedPods) -> None:
    """It needs no log, and so its own snapshot, which has none, counts for nobody who needs one."""
    assert await pods.look(at(-1), at(-1), before_write=True) == "read 1"
    assert await pods.look(at(-1), at(-60)) == "read 2"
    assert await pods.look(at(-1), at(-90), before_write=True) == "read 2"
    assert pods.reads[-1] == at(-60)


async def test_what_failed_is_read_again(pods: ScriptedPods) -> None:
    """A pod that could not be read is asked anew by whoever looks next."""
    pods.fault = ValueError("it is odd")
    with pytest.raises(ValueError, match="odd"):
        await pods.look(at(-1), at(-1))
    pods.fault = None
    assert await pods.look(at(-1), at(-1)) == "read 2"


async def test_what_is_kept_has_a_bound(pods: ScriptedPods, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than there is room for the oldest go first: then the pod is read again."""
    monkeypatch.setattr(snapshots, "KEPT_BYTES", 20)
    others = [replace(POD, name=f"gateway-{number}", uid=f"pod-{number}") for number in range(4)]
    for pod in others:
        await pods.look(at(-1), at(-1), pod)
    before = len(pods.reads)
    await pods.look(at(-1), at(-1), others[-1])
    assert len(pods.reads) == before
    await pods.look(at(-1), at(-1), others[0])
    assert len(pods.reads) == before + 1
