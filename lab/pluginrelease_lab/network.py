"""The lab's private network: one bridge, and one network namespace per gateway whose address is the pod's IP.

There is no default route, so no program in the lab reaches another machine. The whole network belongs to the lab, so
its addresses cannot collide with the machine's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pyroute2 import IPRoute

from pluginrelease_lab import namespaces

BRIDGE = "br0"
ADDRESS = "10.244.0.1"
"""Where the API server, the registries, istiod and the echo upstream listen, as gateways see them."""
PREFIX_LENGTH = 16
SIMULATED_PODS = "10.244.128.0/17"
"""Addresses of simulated pods; real gateways are below, and the real node's pods between."""
_LOOPBACK_INDEX = 1
_LISTENING = "0A"
"""The state of a listening socket in proc(5), net/tcp."""
_FIRST_POD = 256
_LAST_POD = 126 * 256 + 255

T = TypeVar("T")


def make_bridge() -> None:
    """Bring loopback up and create the bridge. Call it once, in the lab's network namespace."""
    _in_thread(_make_bridge)


def _make_bridge() -> None:
    with IPRoute() as route:
        route.link("set", index=_LOOPBACK_INDEX, state="up")
        route.link("add", ifname=BRIDGE, kind="bridge")
        index = _index(route, BRIDGE)
        route.addr("add", index=index, address=ADDRESS, prefixlen=PREFIX_LENGTH)
        route.link("set", index=index, state="up")


def pod_address(number: int) -> str:
    """Return the address of the lab's ``number``-th gateway, counted from 0; after the last one it starts again."""
    place = _FIRST_POD + 1 + number % (_LAST_POD - _FIRST_POD)
    return f"10.244.{place // 256}.{place % 256}"


@dataclass(frozen=True)
class Namespace:
    """A gateway's own network. It lives as long as the descriptor, or a socket or process in it."""

    descriptor: int
    address: str
    link: str

    def close(self) -> None:
        """Take the gateway off the network and close the descriptor."""
        _in_thread(lambda: _remove(self.link))
        os.close(self.descriptor)

    def socket(self) -> socket.socket:
        """Return a TCP socket in this network, although the caller is in another."""
        return _inside(self.descriptor, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))

    def listening_ports(self) -> set[int]:
        """Return the TCP ports on which programs in this network listen."""
        return _inside(self.descriptor, _listening_ports)


def _listening_ports() -> set[int]:
    found: set[int] = set()
    for family in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/thread-self/net/{family}") as table:
            rows = [line.split() for line in table.readlines()[1:]]
        found |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTENING}
    return found


def make_namespace(number: int) -> Namespace:
    """Create a network namespace on the bridge with the address of gateway ``number``."""
    descriptor = _in_thread(_new_namespace)
    link, address = f"gw{number}", pod_address(number)
    _in_thread(lambda: _plug_in(link, descriptor))
    _inside(descriptor, lambda: _configure(address))
    return Namespace(descriptor, address, link)


def _new_namespace() -> int:
    namespaces.unshare(namespaces.NEW_NETWORK)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _plug_in(link: str, descriptor: int) -> None:
    with IPRoute() as route:
        route.link("add", ifname=link, kind="veth", peer={"ifname": "eth0", "net_ns_fd": descriptor})
        route.link("set", index=_index(route, link), master=_index(route, BRIDGE), state="up")


def _remove(link: str) -> None:
    with IPRoute() as route:
        for index in route.link_lookup(ifname=link):
            route.link("del", index=index)


def _configure(address: str) -> None:
    with IPRoute() as route:
        route.link("set", index=_LOOPBACK_INDEX, state="up")
        index = _index(route, "eth0")
        route.addr("add", index=index, address=address, prefixlen=PREFIX_LENGTH)
        route.link("set", index=index, state="up")


def _inside(descriptor: int, work: Callable[[], T]) -> T:
    def enter_and_work() -> T:
        namespaces.join(descriptor)
        return work()

    return _in_thread(enter_and_work)


def _in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread that ends afterwards.

    It may change its namespace there. Also pyroute2 starts an event loop, which must not meet the caller's.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _index(route: IPRoute, name: str) -> int:
    return int(route.link_lookup(ifname=name)[0])
