"""A release → the WasmPlugin that makes Istio's gateways load the plugin, and where those gateways are.

Whole objects are rendered, nothing is read from the cluster. Fields: istio/api ``extensions/v1alpha1/wasm.proto``.
This module is a `core.mesh.providers.Provider`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import compat
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.placeholders import Placeholder

JSON = dict[str, Any]

TARGET = target.ResourceKind(
    "extensions.istio.io", "v1alpha1", "WasmPlugin", "wasmplugins", "Install Istio's CRDs (chart istio/base)"
)

REPLACES = False
STOPPED_BY_ONE = False


def pods(gateway: api.Gateway, mesh: target.MeshSettings) -> target.Pods:
    """The pods with the selector's labels; a WasmPlugin in Istio's root namespace reaches every namespace."""
    everywhere = gateway.namespace == mesh.istio_root_namespace
    return target.Pods(None if everywhere else gateway.namespace, selector(gateway).match_labels, mesh.istio_container)


def selector(gateway: api.Gateway) -> api.Selector:
    """The selector, which a manifest that no API server has seen may lack; raises `Refused` (SelectorMissing)."""
    if gateway.selector is None:
        raise Refused(
            Reason.SELECTOR_MISSING,
            f"gateways[{gateway.name}].selector is not there: to Istio that would mean every pod",
            "Write selector.matchLabels with a label of the gateway's pods, for example istio: ingressgateway",
        )
    return gateway.selector


def unreached() -> target.Pods | None:
    """None: a selector can reach every gateway."""
    return None


def landmarks(gateway: api.Gateway, mesh: target.MeshSettings) -> target.InstallMarker | None:
    """None: istiod reads every namespace."""
    del gateway, mesh
    return None


def check(placement: Placement, hosts: tuple[compat.Host, ...]) -> None:
    """The API server has refused whatever Istio does not take."""
    del placement, hosts


def find_placeholders(placement: Placement) -> tuple[Placeholder, ...]:
    """None: istiod hands every text on as it is."""
    del placement
    return ()


def unreadable(found: Iterable[JSON]) -> tuple[str, ...]:
    """None: istiod drops one that it cannot read, and says so in its log."""
    del found
    return ()


def hosts(seen: Iterable[PodObservation]) -> tuple[compat.Host, ...]:
    """What the pods' Envoys have for plugins, by their own versions."""
    return tuple(compat.envoy(sighting.envoy_version or "unknown") for sighting in seen)


def configuration(plugin: api.Plugin) -> Mapping[str, Any] | None:
    """What Envoy is given as the plugin's configuration; None and {} are the same."""
    return plugin.config


def wasm_plugin(placement: Placement, artifact: api.ArtifactStatus, nudge: int = 0) -> JSON:
    """The WasmPlugin, with the image pinned by the digest of its manifest, never by a tag; ``nudge`` as in
    `target.make_head`."""
    plugin = placement.spec.plugin
    optional = {
        "pluginName": plugin.name,
        "phase": plugin.phase,
        "priority": plugin.priority,
        "pluginConfig": target.configuration(plugin),
        "imagePullSecret": target.pull_secret_name(placement),
        "vmConfig": target.render_vm_config(plugin),
    }
    return {
        **target.make_head(placement, artifact, TARGET, nudge),
        "spec": {
            "selector": selector(placement.gateway).wire(),
            "url": f"oci://{artifact.image}",
            "imagePullPolicy": target.pull_policy(nudge),
            "failStrategy": str(plugin.fail_strategy),
            **{
                key: str(value) if isinstance(value, api.Phase) else value
                for key, value in optional.items()
                if value is not None
            },
        },
    }
