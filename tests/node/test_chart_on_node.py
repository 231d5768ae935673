"""The chart with its defaults and the image of this checkout, on a real node under restricted Pod Security."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from pluginrelease import shipped
from pluginrelease_lab import Lab, LabError, operator
from pluginrelease_lab.images.operator import OperatorImage
from tests import wasm_modules
from tests.harness import evidence
from tests.harness.cluster import GATEWAY_NAMESPACE, is_ready, unique
from tests.node.cluster import NAMESPACE, RELEASE, SELECTOR, NodeCluster, eventually
from tests.node.conftest import Start

START_SECONDS = 3.0
"""From the start of the container to /readyz, without the time that its process waited for a processor."""
OWN_MEGABYTES = 110
"""Of the image above its base, before compression; 211 before the Kubernetes client was pruned."""
PORT = 8080

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node_lab(start_lab: Start) -> Lab:
    """A lab whose gateways are simulated pods, as their processes are the lab's own."""
    return start_lab("chart")


@pytest.fixture
def installed(cluster: NodeCluster) -> Iterator[NodeCluster]:
    """The chart with its defaults; uninstalled, without releases, when the test ends."""
    cluster.install()
    yield cluster
    cluster.clean_up()
    cluster.uninstall()


def test_the_image_ships_what_is_imported(image: OperatorImage) -> None:
    """The image above its base is as small as it is said to be."""
    print(f"the image has {image.size / 1e6:.0f} MB, of which {image.own_size / 1e6:.0f} MB are ours")
    assert image.own_size < OWN_MEGABYTES * 1e6


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_image_can_be_built_for_both_architectures(machine: str, tmp_path: Path) -> None:
    """Of each package that the image takes there is a wheel for the Dockerfile's Python on this architecture, with a
    hash that the lock has: nothing is compiled, and nothing else than pins is needed."""
    lock = shipped.CHECKOUT / "requirements" / "operator.txt"
    platforms = [f"--platform=manylinux_2_{glibc}_{machine}" for glibc in (17, 28)]
    asked = ["--only-binary=:all:", "--no-deps", "--require-hashes", "--python-version=3.14", *platforms]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    subprocess.run([*pip, *asked, f"--dest={tmp_path}", f"--requirement={lock}"], check=True, timeout=300)
    made = [wheel.name for wheel in tmp_path.iterdir() if not wheel.name.endswith("-none-any.whl")]
    assert made
    assert all(machine in name for name in made)


def test_install_release_upgrade_rollback_test(installed: NodeCluster, tmp_path: Path) -> None:
    """A release becomes Ready by the operator in its pod, stays so through an upgrade and a rollback of the chart, and
    `helm test` asks the operator itself; the API server refused the operator nothing."""
    before = len(operator.forbidden(installed.lab))
    name = unique("on-node")
    ref = installed.push(wasm_modules.answering(name), tmp_path)
    installed.apply(installed.manifest(name, ref))
    installed.await_ready(name)
    assert {headers.get("x-plugin") for _, headers, _ in installed.answers()} == {name}

    first = only_pod(installed)
    installed.upgrade("--set", "operator.logLevel=debug")
    second = only_pod(installed)
    assert first.uid != second.uid
    assert "--log-level=debug" in second.arguments
    changed = installed.manifest(name, installed.push(wasm_modules.answering(f"{name}-2"), tmp_path))
    installed.apply(changed)
    installed.await_ready(name)

    installed.helm("rollback", RELEASE, "1", "--wait")
    third = only_pod(installed)
    assert "--log-level=info" in third.arguments
    assert "Succeeded" in installed.helm("test", RELEASE)
    assert is_ready(installed.release(name))
    assert operator.forbidden(installed.lab)[before:] == []


def test_scaled_to_two_and_back(installed: NodeCluster, tmp_path: Path) -> None:
    """A second pod stands by and is Ready; whichever of the two stays, releases go on, and never do both write."""
    began, name = datetime.now().astimezone(), unique("scaled")
    installed.apply(installed.manifest(name, installed.push(wasm_modules.answering(name), tmp_path)))
    installed.await_ready(name)
    for replicas in (2, 1):
        installed.lab.kubectl("scale", f"deployment/{RELEASE}", "-n", NAMESPACE, f"--replicas={replicas}")
        installed.lab.kubectl(
            "rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, "--timeout=120s", timeout=130
        )
        eventually(lambda wanted=replicas: len(installed.operator_pods()) == wanted)
        changed = installed.push(wasm_modules.answering(f"{name}-{replicas}"), tmp_path)
        installed.apply(installed.manifest(name, changed))
        installed.await_ready(name)
    found = evidence.read_writes(installed.lab.audit_log, began)
    evidence.check_one_at_a_time(found)


def test_uninstall_with_a_release_there(cluster: NodeCluster, tmp_path: Path) -> None:
    """Without the operator a release and its plugin stay as they are, and serve; the next install takes them up, so
    that deleting the release takes the plugin along; then an uninstall leaves the CRD and nothing else."""
    cluster.install()
    name = unique("left")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(cluster.manifest(name, ref))
    cluster.await_ready(name)
    cluster.uninstall()
    assert cluster.pods(NAMESPACE, SELECTOR) == []
    assert is_ready(cluster.release(name))
    assert {headers.get("x-plugin") for _, headers, _ in cluster.answers()} == {name}

    cluster.install()
    cluster.clean_up()
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None
    cluster.uninstall()
    kinds = "deployments,replicasets,pods,services,serviceaccounts,clusterroles,clusterrolebindings"
    assert cluster.lab.kubectl("get", kinds, "-A", "-l", SELECTOR, "-o", "name").split() == []
    assert cluster.lab.kubectl("get", operator.CRD, "-o", "name")


@dataclass(frozen=True)
class OperatorPod:
    """One pod of the operator."""

    uid: str
    address: str
    arguments: list[str]


def only_pod(cluster: NodeCluster) -> OperatorPod:
    """The operator's pod, which is on the real node and was never restarted."""
    [pod] = cluster.operator_pods()
    [status] = pod["status"]["containerStatuses"]
    assert (pod["spec"]["nodeName"], status["restartCount"]) == ("real-node", 0), cluster.operator_log()
    return OperatorPod(pod["metadata"]["uid"], pod["status"]["podIP"], pod["spec"]["containers"][0]["args"])


def test_it_starts_within_seconds(installed: NodeCluster) -> None:
    """A new pod is ready at /readyz in three seconds, once the first one has brought everything into memory."""
    old = only_pod(installed).uid
    installed.lab.kubectl("delete", "pod", "-n", NAMESPACE, "-l", SELECTOR, "--wait=false")
    process = eventually(lambda: process_of(next((u for u in uids(installed) if u != old), "none")))
    [pod] = eventually(lambda: [each for each in installed.operator_pods() if each["status"].get("podIP")])
    eventually(lambda: says_ready(installed.lab, pod["status"]["podIP"]))
    seconds, waited, used = times_of(process)
    print(f"ready {seconds:.1f} s after the start: {used:.1f} s of a processor, {waited:.1f} s of waiting for one")
    assert seconds - waited <= START_SECONDS
    installed.lab.kubectl("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, "--timeout=60s", timeout=90)


def test_it_acts_within_seconds(installed: NodeCluster) -> None:
    """A new pod, where no other holds the Lease, takes it in three seconds from the start of its container."""
    scale = ["scale", f"deployment/{RELEASE}", "-n", NAMESPACE]
    installed.lab.kubectl(*scale, "--replicas=0")
    eventually(lambda: installed.pods(NAMESPACE, SELECTOR) == [])
    # whoever ended still holds it until it is over
    installed.lab.kubectl("delete", "lease", "pluginrelease", "-n", "kube-system", "--ignore-not-found")
    installed.lab.kubectl(*scale, "--replicas=1")
    process = eventually(lambda: process_of(next(iter(uids(installed)), "none")))
    began = time.time() - times_of(process)[0]
    spec = eventually(lambda: held(lease_of(installed)))
    _, waited, used = times_of(process)
    seconds = datetime.fromisoformat(spec["acquireTime"]).timestamp() - began
    print(f"the Lease {seconds:.1f} s after the start: {used:.1f} s of a processor, {waited:.1f} s of waiting for one")
    assert seconds - waited <= START_SECONDS
    installed.lab.kubectl("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, "--timeout=60s", timeout=90)


def lease_of(cluster: NodeCluster) -> dict[str, str]:
    """The spec of the operators' Lease."""
    found = cluster.lab.kubectl(
        "get", "lease", "pluginrelease", "-n", "kube-system", "-o", "json", "--ignore-not-found"
    )
    return {"holderIdentity": "", **(json.loads(found)["spec"] if found else {})}


def held(spec: dict[str, str]) -> dict[str, str] | None:
    """The same, once an operator holds it."""
    return spec if spec["holderIdentity"] else None


def uids(cluster: NodeCluster) -> list[str]:
    """Those of the operator's pods."""
    return [pod["metadata"]["uid"] for pod in cluster.operator_pods()]


def says_ready(lab: Lab, address: str) -> bool:
    """Whether /readyz answers 200."""
    try:
        return lab.request(address, PORT, "/readyz", timeout=5).status == 200
    except OSError:
        return False


def process_of(uid: str) -> Path | None:
    """The operator's process in a pod, as /proc of the machine shows it."""
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and uid in (process / "cgroup").read_text():
                words = (process / "cmdline").read_bytes().split(b"\0")
                if b"run" in words and any(word.endswith(b"pluginrelease") for word in words):
                    return process
        except OSError:
            continue  # it has just ended
    return None


def times_of(process: Path) -> tuple[float, float, float]:
    """Seconds since a process started, that it waited for a processor, and that it had one; of its main thread."""
    fields = (process / "stat").read_text().rpartition(") ")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    used, waited, _ = (process / "schedstat").read_text().split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started, int(waited) / 1e9, int(used) / 1e9


def test_its_namespace_takes_only_restricted_pods(installed: NodeCluster) -> None:
    """The chart's pod was let in by Pod Security at its strictest: one that may become root is refused there."""
    run = ["run", "anybody", "--image=anything", "-n", NAMESPACE]
    with pytest.raises(LabError, match='violates PodSecurity "restricted'):
        installed.lab.kubectl(*run, "--overrides", json.dumps({"spec": {"securityContext": {"runAsUser": 0}}}))


def test_what_the_pod_may_do(installed: NodeCluster) -> None:
    """It runs as nobody in particular, cannot write to its files, and has no capability."""
    only_pod(installed)
    [pod] = installed.operator_pods()
    said = json.loads(
        installed.lab.kubectl(
            *("exec", "-n", NAMESPACE, pod["metadata"]["name"], "--", "python3", "-c"),
            "import json,os;s=open('/proc/self/status').read();"
            "print(json.dumps([os.getuid(),os.access('/opt',os.W_OK),s.split('CapEff:')[1].split()[0],"
            "s.split('Seccomp:')[1].split()[0]]))",
        )
    )
    assert said == [65532, False, "0" * 16, "2"]
