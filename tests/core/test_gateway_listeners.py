"""What a gateway's listeners say: where a request can be sent, and whether our plugin is on the way."""

from __future__ import annotations

import json

import pytest

from pluginrelease.core.gateway.listeners import Listener, Listeners
from tests.core.recorded_gateway import NAME, changed, listeners, recorded, seen


def test_a_listener_that_is_warming_is_no_active_one() -> None:
    """A listener whose first version still warms uses our filter for no request."""
    warming = recorded("loaded", "listeners").replace('"active_state"', '"warming_state"')
    sighting = changed("loaded", listeners=warming)
    assert (sighting.warming, sighting.referenced) == (("0.0.0.0_8080",), None)
    both = json.loads(recorded("loaded", "listeners"))
    (item,) = both["configs"]
    item["warming_state"] = item["active_state"]
    item["active_state"] = json.loads(json.dumps(item["active_state"]).replace("apps.header", "apps.third"))
    updating = changed("loaded", listeners=json.dumps(both))
    assert (updating.warming, updating.referenced) == (("0.0.0.0_8080",), False)
    without = recorded("loaded", "listeners").replace("apps.header", "apps.third")
    assert changed("loaded", listeners=without).referenced is False


HTTP = {"filters": [{"typed_config": {"http_filters": [{"name": NAME}, {"name": "envoy.filters.http.router"}]}}]}
OTHERS = {"filters": [{"typed_config": {"http_filters": [{"name": "envoy.filters.http.router"}]}}]}
TLS = {
    "transport_socket": {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"},
    }
}
DYNAMIC = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump.DynamicListener"
PASSED_THROUGH = {
    "filter_chain_match": {"server_names": ["a"]},
    "filters": [{"name": "envoy.filters.network.tcp_proxy"}],
}


@pytest.mark.parametrize(
    ("parts", "expected", "why"),
    [
        ({"filter_chains": [HTTP]}, [Listener(8080, False, True, True)], "plain HTTP"),
        ({"filter_chains": [{**HTTP, **TLS}]}, [Listener(8080, True, False, True)], "HTTPS"),
        ({"filter_chains": [{**HTTP, **TLS}, OTHERS]}, [Listener(8080, True, True, True)], "both on one port"),
        ({"filter_chains": [OTHERS]}, [Listener(8080, False, True, False)], "a listener that the plugin is not for"),
        ({"default_filter_chain": HTTP}, [Listener(8080, False, True, True)], "the chain for what fits no other"),
        ({"filter_chains": [PASSED_THROUGH, {**HTTP, **TLS}]}, [Listener(8080, True, False, True)], "TLS passed on"),
        ({"filter_chains": [PASSED_THROUGH]}, [Listener(8080, False, False, False)], "no HTTP at all"),
        ({"address": {"socket_address": {"protocol": "UDP", "port_value": 8443}}}, [], "HTTP/3 is another socket"),
        ({"address": {"internal_listener": {}}}, [], "no port that anybody could call"),
        ({"filter_chains": "?"}, [Listener(8080, False, False, False)], "no known shape"),
    ],
)
def test_where_a_request_can_be_sent(parts: dict[str, object], expected: list[Listener], why: str) -> None:
    """Each port that the control plane opened, with how it is spoken to and whether our plugin is on the way."""
    listener = {"name": "l", "address": {"socket_address": {"address": "::", "port_value": 8080}}, **parts}
    dump = json.dumps({"configs": [{"@type": DYNAMIC, "name": "l", "active_state": {"listener": listener}}]})
    assert list(changed("loaded", listeners=dump).listeners) == expected, why


def test_the_port_of_a_recorded_gateway() -> None:
    """The real Envoy's listener is plain HTTP and asks for our plugin."""
    (listener,) = seen("loaded").listeners
    assert (listener.tls, listener.plain, listener.has_plugin) == (False, True, True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"configs": [{"@type": "envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": []}]}', "another shape"),
        ('{"configs": [3]}', "a number in place of a listener"),
        ('{"configs": {"item": {}}}', "an object in place of the list"),
        ('{"configs": []', "an answer that was cut"),
        ("{} {}", "two answers"),
        ("[]", "a list in place of the object"),
        ("", "nothing"),
    ],
)
def test_listeners_of_no_known_shape_are_told(text: str, why: str) -> None:
    """What is not understood while it streams by is not healthy."""
    assert listeners(text).unknown, why


def test_a_gateway_without_listeners_is_understood() -> None:
    """That is what Envoy answers then."""
    assert listeners("{}\n") == Listeners()


def test_an_answer_that_nests_without_end_is_not_read() -> None:
    """A pod that only looks like a gateway cannot make the operator busy."""
    with pytest.raises(ValueError, match="without end"):
        listeners("[" * 3000)
