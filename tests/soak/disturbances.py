"""What happens to gateways while good revisions are released, and what docs/signs.md lets the operator make of it.

Nothing tells an Envoy that dies of a fault of its own from one that dies of the plugin that it was just given: some
good revisions are put back for that. What is put back beyond this table is a false alarm.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pluginrelease_lab import Lab
from pluginrelease_lab.host import GatewayPod
from tests.harness import gateways

REPLICAS = 2
BESIDE = 1.0
"""Seconds before the write in which a pod's status, whose times are whole seconds, does not say which came first."""
HITS_WITHIN = 15.0
"""Seconds in which a gateway that is just being started gets an Envoy."""
PAUSE = 0.1


class Disturbance(StrEnum):
    """What happens, in words for the table."""

    REPLACED = "a pod is deleted"
    RESTARTED = "all pods are replaced (`kubectl rollout restart`)"
    SCALED_UP = "a pod comes (`kubectl scale`)"
    SCALED_DOWN = "a pod goes (`kubectl scale`)"
    EVICTED = "a pod is evicted (Eviction API)"
    KILLED = "SIGKILL to one Envoy"
    KILLED_TWICE = "SIGKILL to the Envoys of two pods"
    FAULT = "SIGSEGV to one Envoy"
    OUT_OF_MEMORY = "OOMKilled, one container"


class Moment(StrEnum):
    """When it happened to a gateway, for a change."""

    BEFORE = "before the write"
    BESIDE = "in the second before the write"
    LOADING = "until Ready"
    WATCHED = "after Ready"


BLAMED = (Disturbance.FAULT, Disturbance.OUT_OF_MEMORY, Disturbance.KILLED_TWICE)
"""What docs/signs.md takes for the doing of what was written before: a fault, too much memory, or two ends."""


def is_blamed(what: Disturbance, when: Moment) -> bool:
    """Whether a revision may be put back for it, though it is good. What was before the write does not count, but for
    what no time in a pod's status tells from what came after."""
    return when is not Moment.BEFORE and what in BLAMED


@dataclass(frozen=True)
class Scene:
    """The gateways that it happens to: two pods of one Deployment, both of them named like their namespace."""

    lab: Lab
    namespace: str

    def pods(self) -> list[GatewayPod]:
        """Those that stay, by name."""
        listed = json.loads(self.lab.kubectl("get", "pods", "-n", self.namespace, "-o", "json"))["items"]
        return sorted(
            GatewayPod(self.namespace, pod["metadata"]["name"], pod.get("status", {}).get("podIP", ""), is_ready(pod))
            for pod in listed
            if "deletionTimestamp" not in pod["metadata"]
        )

    def is_calm(self) -> bool:
        """Whether there are as many gateways as there were, and all of them are ready."""
        pods = self.pods()
        return len(pods) == REPLICAS and all(pod.ready for pod in pods)

    def scale(self, replicas: int) -> None:
        """As a person or an autoscaler does."""
        self.kubectl("scale", f"deployment/{self.namespace}", f"--replicas={replicas}")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """In the gateways' namespace."""
        return self.lab.kubectl(*arguments, "-n", self.namespace, stdin=stdin)


def is_ready(pod: dict[str, object]) -> bool:
    """Whether a pod's status says so."""
    status = pod.get("status", {})
    assert isinstance(status, dict)
    return any((each["type"], each["status"]) == ("Ready", "True") for each in status.get("conditions", []))


def disturb(scene: Scene, what: Disturbance, victim: int, gap: float) -> list[float]:
    """Let it happen to the pod with this number; ``gap``: seconds from the first of two to the second. Return when it
    happened, by the monotonic clock."""
    match what:
        case Disturbance.REPLACED:
            scene.kubectl("delete", "pod", choose(scene, victim).name, "--wait=false")
        case Disturbance.RESTARTED:
            scene.kubectl("rollout", "restart", f"deployment/{scene.namespace}")
        case Disturbance.SCALED_UP:
            scene.scale(REPLICAS + 1)
        case Disturbance.SCALED_DOWN:
            scene.scale(REPLICAS - 1)
        case Disturbance.EVICTED:
            evict(scene, choose(scene, victim).name)
        case Disturbance.KILLED_TWICE:
            return [end_one(scene, what, victim), end_one(scene, what, victim + 1, after=gap)]
        case _:
            return [end_one(scene, what, victim)]
    return [time.monotonic()]


def choose(scene: Scene, victim: int) -> GatewayPod:
    """The pod with this number, of those that there are."""
    pods = scene.pods()
    return pods[victim % len(pods)]


def evict(scene: Scene, pod: str) -> None:
    """As a node that is drained does."""
    wish = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": scene.namespace}}
    path = f"/api/v1/namespaces/{scene.namespace}/pods/{pod}/eviction"
    scene.lab.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(wish))


def end_one(scene: Scene, what: Disturbance, victim: int, after: float = 0.0) -> float:
    """End one gateway's Envoy, as soon as it has one; return when that was."""
    time.sleep(after)
    pod, deadline = choose(scene, victim), time.monotonic() + HITS_WITHIN
    while not strike(scene.lab, what, pod):
        assert time.monotonic() < deadline, f"{pod.name} has no Envoy"
        time.sleep(PAUSE)
    return time.monotonic()


def strike(lab: Lab, what: Disturbance, pod: GatewayPod) -> bool:
    """Whether there was an Envoy to end."""
    strikes: dict[Disturbance, Callable[[], bool]] = {
        Disturbance.FAULT: lambda: gateways.end_envoy(pod, signal.SIGSEGV),
        Disturbance.OUT_OF_MEMORY: lambda: gateways.run_out_of_memory(lab, pod),
    }
    return strikes.get(what, lambda: gateways.end_envoy(pod, signal.SIGKILL))()


def find_moment(happened: Sequence[float], written: float | None, ready: float | None) -> Moment:
    """When the first of it happened; times by one clock, None for what never came."""
    if written is None or happened[0] < written - BESIDE:
        return Moment.BEFORE
    if happened[0] < written:
        return Moment.BESIDE
    return Moment.LOADING if ready is None or happened[0] < ready else Moment.WATCHED
