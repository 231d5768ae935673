"""Incidents that only a kubelet shows, each on gateways of its own that are pods of a real node.

The operator runs beside the node, as it does in a cluster of many: it outlives what happens to this one.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pluginrelease_lab import Lab, operator
from pluginrelease_lab.node import configuration
from pluginrelease_lab.node import gateways as node_gateways
from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import JSON, LabCluster, Operator, is_ready, observed, ready, unique
from tests.node import kubelet
from tests.node.cluster import eventually
from tests.node.conftest import Start

RESYNC = "10s"
BACK_OFF = "CrashLoopBackOff"
ENDS = 3
"""So often a container ends before the kubelet waits for more than ten seconds."""
NOT_READY_WITHIN = 120.0
"""Seconds from a kubelet's last word until its node is known to be not ready: 50, and the load of the machine."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node_lab(start_lab: Start) -> Lab:
    """A lab whose node has the gateways' image, and no gateways yet."""
    lab = start_lab("incidents", gateways_on_node=True, gateways=0, with_operator=False)
    operator.install(lab)
    return lab


@pytest.fixture(scope="module")
def running(node_lab: Lab) -> Iterator[Operator]:
    """The operator, as a process with the chart's ServiceAccount."""
    started = Operator(node_lab, node_lab.log("operator"), ("--resync", RESYNC))
    started.start()
    yield started
    started.stop()


@dataclass(frozen=True)
class NodeIncident:
    """Two gateways on the node, in a namespace of their own, and a release that is Ready on them."""

    cluster: LabCluster
    name: str
    manifest: JSON
    folder: Path

    @property
    def lab(self) -> Lab:
        return self.cluster.lab

    @property
    def selector(self) -> str:
        return f"istio={self.name}"

    def change(self, module: bytes) -> None:
        """The release is pointed to another module."""
        self.manifest["spec"]["artifact"]["image"]["ref"] = self.cluster.push(module, self.folder)
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(self.manifest))

    def answers(self) -> set[str]:
        """What the ready gateways say in the header x-plugin; "-" for none, "" for no answer."""
        return {self.ask(pod["status"]["podIP"]) for pod in self.pods() if is_pod_ready(pod)}

    def ask(self, address: str) -> str:
        """One request."""
        try:
            return self.lab.request(address, node_gateways.LISTENER_PORT, timeout=5.0).headers.get("x-plugin", "-")
        except OSError:
            return ""

    def pods(self) -> list[JSON]:
        """The gateway pods that are not on their way out."""
        return kubelet.pods(self.lab, self.name, self.selector)

    def proxies(self) -> list[JSON]:
        """The status of each gateway's container."""
        return kubelet.proxies(self.lab, self.name, self.selector)

    def ends(self) -> int:
        """How often their containers were started again, in all."""
        return sum(int(status["restartCount"]) for status in self.proxies())

    def await_served(self, says: str, within: float = 180.0) -> None:
        """Both gateways are ready, and answer through this plugin."""
        eventually(lambda: self.count_ready() == 2 and self.answers() == {says}, within)

    def count_ready(self) -> int:
        """How many gateways the kubelet calls ready."""
        return sum(map(is_pod_ready, self.pods()))

    def writes(self) -> int:
        """How often the operator wrote the release's plugin."""
        return evidence.written(self.lab).count((self.name, self.name))

    def await_put_back(self) -> JSON:
        """The release once the failed revision is not what runs any more, and what ran before does."""
        return self.cluster.await_release(self.name, is_put_back, namespace=self.name, seconds=240)

    def await_ready(self) -> JSON:
        """Ready with both gateways, for the newest spec."""
        return self.cluster.await_release(self.name, is_whole, namespace=self.name, seconds=240)


def is_whole(release: JSON) -> bool:
    """Ready, and seen in both gateways."""
    return is_ready(release) and release["status"]["summary"]["pods"] == "2/2"


def is_pod_ready(pod: JSON) -> bool:
    """Whether the kubelet says that it is."""
    found = pod["status"].get("conditions", [])
    return any((condition["type"], condition["status"]) == ("Ready", "True") for condition in found)


def is_put_back(release: JSON) -> bool:
    """The rollout of the newest spec has failed, and every gateway was seen running what ran before."""
    status = release.get("status", {})
    back = status.get("rollout", {}).get("fallbacks", [])
    return observed(release) and status.get("phase") == "RolledBack" and all(it.get("loadedAt") for it in back or [{}])


@pytest.fixture
def scene(node_lab: Lab, running: Operator, tmp_path: Path) -> Iterator[NodeIncident]:
    """Gateways of this test's own, and a release that is Ready on both."""
    yield from staged(node_lab, running, tmp_path, as_they_are)


@pytest.fixture
def sidecar_scene(node_lab: Lab, running: Operator, tmp_path: Path) -> Iterator[NodeIncident]:
    """The same, with Envoy in a native sidecar."""
    yield from staged(node_lab, running, tmp_path, as_native_sidecar)


def staged(lab: Lab, running: Operator, folder: Path, shape: Callable[[JSON], JSON]) -> Iterator[NodeIncident]:
    """Gateways whose Deployment ``shape`` has changed, and their release; all of it goes in the end."""
    name, cluster = unique("on-node"), LabCluster(lab, running)
    for manifest in gateways.manifests(name, 2):
        is_gateway = manifest["kind"] == "Deployment"
        cluster.apply(shape(node_gateways.injected(manifest)) if is_gateway else manifest)
    lab.kubectl("rollout", "status", f"deployment/{name}", "-n", name, "--timeout=180s", timeout=200)
    gateway = {"provider": "Istio", "namespace": name, "selector": {"matchLabels": {"istio": name}}}
    manifest = cluster.manifest(
        name, cluster.push(wasm_modules.answering("v1"), folder), namespace=name, gateway=gateway
    )
    cluster.apply(manifest)
    scene = NodeIncident(cluster, name, manifest, folder)
    scene.await_ready()
    scene.await_served("v1")
    yield scene
    cluster.clean_up()


def as_they_are(deployment: JSON) -> JSON:
    """Envoy is the pod's own container, as in Istio's gateway chart."""
    return deployment


def as_native_sidecar(deployment: JSON) -> JSON:
    """Envoy beside the pod's own container, as Istio injects it with ENABLE_NATIVE_SIDECARS."""
    pod = deployment["spec"]["template"]["spec"]
    pod["initContainers"] = [{**container, "restartPolicy": "Always"} for container in pod["containers"]]
    pod["containers"] = [{"name": "app", "image": configuration.PAUSE_IMAGE, "imagePullPolicy": "Never"}]
    return deployment


@contextmanager
def noted(scene: NodeIncident) -> Iterator[list[JSON]]:
    """Every state of the release from now on."""
    seen: list[JSON] = []
    over = threading.Event()

    def watch() -> None:
        for release in scene.cluster.watch("pluginreleases", scene.name, scene.name, 500.0):
            seen.append(release)
            if over.is_set():
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()


def assert_no_failure(seen: list[JSON], scene: NodeIncident) -> None:
    """At no time was it said that the revision failed, and nothing was put back."""
    assert seen
    assert [release["status"]["rollout"]["failure"] for release in seen if failed(release)] == []
    said = [(release.get("status", {}).get("phase"), ready(release)["reason"]) for release in seen]
    print(f"{scene.name} said in turn: {list(dict.fromkeys(said))}")
    assert not {phase for phase, _ in said} & {"RollingBack", "RolledBack", "RollbackBlocked", "Removed", "Held"}


def failed(release: JSON) -> bool:
    return bool(release.get("status", {}).get("rollout", {}).get("failure"))


class IncidentClock:
    """Says how long each turn of an incident took."""

    def __init__(self, incident: str) -> None:
        self._incident, self._began = incident, time.monotonic()

    def tell(self, what: str) -> None:
        print(f"[{self._incident}] {what} after {time.monotonic() - self._began:.1f} s")


def test_a_native_sidecar_that_crashes_is_put_back(sidecar_scene: NodeIncident) -> None:
    """Envoy's container is among the pod's init containers: its restarts are seen there, and the application's own
    container is never started again."""
    scene = sidecar_scene
    clock = IncidentClock("native sidecar")
    scene.change(wasm_modules.aborts_at_configure())
    eventually(lambda: scene.ends() > 0)
    clock.tell("the first container was started again")
    release = scene.await_put_back()
    clock.tell("put back")
    assert release["status"]["rollout"]["failure"]["reason"] == "GatewayCrashed"
    scene.await_served("v1")
    clock.tell(f"served again ({scene.ends()} restarts)")
    apps = [status for pod in scene.pods() for status in pod["status"]["containerStatuses"]]
    assert [(status["name"], status["restartCount"]) for status in apps] == [("app", 0), ("app", 0)]


def test_gateways_in_back_off_are_put_back(scene: NodeIncident, running: Operator) -> None:
    """The operator's machine hangs in the moment of the write, and the gateways crash again and again. When it goes on
    it puts back what ran at once; the kubelet makes the gateways wait for as long as their back-off takes."""
    assert running.process is not None
    before = scene.writes()
    with kubelet.stopped(running.process.pid):
        pass
    scene.change(wasm_modules.aborts_at_configure())
    eventually(lambda: scene.writes() > before)
    with kubelet.stopped(running.process.pid):
        eventually(lambda: all(is_in_back_off(status) for status in scene.proxies()), 180)
    clock, ends = IncidentClock("back-off"), scene.ends()
    eventually(lambda: scene.writes() > before + 1, 60)
    clock.tell(f"what ran was written back, at {ends} restarts of two gateways")
    scene.await_served("v1", 240)
    clock.tell(f"served again ({scene.ends()} restarts)")
    release = scene.await_put_back()
    assert release["status"]["rollout"]["failure"]["reason"] == "GatewayCrashed"


def is_in_back_off(status: JSON) -> bool:
    """Whether the kubelet waits, for longer than after the first end."""
    waits = status.get("state", {}).get("waiting", {}).get("reason") == BACK_OFF
    return waits and int(status["restartCount"]) >= ENDS


def test_an_evicted_gateway_is_no_failure(scene: NodeIncident) -> None:
    """The node's disk is full while good revisions are rolled out, and the kubelet evicts a gateway: nothing is put
    back, and the pod that comes in its place, when there is room, gets the newest one."""
    before, clock = scene.writes(), IncidentClock("eviction")
    with noted(scene) as seen:
        with kubelet.full_disk(scene.lab):
            scene.change(wasm_modules.answering("v2"))
            eventually(lambda: evicted(scene), 120)
            clock.tell("a gateway was evicted")
            scene.change(wasm_modules.answering("v3"))
            eventually(lambda: scene.writes() == before + 2, 60)
        scene.await_ready()
        scene.await_served("v3")
        clock.tell("two gateways run the revision")
    assert_no_failure(seen, scene)
    assert scene.writes() == before + 2


def evicted(scene: NodeIncident) -> list[JSON]:
    """The pods that the kubelet has put off its node."""
    return [pod for pod in scene.pods() if pod["status"].get("reason") == "Evicted"]


def test_pods_whose_sandbox_is_made_again_are_no_failure(scene: NodeIncident) -> None:
    """Both gateways' sandboxes end while a good revision is rolled out, as when a container runtime is updated: the
    kubelet ends and starts their containers, which is nobody's crash."""
    before, clock = scene.ends(), IncidentClock("sandbox")
    with noted(scene) as seen:
        scene.change(wasm_modules.answering("v2"))
        for pod in scene.pods():
            os.kill(kubelet.sandbox_of(pod), signal.SIGKILL)
        eventually(lambda: scene.ends() >= before + 2, 120)
        clock.tell("both were started again")
        scene.await_ready()
        scene.await_served("v2")
        clock.tell("two gateways run the revision")
    assert_no_failure(seen, scene)


def test_a_node_that_is_not_ready_is_no_failure(scene: NodeIncident) -> None:
    """The kubelet says nothing any more just after a good revision was written. The gateways go on serving and cannot
    be asked: that is told, and nothing is put back. When the kubelet is back, they are seen running it."""
    before, clock = scene.writes(), IncidentClock("node not ready")
    addresses = [pod["status"]["podIP"] for pod in scene.pods()]
    with noted(scene) as seen:
        scene.change(wasm_modules.answering("v2"))
        eventually(lambda: scene.writes() > before)
        with kubelet.stopped(kubelet.process_of(scene.lab, "kubelet")):
            eventually(lambda: kubelet.node_says(scene.lab, "Ready") == "Unknown", NOT_READY_WITHIN)
            clock.tell("the node is not ready")
            told = scene.cluster.await_release(scene.name, tells_unknown, namespace=scene.name)
            clock.tell(f"the release says {ready(told)['reason']}: {ready(told)['message']}")
            assert {scene.ask(address) for address in addresses} == {"v2"}
        scene.await_ready()
        scene.await_served("v2")
        clock.tell("two gateways run the revision")
    assert_no_failure(seen, scene)
    assert scene.writes() == before + 1


def tells_unknown(release: JSON) -> bool:
    """Whether it says that it cannot know, with a reason that is about the pods."""
    about = ready(release)
    return observed(release) and about["status"] != "True" and about["reason"] in ("PodNotReady", "PodUnreachable")


def test_a_node_that_is_gone_is_no_failure(scene: NodeIncident) -> None:
    """The node is taken out of the cluster, and its pods with it: the release waits for gateways, and the plugin stays
    where it is for those that come. It is the last of this file, as the node does not come back."""
    before, clock = scene.writes(), IncidentClock("node gone")
    with noted(scene) as seen, kubelet.stopped(kubelet.process_of(scene.lab, "kubelet")):
        known = {pod["metadata"]["uid"] for pod in scene.pods()}
        scene.lab.kubectl("delete", "node", configuration.NAME, timeout=60)
        eventually(lambda: not known & {pod["metadata"]["uid"] for pod in scene.pods()}, 240)
        clock.tell("its pods are gone")
        told = scene.cluster.await_release(
            scene.name, lambda it: ready(it)["status"] != "True", namespace=scene.name, seconds=120
        )
        clock.tell(f"the release says {ready(told)['reason']}: {ready(told)['message']}")
    assert_no_failure(seen, scene)
    assert scene.writes() == before
    assert scene.cluster.get("wasmplugin", scene.name, scene.name) is not None
