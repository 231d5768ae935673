"""What is read of a gateway's log, and of one whose container has ended: no more than its limit, and gaps are told."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Transient
from pluginrelease.core.gateway import observations
from pluginrelease.core.gateway.container import Cause, Container, LastWords, Termination
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.edges.envoy import access, dump_cache, observing
from tests import wasm_modules as made
from tests.edges.gateway_delivery import POD, TRAP, StartDelivery, look


async def test_of_a_proved_gateway_only_the_newest_log_is_read(start_delivery: StartDelivery) -> None:
    """A pod that was seen running the revision is asked for what is new; one that was not, for all since the write."""
    delivery = await start_delivery(show_subscriptions=True)
    await delivery.write(made.traps_on_request())
    await delivery.settled(State.LOADED)
    assert await delivery.gateway.answer(TRAP) == 503
    await delivery.settled(State.UNHEALTHY)
    run = observations.identify_run(await delivery.see())
    assert run
    later = datetime.now(UTC)
    seen = [(await look(delivery, dump_cache.ReadOptions(known, later)))[0] for known in ([run], [])]
    assert [len(pod.log.crashes) for pod in seen] == [0, 1]


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
            raise Transient(Reason.LOG_NOT_FOUND, "there is none")
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
        dump_cache.ReadOptions(cache=dump_cache.DumpCache()),
    )
    wanted, since = DesiredPlugin("apps", "header", "", {}, "FAIL_CLOSE"), ended.at - timedelta(seconds=1)
    for _ in range(2):
        (seen,) = await observing.observe(channels, [pod], wanted, since=since, deadline_seconds=5, options=habit)
    assert re.search("istio-proxy .*: CrashLoopBackOff$", seen.unreachable or "")
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


async def test_a_long_log_is_read_in_pages_and_a_gap_is_told(start_delivery: StartDelivery) -> None:
    """The API server gives a log's first bytes: the newest lines are reached page by page, or a gap is admitted."""
    delivery = await start_delivery()
    await delivery.write(made.unknown_abi())
    await delivery.settled(State.UNHEALTHY)
    size = delivery.gateway.log.stat().st_size
    whole = access.GatewayAccess(log_limit_bytes=size + 1)
    short = access.GatewayAccess(log_limit_bytes=200, log_pages=2)
    for settings, truncated in ((whole, False), (short, True)):
        (seen,) = await observing.observe(
            delivery.channels, [POD], delivery.wanted, since=delivery.write_at, deadline_seconds=30, settings=settings
        )
        assert seen.log.truncated is truncated


async def test_a_log_that_was_rotated_is_not_whole(start_delivery: StartDelivery) -> None:
    """What Envoy refused is gone with the file that it stood in: that is said, whether anything was written since or
    not. After a restart, and for what comes after the rotation, the log is whole again."""
    delivery = await start_delivery()
    await delivery.write(made.unknown_abi())
    await delivery.settled(State.UNHEALTHY)
    assert not (await delivery.see()).log.truncated
    delivery.gateway.log.write_text("")
    assert (await delivery.see()).log.truncated
    at = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    delivery.gateway.log.write_text(f"{at}\twarning\tenvoy config a.cc:1\tsomething else\tthread=1\n")
    seen = await delivery.see()
    assert (seen.log.truncated, seen.log.events) == (True, ())
    delivery.write_at, refused = datetime.now(UTC) + timedelta(minutes=2), delivery.wanted
    delivery.wanted = replace(refused, digest_hex="0" * 64)
    assert not (await delivery.see()).log.truncated
    delivery.gateway.log.write_text("")
    delivery.write_at, delivery.wanted = datetime.now(UTC), refused
    await delivery.gateway.restart()
    assert not (await delivery.see()).log.truncated


async def test_a_quiet_gateway_has_a_whole_log(start_delivery: StartDelivery) -> None:
    """Nothing is written for long: that is no rotation. Nor is a log that begins only now, in a gateway whose log was
    seen to be empty before the write."""
    delivery = await start_delivery()
    delivery.write_at = datetime.now(UTC) + timedelta(hours=1)
    seen = await delivery.see()
    assert (seen.log.truncated, seen.log.events) == (False, ())
    delivery.gateway.log.write_text("")
    habit = dump_cache.ReadOptions(cache=dump_cache.DumpCache())
    delivery.write_at = datetime.now(UTC)
    assert (await look(delivery, habit))[0].log.truncated, "for all that is known it was rotated"
    delivery.write_at = datetime.now(UTC)
    delivery.wanted = replace(delivery.wanted, digest_hex=delivery.gateway.deliver("header", made.unknown_abi()))
    while not (seen := (await look(delivery, habit))[0]).log.events:
        pass
    assert not seen.log.truncated
    delivery.gateway.log.write_text("")
    assert (await look(delivery, habit))[0].log.truncated


async def test_a_short_log_is_one_request(start_delivery: StartDelivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read whole; one that does not fit is read from the write on, and that is remembered."""
    delivery, habit = await start_delivery(), dump_cache.ReadOptions(cache=dump_cache.DumpCache())
    asked: list[str] = []

    def count(name: str) -> None:
        real = getattr(delivery.channels, name)

        async def counted(*place: str, **options: Any) -> Any:
            asked.append(name)
            return await real(*place, **options)

        monkeypatch.setattr(delivery.channels, name, counted)

    count("read_log")
    count("read_log_head")
    await look(delivery, habit)
    assert asked == ["read_log_head"]
    with delivery.gateway.log.open("a") as log:
        log.write("a line of an access log\n" * 2000)
    for _ in range(2):
        asked.clear()
        await look(delivery, habit)
    assert asked == ["read_log"], "it reaches back to before the write"
    asked.clear()
    await look(delivery, replace(habit, before_write=True))
    assert asked == ["read_log_head"]
