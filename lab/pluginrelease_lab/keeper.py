"""The processes that hold a lab together.

The process that `command` starts creates the namespaces and stays as the *guard*. It ends the lab on a signal, or when
the process that the lab is bound to ends. Its child is the first process of the lab's process namespace: when that one
ends for any reason, the kernel ends everything else in the lab. The child of that one is the *keeper*, which starts the
parts and forwards connections.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from pluginrelease_lab import blueprint, namespaces
from pluginrelease_lab.errors import NAMESPACES_FORBIDDEN
from pluginrelease_lab.events import Teller
from pluginrelease_lab.node import cgroups

_COVERED = "/var/lib"


@dataclass(frozen=True)
class Order:
    """What the starter passes on. Numbers are open file descriptors; ``bound`` is a pidfd, None if detached.

    ``cgroup`` is that of a real node, which must be removed after the lab; empty without one.
    """

    state: str
    events: int
    lock: int
    listeners: dict[str, int]
    bound: int | None
    cgroup: str = ""

    def descriptors(self) -> list[int]:
        kept = [self.events, self.lock, *self.listeners.values()]
        return kept if self.bound is None else [*kept, self.bound]

    def text(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def command(order: Order) -> list[str]:
    """Return the command line of the process that holds a lab together."""
    call = f"import sys; from {__name__} import main; sys.exit(main(sys.argv[1]))"
    return [sys.executable, "-c", call, order.text()]


def main(text: str) -> int:
    order = Order(**json.loads(text))
    for descriptor in order.descriptors():
        os.set_inheritable(descriptor, False)
    os.pwrite(order.lock, f"{os.getpid()}\n".encode(), 0)
    if order.cgroup:
        cgroups.leave_sweeper(order.cgroup, order.descriptors())
    try:
        enter_namespaces()
    except OSError as error:
        Teller(order.events).failed(f"{NAMESPACES_FORBIDDEN} (the system said: {error})")
        return 1
    first = os.fork()
    if first == 0:
        _be_first_process(order)
    for descriptor in (order.events, *order.listeners.values()):
        os.close(descriptor)
    return guard(first, order.bound)


def enter_namespaces() -> None:
    """Enter own network, mount and process namespaces; without privileges, through a user namespace."""
    wanted = namespaces.NEW_NETWORK | namespaces.NEW_MOUNTS | namespaces.NEW_PROCESSES
    try:
        namespaces.unshare(wanted)
    except PermissionError:
        namespaces.become_root_inside()
        namespaces.unshare(wanted)
    namespaces.keep_mounts_private()
    namespaces.make_directory_visible(blueprint.ISTIO_DATA, below=_COVERED)


def guard(first: int, bound: int | None) -> int:
    """Wait until the lab has ended. End it on SIGTERM, SIGINT, SIGHUP, and when the process of ``bound`` ends."""

    def end(*_: object) -> None:
        os.kill(first, signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    ended, watched = os.pidfd_open(first), select.poll()
    watched.register(ended, select.POLLIN)
    if bound is not None:
        watched.register(bound, select.POLLIN)
    while ended not in (ready := {descriptor for descriptor, _ in watched.poll()}):
        end()
        watched.unregister(ready.pop())
    return 0 if os.waitpid(first, 0)[1] == 0 else 1


def _be_first_process(order: Order) -> None:
    """Start the keeper, reap orphans, and exit when the keeper does, which ends the whole lab. Never returns."""
    namespaces.die_with_parent()
    keeper = os.fork()
    if keeper == 0:
        os._exit(_keep(order))
    while True:
        ended, status = os.wait()
        if ended == keeper:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _keep(order: Order) -> int:
    from pluginrelease_lab import site

    lab = blueprint.load(Path(order.state))
    listeners = {name: socket.socket(fileno=number) for name, number in order.listeners.items()}
    teller = Teller(order.events)
    try:
        asyncio.run(site.keep(lab, listeners, teller))
    except Exception as error:
        teller.failed(f"the lab could not go on: {error!r}; see {lab.log('keeper')}")
        raise
    return 0
