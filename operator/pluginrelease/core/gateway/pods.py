"""Find the gateway pods among the pods of the API server."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pluginrelease.core.gateway import container as containers
from pluginrelease.core.gateway.observations import GATEWAY_NAME_LABEL, PodRef, ProxyRole
from pluginrelease.core.registry import transport

JSON = dict[str, Any]


def select(found: Iterable[JSON], container: str) -> list[PodRef]:
    """Return the pods that run a gateway, by namespace and name.

    They have its container, and are not finished or deleted.
    """
    chosen = [read_pod(pod, container) for pod in found if is_gateway(pod, container)]
    return sorted(chosen, key=lambda pod: (pod.namespace, pod.name))


def is_gateway(pod: JSON, container: str) -> bool:
    """Return True if the pod has the gateway's container and is not finished.

    Since Istio 1.28 that container may be a native sidecar.
    """
    lives = pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    return lives and "deletionTimestamp" not in pod["metadata"] and find_container(pod, container) is not None


def find_container(pod: JSON, name: str) -> JSON | None:
    """Return the container of this name. If an init container has the same name, the other one counts."""
    spec = pod["spec"]
    containers = [*spec.get("containers", []), *spec.get("initContainers", [])]
    return next((container for container in containers if container["name"] == name), None)


def read_pod(pod: JSON, container: str) -> PodRef:
    """Return a pod's name, uid and readiness, with the time of its last change.

    Of the gateway's container it has the image, the certificates that it trusts, and its state.
    """
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
        gateway=(metadata.get("labels") or {}).get(GATEWAY_NAME_LABEL),
        role=read_role(gateway),
    )


def read_role(container: JSON) -> ProxyRole | None:
    """Return what Envoy is to Istio, by the agent's arguments; None where they do not say it."""
    arguments = container.get("args") or []
    named = arguments[1] if arguments[:1] == ["proxy"] and len(arguments) > 1 else None
    return ProxyRole(named) if named in set(ProxyRole) else None


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
