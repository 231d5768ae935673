"""Deleting a release ends an outage: the plugin goes at once, whatever state its gateways are in, and the release soon.

The operator is stopped while the gateways come into that state: it is the deletion and nothing else that ends it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease.core.gateway import identity
from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import JSON, LabCluster, unique

PLUGIN_GONE_WITHIN = 2.0
RELEASE_GONE_WITHIN = 30.0
SILENT = 2.0
SLOWNESS = 1.5
"""Seconds that two kubectl processes and a busy machine may add to what the operator takes."""


@contextmanager
def stopped_operator(cluster: LabCluster) -> Iterator[None]:
    """The operator does nothing meanwhile, and goes on with all its connections afterwards."""
    assert cluster.operator.process is not None
    cluster.operator.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.operator.process.send_signal(signal.SIGCONT)


def await_crashes(cluster: LabCluster, namespace: str, name: str) -> None:
    """Until every gateway has been started again twice."""
    for pod in cluster.gateways(namespace):
        evidence.until(cluster.lab, "pod", namespace, pod.name, lambda it: restarts(it) >= 2)


def restarts(pod: JSON) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))


def await_silence(cluster: LabCluster, namespace: str, name: str) -> None:
    """Until no gateway's admin port answers. What hangs then takes no time from the rest of the lab.

    It takes seconds and not a Lease: an operator that was stopped for longer would first have to take that again.
    """
    deadline = time.monotonic() + 60.0
    while not all(gateways.admin_is_silent(cluster.lab, pod, SILENT) for pod in cluster.gateways(namespace)):
        assert time.monotonic() < deadline, "a gateway still answers"
    for pod in cluster.gateways(namespace):
        gateways.calm_busiest_thread(pod)


def lose_node(cluster: LabCluster, namespace: str, name: str) -> None:
    """A gateway whose logger was raised is on a node that is no more."""
    labels = {"istio": namespace}
    container = {"name": "istio-proxy", "image": "proxy"}
    spec = {"nodeName": f"{namespace}-lost", "containers": [container]}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "lost", "namespace": namespace, "labels": labels},
            "spec": spec,
        }
    )
    uid = cluster.get("pod", namespace, "lost")["metadata"]["uid"]  # type: ignore[index]
    raised = [{"namespace": namespace, "level": "warning", "pods": [f"lost {identity.pod_mark(uid)}"]}]
    observation = {"name": "public", "revision": "any", "since": "2026-01-01T00:00:00Z", "raisedLoggers": raised}
    status = {"checkpoint": {"gateways": [observation]}}
    cluster.lab.kubectl(
        "patch",
        api.PLURAL,
        name,
        "-n",
        namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        str({"status": status}).replace("'", '"'),
    )


CASES: list[tuple[str, bytes, Callable[[LabCluster, str, str], None]]] = [
    ("gateways that crash again and again", wasm_modules.aborts_at_configure(), await_crashes),
    ("gateways that hang while they load it", wasm_modules.hangs_at_configure(), await_silence),
    ("a gateway whose node is gone", wasm_modules.answering("lost"), lose_node),
]


@pytest.mark.parametrize(("reason", "module", "happens"), CASES, ids=[row[0] for row in CASES])
def test_a_deletion_ends_the_outage(
    cluster: LabCluster, tmp_path: Path, reason: str, module: bytes, happens: Callable[[LabCluster, str, str], None]
) -> None:
    """The WasmPlugin is gone within 2 s of the deletion, the release within 30 s, and the gateways serve again."""
    namespace, name = unique("ends"), unique("ends")
    gateways.deploy(cluster, namespace, 2)
    gateway = {"provider": "Istio", "namespace": namespace, "selector": {"matchLabels": {"istio": namespace}}}
    ref = cluster.push(module, tmp_path)
    cluster.apply(cluster.manifest(name, ref, namespace=namespace, gateway=gateway))
    evidence.until(cluster.lab, "wasmplugin", namespace, name, lambda it: True)
    with stopped_operator(cluster):
        happens(cluster, namespace, name)
        cluster.lab.kubectl("delete", api.PLURAL, name, "-n", namespace, "--wait=false")
        began = time.monotonic()
    gone(cluster, "wasmplugin", namespace, name, PLUGIN_GONE_WITHIN + SLOWNESS)
    plugin = time.monotonic() - began
    gone(cluster, api.PLURAL, namespace, name, RELEASE_GONE_WITHIN)
    print(f"{reason}: the plugin was gone after {plugin:.1f} s, the release after {time.monotonic() - began:.1f} s")
    cluster.created.remove((api.KIND, namespace, name))


def gone(cluster: LabCluster, kind: str, namespace: str, name: str, seconds: float) -> None:
    """Returns when the object is gone; fails after ``seconds``."""
    cluster.lab.kubectl(
        "wait", "--for=delete", f"{kind}/{name}", "-n", namespace, f"--timeout={seconds}s", timeout=seconds + 30
    )
