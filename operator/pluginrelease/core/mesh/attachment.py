"""Which pods Istio gives a WasmPlugin to, by its ``selector`` or ``targetRefs``.

Rules: istio ``pilot/pkg/model/policyattachment.go`` (ShouldAttachPolicy). tests/core/attachment_cases.py has them as a
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.observations import GATEWAY_NAME_LABEL, PodRef, ProxyRole
from pluginrelease.core.mesh import target
from pluginrelease.core.wording import count_noun

SELECTOR_SETTING = "ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY"
NO_PODS_OF_GATEWAY = (
    f"Istio gives the label {GATEWAY_NAME_LABEL} to pods that it makes for a Gateway. A Gateway with spec.addresses "
    "uses pods of another Deployment: name those by selector."
)


class Attaches(StrEnum):
    """Whether Istio gives a pod the plugin.

    ByDefault: it does unless istiod's setting `SELECTOR_SETTING` is false. The operator cannot see that setting.
    """

    ALWAYS = "Always"
    BY_DEFAULT = "ByDefault"
    NEVER = "Never"


def decide(gateway: api.Gateway, pod: PodRef) -> Attaches:
    """Return whether Istio gives the plugin of an entry to a pod that has the labels of the entry's selector."""
    if gateway.target_refs:
        is_named = pod.gateway in {reference.name for reference in gateway.target_refs}
        return Attaches.ALWAYS if is_named and pod.namespace == gateway.namespace else Attaches.NEVER
    if pod.gateway is None:
        return Attaches.ALWAYS
    return Attaches.NEVER if pod.role is ProxyRole.WAYPOINT else Attaches.BY_DEFAULT


def find_pods(gateway: api.Gateway, mesh: target.MeshSettings) -> target.Pods:
    """Return where an entry's pods are. Raises `Refused` (SelectorMissing).

    A selector in Istio's root namespace reaches every namespace. A target is always in the namespace of the entry.
    """
    if gateway.target_refs:
        labels = {GATEWAY_NAME_LABEL: gateway.target_refs[0].name}
        return target.Pods(gateway.namespace, labels, mesh.istio_container, NO_PODS_OF_GATEWAY)
    everywhere = gateway.namespace == mesh.istio_root_namespace
    labels = find_selector(gateway).match_labels
    return target.Pods(None if everywhere else gateway.namespace, labels, mesh.istio_container)


def find_selector(gateway: api.Gateway) -> api.Selector:
    """Return the selector. Raises `Refused` (SelectorMissing) for a manifest that no API server has checked."""
    if gateway.selector is None:
        raise Refused(
            Reason.SELECTOR_MISSING,
            f"gateways[{gateway.name}] has neither selector nor targetRefs: to Istio that would mean every pod",
            "Write selector.matchLabels with a label of the gateway's pods, for example istio: ingressgateway, or "
            "targetRefs with their Gateway",
        )
    return gateway.selector


def render(gateway: api.Gateway) -> dict[str, object]:
    """Return ``selector`` or ``targetRefs`` of the WasmPlugin."""
    if gateway.target_refs:
        return {"targetRefs": [reference.wire() for reference in gateway.target_refs]}
    return {"selector": find_selector(gateway).wire()}


def check(gateway: api.Gateway, pods: Sequence[PodRef]) -> None:
    """Raise `Refused` (SelectorIgnored, ProxiesDiffer) for pods that the entry selects and does not mean."""
    for pod in pods:
        check_attached(gateway, pod)
    check_proxies(gateway, pods)


def check_proxies(gateway: api.Gateway, pods: Sequence[PodRef]) -> None:
    """Raise `Refused` (ProxiesDiffer) if the Envoy of some pods is a sidecar, or no sidecar where these are meant."""
    wants_sidecars = gateway.proxies is api.Proxies.SIDECARS
    others = [pod for pod in pods if pod.role is not None and (pod.role is ProxyRole.SIDECAR) is not wants_sidecars]
    if not others:
        return
    kind = "no sidecar" if wants_sidecars else "a sidecar"
    wish = "remove proxies from" if wants_sidecars else "set proxies: Sidecars in"
    raise Refused(
        Reason.PROXIES_DIFFER,
        f"gateways[{gateway.name}] selects {count_noun(len(pods), 'pod')}, and Envoy is {kind} in {len(others)} of "
        f"them, for example in {others[0].namespace}/{others[0].name}",
        f"Narrow the selector, or {wish} this entry",
        recheck=target.RECHECK,
    )


def check_attached(gateway: api.Gateway, pod: PodRef) -> None:
    """Raise `Refused` (SelectorIgnored) for a pod that the entry selects and Istio gives nothing."""
    if decide(gateway, pod) is not Attaches.NEVER:
        return
    raise Refused(
        Reason.SELECTOR_IGNORED,
        f"gateways[{gateway.name}] selects pod {pod.namespace}/{pod.name}, a waypoint: Istio ignores selector there",
        f"Replace selector in this entry by targetRefs with the Gateway {pod.gateway}, in namespace {pod.namespace}",
        recheck=target.RECHECK,
    )
