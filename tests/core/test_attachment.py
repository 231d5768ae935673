"""Which pods Istio gives a plugin to, where they are looked for, and what is refused before the write."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway import pods
from pluginrelease.core.gateway.observations import PodRef, ProxyRole
from pluginrelease.core.mesh import attachment, istio, target
from pluginrelease.core.mesh.attachment import Attaches
from tests.core.attachment_cases import CASES, AttachmentCase
from tests.harness.releases import ARTIFACT, placement

MESH = target.MeshSettings()
LABELS = {"matchLabels": {"istio": "ingressgateway"}}


def refs(name: str) -> list[dict[str, str]]:
    return [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]


def gateway(namespace: str = "edge", **fields: Any) -> api.Gateway:
    return api.Gateway.model_validate({"name": "public", "namespace": namespace, **fields})


def entry_of(case: AttachmentCase) -> api.Gateway:
    named = {"targetRefs": refs(case.target)} if case.target else {"selector": LABELS}
    return gateway(case.namespace, **named)


def pod_of(case: AttachmentCase) -> PodRef:
    return PodRef(case.pod_namespace, "pod", "uid", ready=True, gateway=case.gateway, role=case.role)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_istio_gives_the_plugin_to_these_pods(case: AttachmentCase) -> None:
    """The table of Istio's rules."""
    assert attachment.decide(entry_of(case), pod_of(case)) is case.attaches, case.reason


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_pods_that_an_entry_can_find_and_istio_ignores_are_refused(case: AttachmentCase) -> None:
    """What is refused is what Istio never gives; what depends on a setting of istiod is tried."""
    if case.attaches is not Attaches.NEVER:
        attachment.check(entry_of(case), [pod_of(case)])
        return
    with pytest.raises(Refused) as refused:
        attachment.check(entry_of(case), [pod_of(case)])
    assert refused.value.reason is Reason.SELECTOR_IGNORED


@pytest.mark.parametrize(
    ("entry", "namespace", "labels", "reason"),
    [
        (gateway(selector=LABELS), "edge", LABELS["matchLabels"], "pods with its labels"),
        (gateway("istio-system", selector=LABELS), None, LABELS["matchLabels"], "of every namespace"),
        (gateway(targetRefs=refs("shop")), "edge", {"gateway.networking.k8s.io/gateway-name": "shop"}, "its Gateway's"),
        (
            gateway("istio-system", targetRefs=refs("shop")),
            "istio-system",
            {"gateway.networking.k8s.io/gateway-name": "shop"},
            "a target in the root namespace is in that namespace only",
        ),
    ],
)
def test_where_the_pods_of_an_entry_are(
    entry: api.Gateway, namespace: str | None, labels: dict[str, str], reason: str
) -> None:
    """The operator looks for just the pods that Istio would give the plugin to."""
    found = istio.pods(entry, MESH)
    assert (found.namespace, dict(found.labels)) == (namespace, labels), reason


def test_an_entry_with_neither_means_no_pod() -> None:
    """To Istio it would mean every pod of the namespace."""
    with pytest.raises(Refused) as refused:
        istio.pods(gateway(), MESH)
    assert refused.value.reason is Reason.SELECTOR_MISSING


def test_the_wasmplugin_names_the_gateway_instead_of_labels() -> None:
    """Istio takes one of the two."""
    placed = placement(spec__gateways=[{"name": "public", "namespace": "edge", "targetRefs": refs("shop")}])
    spec = istio.wasm_plugin(placed, ARTIFACT)["spec"]
    assert spec["targetRefs"] == refs("shop")
    assert "selector" not in spec


def with_roles(*roles: ProxyRole | None) -> list[PodRef]:
    """Pods whose Envoys are these."""
    return [PodRef("edge", f"pod-{n}", f"{n}", ready=True, role=role) for n, role in enumerate(roles)]


ROUTER, SIDECAR = ProxyRole.ROUTER, ProxyRole.SIDECAR


@pytest.mark.parametrize(
    ("proxies", "roles", "others"),
    [
        (None, (ROUTER, ROUTER), 0),
        (None, (ROUTER, SIDECAR, SIDECAR), 2),
        (None, (None, None), 0),
        ("Gateways", (SIDECAR,), 1),
        ("Sidecars", (SIDECAR, SIDECAR), 0),
        ("Sidecars", (SIDECAR, None), 0),
        ("Sidecars", (SIDECAR, ROUTER), 1),
    ],
)
def test_sidecars_are_selected_on_purpose_only(
    proxies: str | None, roles: tuple[ProxyRole | None, ...], others: int
) -> None:
    """A label that applications have too would give all of them the plugin: the refusal counts them."""
    entry = gateway(selector=LABELS, proxies=proxies)
    if not others:
        attachment.check(entry, with_roles(*roles))
        return
    with pytest.raises(Refused) as refused:
        attachment.check(entry, with_roles(*roles))
    assert refused.value.reason is Reason.PROXIES_DIFFER
    assert re.findall(r"\b\d+\b", refused.value.message)[:2] == [str(len(roles)), str(others)]


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        (["proxy", "router", "--domain"], ProxyRole.ROUTER),
        (["proxy", "sidecar"], ProxyRole.SIDECAR),
        (["proxy", "waypoint"], ProxyRole.WAYPOINT),
        (["proxy", "elsewhere"], None),
        (["proxy"], None),
        ([], None),
    ],
)
def test_what_envoy_is_to_istio(arguments: list[str], role: ProxyRole | None) -> None:
    """The agent's arguments say it, and what they do not say is not guessed."""
    pod = {
        "metadata": {
            "name": "a",
            "namespace": "b",
            "uid": "c",
            "labels": {"gateway.networking.k8s.io/gateway-name": "d"},
        },
        "spec": {"containers": [{"name": "istio-proxy", "args": arguments}]},
        "status": {},
    }
    [found] = pods.select([pod], "istio-proxy")
    assert (found.role, found.gateway) == (role, "d")
