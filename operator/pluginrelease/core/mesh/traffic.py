"""Which listeners of a pod Istio gives a WasmPlugin to, by its ``match``.

Rules: istio ``pilot/pkg/model/extensions.go`` (matchMode, matchPorts). A gateway's listeners are of class CLIENT, those
of a waypoint of class SERVER and without a port (``pilot/pkg/networking/core/gateway.go``, ``listener_waypoint.go``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.compat import Warned
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.observations import PodObservation, PodRef, ProxyRole
from pluginrelease.core.mesh.target import RECHECK

JSON = dict[str, Any]

BOTH = frozenset({"CLIENT", "SERVER"})
MAX_NAMES = 3


def matches(item: api.TrafficSelector, pod: PodRef, port: int | None) -> bool:
    """Return whether an item of ``match`` may mean a listener of the pod; ``port``: None for any port.

    A sidecar has listeners of both classes, for ports that its Envoy does not listen on.
    """
    if pod.role is ProxyRole.SIDECAR:
        return True
    if pod.role is ProxyRole.WAYPOINT:
        return item.mode is not api.TrafficMode.CLIENT and not item.ports
    if item.mode is api.TrafficMode.SERVER:
        return False
    return port is None or not item.ports or port in {selected.number for selected in item.ports}


def check(plugin: api.Plugin, before: Iterable[PodObservation]) -> None:
    """Raise `Refused` (MatchNeverApplies) for an item that no listener can match, or for pods without any match."""
    for seen in before:
        for number, item in enumerate(plugin.match or []):
            if not matches(item, seen.pod, None):
                raise refuse(
                    f"plugin.match[{number}] matches no listener of {describe(seen.pod)}", remedy_for(seen.pod)
                )
        ports = list_ports(seen)
        if plugin.match and ports and set(ports) == set(find_unmatched(plugin.match, seen)):
            listed = ", ".join(map(str, ports))
            raise refuse(
                f"plugin.match matches no listener of {describe(seen.pod)}, which has the ports {listed}",
                "Set match.ports to ports of the gateway pods, or remove match",
            )


def refuse(message: str, remedy: str) -> Refused:
    """Return the error of a plugin that a gateway would never run."""
    return Refused(Reason.MATCH_NEVER_APPLIES, message, remedy, recheck=RECHECK)


def describe(pod: PodRef) -> str:
    """Return what is said of a pod."""
    kind = "waypoint" if pod.role is ProxyRole.WAYPOINT else "gateway pod"
    return f"{kind} {pod.namespace}/{pod.name}"


def remedy_for(pod: PodRef) -> str:
    """Return what to do for a pod that an item never matches."""
    if pod.role is ProxyRole.WAYPOINT:
        return "Remove ports, and set mode to SERVER: a waypoint's listeners are SERVER and have no port for Istio"
    return "Set mode to CLIENT, or remove it: a gateway's listeners are CLIENT for Istio"


def list_ports(seen: PodObservation) -> list[int]:
    """Return the ports of a gateway's HTTP listeners. Those of waypoints and sidecars have other ports for Istio."""
    if seen.pod.role in (ProxyRole.WAYPOINT, ProxyRole.SIDECAR):
        return []
    return sorted({listener.port for listener in seen.listeners if listener.tls or listener.plain})


def find_unmatched(match: Sequence[api.TrafficSelector], seen: PodObservation) -> list[int]:
    """Return the ports of a gateway's HTTP listeners that no item means."""
    return [port for port in list_ports(seen) if not any(matches(item, seen.pod, port) for item in match)]


def find_warnings(plugin: api.Plugin, before: Iterable[PodObservation]) -> tuple[Warned, ...]:
    """Return a warning that names gateway pods whose listeners are not all meant: requests there pass the plugin by."""
    found = {describe(seen.pod): find_unmatched(plugin.match or [], seen) for seen in before} if plugin.match else {}
    left = [f"{', '.join(map(str, ports))} of {name}" for name, ports in sorted(found.items()) if ports]
    if not left:
        return ()
    more = f" and {len(left) - MAX_NAMES} more" if len(left) > MAX_NAMES else ""
    message = (
        f"requests to these ports pass without the plugin, as plugin.match says: {'; '.join(left[:MAX_NAMES])}{more}"
    )
    return (Warned(Reason.LISTENERS_NOT_MATCHED, message),)


def may_meet(one: Collection[JSON] | None, other: Collection[JSON] | None) -> bool:
    """Return whether a listener may be meant by two lists of ``match``, as WasmPlugins have them."""
    return not one or not other or any(overlap(mine, theirs) for mine in one for theirs in other)


def overlap(mine: JSON, theirs: JSON) -> bool:
    """Return whether two items may mean the same listener."""
    ports, other_ports = list_numbers(mine), list_numbers(theirs)
    meet = not ports or not other_ports or bool(ports & other_ports)
    return meet and bool(list_modes(mine) & list_modes(theirs))


def list_modes(item: JSON) -> frozenset[str]:
    """Return the classes of listeners that an item means."""
    mode = str(item.get("mode") or "UNDEFINED")
    return frozenset({mode}) if mode in BOTH else BOTH


def list_numbers(item: JSON) -> frozenset[int]:
    """Return the ports that an item names; none for all ports."""
    return frozenset(port["number"] for port in item.get("ports") or [])
