"""After Ready: what crashes soon after it is put back, also by an operator that was started again meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pluginrelease import api
from tests import wasm_modules
from tests.harness import gateways
from tests.harness.cluster import JSON, LabCluster, observed, ready, unique
from tests.passes.test_gateway_crashes import on


def in_phase(name: str, reason: str) -> Callable[[JSON], bool]:
    """The release has come to this phase for this reason."""
    return lambda it: observed(it) and (it["status"].get("phase"), ready(it)["reason"]) == (name, reason)


def poison(cluster: LabCluster, namespace: str) -> None:
    """One gateway gets the request that its plugin does not survive."""
    pod = cluster.gateways(namespace)[0]
    with contextlib.suppress(OSError):  # a gateway that dies of it does not answer
        cluster.lab.request(pod.address, 8080, headers={"x-trap": "1"})


def released(cluster: LabCluster, scratch: Path, namespace: str, name: str, bad: bytes, **spec: object) -> JSON:
    """A good revision, and then a bad one that runs everywhere."""
    gateways.deploy(cluster, namespace, replicas=2)
    good = cluster.push(wasm_modules.answering("good"), scratch)
    cluster.apply(cluster.manifest(name, good, **on(namespace), **spec))
    cluster.await_ready(name, namespace=namespace)
    cluster.apply(cluster.manifest(name, cluster.push(bad, scratch), **on(namespace), **spec))
    return cluster.await_ready(name, namespace=namespace)


def served(cluster: LabCluster, namespace: str) -> set[str | None]:
    """Through which plugin the gateways answer."""
    where = ("-n", namespace, "--timeout=60s")
    cluster.lab.kubectl("rollout", "status", f"deployment/{namespace}", *where, timeout=90)
    return {cluster.lab.request(pod.address, 8080).headers.get("x-plugin") for pod in cluster.gateways(namespace)}


CRASHES = [
    pytest.param(wasm_modules.answering_until_aborted("bad"), "GatewayCrashed", id="a gateway"),
    pytest.param(wasm_modules.answering_until_trapped("bad"), "PluginCrashed", id="the plugin"),
]


@pytest.mark.parametrize(("bad", "reason"), CRASHES)
def test_a_crash_after_ready_is_put_back(cluster: LabCluster, tmp_path: Path, bad: bytes, reason: str) -> None:
    """An update runs everywhere until a request comes that it does not survive; the operator was started meanwhile.

    A gateway that ran the update again, before the operator held its Lease, has nothing that proves what is put back.
    """
    namespace, name = unique("after"), unique("watched")
    done = released(cluster, tmp_path, namespace, name, bad, checks={"load": {"timeout": "30s"}})
    assert done["status"]["gateways"][0]["watch"]["revision"] != done["status"]["stableRevision"]
    cluster.operator.kill()
    cluster.operator.start()
    poison(cluster, namespace)
    back = cluster.await_release(name, in_phase("RolledBack", reason), namespace=namespace)
    assert back["status"]["stableRevision"] == done["status"]["gateways"][0]["watch"]["revision"]
    assert served(cluster, namespace) == {"good"}


def test_without_a_watch_it_is_told(cluster: LabCluster, tmp_path: Path) -> None:
    """watchFor: 0s leaves what runs, and says what is wrong with it."""
    namespace, name = unique("after"), unique("unwatched")
    bad, rollout = wasm_modules.answering_until_trapped("bad"), {"watchFor": "0s"}
    done = released(cluster, tmp_path, namespace, name, bad, rollout=rollout)
    poison(cluster, namespace)
    has_crashed, told = in_phase("Unhealthy", "PluginCrashed"), done
    for seconds in range(100, 120):  # a check may use what a gateway showed up to a second before
        another_check = f'{{"spec": {{"checks": {{"load": {{"timeout": "{seconds}s"}}}}}}}}'
        cluster.lab.kubectl("patch", api.PLURAL, name, "-n", namespace, "--type=merge", "-p", another_check)
        told = cluster.await_release(name, observed, namespace=namespace)
        if has_crashed(told):
            break
    assert (told["status"]["phase"], ready(told)["reason"]) == ("Unhealthy", "PluginCrashed")
    assert told["status"]["stableRevision"] == done["status"]["stableRevision"]
