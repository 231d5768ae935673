"""Gateways are judged by what a real Envoy shows: what it loads, refuses, keeps and hides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pluginrelease.core.errors import Transient
from pluginrelease.core.gateway import observations
from pluginrelease.core.gateway.container import Cause, Container, LastWords, Termination
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.observations import Baseline, FilterKind, PodObservation, PodRef
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.edges.envoy import control, observing
from pluginrelease.edges.envoy.access import GatewayAccess
from pluginrelease.edges.envoy.dump_cache import CachedDump, DumpCache, ReadOptions
from tests import wasm_modules as made
from tests.edges.real_envoy import Channels, Gateway, api_server, until

POD = PodRef("apps", "gateway", "uid-1", ready=True)
TIMEOUT = timedelta(hours=1)
RECORDED = Path(__file__).parents[1] / "fixtures" / "envoy" / "loaded"


def variant(text: str) -> bytes:
    """A plugin that loads, whose bytes differ from others' by a custom section."""
    return made.plugin() + made.section(0, made.name("variant") + text.encode())


NEIGHBOUR_CREATED = "apps.neighbour~istio-translated-wasmplugin created"


async def in_log(gateway: Gateway, text: str, times: int) -> None:
    """The gateway has logged it so often."""

    async def there() -> bool:
        return gateway.log.read_text().count(text) >= times

    await until(there)


@dataclass
class Scene:
    """One gateway, and a release that delivers to it as the operator would: look, write, look again."""

    gateway: Gateway
    channels: Channels
    wanted: DesiredPlugin = field(default_factory=lambda: DesiredPlugin("apps", "header", "", {}, "FAIL_CLOSE"))
    write_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    baselines: tuple[Baseline, ...] = ()
    verified: frozenset[Incarnation] = frozenset()

    async def see(self) -> PodObservation:
        (seen,) = await observing.observe(self.channels, [POD], self.wanted, since=self.write_at, deadline_seconds=30)
        return seen

    async def write(
        self,
        wasm: bytes,
        config: dict[str, Any] | None = None,
        *,
        delivered: bool = True,
        fail: str = "FAIL_CLOSED",
    ) -> None:
        before = observations.make_baseline(await self.see())
        self.baselines = (before,) if before else ()
        self.verified = frozenset()
        self.write_at = datetime.now(UTC)
        digest = self.gateway.deliver("header", wasm, config, fail) if delivered else "0" * 64
        self.wanted = replace(self.wanted, digest_hex=digest, config=config)

    async def judged(self, *, late: bool = False) -> Verdict:
        found = judging.judge(
            self.wanted,
            [await self.see()],
            write_at=self.write_at,
            baselines=self.baselines,
            verified=self.verified,
            load_timeout=timedelta() if late else TIMEOUT,
        )
        self.verified = found.verified
        return found

    async def settled(self, *states: State) -> Verdict:
        """The first verdict in one of these states."""
        found = await self.judged()
        for _ in range(600):
            if found.state in states:
                return found
            found = await self.judged()
        raise AssertionError(f"still {found}")


Stage = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Makes a gateway that runs the first variant of the plugin, and of other plugins that are named."""
    async with AsyncExitStack() as stack:

        async def make(*others: str, show_subscriptions: bool = False, concurrency: int = 2) -> Scene:
            gateway = Gateway(tmp_path, show_subscriptions=show_subscriptions, concurrency=concurrency)
            gateway.deliver("header", variant("first"))
            for other in others:
                gateway.deliver(other, variant(other))
            gateway.listen("header", *others)
            stack.push_async_callback(gateway.stop)
            await gateway.start()
            channels = await stack.enter_async_context(api_server(gateway=gateway))
            return Scene(gateway, channels)

        yield make


async def test_new_code_is_proved_by_the_vms_made_for_it(stage: Stage) -> None:
    """On a gateway that shows and logs no more than Istio's default, new code is Loaded by the VMs made for it."""
    scene = await stage("neighbour")
    await scene.write(variant("second"))
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.LOADED, "Loaded")
    assert "VMs were made" in found.pods[0].message


@pytest.mark.parametrize("module", [made.unknown_abi(), made.missing_import()], ids=["abi", "import"])
async def test_refused_code_is_unhealthy_though_the_dump_shows_it(stage: Stage, module: bytes) -> None:
    """Envoy shows refused code as current and goes on with the old: Unhealthy, in Envoy's own words."""
    scene = await stage("neighbour", show_subscriptions=True)
    await scene.write(module)
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRejected")
    assert "what ran before goes on running" in found.message
    assert "Wasm VM failed" in found.message or "missing import" in found.message
    seen = await scene.see()
    assert seen.entries[0].digest_hex == scene.wanted.digest_hex
    assert await scene.gateway.answer() == 200


async def test_refused_bytes_that_come_again_are_no_success(stage: Stage) -> None:
    """Envoy acknowledges refused bytes that come again and runs nothing: without its first refusal, which a rotation
    took away, it is Unknown, and that is said."""
    scene = await stage(show_subscriptions=True)
    await scene.write(made.unknown_abi())
    await scene.settled(State.UNHEALTHY)
    await scene.write(made.unknown_abi())
    scene.gateway.log.write_text("")
    assert (await scene.judged()).state is State.PENDING
    late = await scene.judged(late=True)
    assert (late.state, late.reason) == (State.UNKNOWN, "LogIncomplete")


async def test_a_neighbours_refusal_is_not_ours(stage: Stage) -> None:
    """Another plugin's refusal, in the same log and the same listener, does not make ours unhealthy."""
    scene = await stage("neighbour", show_subscriptions=True)
    scene.gateway.deliver("neighbour", made.unknown_abi())
    await scene.write(variant("second"))
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.LOADED, "Loaded")


async def test_a_new_configuration_is_proved_by_the_counter(stage: Stage) -> None:
    """Where the subscription's counters are visible, config_reload proves a change of configuration alone."""
    scene = await stage(show_subscriptions=True)
    await scene.write(variant("first"), {"allow": ["a", 1, True]})
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert "config_reload rose from 1 to 2" in found.pods[0].message


async def test_a_new_configuration_is_proved_by_the_log(stage: Stage) -> None:
    """With the filter logger raised before the write, Envoy names the plugin that it has created."""
    scene = await stage()
    assert await control.read_logging(scene.channels, POD) == "warning"
    await control.set_logging(scene.channels, POD, "debug")
    await scene.write(variant("first"), {"allow": True})
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert "created, warming done" in found.pods[0].message
    await control.set_logging(scene.channels, POD, "warning")
    assert await control.read_logging(scene.channels, POD) == "warning"


@pytest.mark.parametrize("hears", [True, False], ids=["filter logger at debug", "with its own log level"])
async def test_a_configuration_that_only_the_workers_refuse(stage: Stage, hears: bool) -> None:
    """Envoy logs and counts it as loaded, requests pass without the plugin, and what ran before is refused as well."""
    scene = await stage(show_subscriptions=True)
    if hears:
        await control.set_logging(scene.channels, POD, "debug")
    await scene.write(made.configured_once("v1"), {"try": 1})
    assert (await scene.settled(State.LOADED, State.UNHEALTHY)).state is State.LOADED
    await scene.write(made.configured_once("v1"), {"try": 2})
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRefusedByWorkers")
    assert "thread-local" in found.pods[0].message
    assert (await scene.see()).stats.config_reload == 3, "what Envoy counts as loaded"

    await scene.write(made.configured_once("v1"), {"try": 1})
    back = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert (back.state, back.reason) == (State.UNHEALTHY, "PluginRejected")


async def test_other_plugins_may_share_a_gateway_with_one_that_its_workers_refuse(stage: Stage) -> None:
    """A plugin that loads is Loaded beside a neighbour that runs on no worker."""
    scene = await stage("neighbour", show_subscriptions=True)
    await control.set_logging(scene.channels, POD, "debug")
    for number in (1, 2):
        scene.gateway.deliver("neighbour", made.configured_once("theirs"), {"try": number})
        await in_log(scene.gateway, NEIGHBOUR_CREATED, number)
    await scene.write(variant("second"))
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.LOADED, "Loaded")


async def test_a_new_configuration_without_a_sign_is_unknown(stage: Stage) -> None:
    """Where neither log nor counters tell, a changed configuration is never called Loaded; what to do is said."""
    scene = await stage()
    await scene.write(variant("first"), {"allow": True})
    seen = await scene.see()
    while seen.entries[0].config != {"allow": True}:
        seen = await scene.see()
    assert (await scene.judged()).reason == "AwaitingPositiveSign"
    late = await scene.judged(late=True)
    assert (late.state, late.reason) == (State.UNKNOWN, "NoPositiveSign")
    assert "statsInclusionPrefixes" in late.message


async def test_a_pod_that_starts_later_is_proved_by_the_plugins_own_statistics(stage: Stage) -> None:
    """An Envoy that started after the write makes the plugin's statistics only when it has created the plugin."""
    scene = await stage("neighbour", concurrency=1)
    await scene.write(variant("second"))
    scene.gateway.log.write_text("")
    await scene.gateway.restart()
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert "Envoy made the plugin's statistics" in found.pods[0].message


async def test_a_pod_that_starts_with_refused_code_answers_500(stage: Stage) -> None:
    """An Envoy that starts while the plugin is bad serves without it, by 500: said, and never Loaded."""
    scene = await stage("neighbour")
    await scene.write(made.unknown_abi())
    await scene.settled(State.UNHEALTHY)
    scene.gateway.log.write_text("")
    await scene.gateway.restart()
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRejected")
    assert "answers 500 to every request" in found.message
    assert await scene.gateway.answer() == 500
    assert not (await scene.see()).stats.named


async def test_what_was_proved_holds_for_that_run_of_envoy_only(stage: Stage) -> None:
    """A pod that was Loaded stays so without new signs; a restarted Envoy has to prove it anew."""
    scene = await stage(show_subscriptions=True)
    await scene.write(variant("first"), {"allow": True})
    await scene.settled(State.LOADED)
    before = scene.verified
    scene.baselines = ()
    again = await scene.judged()
    assert again.state is State.LOADED
    assert "seen running this revision before" in again.pods[0].message
    await scene.gateway.restart()
    assert (await scene.settled(State.LOADED)).verified.isdisjoint(before)


@pytest.mark.parametrize(
    ("deny", "reason", "kind"),
    [(True, "FetchFailed", FilterKind.RBAC_DENY), (False, "RunningUnprotected", FilterKind.RBAC_ALLOW)],
    ids=["deny", "allow"],
)
async def test_a_stand_in_is_told_at_once(stage: Stage, deny: bool, reason: str, kind: FilterKind) -> None:
    """The RBAC filter that stands in for a module that could not be fetched is Unhealthy before any deadline."""
    scene = await stage()
    await scene.write(variant("second"), delivered=False)
    scene.gateway.stand_in("header", deny=deny)
    found = await scene.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.UNHEALTHY, reason)
    assert (await scene.see()).entries[0].kind is kind
    assert await scene.gateway.answer() == (403 if deny else 200)


async def test_a_refused_listener_is_told_until_it_is_mended(stage: Stage) -> None:
    """While our code is refused, every update of its listener is refused too; mended code is Loaded again."""
    scene = await stage("neighbour", show_subscriptions=True)
    await scene.write(made.unknown_abi())
    await scene.settled(State.UNHEALTHY)
    scene.gateway.listen("header", "neighbour", prefix="changed")
    seen = await scene.see()
    while not seen.listener_errors:
        seen = await scene.see()
    assert "apps.header" in seen.listener_errors[0].details
    assert (await scene.judged()).reason == "ListenerRejected"
    await scene.write(variant("second"))
    assert (await scene.settled(State.LOADED, State.UNKNOWN)).reason == "Loaded"


TRAP = {"x-trap": "now"}
STRATEGIES = {"FAIL_CLOSED": "PluginCrashed", "FAIL_OPEN": "RunningUnprotected", "FAIL_RELOAD": "PluginCrashed"}


@pytest.mark.parametrize("fail", STRATEGIES)
async def test_a_plugin_that_traps_on_a_request_is_told(stage: Stage, fail: str) -> None:
    """A plugin that was Loaded and then crashes is Unhealthy at the next look, whatever its failStrategy makes of it;
    a change of its configuration starts it anew."""
    scene = await stage(show_subscriptions=True)
    await scene.write(made.traps_on_request(), fail=fail)
    await scene.settled(State.LOADED)
    assert await scene.gateway.answer(TRAP) == 503
    found = await scene.settled(State.UNHEALTHY)
    assert (found.reason, found.pods[0].evidence[0]) == (
        STRATEGIES[fail],
        "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable",
    )
    assert "in 1 of 2 workers" in found.message
    await scene.write(made.traps_on_request(), {"again": True}, fail=fail)
    assert (await scene.settled(State.LOADED)).reason == "Loaded"
    assert await scene.gateway.answer() == 200


async def test_a_crash_among_several_codes_is_nobodys(stage: Stage) -> None:
    """Envoy's line on a crash names no plugin: beside a neighbour of other code it is Unknown whose it was, and a
    neighbour of the same code is down with it."""
    scene = await stage("neighbour", show_subscriptions=True)
    await scene.write(made.traps_on_request())
    await scene.settled(State.LOADED)
    await scene.gateway.answer(TRAP)
    found = await scene.settled(State.UNHEALTHY, State.UNKNOWN)
    assert (found.state, found.reason) == (State.UNKNOWN, "VMCrashed")


async def test_twins_of_the_same_code_crash_together(stage: Stage) -> None:
    """Plugins of the same bytes share each worker's VM, so that the crash of one is told of both."""
    scene = await stage(show_subscriptions=True)
    scene.gateway.deliver("twin", made.traps_on_request())
    scene.gateway.listen("header", "twin")
    await scene.write(made.traps_on_request())
    await scene.settled(State.LOADED)
    assert await scene.gateway.answer(TRAP) == 503
    assert (await scene.settled(State.UNHEALTHY)).reason == "PluginCrashed"
    twin = replace(scene, wanted=replace(scene.wanted, name="twin"))
    assert (await twin.judged()).reason == "PluginCrashed"


async def look(scene: Scene, habit: ReadOptions) -> tuple[PodObservation, int]:
    """A look, and how many bytes the gateway sent for it."""
    before = scene.channels.relayed
    (seen,) = await observing.observe(
        scene.channels, [POD], scene.wanted, since=scene.write_at, deadline_seconds=30, options=habit
    )
    return seen, scene.channels.relayed - before


async def test_listeners_are_sent_again_only_when_one_has_changed(stage: Stage) -> None:
    """Of many listeners a second look costs little and sees the same; a change, a refusal and a restart are seen."""
    scene = await stage()
    habit = ReadOptions(cache=DumpCache())
    scene.gateway.listen("header", others=200)
    first, whole = await look(scene, habit)
    while len(first.listeners) < 201:
        first, whole = await look(scene, habit)
    again, brief = await look(scene, habit)
    assert (again.listeners, again.referenced, again.unknown) == (first.listeners, True, ())
    assert (again.istio_version, again.concurrency, again.started_at) == ("1.31.0", 2, first.started_at)
    assert brief * 5 < whole

    scene.gateway.listen(others=200)
    while (await look(scene, habit))[0].referenced:
        pass
    scene.gateway.listen("header", others=200)
    while not (await look(scene, habit))[0].referenced:
        pass
    await scene.write(made.unknown_abi())
    await scene.settled(State.UNHEALTHY)
    scene.gateway.listen("header", prefix="changed")
    while not (await look(scene, habit))[0].listener_errors:
        pass
    await scene.gateway.restart()
    assert len((await look(scene, habit))[0].listeners) == 1


async def test_of_a_proved_gateway_only_the_newest_log_is_read(stage: Stage) -> None:
    """A pod that was seen running the revision is asked for what is new; one that was not, for all since the write."""
    scene = await stage(show_subscriptions=True)
    await scene.write(made.traps_on_request())
    await scene.settled(State.LOADED)
    assert await scene.gateway.answer(TRAP) == 503
    await scene.settled(State.UNHEALTHY)
    run = observations.identify_run(await scene.see())
    assert run
    later = datetime.now(UTC)
    seen = [(await look(scene, ReadOptions(known, later)))[0] for known in ([run], [])]
    assert [len(one.log.crashes) for one in seen] == [0, 1]


async def test_a_memory_is_of_one_run_of_one_pod_and_has_an_end() -> None:
    """What was kept of a pod is never another's, nor that of an earlier run; the oldest go first."""
    memory = DumpCache(limit=2)
    pods = [replace(POD, uid=f"uid-{number}") for number in range(3)]
    for pod in pods:
        memory.keep(pod, CachedDump("first start", f"info of {pod.uid}"))
    found = [memory.recall(pod, "first start") for pod in pods]
    assert [one and one.info for one in found] == [None, "info of uid-1", "info of uid-2"]
    assert memory.recall(pods[2], "second start") is None


@contextlib.asynccontextmanager
async def fake_admin(listeners: int, folder: Path) -> AsyncIterator[Gateway]:
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
    gateway = Gateway(folder)
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
    settings = GatewayAccess(dump_limit_bytes=100_000)
    async with fake_admin(100, tmp_path) as gateway, api_server(gateway=gateway) as channels:
        (seen,) = await observing.observe(
            channels, [POD], wanted, since=datetime.now(UTC), deadline_seconds=30, settings=settings
        )
    assert "longer than 100000 bytes" in (seen.unreachable or "")


async def test_a_pod_that_does_not_answer_is_data(stage: Stage) -> None:
    """A pod that is gone, refuses or hangs is one row, and the others are seen nevertheless."""
    scene = await stage()
    pods = [POD, PodRef("apps", "gone", "uid-2", ready=True)]
    seen = await observing.observe(scene.channels, pods, scene.wanted, since=scene.write_at, deadline_seconds=30)
    assert seen[0].unreachable is None
    assert "error forwarding port" in (seen[1].unreachable or "")
    found = judging.judge(scene.wanted, seen, write_at=scene.write_at, load_timeout=TIMEOUT)
    assert [row.reason for row in found.pods if row.pod.name == "gone"] == ["PodUnreachable"]
    assert (seen[0].envoy_version is None, seen[1].envoy_version) == (False, None)
    with pytest.raises(Transient):
        await control.read_logging(scene.channels, pods[1])


async def test_one_broken_connection_is_tried_again(stage: Stage) -> None:
    """An Envoy that was busy resets what waited for it: one reset hides nothing, two are told."""
    scene = await stage()
    scene.channels.broken = 1
    assert (await scene.see()).unreachable is None
    scene.channels.broken = 1
    assert await control.read_logging(scene.channels, POD) == "warning"
    scene.channels.broken = 2
    assert "error forwarding port" in ((await scene.see()).unreachable or "")


async def test_every_wait_has_a_deadline(stage: Stage) -> None:
    """An Envoy that hangs costs its deadline and no more, and says so."""
    scene = await stage()
    assert scene.gateway.process is not None
    scene.gateway.process.send_signal(19)
    try:
        (seen,) = await observing.observe(
            scene.channels, [POD], scene.wanted, since=scene.write_at, deadline_seconds=0.5
        )
    finally:
        scene.gateway.process.send_signal(18)
    assert seen.unreachable == "no answer within 0.5 s"
    assert seen.silent is not None
    assert timedelta() < seen.silent < timedelta(seconds=1)


async def test_a_plugin_that_never_returns_silences_the_gateway(stage: Stage) -> None:
    """Envoy takes a connection and does not answer, which is another thing than a port that takes none."""
    scene = await stage()
    await scene.write(made.hangs_at_configure())
    scene.write_at = datetime.now(UTC)
    pods = [POD, PodRef("apps", "gone", "uid-2", ready=True)]
    asked = {"since": scene.write_at, "deadline_seconds": 1.0}
    (seen, gone) = await observing.observe(scene.channels, pods, scene.wanted, **asked)
    while seen.silent is None:
        (seen, gone) = await observing.observe(scene.channels, pods, scene.wanted, **asked)
    assert gone.silent is None
    assert await scene.gateway.answer() == 200, "its workers go on"


async def test_a_gateway_is_ended_by_a_request_and_one_that_is_gone_is_said() -> None:
    """What answers there ends with the request; a pod that takes no connection is an error and no more."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = Gateway(folder)
        gateway.listen()
        stack.push_async_callback(gateway.stop)
        await gateway.start()
        channels = await stack.enter_async_context(api_server(gateway=gateway))
        await control.end_gateway(channels, POD)
        assert gateway.process is not None
        async with asyncio.timeout(30):
            await gateway.process.wait()
        with pytest.raises(Transient, match="gateway"):
            await control.end_gateway(channels, POD)


ENDED = Termination(datetime.now(UTC), "Completed")
DOWN = Container(restarts=1, running=False, waiting="CrashLoopBackOff", terminated=ENDED)


class LastLogs:
    """Channels to pods whose containers have ended; ``said`` None: the log is not given out."""

    def __init__(self, said: str | None) -> None:
        self.said = said
        self.asked: list[bool] = []

    def portforward(self, namespace: str, pod: str, port: int) -> Any:
        raise AssertionError("a container that does not run is not asked")

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        raise AssertionError("a container that does not run has no log since then")

    async def read_last_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str:
        self.asked.append(previous)
        if self.said is None:
            raise Transient("LogNotFound", "there is none")
        return self.said


@pytest.mark.parametrize(
    ("ended", "previous", "why"),
    [(ENDED, True, "it waits to be started again"), (replace(ENDED, is_state=True), False, "it has just ended")],
)
async def test_a_container_that_ended_is_asked_for_its_last_words_alone(
    ended: Termination, previous: bool, why: str
) -> None:
    """Its admin port costs no time, its last log is read once, and the pod's status says the rest."""
    channels = LastLogs("2026-11-20T12:00:05.0Z\terror\tEnvoy exited with error: signal: segmentation fault")
    pod, habit = (
        replace(POD, container=replace(DOWN, terminated=ended)),
        ReadOptions(cache=DumpCache()),
    )
    wanted, since = DesiredPlugin("apps", "header", "", {}, "FAIL_CLOSE"), ended.at - timedelta(seconds=1)
    for _ in range(2):
        (seen,) = await observing.observe(channels, [pod], wanted, since=since, deadline_seconds=5, options=habit)
    assert seen.unreachable == "its container istio-proxy does not run: CrashLoopBackOff"
    assert seen.last_words is not None
    assert seen.last_words.cause is Cause.FATAL
    assert channels.asked == [previous], why
    (glanced,) = await observing.observe_status(channels, [pod], since=since, options=habit)
    assert glanced.last_words == seen.last_words


async def test_last_words_that_cannot_be_had_are_no_words() -> None:
    """The status alone says that the container ended; an end of before the write is nobody's news."""
    pod = replace(POD, container=DOWN)
    (seen,) = await observing.observe_status(LastLogs(None), [pod], since=ENDED.at)
    assert seen.last_words == LastWords()
    (old,) = await observing.observe_status(LastLogs(None), [pod], since=ENDED.at + timedelta(minutes=1))
    assert old.last_words is None


async def test_answers_have_a_limit(stage: Stage) -> None:
    """An answer that is longer than the limit is not read to its end."""
    scene = await stage()
    small = GatewayAccess(answer_limit_bytes=1000)
    (seen,) = await observing.observe(
        scene.channels, [POD], scene.wanted, since=scene.write_at, deadline_seconds=30, settings=small
    )
    assert "longer than 1000 bytes" in (seen.unreachable or "")


async def test_a_long_log_is_read_in_pages_and_a_gap_is_told(stage: Stage) -> None:
    """The API server gives a log's first bytes: the newest lines are reached page by page, or a gap is admitted."""
    scene = await stage()
    await scene.write(made.unknown_abi())
    await scene.settled(State.UNHEALTHY)
    size = scene.gateway.log.stat().st_size
    whole = GatewayAccess(log_limit_bytes=size + 1)
    short = GatewayAccess(log_limit_bytes=200, log_pages=2)
    for settings, truncated in ((whole, False), (short, True)):
        (seen,) = await observing.observe(
            scene.channels, [POD], scene.wanted, since=scene.write_at, deadline_seconds=30, settings=settings
        )
        assert seen.log.truncated is truncated


async def test_a_log_that_was_rotated_is_not_whole(stage: Stage) -> None:
    """What Envoy refused is gone with the file that it stood in: that is said, whether anything was written since or
    not. After a restart, and for what comes after the rotation, the log is whole again."""
    scene = await stage()
    await scene.write(made.unknown_abi())
    await scene.settled(State.UNHEALTHY)
    assert not (await scene.see()).log.truncated
    scene.gateway.log.write_text("")
    assert (await scene.see()).log.truncated
    at = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    scene.gateway.log.write_text(f"{at}\twarning\tenvoy config a.cc:1\tsomething else\tthread=1\n")
    seen = await scene.see()
    assert (seen.log.truncated, seen.log.events) == (True, ())
    scene.write_at, refused = datetime.now(UTC) + timedelta(minutes=2), scene.wanted
    scene.wanted = replace(refused, digest_hex="0" * 64)
    assert not (await scene.see()).log.truncated
    scene.gateway.log.write_text("")
    scene.write_at, scene.wanted = datetime.now(UTC), refused
    await scene.gateway.restart()
    assert not (await scene.see()).log.truncated


async def test_a_quiet_gateway_has_a_whole_log(stage: Stage) -> None:
    """Nothing is written for long: that is no rotation. Nor is a log that begins only now, in a gateway whose log was
    seen to be empty before the write."""
    scene = await stage()
    scene.write_at = datetime.now(UTC) + timedelta(hours=1)
    seen = await scene.see()
    assert (seen.log.truncated, seen.log.events) == (False, ())
    scene.gateway.log.write_text("")
    habit = ReadOptions(cache=DumpCache())
    scene.write_at = datetime.now(UTC)
    assert (await look(scene, habit))[0].log.truncated, "for all that is known it was rotated"
    scene.write_at = datetime.now(UTC)
    scene.wanted = replace(scene.wanted, digest_hex=scene.gateway.deliver("header", made.unknown_abi()))
    while not (seen := (await look(scene, habit))[0]).log.events:
        pass
    assert not seen.log.truncated
    scene.gateway.log.write_text("")
    assert (await look(scene, habit))[0].log.truncated


async def test_what_a_gateway_says_of_itself(stage: Stage) -> None:
    """Versions, threads and the start of this very Envoy, which is the same at every look."""
    scene = await stage("neighbour", concurrency=1)
    first, second = await scene.see(), await scene.see()
    assert (first.istio_version, first.concurrency, first.unknown) == ("1.31.0", 1, ())
    assert first.started_at == second.started_at
    assert (first.stats.vm_active, first.code_files, first.code_shared) == (6, 2, False)
    assert first.referenced is True
