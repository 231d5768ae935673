"""Render a release as the WasmPlugin that Istio's gateways load, and find those gateways.

Whole objects are rendered; nothing is read from the cluster. Fields: istio/api ``extensions/v1alpha1/wasm.proto``. This
module is a `core.mesh.providers.Provider`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pluginrelease import api
from pluginrelease.core import compat, config_values
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import attachment, target, traffic
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.placeholders import Placeholder

JSON = dict[str, Any]

TARGET = target.ResourceKind(
    "extensions.istio.io", "v1alpha1", "WasmPlugin", "wasmplugins", "Install Istio's CRDs (chart istio/base)"
)

REPLACES = False
STOPPED_BY_ONE = False


def pods(gateway: api.Gateway, mesh: target.MeshSettings) -> target.Pods:
    """Return the pods that the entry's selector or target means; raises `Refused` (SelectorMissing)."""
    return attachment.find_pods(gateway, mesh)


def check_pods(placement: Placement, before: Iterable[PodObservation]) -> None:
    """Raise `Refused` (SelectorIgnored, ProxiesDiffer, MatchNeverApplies) for pods that the entry does not mean."""
    seen_before = tuple(before)
    attachment.check(placement.gateway, [seen.pod for seen in seen_before])
    traffic.check(placement.spec.plugin, seen_before)


def find_warnings(placement: Placement, before: Iterable[PodObservation]) -> tuple[compat.Warned, ...]:
    """Return what to warn about: listeners that ``match`` leaves out."""
    return traffic.find_warnings(placement.spec.plugin, before)


def select_unreached() -> target.Pods | None:
    """Return None: a selector can reach every gateway."""
    return None


def find_install_marker(gateway: api.Gateway, mesh: target.MeshSettings) -> target.InstallMarker | None:
    """Return None: istiod reads every namespace."""
    del gateway, mesh
    return None


def check(placement: Placement, hosts: tuple[compat.Host, ...]) -> None:
    """Check nothing: the API server has already refused what Istio does not accept."""
    del placement, hosts


def find_placeholders(placement: Placement) -> tuple[Placeholder, ...]:
    """Return no placeholders: istiod passes every text on unchanged."""
    del placement
    return ()


def unreadable(found: Iterable[JSON]) -> tuple[str, ...]:
    """Return nothing: istiod drops an object that it cannot read, and logs that."""
    del found
    return ()


def hosts(seen: Iterable[PodObservation]) -> tuple[compat.Host, ...]:
    """Return what the pods' Envoys offer to plugins, by their own versions."""
    return tuple(compat.envoy(sighting.envoy_version or "unknown") for sighting in seen)


def configuration(plugin: api.Plugin) -> Mapping[str, Any] | None:
    """Return the plugin's configuration as Envoy receives it; None and {} are the same."""
    return plugin.config


def wasm_plugin(placement: Placement, artifact: api.ArtifactStatus, nudge: int = 0) -> JSON:
    """Return the WasmPlugin, with the image pinned by its manifest's digest, never by a tag.

    ``nudge`` is as in `target.make_head`.
    """
    plugin = placement.plugin
    pointers = config_values.list_pointers(placement.spec.plugin, "pluginConfig", "")
    optional = {
        "pluginName": plugin.name,
        "phase": plugin.phase,
        "priority": plugin.priority,
        "match": [item.wire() for item in plugin.match] if plugin.match else None,
        "pluginConfig": target.configuration(plugin),
        "imagePullSecret": target.pull_secret_name(placement),
        "vmConfig": target.render_vm_config(plugin),
    }
    return {
        **target.make_head(placement, artifact, TARGET, nudge, pointers),
        "spec": {
            **attachment.render(placement.gateway),
            **target.render_source(artifact),
            "imagePullPolicy": target.pull_policy(nudge),
            "failStrategy": str(plugin.fail_strategy),
            **{
                key: str(value) if isinstance(value, api.Phase) else value
                for key, value in optional.items()
                if value is not None
            },
        },
    }
