"""The one place that knows which providers there are, and which module is whose.

What differs between them is in their modules (`core.istio`, `core.higress`), in what is known of their gateways
(`core.compat`, `core.envoy`), and nowhere else: nobody asks for a provider's name to decide by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from pluginrelease.core import api, compat, higress, istio, target
from pluginrelease.core.envoy import Sighting

JSON = dict[str, Any]


class Provider(Protocol):
    """What a provider's module gives."""

    TARGET: target.Kind

    def pods(self, gateway: api.Gateway, mesh: target.Mesh) -> target.Pods:
        """Where the gateway's pods are."""
        ...

    def landmarks(self, gateway: api.Gateway) -> target.Landmarks | None:
        """By what a namespace is known that its control plane reads; None: it reads every namespace."""
        ...

    def check(self, plugin: api.Plugin) -> None:
        """Raises `Refused` for what its control plane would not do, and the API server could not see."""
        ...

    def hosts(self, seen: Iterable[Sighting]) -> tuple[compat.Host, ...]:
        """What the gateway pods have for plugins, as far as it is known."""
        ...

    def configuration(self, plugin: api.Plugin) -> Mapping[str, Any] | None:
        """What Envoy is given as the plugin's configuration; None and {} are the same."""
        ...

    def wasm_plugin(self, release: api.Release, artifact: api.ArtifactStatus, nudge: int = 0) -> JSON:
        """The object that its control plane reads."""
        ...


_MODULES: Mapping[str, Provider] = MappingProxyType({"Istio": istio, "Higress": higress})

# every kind of object that carries a revision
TARGETS = tuple(provider.TARGET for provider in _MODULES.values())


def of(gateway: api.Gateway) -> Provider:
    """The provider of these gateways."""
    return _MODULES[gateway.provider]
