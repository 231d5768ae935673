"""What is kept of watched objects is what is decided by, and no more."""

from __future__ import annotations

import json
from typing import Any

from pluginrelease import api
from pluginrelease.core.apiserver import projections, stored
from pluginrelease.core.gateway import pods
from pluginrelease.core.rollout import plan
from tests.harness.releases import manifest

JSON = dict[str, Any]

HISTORY = [
    {"manager": "pluginrelease", "operation": "Apply", "time": "2026-01-01T10:00:00Z", "fieldsV1": {"f:spec": {}}},
    {"manager": "kubectl", "operation": "Update", "time": "2026-01-01T11:00:00Z", "fieldsV1": {"f:metadata": {}}},
]
POD: JSON = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "gateway-1",
        "namespace": "apps",
        "uid": "pod-1",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T09:00:00Z",
        "labels": {"istio": "ingressgateway"},
        "annotations": {"sidecar.istio.io/status": "x" * 4000},
        "managedFields": HISTORY,
    },
    "spec": {
        "nodeName": "one",
        "containers": [
            {
                "name": "istio-proxy",
                "image": "istio/proxyv2:1.31.0",
                "args": ["proxy", "router"],
                "env": [{"name": "CA_ADDR", "value": "istiod.istio-system.svc:15012"}],
                "resources": {"limits": {"cpu": "2"}},
                "readinessProbe": {"httpGet": {"path": "/healthz/ready"}},
            }
        ],
        "volumes": [{"name": "token", "projected": {"sources": ["x" * 2000]}}],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.244.1.1",
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T09:01:00Z", "message": "all well"}
        ],
        "containerStatuses": [
            {
                "name": "istio-proxy",
                "restartCount": 2,
                "state": {"running": {"startedAt": "2026-01-01T09:00:30Z"}},
                "lastState": {
                    "terminated": {"finishedAt": "2026-01-01T09:00:20Z", "reason": "OOMKilled", "exitCode": 137}
                },
            }
        ],
    },
}


def size(thing: JSON) -> int:
    return len(json.dumps(thing))


def test_a_pod_is_judged_the_same() -> None:
    """Everything that is read of a gateway pod is kept, in a fraction of its size."""
    kept = projections.project_pod(POD)
    assert pods.select([kept], "istio-proxy") == pods.select([POD], "istio-proxy")
    assert size(kept) < size(POD) / 4


def test_a_release_is_the_same_without_its_history() -> None:
    """A release is kept whole but for who wrote which field, and for kubectl's copy of its spec."""
    annotations = {api.RETRY_ANNOTATION: "1", projections.LAST_APPLIED: "x" * 5000}
    found = manifest(metadata__annotations=annotations, metadata__managedFields=HISTORY, status__phase="Ready")
    kept = projections.project_release(found)
    without = manifest(metadata__annotations={api.RETRY_ANNOTATION: "1"}, status__phase="Ready")
    assert stored.read(kept) == stored.read(without)
    assert projections.LAST_APPLIED not in json.dumps(kept)
    assert "managedFields" not in kept["metadata"]


def test_an_object_that_carries_a_plugin_says_when_it_was_written() -> None:
    """Of who wrote an object it is kept when, and not which fields."""
    found = {"metadata": {"name": "a", "managedFields": HISTORY}, "spec": {"url": "oci://a"}, "status": {"x": "y"}}
    kept = projections.project_carrier(found)
    assert plan.read_write_time(kept) == plan.read_write_time(found) is not None
    assert (kept["spec"], "status" in kept) == (found["spec"], False)
    assert "fieldsV1" not in json.dumps(kept)


def test_a_namespace_is_its_consent() -> None:
    """Of a namespace it is kept whom it allows, and that it is going."""
    annotations = {api.ALLOWED_NAMESPACES_ANNOTATION: "team-a", "other": "x" * 1000}
    own = {"name": "apps", "uid": "1", "resourceVersion": "2", "annotations": annotations, "labels": {"a": "b"}}
    kept = projections.project_namespace({"metadata": own, "status": {"phase": "Terminating"}})
    assert kept["metadata"]["annotations"] == {api.ALLOWED_NAMESPACES_ANNOTATION: "team-a"}
    assert kept["status"] == {"phase": "Terminating"}
    assert size(kept) < 200
