"""The tests' own way to Envoy's admin interface: it says what Envoy says, and the operator's code has no part in it."""

from __future__ import annotations

import json
import signal

import pytest

from tests.edges.gateway_delivery import GatewayDelivery, StartDelivery
from tests.harness import gateways


async def asked(delivery: GatewayDelivery, method: str, target: str, pod: str = "gateway") -> str:
    async with delivery.channels.portforward("apps", pod, gateways.ADMIN_PORT) as stream:
        return await gateways.ask(stream, method, target)


async def test_a_level_is_set_and_read(start_delivery: StartDelivery) -> None:
    """Envoy's own answer, by the logger's whole name."""
    delivery = await start_delivery()
    assert gateways.level_of(await asked(delivery, "POST", "/logging")) == "warning"
    assert gateways.level_of(await asked(delivery, "POST", "/logging?filter=debug")) == "debug"
    assert gateways.level_of(await asked(delivery, "POST", "/logging")) == "debug"
    with pytest.raises(ConnectionError, match="answered 405"):
        await asked(delivery, "GET", "/logging")


async def test_an_answer_of_many_pieces_is_whole(start_delivery: StartDelivery) -> None:
    """A dump is longer than what the port-forward gives at once."""
    delivery = await start_delivery("neighbour")
    target = "/config_dump?mask=ecds_filters"
    assert json.loads(await asked(delivery, "GET", target)) == json.loads(await delivery.gateway.ask(target))
    stats = await asked(delivery, "GET", "/stats?format=json&hidden=include")
    help_text = await asked(delivery, "GET", "/help")
    assert json.loads(stats)["stats"]
    assert help_text == await delivery.gateway.ask("/help")


async def test_silence_is_a_connection_without_an_answer(start_delivery: StartDelivery) -> None:
    """A gateway that hangs is silent; one that answers is not, nor is a port that takes no connection."""
    delivery = await start_delivery()
    assert delivery.gateway.process is not None

    async def silent(pod: str = "gateway") -> bool:
        async with delivery.channels.portforward("apps", pod, gateways.ADMIN_PORT) as stream:
            return await gateways.is_silent(stream, 2.0)

    assert not await silent()
    assert not await silent("gone")
    delivery.gateway.process.send_signal(signal.SIGSTOP)
    try:
        assert await silent()
    finally:
        delivery.gateway.process.send_signal(signal.SIGCONT)
