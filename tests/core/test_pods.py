"""Which pods are asked: those that run a gateway and stay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pluginrelease.core.gateway import pods
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.mesh import target

JSON = dict[str, Any]
STARTED = {"type": "Initialized", "status": "True"}
READY = {"phase": "Running", "conditions": [STARTED, {"type": "Ready", "status": "True"}]}

MOMENT = datetime(2026, 11, 20, 12, 0, 5, tzinfo=UTC)
TURNED = {"type": "Ready", "lastTransitionTime": "2026-11-20T12:00:05Z"}
MADE = {"creationTimestamp": "2026-11-20T12:00:05Z"}


def pod(name: str = "gateway-1", **parts: Any) -> JSON:
    return {
        "metadata": {"name": name, "namespace": "istio-ingress", "uid": f"uid-{name}", **parts.get("metadata", {})},
        "spec": parts.get("spec", {"containers": [{"name": "istio-proxy"}]}),
        "status": parts.get("status", READY),
    }


def test_a_running_gateway_is_asked() -> None:
    """A pod with the gateway's container is chosen, by name, uid and readiness."""
    assert pods.select([pod()], "istio-proxy") == [
        PodRef("istio-ingress", "gateway-1", "uid-gateway-1", ready=True, deleting=False)
    ]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod(spec={"containers": [{"name": "app"}]}), "its labels match, and it runs no gateway"),
        (pod(status={"phase": "Succeeded"}), "it has finished"),
        (pod(status={"phase": "Failed"}), "it has failed for good, for example by eviction"),
        (pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), "it is on its way out"),
        (pod(spec={}), "it has no containers yet"),
    ],
)
def test_others_are_not_counted(found: JSON, reason: str) -> None:
    """A pod that serves nothing now or soon does not keep a release from Ready."""
    assert pods.select([found], "istio-proxy") == [], reason


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod(status={"phase": "Pending"}), "it is being scheduled: it will serve, so it is waited for"),
        (pod(status={}), "it was made this moment"),
        (pod(status={"conditions": [STARTED, {"type": "Ready", "status": "False"}]}), "it fails its readiness probe"),
        (pod(status={"conditions": [{"type": "Ready", "status": "Unknown"}]}), "its node is silent"),
    ],
)
def test_one_that_comes_is_waited_for(found: JSON, reason: str) -> None:
    """A gateway that is not ready yet is counted, as not ready."""
    [chosen] = pods.select([found], "istio-proxy")
    assert not chosen.ready, reason


@pytest.mark.parametrize(
    ("found", "turned_at", "reason"),
    [
        (pod(status={"conditions": [{**TURNED, "status": "True"}]}), MOMENT, "when it became ready"),
        (pod(status={"conditions": [{**TURNED, "status": "False"}]}), MOMENT, "when it ceased to be"),
        (pod(status={"conditions": [STARTED]}, metadata=MADE), MOMENT, "no word on that yet: when it was made"),
        (pod(), None, "the API server does not say"),
    ],
)
def test_since_when_a_pod_is_as_it_is(found: JSON, turned_at: datetime | None, reason: str) -> None:
    """A pod's own time to load the plugin begins when it last became ready or ceased to be."""
    [chosen] = pods.select([found], "istio-proxy")
    assert chosen.turned_at == turned_at, reason


def test_a_native_sidecar_is_a_gateway() -> None:
    """Istio 1.28 and newer may run the proxy as an init container that stays."""
    native = pod(spec={"containers": [{"name": "app"}], "initContainers": [{"name": "istio-proxy"}]})
    assert len(pods.select([native], "istio-proxy")) == 1


def test_another_container_name_is_the_operators_setting() -> None:
    """An installation that names its gateway's container differently is looked at by that name."""
    assert len(pods.select([pod(spec={"containers": [{"name": "envoy"}]})], "envoy")) == 1


def test_the_order_is_always_the_same() -> None:
    """Rows do not jump between two looks."""
    names = ["b", "c", "a"]
    assert [found.name for found in pods.select(map(pod, names), "istio-proxy")] == ["a", "b", "c"]


def test_where_pods_are_can_be_a_key() -> None:
    """Watches are kept by where pods are: the same place is the same key, and other labels are another one."""
    here, also_here = (target.Pods("edge", {"app": "gateway"}, "istio-proxy", hint) for hint in ("", "start one"))
    other = target.Pods("edge", {"app": "other"}, "istio-proxy")
    assert list({here: 1, also_here: 2, other: 3}.values()) == [2, 3]
