"""What it costs to look at a gateway: bytes, memory and time have limits, and what cannot be read is said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Transient
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.edges.envoy import access, control, dump_cache, observing
from tests import wasm_modules as made
from tests.edges.gateway_delivery import POD, TIMEOUT, StartDelivery, look
from tests.edges.real_envoy import RealGateway, api_server

NOT_FORWARDED = "error forwarding port"  # the kubelet's words

RECORDED = Path(__file__).parents[1] / "fixtures" / "envoy" / "loaded"


async def test_listeners_are_sent_again_only_when_one_has_changed(start_delivery: StartDelivery) -> None:
    """Of many listeners a second look costs little and sees the same; a change, a refusal and a restart are seen."""
    delivery = await start_delivery()
    habit = dump_cache.ReadOptions(cache=dump_cache.DumpCache())
    delivery.gateway.listen("header", others=200)
    first, whole = await look(delivery, habit)
    while len(first.listeners) < 201:
        first, whole = await look(delivery, habit)
    again, brief = await look(delivery, habit)
    assert (again.listeners, again.referenced, again.unknown) == (first.listeners, True, ())
    assert (again.istio_version, again.concurrency, again.started_at) == ("1.31.0", 2, first.started_at)
    assert brief * 5 < whole

    delivery.gateway.listen(others=200)
    while (await look(delivery, habit))[0].referenced:
        pass
    delivery.gateway.listen("header", others=200)
    while not (await look(delivery, habit))[0].referenced:
        pass
    await delivery.write(made.unknown_abi())
    await delivery.settled(State.UNHEALTHY)
    delivery.gateway.listen("header", prefix="changed")
    while not (await look(delivery, habit))[0].listener_errors:
        pass
    await delivery.gateway.restart()
    assert len((await look(delivery, habit))[0].listeners) == 1


async def test_a_memory_is_of_one_run_of_one_pod_and_has_an_end() -> None:
    """What was kept of a pod is never another's, nor that of an earlier run; the oldest go first."""
    memory = dump_cache.DumpCache(limit=2)
    pods = [replace(POD, uid=f"uid-{number}") for number in range(3)]
    for pod in pods:
        memory.keep(pod, dump_cache.CachedDump("first start", f"info {pod.uid}"))
    found = [memory.recall(pod, "first start") for pod in pods]
    assert [dump and dump.info for dump in found] == [None, "info uid-1", "info uid-2"]
    assert memory.recall(pods[2], "second start") is None


@contextlib.asynccontextmanager
async def fake_admin(listeners: int, folder: Path) -> AsyncIterator[RealGateway]:
    """An admin port that answers as recorded, with many listeners, made while they are sent."""
    recorded = {name: (RECORDED / f"{name}.json").read_bytes() for name in ("server_info", "start", "ecds", "stats")}
    (one,) = json.loads((RECORDED / "listeners.json").read_text())["configs"]
    one["active_state"]["listener"]["metadata"] = {"filter_metadata": {"istio": {"config": "x" * 10_000}}}

    async def answer(request: web.Request) -> web.StreamResponse:
        if "resource" not in request.query:
            kinds = {"last_updated": "start", "ecds_filters": "ecds"}
            return web.Response(body=recorded[kinds.get(request.query.get("mask", ""), request.path[1:])])
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"configs": [')
        for number in range(listeners):
            await response.write(b"," * bool(number) + json.dumps({**one, "name": f"l-{number}"}).encode())
        await response.write(b"]}")
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    gateway = RealGateway(folder)
    gateway.log.touch()
    await web.TCPSite(runner, "127.0.0.1", gateway.admin).start()
    try:
        yield gateway
    finally:
        await runner.cleanup()


async def test_a_large_description_is_never_held(tmp_path: Path) -> None:
    """Megabytes of listeners are read in a fraction of their size, and all of them are seen."""
    wanted = DesiredPlugin("apps", "header", "", {}, "FAIL_CLOSE")
    async with fake_admin(600, tmp_path) as gateway, api_server(gateway=gateway) as channels:
        tracemalloc.start()
        try:
            (seen,) = await observing.observe(channels, [POD], wanted, since=datetime.now(UTC), deadline_seconds=120)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (len(seen.listeners), seen.referenced, seen.unknown, seen.unreachable) == (600, True, (), None)
    assert channels.relayed > 6_000_000
    assert peak < channels.relayed / 4


async def test_an_answer_without_an_end_is_given_up(tmp_path: Path) -> None:
    """However much a pod sends, the operator reads its limit and says so."""
    wanted = DesiredPlugin("apps", "header", "", {}, "FAIL_CLOSE")
    settings = access.GatewayAccess(dump_limit_bytes=100_000)
    async with fake_admin(100, tmp_path) as gateway, api_server(gateway=gateway) as channels:
        (seen,) = await observing.observe(
            channels, [POD], wanted, since=datetime.now(UTC), deadline_seconds=30, settings=settings
        )
    assert "100000 bytes" in (seen.unreachable or "")


async def test_a_pod_that_does_not_answer_is_data(start_delivery: StartDelivery) -> None:
    """A pod that is gone, refuses or hangs is one row, and the others are seen nevertheless."""
    delivery = await start_delivery()
    pods = [POD, PodRef("apps", "gone", "uid-2", ready=True)]
    seen = await observing.observe(
        delivery.channels, pods, delivery.wanted, since=delivery.write_at, deadline_seconds=30
    )
    assert seen[0].unreachable is None
    assert NOT_FORWARDED in (seen[1].unreachable or "")
    found = judging.judge(delivery.wanted, seen, write_at=delivery.write_at, load_timeout=TIMEOUT)
    assert [row.reason for row in found.pods if row.pod.name == "gone"] == ["PodUnreachable"]
    assert (seen[0].envoy_version is None, seen[1].envoy_version) == (False, None)
    with pytest.raises(Transient) as trouble:
        await control.read_logging(delivery.channels, pods[1])
    assert trouble.value.reason == "LoggerNotSet"


async def test_one_broken_connection_is_tried_again(start_delivery: StartDelivery) -> None:
    """An Envoy that was busy resets what waited for it: one reset hides nothing, two are told."""
    delivery = await start_delivery()
    delivery.channels.broken = 1
    assert (await delivery.see()).unreachable is None
    delivery.channels.broken = 1
    assert await control.read_logging(delivery.channels, POD) == "warning"
    delivery.channels.broken = 2
    assert NOT_FORWARDED in ((await delivery.see()).unreachable or "")


async def test_every_wait_has_a_deadline(start_delivery: StartDelivery) -> None:
    """An Envoy that hangs costs its deadline and no more, and says so."""
    delivery = await start_delivery()
    assert delivery.gateway.process is not None
    delivery.gateway.process.send_signal(19)
    try:
        (seen,) = await observing.observe(
            delivery.channels, [POD], delivery.wanted, since=delivery.write_at, deadline_seconds=0.5
        )
    finally:
        delivery.gateway.process.send_signal(18)
    assert "0.5 s" in (seen.unreachable or "")
    assert seen.silent is not None
    assert timedelta() < seen.silent < timedelta(seconds=1)


async def test_a_plugin_that_never_returns_silences_the_gateway(start_delivery: StartDelivery) -> None:
    """Envoy takes a connection and does not answer, which is another thing than a port that takes none."""
    delivery = await start_delivery()
    await delivery.write(made.hangs_at_configure())
    delivery.write_at = datetime.now(UTC)
    pods = [POD, PodRef("apps", "gone", "uid-2", ready=True)]
    asked = {"since": delivery.write_at, "deadline_seconds": 1.0}
    (seen, gone) = await observing.observe(delivery.channels, pods, delivery.wanted, **asked)
    while seen.silent is None:
        (seen, gone) = await observing.observe(delivery.channels, pods, delivery.wanted, **asked)
    assert gone.silent is None
    assert await delivery.gateway.answer() == 200, "its workers go on"


async def test_a_gateway_is_ended_by_a_request_and_one_that_is_gone_is_said() -> None:
    """What answers there ends with the request; a pod that takes no connection is an error and no more."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = RealGateway(folder)
        gateway.listen()
        stack.push_async_callback(gateway.stop)
        await gateway.start()
        channels = await stack.enter_async_context(api_server(gateway=gateway))
        await control.end_gateway(channels, POD)
        assert gateway.process is not None
        async with asyncio.timeout(30):
            await gateway.process.wait()
        with pytest.raises(Transient, match="gateway") as trouble:
            await control.end_gateway(channels, POD)
        assert trouble.value.reason == "GatewayNotRestarted"


async def test_no_gateway_is_changed_without_the_lease(start_delivery: StartDelivery) -> None:
    """A process that lost the Lease sets no log level and ends no gateway, also where the way there took its time."""
    delivery = await start_delivery()
    before = await control.read_logging(delivery.channels, POD)

    def refuse() -> None:
        raise Transient(Reason.LEASE_NOT_HELD, "another operator acts")

    stopped = access.GatewayAccess(fence=refuse)
    with pytest.raises(Transient) as found:
        await control.set_logging(delivery.channels, POD, "debug", settings=stopped)
    assert found.value.reason is Reason.LEASE_NOT_HELD
    with pytest.raises(Transient):
        await control.end_gateway(delivery.channels, POD, settings=replace(stopped, admin_port=15000))
    assert await control.read_logging(delivery.channels, POD) == before
    assert await delivery.gateway.answer() == 200


async def test_answers_have_a_limit(start_delivery: StartDelivery) -> None:
    """An answer that is longer than the limit is not read to its end."""
    delivery = await start_delivery()
    small = access.GatewayAccess(answer_limit_bytes=1000)
    (seen,) = await observing.observe(
        delivery.channels, [POD], delivery.wanted, since=delivery.write_at, deadline_seconds=30, settings=small
    )
    assert " 1000 bytes" in (seen.unreachable or "")


async def test_what_a_gateway_says_of_itself(start_delivery: StartDelivery) -> None:
    """Versions, threads and the start of this very Envoy, which is the same at every look."""
    delivery = await start_delivery("neighbour", concurrency=1)
    first, second = await delivery.see(), await delivery.see()
    assert (first.istio_version, first.concurrency, first.unknown) == ("1.31.0", 1, ())
    assert first.started_at == second.started_at
    assert (first.stats.vm_active, first.code_files, first.code_shared) == (6, 2, False)
    assert first.referenced is True
