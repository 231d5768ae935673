"""What does not take the Lease from its holder, and what does: a busy process, a slow API server, many releases."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease.controller.lease import Leadership
from pluginrelease.controller.lease_thread import LeaseThread
from pluginrelease.core.apiserver import lease
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.edges.kubernetes.login import Login
from pluginrelease.settings import Settings
from tests.edges import contenders as operators
from tests.edges.contenders import LOST, NAMESPACE, Contender, apply, await_written, read_now
from tests.edges.lone_apiserver import Lone
from tests.edges.real_registry import Real
from tests.harness import evidence

BUSY, ONLY = "lease-busy", "lease-only"
BUSY_SECONDS = 10.0
# between two renewals, on a busy machine: a third one still comes within `lease.RENEWED_WITHIN`
GAP = timedelta(seconds=4)
MANY = 200


@pytest.fixture
def only(lone: Lone, plain: Real, tmp_path: Path) -> Iterator[Contender]:
    """An operator that holds the Lease."""
    operators.push_image(plain, tmp_path)
    contender = Contender(lone, ONLY, tmp_path)
    contender.start()
    contender.holds()
    yield contender
    operators.end(contender)


def read_renewals(lone: Lone, by: str, since: datetime) -> list[datetime]:
    """When each renewal of one operator came, since then."""
    found = []
    for line in lone.audit_log.read_text().splitlines():
        event = json.loads(line)
        is_lease = event.get("objectRef", {}).get("resource") == "leases" and event["verb"] == "update"
        came = datetime.fromisoformat(event["requestReceivedTimestamp"])
        if is_lease and f"({by})" in event.get("userAgent", "") and came >= since:
            found.append(came)
    return sorted(set(found))


def longest_gap(times: list[datetime]) -> timedelta:
    """The longest time without a renewal."""
    return max((after - before for before, after in itertools.pairwise(times)), default=timedelta.max)


def sleep_in_the_loop() -> None:
    time.sleep(BUSY_SECONDS)


def compute_in_the_loop() -> None:
    until = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < until:
        pass


class BusyProcess:
    """This process as an operator that writes one Secret after the other, and whose main loop is blocked once."""

    def __init__(self, lone: Lone) -> None:
        self.kubeconfig = lone.kubeconfig()
        self.ended: list[int] = []
        self.keeper = LeaseThread(self.lead, end=lambda code, _why: self.ended.append(code))
        self.blocked: list[datetime] = []
        self.stood_still = 0.0

    async def lead(self) -> Leadership:
        settings = Settings(kubeconfig=self.kubeconfig, identity=BUSY)
        return Leadership.of(await Login.read(self.kubeconfig, agent=BUSY), Contact(), settings)

    async def act(self, block: Callable[[], None]) -> None:
        await self.keeper.start()
        await self.keeper.acquire()
        login = await Login.read(self.kubeconfig, agent=BUSY)
        async with Cluster(login, fence=self.keeper.require) as cluster:
            await self.write(cluster)
            writing = asyncio.create_task(self.write_on(cluster))
            self.blocked.append(datetime.now().astimezone())
            block()
            self.blocked.append(datetime.now().astimezone())
            self.stood_still = self.keeper.stood_still()
            await self.write(cluster)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await self.keeper.stop()

    async def write_on(self, cluster: Cluster) -> None:
        while True:
            await self.write(cluster)

    async def write(self, cluster: Cluster) -> None:
        metadata = {"namespace": NAMESPACE, "name": f"busy-{time.monotonic_ns()}"}
        await cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})


@pytest.mark.parametrize("block", [sleep_in_the_loop, compute_in_the_loop], ids=["it waits", "it computes"])
def test_a_main_loop_that_is_blocked(lone: Lone, block: Callable[[], None]) -> None:
    """A main loop that does not turn for 10 s keeps the Lease, writes nothing meanwhile, and writes after it."""
    busy, started = BusyProcess(lone), read_now()
    asyncio.run(busy.act(block))
    assert busy.ended == []
    assert busy.stood_still > BUSY_SECONDS - 2
    began, stopped = busy.blocked
    renewals = [came for came in read_renewals(lone, BUSY, started) if came <= stopped]
    assert longest_gap([*renewals, stopped]) < GAP, renewals
    writes = evidence.read_writes(lone.audit_log, started)
    assert not [written for written in writes if began < written.began < stopped]
    assert [written for written in writes if written.began >= stopped]


def test_an_api_server_that_stands_still_for_a_moment(lone: Lone, plain: Real, only: Contender) -> None:
    """When the API server does not answer for 5 s, the operator keeps the Lease and goes on."""
    [server] = lone.process
    server.send_signal(signal.SIGSTOP)
    time.sleep(5)
    server.send_signal(signal.SIGCONT)
    apply(lone, plain, "after-a-moment")
    await_written(lone, "after-a-moment")
    assert only.process is not None
    assert only.process.poll() is None


def test_an_api_server_that_stands_still_for_long(lone: Lone, plain: Real, only: Contender) -> None:
    """When the API server does not answer for 20 s, the operator ends, and no write of it comes after that."""
    apply(lone, plain, "before-it-stops")
    await_written(lone, "before-it-stops")
    [server] = lone.process
    server.send_signal(signal.SIGSTOP)
    try:
        stopped = time.monotonic()
        assert only.ended() == LOST
        assert time.monotonic() - stopped < lease.DURATION
        time.sleep(20 - (time.monotonic() - stopped))
    finally:
        server.send_signal(signal.SIGCONT)
    answers_again = read_now()
    apply(lone, plain, "nobody-acts")
    assert evidence.read_writes(lone.audit_log, answers_again) == []


def test_renewals_while_many_releases_are_made(lone: Lone, plain: Real, only: Contender) -> None:
    """200 releases at once keep no renewal waiting for more than 4 s."""
    began = read_now()
    apply(lone, plain, *(f"many-{number}" for number in range(MANY)))
    lone.kubectl(
        "wait",
        "--for=jsonpath={.status.conditions[?(@.type=='Applied')].status}=True",
        api.PLURAL,
        "--all",
        f"--namespace={NAMESPACE}",
        "--timeout=300s",
        seconds=310,
    )
    renewals = read_renewals(lone, ONLY, began)
    assert longest_gap(renewals) < GAP, longest_gap(renewals)
