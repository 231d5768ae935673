"""A real node comes with a lab and goes with it, however that ends; and it is a node beside kwok's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pluginrelease_lab as labs
from pluginrelease_lab import Lab, ending, operator
from pluginrelease_lab.node import cgroups, configuration
from tests.node import remains
from tests.node.cluster import eventually

NAME = "with-node"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where the labs of a test are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLUGINRELEASE_LAB_DIR", str(tmp_path / "labs"))
        yield tmp_path / "labs"


def run_pod(lab: Lab, name: str, **spec: object) -> str:
    """A pod that does nothing, once it is ready; the node that it is on."""
    container = {"name": "main", "image": configuration.PAUSE_IMAGE, "imagePullPolicy": "Never"}
    about = {"name": name, "namespace": "default"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {"containers": [container], **spec}}
    lab.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    lab.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", timeout=90)
    return lab.kubectl("get", "pod", name, "-o", "jsonpath={.spec.nodeName}")


def containers_on(lab: Lab) -> str:
    """What containerd knows of running containers, one a line."""
    argv = ["ctr", "--address", str(configuration.SOCKET), "--namespace", "k8s.io", "containers", "list"]
    return subprocess.run(lab.command_on_node(argv), capture_output=True, text=True, timeout=30, check=True).stdout


@pytest.mark.timeout(600)
def test_nothing_of_a_node_is_left_however_the_lab_ends(place: Path) -> None:
    """Two runs one after the other that are ended as one should, one that is killed, and one after that, which is ended
    by `lab down`: mounts, cgroups, interfaces, iptables, kernel settings and files are as before, and only logs stay
    with the lab."""
    before = remains.of_the_machine(place)
    for turn in ("first", "second"):
        with labs.up(NAME, gateways=1, node=True) as lab:
            assert run_pod(lab, turn) == configuration.NAME
            assert configuration.PAUSE_IMAGE in containers_on(lab)
            assert cgroups.remains(cgroups.family(lab.state))
        assert remains.processes_in(place) == []
        assert remains.of_the_machine(place) == before
        assert {entry.name for entry in (place / NAME).iterdir()} == {"logs"}

    killed = labs.up(NAME, gateways=1, node=True, detached=True)
    run_pod(killed, "third")
    kill(killed)
    await_nothing_runs(place)
    assert remains.of_the_machine(place) == before

    run_pod(labs.up(NAME, gateways=1, node=True, detached=True), "fourth")
    assert labs.down(NAME)
    assert remains.processes_in(place) == []
    assert remains.of_the_machine(place) == before
    assert {entry.name for entry in (place / NAME).iterdir()} == {"logs"}


@pytest.mark.timeout(600)
def test_nothing_of_a_node_is_left_when_its_start_is_killed(place: Path) -> None:
    """`lab up --node` is killed as soon as the node has its cgroups: all ends with it, and the next start goes well."""
    before = remains.of_the_machine(place)
    argv = [sys.executable, "-m", "pluginrelease.cli", "lab", "up", "--node", "--no-detach", "--name", NAME]
    with subprocess.Popen([*argv, "--gateways", "1"], stdout=subprocess.DEVNULL) as starting:
        eventually(lambda: cgroups.remains(cgroups.family(place / NAME)), 60)
        starting.kill()
    await_nothing_runs(place)
    assert remains.of_the_machine(place) == before
    with labs.up(NAME, gateways=1, node=True) as lab:
        assert run_pod(lab, "next") == configuration.NAME
    assert remains.of_the_machine(place) == before


def kill(lab: Lab) -> None:
    """End the lab's first process as nothing can prevent."""
    guard = ending.guard_of(lab.state)
    assert guard is not None
    os.kill(guard, signal.SIGKILL)


def await_nothing_runs(place: Path) -> None:
    """The kernel, and the process that waits for the lab's end, have done their work."""
    eventually(lambda: not cgroups.remains(cgroups.family(place / NAME)), 30)
    eventually(lambda: not remains.processes_in(place), 30)


@pytest.mark.timeout(600)
def test_each_node_has_its_own_pods(place: Path) -> None:
    """A pod that names no node runs on the real one; a pod of kwok's node and the lab's gateways never come near it;
    the kubelet and kwok write their own node and its pods, and nothing of the other's."""
    with labs.up("two-nodes", gateways=1, node=True) as lab:
        assert run_pod(lab, "real") == configuration.NAME
        assert run_pod(lab, "simulated", nodeName="lab-node") == "lab-node"
        known = {name: identity(lab, name) for name in ("real", "simulated")}
        running = containers_on(lab)
        assert known["real"] in running
        assert known["simulated"] not in running
        [gateway] = lab.gateway_pods()
        node = lab.kubectl("get", "pod", gateway.name, "-n", gateway.namespace, "-o", "jsonpath={.spec.nodeName}")
        assert node == "lab-node"
        assert lab.request(gateway.address).status == 200
        for resource, theirs in (("nodes", "real-node"), ("pods", "real")):
            assert "kubelet" in writers(lab, resource, theirs)
            assert "kwok" not in writers(lab, resource, theirs)
        for resource, theirs in (("nodes", "lab-node"), ("pods", "simulated")):
            assert "kwok" in writers(lab, resource, theirs)
            assert "kubelet" not in writers(lab, resource, theirs)


def writers(lab: Lab, resource: str, name: str) -> set[str]:
    """The programs that wrote an object or its status, as the audit log has them."""
    with lab.audit_log.open(encoding="utf-8") as lines:
        events = [event for event in operator.complete_events(lines) if event["verb"] not in {"get", "list", "watch"}]
    about = [event for event in events if is_about(event.get("objectRef", {}), resource, name)]
    return {event["userAgent"].partition("/")[0] for event in about}


def is_about(reference: dict[str, str], resource: str, name: str) -> bool:
    """Whether an audit event is about this object."""
    return (reference.get("resource"), reference.get("name")) == (resource, name)


def identity(lab: Lab, pod: str) -> str:
    """The id of the pod's container, without the runtime's name."""
    path = "jsonpath={.status.containerStatuses[0].containerID}"
    return lab.kubectl("get", "pod", pod, "-o", path).rpartition("/")[2] or "none"
