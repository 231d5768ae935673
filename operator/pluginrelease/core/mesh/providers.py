"""The only place that lists the providers and their modules.

Differences between providers are in their modules (`core.mesh.istio`, `core.mesh.higress`), and in what is known of
their gateways (`core.compat`, `core.gateway.observations`). No other code compares a provider's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from pluginrelease import api
from pluginrelease.core import compat, json_numbers, placeholders
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import higress, istio, target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.placeholders import Placeholder

JSON = dict[str, Any]


class Mesh(Protocol):
    """A mesh: which pods are gateways, what their Envoy offers, and how its control plane reads objects."""

    # whether an object that its control plane cannot read keeps it from reading any other
    STOPPED_BY_ONE: bool

    def pods(self, gateway: api.Gateway, mesh: target.MeshSettings) -> target.Pods:
        """Return where the gateway's pods are."""
        ...

    def select_unreached(self) -> target.Pods | None:
        """Return gateways of the mesh that no object reaches; None: there are none."""
        ...

    def find_install_marker(self, gateway: api.Gateway, mesh: target.MeshSettings) -> target.InstallMarker | None:
        """Return the pods that show that the control plane reads a namespace; None: it reads every namespace."""
        ...

    def check_pods(self, placement: Placement, before: Iterable[PodObservation]) -> None:
        """Raise `Refused` for gateway pods that its control plane would not give the plugin to."""
        ...

    def find_warnings(self, placement: Placement, before: Iterable[PodObservation]) -> tuple[compat.Warned, ...]:
        """Return what is odd about where the plugin would run, and does not keep it from running."""
        ...

    def hosts(self, seen: Iterable[PodObservation]) -> tuple[compat.Host, ...]:
        """Return what the gateway pods offer to plugins, as far as it is known."""
        ...


class PluginAPI(Protocol):
    """How a plugin is described to a control plane: the kind of object, its content, and what Envoy receives of it."""

    TARGET: target.ResourceKind
    # whether its control plane replaces placeholders with values of Secrets (`core.placeholders`)
    REPLACES: bool

    def check(self, placement: Placement, hosts: tuple[compat.Host, ...]) -> None:
        """Raise `Refused` for what its control plane would not do, if the API server cannot see that.

        ``hosts``: what is known of the gateways.
        """
        ...

    def find_placeholders(self, placement: Placement) -> tuple[Placeholder, ...]:
        """Return the Secrets' values that its control plane will look for, each with its namespace."""
        ...

    def configuration(self, plugin: api.Plugin) -> Mapping[str, Any] | None:
        """Return the plugin's configuration as Envoy receives it; None and {} are the same."""
        ...

    def unreadable(self, found: Iterable[JSON]) -> tuple[str, ...]:
        """Return the objects of its kind that its control plane cannot read, each with what is wrong with it."""
        ...

    def wasm_plugin(self, placement: Placement, artifact: api.ArtifactStatus, nudge: int = 0) -> JSON:
        """Return the object that its control plane reads."""
        ...


class Provider(Mesh, PluginAPI, Protocol):
    """A module that is both: at present each mesh has its own plugin API."""


_MODULES: Mapping[str, Provider] = MappingProxyType({"Istio": istio, "Higress": higress})

# every kind of object that carries a revision
TARGETS = tuple(provider.TARGET for provider in _MODULES.values())


def mesh_of(spec: api.Spec) -> Mesh:
    """Return the mesh of the release's gateways."""
    return _MODULES[spec.provider]


def plugin_api_of(spec: api.Spec) -> PluginAPI:
    """Return how the release's plugin is described to its mesh."""
    return _MODULES[spec.provider]


def check(placement: Placement, hosts: tuple[compat.Host, ...] = ()) -> None:
    """Raise `Refused` for configuration that the plugin would not receive as it is written.

    ``hosts``: what is known of the gateways.
    """
    plugin = placement.plugin
    try:
        plugin_api_of(placement.spec).check(placement, hosts)
        json_numbers.check_exact(plugin.config)
        for place, rule in enumerate(plugin.match_rules or []):
            json_numbers.check_exact(rule.config, f"plugin.matchRules[{place}].config")
    except ReleaseError as error:
        raise hide_values(error, placement.secrets) from None


def hide_values(error: ReleaseError, secrets: Collection[str]) -> ReleaseError:
    """Return an error without the values of ``configFrom``, which another program may have quoted."""
    if not secrets:
        return error
    hidden = error.reword(placeholders.hide(error.message, secrets))
    hidden.remedy = placeholders.hide(error.remedy, secrets)
    return hidden
