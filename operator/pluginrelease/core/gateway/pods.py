"""Pods of the API server → the gateway pods among them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pluginrelease.core.gateway import container as containers
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.registry import transport

JSON = dict[str, Any]


def select(found: Iterable[JSON], container: str) -> list[PodRef]:
    """The pods that run a gateway: with its container, not finished, not going; by namespace and name."""
    chosen = [read_pod(pod, container) for pod in found if is_gateway(pod, container)]
    return sorted(chosen, key=lambda pod: (pod.namespace, pod.name))


def is_gateway(pod: JSON, container: str) -> bool:
    """Whether the pod has the gateway's container (Istio 1.28 and newer may run it as a native sidecar) and lives."""
    lives = pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    return lives and "deletionTimestamp" not in pod["metadata"] and find_container(pod, container) is not None


def find_container(pod: JSON, name: str) -> JSON | None:
    """The container of this name; of two the first that is no init container."""
    spec = pod["spec"]
    containers = [*spec.get("containers", []), *spec.get("initContainers", [])]
    return next((container for container in containers if container["name"] == name), None)


def read_pod(pod: JSON, container: str) -> PodRef:
    """Name, uid, readiness and since when it is so, and of the gateway's container the image, what it trusts, and how
    it fares."""
    gateway = find_container(pod, container) or {}
    conditions = pod.get("status", {}).get("conditions", [])
    ready: JSON = next((condition for condition in conditions if condition["type"] == "Ready"), {})
    metadata = pod["metadata"]
    return PodRef(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        ready=ready.get("status") == "True",
        deleting="deletionTimestamp" in metadata,
        image=gateway.get("image", ""),
        trust=transport.read(gateway),
        turned_at=_read_time(ready.get("lastTransitionTime") or metadata.get("creationTimestamp")),
        created_at=_read_time(metadata.get("creationTimestamp")),
        container=containers.read(pod.get("status", {}), container),
    )


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
