"""Requests to an API server that has too many: whose turn it is. The answers are a script's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import pacing
from pluginrelease.core.errors import Transient
from pluginrelease.edges.kubernetes.limiter import Lane, Limiter, way_back

BUSY = Transient(Reason.TOO_MANY_REQUESTS, "busy", retry_after=0.2)


def scripted(*answers: Transient | str) -> Callable[[], Awaitable[str]]:
    """Gives these answers, one after the other."""
    left = list(answers)

    async def send() -> str:
        answer = left.pop(0)
        if isinstance(answer, Transient):
            raise answer
        return answer

    return send


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "FIRST", 0.01)


async def test_a_429_is_asked_again() -> None:
    """A request that was refused for want of room is made again after the time that the API server asks for."""
    limiter, began = Limiter(), time.monotonic()
    assert await limiter.ask(scripted(BUSY, BUSY, "done")) == "done"
    assert time.monotonic() - began >= 0.4


async def test_another_error_is_not() -> None:
    """Whatever else the API server says is the caller's business."""
    with pytest.raises(Transient):
        await Limiter().ask(scripted(Transient(Reason.API_SERVER_UNAVAILABLE, "gone"), "done"))


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that goes on refusing is said to."""
    monkeypatch.setattr(pacing, "PATIENCE", 0.3)
    with pytest.raises(Transient) as found:
        await Limiter().ask(scripted(BUSY, BUSY, BUSY, "done"))
    assert found.value.reason is Reason.TOO_MANY_REQUESTS


async def test_everybody_heeds_one_429() -> None:
    """Where one request is refused, no other of its kind goes out before the time is over."""
    limiter = Limiter()
    first = asyncio.create_task(limiter.ask(scripted(BUSY, "done")))
    await asyncio.sleep(0.02)
    began = time.monotonic()
    await limiter.ask(scripted("other"))
    assert time.monotonic() - began >= 0.15
    assert await first == "done"


async def test_the_way_back_does_not_wait_for_the_rest() -> None:
    """The way back goes out at once while the rest waits for its turn, or for what the API server asked of it."""
    limiter, hanging = Limiter(), asyncio.Event()

    async def hang() -> str:
        await hanging.wait()
        return "late"

    rest = [asyncio.create_task(limiter.ask(hang)) for _ in range(2 * Lane.REST.value)]
    await asyncio.sleep(0)
    refused = asyncio.create_task(Limiter.ask(limiter, scripted(BUSY, "done")))
    with way_back():
        async with asyncio.timeout(0.1):
            assert await limiter.ask(scripted("back")) == "back"
    hanging.set()
    await asyncio.gather(*rest, refused)


async def test_the_rest_waits_for_the_way_back() -> None:
    """A 429 to the way back keeps the rest from asking meanwhile."""
    limiter = Limiter()
    with way_back():
        back = asyncio.create_task(limiter.ask(scripted(BUSY, "back")))
    await asyncio.sleep(0.02)
    began = time.monotonic()
    await limiter.ask(scripted("rest"))
    assert time.monotonic() - began >= 0.15
    assert await back == "back"


async def test_only_so_many_at_once() -> None:
    """The rest has a number of places, and what waits for one goes out when another is done."""
    limiter, under_way, most = Limiter(), 0, 0

    async def send() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1

    await asyncio.gather(*(limiter.ask(send) for _ in range(200)))
    assert most == Lane.REST.value
