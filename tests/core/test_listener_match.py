"""Which listeners get the plugin by ``plugin.match``, what is refused before the write, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.listeners import Listener
from pluginrelease.core.gateway.observations import PodObservation, PodRef, ProxyRole
from pluginrelease.core.mesh import istio, traffic
from tests.core.rollouts import NOW
from tests.harness.releases import ARTIFACT, placement

JSON = dict[str, Any]
ROUTER, WAYPOINT = ProxyRole.ROUTER, ProxyRole.WAYPOINT


def ports(*numbers: int, **more: str) -> JSON:
    """One item of ``match`` for these ports."""
    return {"ports": [{"number": number} for number in numbers], **more}


def mode(name: str) -> JSON:
    """One item of ``match`` for a class of listeners."""
    return {"mode": name}


def plugin(*items: JSON) -> api.Plugin:
    return api.Plugin.model_validate({"match": list(items)} if items else {})


def seen(*numbers: int, role: ProxyRole | None = ROUTER, name: str = "a") -> PodObservation:
    """A gateway pod with HTTP listeners at these ports, and one for TCP at 9000."""
    listeners = [Listener(number, tls=False, plain=True, has_plugin=False) for number in numbers]
    tcp = Listener(9000, tls=False, plain=False, has_plugin=False)
    return PodObservation(PodRef("edge", name, name, ready=True, role=role), NOW, listeners=(*listeners, tcp))


@pytest.mark.parametrize(
    ("item", "role", "port", "matched", "reason"),
    [
        (mode("CLIENT"), ROUTER, 8080, True, "a gateway's listeners are CLIENT"),
        (mode("CLIENT"), None, 8080, True, "what is not known is a gateway"),
        (mode("CLIENT_AND_SERVER"), ROUTER, 8080, True, "CLIENT is among both"),
        (mode("SERVER"), ROUTER, 8080, False, "never on a gateway"),
        (ports(8080, 8443), ROUTER, 8443, True, "one of its ports"),
        (ports(8080), ROUTER, 8443, False, "another port"),
        (ports(8080, mode="SERVER"), ROUTER, 8080, False, "both must match"),
        (mode("SERVER"), WAYPOINT, 15008, True, "a waypoint's listeners are SERVER"),
        (mode("CLIENT"), WAYPOINT, 15008, False, "never on a waypoint"),
        (mode("SERVER"), ProxyRole.SIDECAR, 15006, True, "a sidecar has listeners of both"),
        (ports(8080), ProxyRole.SIDECAR, 15006, True, "for ports that it does not listen on"),
        (ports(15008), WAYPOINT, 15008, False, "a waypoint's listeners have no port for Istio"),
    ],
)
def test_an_item_matches_as_istio_matches(
    item: JSON, role: ProxyRole | None, port: int, matched: bool, reason: str
) -> None:
    """The table of Istio's rules."""
    [selector] = plugin(item).match or []
    assert traffic.matches(selector, PodRef("edge", "a", "a", ready=True, role=role), port) is matched, reason


@pytest.mark.parametrize(
    ("asked", "pods", "refused", "reason"),
    [
        (plugin(), [seen(8080)], False, "no match means all listeners"),
        (plugin(ports(8080)), [seen(8080, 8443)], False, "one of its listeners"),
        (plugin(ports(8080), mode("SERVER")), [seen(8080)], True, "one item never matches"),
        (plugin(ports(8081)), [seen(8080, 8443)], True, "none of its listeners"),
        (plugin(ports(9000)), [seen(8080)], True, "a listener without HTTP gets no HTTP plugin"),
        (plugin(ports(8081)), [seen(15006, role=ProxyRole.SIDECAR)], False, "a sidecar"),
        (plugin(ports(8081)), [seen()], False, "it has no listener yet, so nothing is known"),
        (plugin(ports(8080)), [seen(8080), seen(8443, name="b")], True, "one of the pods would never run it"),
        (plugin(mode("CLIENT")), [seen(role=WAYPOINT)], True, "a waypoint"),
        (plugin(mode("SERVER")), [seen(role=WAYPOINT)], False, "what a waypoint has"),
        (plugin(ports(8080)), [seen(8080), seen(role=WAYPOINT, name="b")], True, "a waypoint has no ports"),
    ],
)
def test_what_no_listener_matches_is_refused(
    asked: api.Plugin, pods: list[PodObservation], refused: bool, reason: str
) -> None:
    """Istio would say nothing, and the plugin would never be seen running."""
    if not refused:
        traffic.check(asked, pods)
        return
    with pytest.raises(Refused) as raised:
        traffic.check(asked, pods)
    assert raised.value.reason is Reason.MATCH_NEVER_APPLIES, reason


@pytest.mark.parametrize(
    ("asked", "pods", "named"),
    [
        (plugin(), [seen(8080)], []),
        (plugin(ports(8080)), [seen(8080)], []),
        (plugin(ports(8080)), [seen(8080, 8443)], ["8443", "edge/a"]),
        (plugin(ports(8080)), [seen(8080, 8443, name=name) for name in "abcd"], ["edge/c", "and 1 more"]),
    ],
)
def test_listeners_that_are_left_out_are_named(asked: api.Plugin, pods: list[PodObservation], named: list[str]) -> None:
    """Requests to them pass without the plugin: who guards a gateway must know."""
    found = traffic.find_warnings(asked, pods)
    assert {warning.reason for warning in found} == ({Reason.LISTENERS_NOT_MATCHED} if named else set())
    assert all(name in str(found[0]) for name in named)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (None, None, True),
        ([ports(8080)], None, True),
        ([ports(8080)], [ports(8443)], False),
        ([ports(8080)], [ports(8443), ports(8080)], True),
        ([ports(8080, mode="CLIENT")], [ports(8080, mode="SERVER")], False),
        ([mode("UNDEFINED")], [mode("SERVER")], True),
        ([ports(8080)], [mode("SERVER")], True),
    ],
)
def test_two_that_share_no_listener_are_no_duplicates(
    one: list[JSON] | None, other: list[JSON] | None, meet: bool
) -> None:
    """The same plugin for two ports of a gateway runs once for each request."""
    assert traffic.may_meet(one, other) is meet
    assert traffic.may_meet(other, one) is meet


def test_the_wasmplugin_has_it_as_it_was_written() -> None:
    """Istio's own form."""
    asked = [ports(8080, mode="CLIENT"), mode("CLIENT_AND_SERVER")]
    assert istio.wasm_plugin(placement(spec__plugin={"match": asked}), ARTIFACT)["spec"]["match"] == asked
