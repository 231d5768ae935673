"""The one place that knows which providers there are, and which module is whose.

What differs between them is in their modules (`core.mesh.istio`, `core.mesh.higress`), in what is known of their
gateways (`core.compat`, `core.gateway.observations`), and nowhere else: nobody asks for a provider's name to decide by
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from pluginrelease import api
from pluginrelease.core import compat, json_numbers
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import higress, istio, target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.placeholders import Placeholder

JSON = dict[str, Any]


class Provider(Protocol):
    """What a provider's module gives."""

    TARGET: target.ResourceKind
    # whether its control plane puts Secrets' values in the place of placeholders (`core.placeholders`)
    REPLACES: bool
    # whether an object that its control plane cannot read keeps it from reading any other
    STOPPED_BY_ONE: bool

    def pods(self, gateway: api.Gateway, mesh: target.MeshSettings) -> target.Pods:
        """Where the gateway's pods are."""
        ...

    def unreached(self) -> target.Pods | None:
        """Gateways of the mesh that no object of its kind reaches; None: there are none of that kind."""
        ...

    def landmarks(self, gateway: api.Gateway, mesh: target.MeshSettings) -> target.InstallMarker | None:
        """By what a namespace is known that its control plane reads; None: it reads every namespace."""
        ...

    def check(self, placement: Placement, hosts: tuple[compat.Host, ...]) -> None:
        """Raises `Refused` for what its control plane would not do, and the API server could not see; ``hosts``: what
        is known of the gateways."""
        ...

    def find_placeholders(self, placement: Placement) -> tuple[Placeholder, ...]:
        """The Secrets' values that its control plane will look for, each with its namespace."""
        ...

    def hosts(self, seen: Iterable[PodObservation]) -> tuple[compat.Host, ...]:
        """What the gateway pods have for plugins, as far as it is known."""
        ...

    def configuration(self, plugin: api.Plugin) -> Mapping[str, Any] | None:
        """What Envoy is given as the plugin's configuration; None and {} are the same."""
        ...

    def unreadable(self, found: Iterable[JSON]) -> tuple[str, ...]:
        """Those of its kind that its control plane cannot read, each with what is wrong with it."""
        ...

    def wasm_plugin(self, placement: Placement, artifact: api.ArtifactStatus, nudge: int = 0) -> JSON:
        """The object that its control plane reads."""
        ...


_MODULES: Mapping[str, Provider] = MappingProxyType({"Istio": istio, "Higress": higress})

# every kind of object that carries a revision
TARGETS = tuple(provider.TARGET for provider in _MODULES.values())


def of(spec: api.Spec) -> Provider:
    """Return the provider of the release's gateways."""
    return _MODULES[spec.provider]


def check(placement: Placement, hosts: tuple[compat.Host, ...] = ()) -> None:
    """Raises `Refused` for what the plugin would not be given as it is written; ``hosts``: what is known of the
    gateways."""
    of(placement.spec).check(placement, hosts)
    plugin = placement.spec.plugin
    json_numbers.check_exact(plugin.config)
    for place, rule in enumerate(plugin.match_rules or []):
        json_numbers.check_exact(rule.config, f"plugin.matchRules[{place}].config")
