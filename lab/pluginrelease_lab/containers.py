"""A gateway pod as values: what its agent gets at the start, and its status."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from pluginrelease_lab import network
from pluginrelease_lab.istio import DISCOVERY_PORT
from pluginrelease_lab.kubeapi import Object

PROXY_CONTAINER = "istio-proxy"
_DISCOVERY = f"{network.ADDRESS}:{DISCOVERY_PORT}"


@dataclass(frozen=True)
class Pod:
    """One state of a Pod object."""

    manifest: Object

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.manifest["metadata"]["uid"])

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def leaving(self) -> bool:
        return "deletionTimestamp" in self.manifest["metadata"]

    @property
    def grace(self) -> float:
        """Return the seconds from SIGTERM to SIGKILL."""
        return float(self.manifest["metadata"].get("deletionGracePeriodSeconds", 30))

    @property
    def service_account(self) -> str:
        return str(self.manifest["spec"].get("serviceAccountName", "default"))

    @property
    def proxy(self) -> Object:
        """Return the container that is real: the one named istio-proxy, else the first. It may be a native sidecar."""
        spec = self.manifest["spec"]
        containers: list[Object] = [*spec["containers"], *spec.get("initContainers", [])]
        return next((each for each in containers if each["name"] == PROXY_CONTAINER), containers[0])

    @property
    def role(self) -> str:
        """Return what the agent is to Istio, as the container's arguments say: a router, unless they say sidecar."""
        arguments = self.proxy.get("args", [])
        return "sidecar" if arguments[:2] == ["proxy", "sidecar"] else "router"

    @property
    def container_ports(self) -> set[int]:
        return {int(port["containerPort"]) for port in self.proxy.get("ports", [])}

    def downward(self, field: str) -> str:
        """Return ``labels`` or ``annotations`` in the form of the downward API."""
        values = self.manifest["metadata"].get(field, {})
        return "".join(f"{name}={json.dumps(value)}\n" for name, value in sorted(values.items()))


def mesh_file(envoy: str) -> str:
    """Return the agent's lowest layer of configuration; the pod's PROXY_CONFIG and annotation override it."""
    return yaml.safe_dump({"defaultConfig": {"binaryPath": envoy, "discoveryAddress": _DISCOVERY}})


def environment(pod: Pod, address: str) -> dict[str, str]:
    """Return what Istio's gateway injection sets in the container, then what the pod itself sets."""
    cores = _cores(pod.proxy.get("resources", {}).get("limits", {}).get("cpu", "2"))
    injected = {
        "PILOT_CERT_PROVIDER": "istiod",
        "CA_ADDR": _DISCOVERY,
        "ISTIOD_SAN": "istiod.istio-system.svc",  # its address is a number; this name is in its certificate
        "POD_NAME": pod.name,
        "POD_NAMESPACE": pod.namespace,
        "INSTANCE_IP": address,
        "HOST_IP": network.ADDRESS,
        "SERVICE_ACCOUNT": pod.service_account,
        "TRUST_DOMAIN": "cluster.local",
        "ISTIO_CPU_LIMIT": str(cores),
        "GOMAXPROCS": str(cores),
        "ISTIO_META_CLUSTER_ID": "Kubernetes",
        "ISTIO_META_MESH_ID": "cluster.local",
        "ISTIO_META_NODE_NAME": pod.manifest["spec"].get("nodeName", ""),
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_APP_CONTAINERS": "",
        "ISTIO_META_POD_PORTS": json.dumps(pod.proxy.get("ports", [])),
        "ISTIO_META_WORKLOAD_NAME": _workload(pod),
    }
    return {**injected, **{each["name"]: _value(each, pod, address) for each in pod.proxy.get("env", [])}}


def _cores(limit: str) -> int:
    number = float(limit.removesuffix("m")) / (1000 if limit.endswith("m") else 1)
    return max(1, math.ceil(number))


def _limit(resource: str, pod: Pod) -> str:
    """The processor's limit as a number of cores. Go runs without a limit of memory where none is given."""
    limits = pod.proxy.get("resources", {}).get("limits", {})
    return str(_cores(limits[resource])) if resource == "cpu" and resource in limits else ""


def _workload(pod: Pod) -> str:
    """Return the name of the pod's Deployment: its ReplicaSet's name without the template hash."""
    template = pod.manifest["metadata"].get("labels", {}).get("pod-template-hash", "")
    owners = pod.manifest["metadata"].get("ownerReferences", [])
    return str(owners[0]["name"]).removesuffix(f"-{template}") if owners else pod.name


def _value(variable: Object, pod: Pod, address: str) -> str:
    if "value" in variable:
        return str(variable["value"])
    if limit := variable.get("valueFrom", {}).get("resourceFieldRef", {}).get("resource", "").removeprefix("limits."):
        return _limit(limit, pod)
    field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
    known = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": pod.manifest["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod.service_account,
        "status.podIP": address,
        "status.hostIP": network.ADDRESS,
    }
    if labelled := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", field):
        return str(pod.manifest["metadata"].get(labelled[1], {}).get(labelled[2], ""))
    return str(known.get(field, ""))


@dataclass(frozen=True)
class ContainerEnd:
    """How one run of a container ended: times in the API's form; ``code`` is negative for a signal;
    ``out_of_memory``: the container used more memory than its limit."""

    code: int
    started: str
    finished: str
    out_of_memory: bool = False

    def terminated(self) -> Object:
        code = self.code if self.code >= 0 else 128 - self.code
        otherwise = "Error" if code else "Completed"
        return {
            "exitCode": code,
            "startedAt": self.started,
            "finishedAt": self.finished,
            "reason": "OOMKilled" if self.out_of_memory else otherwise,
        }


@dataclass(frozen=True)
class LabContainer:
    """The real container at one moment. ``ended``: the end of the previous run."""

    identity: str
    started: str
    restarts: int
    ready: bool
    ended: ContainerEnd | None = None
    waiting: str = ""


def status(pod: Pod, address: str, container: LabContainer) -> Object:
    """Return the whole status of a gateway pod, as a kubelet would report it."""
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": network.ADDRESS,
        "hostIPs": [{"ip": network.ADDRESS}],
        "startTime": pod.manifest["status"].get("startTime") or now(),
        "conditions": _conditions(pod, container.ready),
        "containerStatuses": [_container_status(each, pod, container) for each in pod.manifest["spec"]["containers"]],
        "initContainerStatuses": [
            _container_status(each, pod, container) for each in pod.manifest["spec"].get("initContainers", [])
        ],
    }


def _conditions(pod: Pod, ready: bool) -> list[Object]:
    states = {
        "PodReadyToStartContainers": True,
        "Initialized": True,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": True,
    }
    earlier = {each["type"]: each for each in pod.manifest["status"].get("conditions", [])}
    return [_condition(kind, "True" if holds else "False", earlier.get(kind, {})) for kind, holds in states.items()]


def _condition(kind: str, holds: str, earlier: Object) -> Object:
    since = earlier.get("lastTransitionTime") if earlier.get("status") == holds else None
    return {"type": kind, "status": holds, "lastTransitionTime": since or now()}


def _container_status(spec: Object, pod: Pod, container: LabContainer) -> Object:
    real = spec["name"] == pod.proxy["name"]
    found: dict[str, Any] = {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": spec["image"],
        "containerID": f"lab://{container.identity}",
        "ready": container.ready or not real,
        "started": not container.waiting or not real,
        "restartCount": container.restarts if real else 0,
        "state": {"running": {"startedAt": container.started}},
    }
    if real and container.waiting:
        found["state"] = {"waiting": {"reason": container.waiting}}
    if real and container.ended:
        found["lastState"] = {"terminated": container.ended.terminated()}
    return found


def now() -> str:
    """Return the time in the form of the Kubernetes API."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
