"""Several operators on one real API server: one of them writes at a time, whatever becomes of the others.

Who wrote is counted by the API server: its audit log has the User-Agent of each request, which names the operator.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease.core.apiserver import lease
from pluginrelease_lab import operator
from tests.edges import contenders as operators
from tests.edges.contenders import ANOTHER_INSTALL, LOST, NAMESPACE, Contender, apply, await_written, read_now
from tests.edges.lone_apiserver import Lone
from tests.edges.real_registry import Real
from tests.harness import evidence

FIRST, SECOND = "lease-first", "lease-second"
TAKEN_WITHIN = 20.0


@pytest.fixture
def contenders(lone: Lone, tmp_path: Path) -> Iterator[tuple[Contender, Contender]]:
    two = (Contender(lone, FIRST, tmp_path), Contender(lone, SECOND, tmp_path))
    yield two
    for contender in two:
        operators.end(contender)


@pytest.fixture(scope="module")
def image(plain: Real, tmp_path_factory: pytest.TempPathFactory) -> Real:
    operators.push_image(plain, tmp_path_factory.mktemp("image"))
    return plain


def test_two_meet(lone: Lone, image: Real, contenders: tuple[Contender, Contender]) -> None:
    """Of two operators one acts, and the other is Ready and says whose the Lease is. When the first ends in order the
    second goes on within seconds."""
    first, second = contenders
    began = read_now()
    first.start()
    first.holds()
    second.start()
    second.stands_by()
    until = time.monotonic() + 10  # its first word may be from before it read the Lease
    while f"held by {FIRST}" not in second.says()[1]:
        assert time.monotonic() < until, second.says()
        time.sleep(0.05)
    apply(lone, image, "meet")
    await_written(lone, "meet")
    first.send(signal.SIGTERM)
    assert first.ended() == 0
    given_back = time.monotonic()
    second.holds()
    assert time.monotonic() - given_back < 10
    lone.kubectl("delete", api.PLURAL, "meet", "-n", NAMESPACE, "--timeout=60s")
    found = evidence.read_writes(lone.audit_log, began)
    evidence.check_one_at_a_time(found)
    assert {written.by for written in found} == {FIRST, SECOND}


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSTOP], ids=["a lost node", "a process that was stopped"])
def test_the_other_takes_over(
    lone: Lone, image: Real, contenders: tuple[Contender, Contender], way: signal.Signals
) -> None:
    """In the middle of a rollout the operator is lost: the other one goes on with it within 20 s. One that was only
    stopped, and runs again after that, writes nothing more and ends."""
    first, second = contenders
    began, name = read_now(), f"lost-{way.name.lower()}"
    first.start()
    first.holds()
    second.start()
    second.stands_by()
    apply(lone, image, name)
    finalizer = "--for=jsonpath={.metadata.finalizers[0]}"
    lone.kubectl("wait", finalizer, f"{api.PLURAL}/{name}", "-n", NAMESPACE, "--timeout=60s")
    first.send(way)
    lost_at = read_now()
    apply(lone, image, f"{name}-meanwhile")
    await_written(lone, name)
    await_written(lone, f"{name}-meanwhile")
    if way is signal.SIGSTOP:
        first.send(signal.SIGCONT)
        assert first.ended() == LOST
    found = evidence.read_writes(lone.audit_log, began)
    evidence.check_one_at_a_time(found)
    taken = next(written for written in found if written.by == SECOND)
    assert taken.began - lost_at < timedelta(seconds=TAKEN_WITHIN)


@contextlib.contextmanager
def silent_registry() -> Iterator[tuple[str, threading.Event]]:
    """A registry that takes connections and answers none: its host, and what is set once somebody has come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        came, taken = threading.Event(), list[socket.socket]()

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])
                    came.set()

        threading.Thread(target=take, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", came
        for each in taken:
            each.close()


def grace_seconds() -> float:
    """What the chart gives the operator's pod for its end."""
    [deployment] = [found for found in operator.render() if found["kind"] == "Deployment"]
    return float(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])


def test_an_end_in_the_middle_of_a_rollout(lone: Lone, image: Real, contenders: tuple[Contender, Contender]) -> None:
    """SIGTERM while a pass waits for a registry that never answers: the operator ends in order within its grace period,
    its Lease is free before that, and the next one takes it sooner than a lost one's."""
    first, second = contenders
    began = read_now()
    first.start()
    first.holds()
    second.start()
    second.stands_by()
    with silent_registry() as (host, came):
        stuck = operators.release(image, "graceful")
        stuck["spec"]["artifact"]["image"]["ref"] = f"{host}/plugin:1.0"
        lone.kubectl("apply", "-f", "-", stdin=json.dumps(stuck))
        assert came.wait(60), first.log.read_text()[-2000:]
        asked = time.monotonic()
        first.send(signal.SIGTERM)
        second.holds()
        taken = time.monotonic() - asked
        assert first.ended(grace_seconds() - taken) == 0
        print(f"SIGTERM: taken over after {taken:.1f} s, ended after {time.monotonic() - asked:.1f} s")
        assert taken < lease.DURATION
    apply(lone, image, "graceful")
    await_written(lone, "graceful")
    found = evidence.read_writes(lone.audit_log, began)
    evidence.check_one_at_a_time(found)
    assert found[-1].by == SECOND


def test_a_second_install_in_another_namespace(
    lone: Lone, image: Real, contenders: tuple[Contender, Contender]
) -> None:
    """Two installs, each with its own namespace and account, meet at the same Lease: the second stands by."""
    first, second = contenders
    began = read_now()
    second.install = ANOTHER_INSTALL
    first.start()
    first.holds()
    second.start()
    second.stands_by()
    apply(lone, image, "install")
    await_written(lone, "install")
    assert {written.by for written in evidence.read_writes(lone.audit_log, began)} == {FIRST}
    found = json.loads(lone.kubectl("get", "lease", lease.NAME, "-n", lease.NAMESPACE, "-o", "json"))
    assert found["spec"]["holderIdentity"] == FIRST
