"""Reduce watched objects to the fields that decisions use. Whole objects are several times larger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pluginrelease import api

JSON = dict[str, Any]
Projection = Callable[[JSON], JSON]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_POD_METADATA = (*_IDENTITY, "labels", "ownerReferences")
_POD_SPEC = ("nodeName", "hostNetwork")
_CONTAINER = ("name", "image", "args", "env", "ports", "volumeMounts", "restartPolicy")
_POD_STATUS = ("phase", "podIP", "containerStatuses", "initContainerStatuses")
_CONDITION = ("type", "status", "reason", "lastTransitionTime")
_WRITTEN_BY = ("manager", "operation", "subresource", "time")


def pick(found: JSON, names: Iterable[str]) -> JSON:
    """Return those of the named fields that exist."""
    return {name: found[name] for name in names if name in found}


def project_pod(found: JSON) -> JSON:
    """Keep what identifies a gateway's container, its state, and the certificates that it trusts."""
    spec, status = found.get("spec") or {}, found.get("status") or {}
    lists = {
        kind: [pick(container, _CONTAINER) for container in spec[kind]]
        for kind in ("containers", "initContainers")
        if spec.get(kind)
    }
    conditions = [pick(condition, _CONDITION) for condition in status.get("conditions") or []]
    return {
        **pick(found, ("apiVersion", "kind")),
        "metadata": pick(found["metadata"], _POD_METADATA),
        "spec": {**pick(spec, _POD_SPEC), **lists},
        "status": {**pick(status, _POD_STATUS), "conditions": conditions},
    }


def project_namespace(found: JSON) -> JSON:
    """Keep whom the namespace admits, and if it is being deleted."""
    annotations = found["metadata"].get("annotations") or {}
    consent = pick(annotations, (api.ALLOWED_NAMESPACES_ANNOTATION,))
    return {
        **pick(found, ("apiVersion", "kind")),
        "metadata": {**pick(found["metadata"], _IDENTITY), "annotations": consent},
        "status": pick(found.get("status") or {}, ("phase",)),
    }


def project_carrier(found: JSON) -> JSON:
    """Keep an object that carries a plugin, and which field manager wrote when. Its status is not read."""
    history = [pick(entry, _WRITTEN_BY) for entry in found["metadata"].get("managedFields") or []]
    kept = {name: value for name, value in found.items() if name != "status"}
    return {**kept, "metadata": {**found["metadata"], "managedFields": history}}


def project_release(found: JSON) -> JSON:
    """Keep a release without ``managedFields`` and without kubectl's copy of its spec."""
    metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        annotations = {name: value for name, value in metadata["annotations"].items() if name != LAST_APPLIED}
        metadata = {**metadata, "annotations": annotations}
    return {**found, "metadata": metadata}
