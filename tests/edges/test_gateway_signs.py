"""Gateways are judged by what a real Envoy shows: what it loads, refuses, keeps and hides."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pluginrelease.core.gateway.observations import FilterKind
from pluginrelease.core.gateway.verdict.refusal import RefusalText
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.edges.envoy import control
from tests import wasm_modules as made
from tests.edges.gateway_delivery import POD, TRAP, StartDelivery, variant
from tests.edges.real_envoy import RealGateway, until

NEIGHBOUR_CREATED = "apps.neighbour~istio-translated-wasmplugin created"


async def in_log(gateway: RealGateway, text: str, times: int) -> None:
    """The gateway has logged it so often."""

    async def there() -> bool:
        return gateway.log.read_text().count(text) >= times

    await until(there)


async def test_new_code_is_proved_by_the_vms_made_for_it(start_delivery: StartDelivery) -> None:
    """On a gateway that shows and logs no more than Istio's default, new code is Loaded by the VMs made for it."""
    delivery = await start_delivery("neighbour")
    await delivery.write(variant("second"))
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.LOADED, "Loaded")
    assert "VMs were made" in found.pods[0].message


@pytest.mark.parametrize("module", [made.unknown_abi(), made.missing_import()], ids=["abi", "import"])
async def test_refused_code_is_unhealthy_though_the_dump_shows_it(start_delivery: StartDelivery, module: bytes) -> None:
    """Envoy shows refused code as current and goes on with the old: Unhealthy, in Envoy's own words."""
    delivery = await start_delivery("neighbour", show_subscriptions=True)
    await delivery.write(module)
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRejected")
    assert RefusalText.OLD_CODE_RUNS in found.message
    assert "Wasm VM failed" in found.message or "missing import" in found.message
    seen = await delivery.see()
    assert seen.entries[0].digest_hex == delivery.wanted.digest_hex
    assert await delivery.gateway.answer() == 200


async def test_refused_bytes_that_come_again_are_no_success(start_delivery: StartDelivery) -> None:
    """Envoy acknowledges refused bytes that come again and runs nothing: without its first refusal, which a rotation
    took away, it is Unknown, and that is said."""
    delivery = await start_delivery(show_subscriptions=True)
    await delivery.write(made.unknown_abi())
    await delivery.settled(State.UNHEALTHY)
    await delivery.write(made.unknown_abi())
    delivery.gateway.log.write_text("")
    assert (await delivery.judged()).state is State.PENDING
    late = await delivery.judged(late=True)
    assert (late.state, late.reason) == (State.UNKNOWN, "LogIncomplete")


async def test_a_neighbours_refusal_is_not_ours(start_delivery: StartDelivery) -> None:
    """Another plugin's refusal, in the same log and the same listener, does not make ours unhealthy."""
    delivery = await start_delivery("neighbour", show_subscriptions=True)
    delivery.gateway.deliver("neighbour", made.unknown_abi())
    await delivery.write(variant("second"))
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.LOADED, "Loaded")


async def test_a_new_configuration_is_proved_by_the_counter(start_delivery: StartDelivery) -> None:
    """Where the subscription's counters are visible, config_reload proves a change of configuration alone."""
    delivery = await start_delivery(show_subscriptions=True)
    await delivery.write(variant("first"), {"allow": ["a", 1, True]})
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert re.search("config_reload .* 1 to 2", found.pods[0].message)


async def test_a_new_configuration_is_proved_by_the_log(start_delivery: StartDelivery) -> None:
    """With the filter logger raised before the write, Envoy names the plugin that it has created."""
    delivery = await start_delivery()
    assert await control.read_logging(delivery.channels, POD) == "warning"
    await control.set_logging(delivery.channels, POD, "debug")
    await delivery.write(variant("first"), {"allow": True})
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert "warming done" in found.pods[0].message
    await control.set_logging(delivery.channels, POD, "warning")
    assert await control.read_logging(delivery.channels, POD) == "warning"


@pytest.mark.parametrize("hears", [True, False], ids=["filter logger at debug", "with its own log level"])
async def test_a_configuration_that_only_the_workers_refuse(start_delivery: StartDelivery, hears: bool) -> None:
    """Envoy logs and counts it as loaded, requests pass without the plugin, and what ran before is refused as well."""
    delivery = await start_delivery(show_subscriptions=True)
    if hears:
        await control.set_logging(delivery.channels, POD, "debug")
    await delivery.write(made.configured_once("v1"), {"try": 1})
    assert (await delivery.settled(State.LOADED, State.UNHEALTHY)).state is State.LOADED
    await delivery.write(made.configured_once("v1"), {"try": 2})
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRefusedByWorkers")
    assert "thread-local" in found.pods[0].message
    assert (await delivery.see()).stats.config_reload == 3, "what Envoy counts as loaded"

    await delivery.write(made.configured_once("v1"), {"try": 1})
    back = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert (back.state, back.reason) == (State.UNHEALTHY, "PluginRejected")


async def test_other_plugins_may_share_a_gateway_with_one_that_its_workers_refuse(
    start_delivery: StartDelivery,
) -> None:
    """A plugin that loads is Loaded beside a neighbour that runs on no worker."""
    delivery = await start_delivery("neighbour", show_subscriptions=True)
    await control.set_logging(delivery.channels, POD, "debug")
    for number in (1, 2):
        delivery.gateway.deliver("neighbour", made.configured_once("theirs"), {"try": number})
        await in_log(delivery.gateway, NEIGHBOUR_CREATED, number)
    await delivery.write(variant("second"))
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.LOADED, "Loaded")


async def test_a_new_configuration_without_a_sign_is_unknown(start_delivery: StartDelivery) -> None:
    """Where neither log nor counters tell, a changed configuration is never called Loaded; what to do is said."""
    delivery = await start_delivery()
    await delivery.write(variant("first"), {"allow": True})
    seen = await delivery.see()
    while seen.entries[0].config != {"allow": True}:
        seen = await delivery.see()
    assert (await delivery.judged()).reason == "AwaitingPositiveSign"
    late = await delivery.judged(late=True)
    assert (late.state, late.reason) == (State.UNKNOWN, "NoPositiveSign")
    assert "statsInclusionPrefixes" in late.message


async def test_a_pod_that_starts_later_is_proved_by_the_plugins_own_statistics(start_delivery: StartDelivery) -> None:
    """An Envoy that started after the write makes the plugin's statistics only when it has created the plugin."""
    delivery = await start_delivery("neighbour", concurrency=1)
    await delivery.write(variant("second"))
    delivery.gateway.log.write_text("")
    await delivery.gateway.restart()
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert " VMs " in found.pods[0].message


async def test_a_pod_that_starts_with_refused_code_answers_500(start_delivery: StartDelivery) -> None:
    """An Envoy that starts while the plugin is bad serves without it, by 500: said, and never Loaded."""
    delivery = await start_delivery("neighbour")
    await delivery.write(made.unknown_abi())
    await delivery.settled(State.UNHEALTHY)
    delivery.gateway.log.write_text("")
    await delivery.gateway.restart()
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRejected")
    assert RefusalText.NO_CODE_RUNS in found.message
    assert await delivery.gateway.answer() == 500
    assert not (await delivery.see()).stats.named


async def test_what_was_proved_holds_for_that_run_of_envoy_only(start_delivery: StartDelivery) -> None:
    """A pod that was Loaded stays so without new signs; a restarted Envoy has to prove it anew."""
    delivery = await start_delivery(show_subscriptions=True)
    await delivery.write(variant("first"), {"allow": True})
    await delivery.settled(State.LOADED)
    before = delivery.verified
    delivery.baselines = ()
    again = await delivery.judged()
    assert again.state is State.LOADED
    assert not again.verified.isdisjoint(before)
    await delivery.gateway.restart()
    assert (await delivery.settled(State.LOADED)).verified.isdisjoint(before)


@pytest.mark.parametrize(
    ("deny", "reason", "kind"),
    [(True, "FetchFailed", FilterKind.RBAC_DENY), (False, "RunningUnprotected", FilterKind.RBAC_ALLOW)],
    ids=["deny", "allow"],
)
async def test_a_stand_in_is_told_at_once(
    start_delivery: StartDelivery, deny: bool, reason: str, kind: FilterKind
) -> None:
    """The RBAC filter that stands in for a module that could not be fetched is Unhealthy before any deadline."""
    delivery = await start_delivery()
    await delivery.write(variant("second"), delivered=False)
    delivery.gateway.stand_in("header", deny=deny)
    found = await delivery.settled(State.LOADED, State.UNHEALTHY)
    assert (found.state, found.reason) == (State.UNHEALTHY, reason)
    assert (await delivery.see()).entries[0].kind is kind
    assert await delivery.gateway.answer() == (403 if deny else 200)


async def test_a_refused_listener_is_told_until_it_is_mended(start_delivery: StartDelivery) -> None:
    """While our code is refused, every update of its listener is refused too; mended code is Loaded again."""
    delivery = await start_delivery("neighbour", show_subscriptions=True)
    await delivery.write(made.unknown_abi())
    await delivery.settled(State.UNHEALTHY)
    delivery.gateway.listen("header", "neighbour", prefix="changed")
    seen = await delivery.see()
    while not seen.listener_errors:
        seen = await delivery.see()
    assert "apps.header" in seen.listener_errors[0].details
    assert (await delivery.judged()).reason == "ListenerRejected"
    await delivery.write(variant("second"))
    assert (await delivery.settled(State.LOADED, State.UNKNOWN)).reason == "Loaded"


STRATEGIES = {"FAIL_CLOSED": "PluginCrashed", "FAIL_OPEN": "RunningUnprotected", "FAIL_RELOAD": "PluginCrashed"}


@pytest.mark.parametrize("fail", STRATEGIES)
async def test_a_plugin_that_traps_on_a_request_is_told(start_delivery: StartDelivery, fail: str) -> None:
    """A plugin that was Loaded and then crashes is Unhealthy at the next look, whatever its failStrategy makes of it;
    a change of its configuration starts it anew."""
    delivery = await start_delivery(show_subscriptions=True)
    await delivery.write(made.traps_on_request(), fail=fail)
    await delivery.settled(State.LOADED)
    assert await delivery.gateway.answer(TRAP) == 503
    found = await delivery.settled(State.UNHEALTHY)
    assert (found.reason, found.pods[0].evidence[0]) == (
        STRATEGIES[fail],
        "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable",
    )
    assert "1 of 2 workers" in found.message
    await delivery.write(made.traps_on_request(), {"again": True}, fail=fail)
    assert (await delivery.settled(State.LOADED)).reason == "Loaded"
    assert await delivery.gateway.answer() == 200


async def test_a_crash_among_several_codes_is_nobodys(start_delivery: StartDelivery) -> None:
    """Envoy's line on a crash names no plugin: beside a neighbour of other code it is Unknown whose it was, and a
    neighbour of the same code is down with it."""
    delivery = await start_delivery("neighbour", show_subscriptions=True)
    await delivery.write(made.traps_on_request())
    await delivery.settled(State.LOADED)
    await delivery.gateway.answer(TRAP)
    found = await delivery.settled(State.UNHEALTHY, State.UNKNOWN)
    assert (found.state, found.reason) == (State.UNKNOWN, "VMCrashed")


async def test_twins_of_the_same_code_crash_together(start_delivery: StartDelivery) -> None:
    """Plugins of the same bytes share each worker's VM, so that the crash of one is told of both."""
    delivery = await start_delivery(show_subscriptions=True)
    delivery.gateway.deliver("twin", made.traps_on_request())
    delivery.gateway.listen("header", "twin")
    await delivery.write(made.traps_on_request())
    await delivery.settled(State.LOADED)
    assert await delivery.gateway.answer(TRAP) == 503
    assert (await delivery.settled(State.UNHEALTHY)).reason == "PluginCrashed"
    twin = replace(delivery, wanted=replace(delivery.wanted, name="twin"))
    assert (await twin.judged()).reason == "PluginCrashed"
