"""A revision as a trial runs it: what Envoy should receive, and what a trial cannot know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pluginrelease.core import placeholders
from pluginrelease.core.compat import Higress, Host
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.wasm import Module

# the first Envoy that has `failure_policy`; Istio uses it since 1.25
FAILURE_POLICY_SINCE = (1, 33)
# the Envoy of Istio 1.30, whose istiod translates a WasmPlugin into a TrafficExtension
TRANSLATED_SINCE = (1, 38)
# Host functions whose answer depends on the gateway: its clusters, its name resolution, its properties.
CLUSTER_CALLS = (
    "proxy_http_call",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_redis_init",
    "proxy_redis_call",
    "proxy_get_upstream_hosts",
    "envoy_resolve_dns",
)
PLACE_CALLS = (*CLUSTER_CALLS, "proxy_get_property", "proxy_call_foreign_function")


@dataclass(frozen=True)
class TrialRevision:
    """One revision.

    ``ecds_name`` and ``plugin_name`` are Envoy's names for it. ``size``: bytes of the module. ``place_calls``: imported
    host functions whose answer depends on the gateway. ``unknown_values``: fields whose values only a gateway has.
    ``native``: Higress would run native code of the module.
    """

    wanted: DesiredPlugin
    ecds_name: str
    plugin_name: str
    root_id: str = ""
    size: int = 0
    failure_policy: bool = True
    place_calls: tuple[str, ...] = ()
    unknown_values: tuple[str, ...] = ()
    native: bool = False

    @property
    def module_file(self) -> str:
        """Return the file's name, which the readers of a gateway's dump expect (`core.gateway.extensions`)."""
        return f"{self.wanted.digest_hex}.wasm"

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TrialRevision:
        """Return the revision of a plan. Raises TypeError or KeyError for another shape."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        wanted = found["wanted"]
        fields["wanted"] = DesiredPlugin(**{**wanted, "values": frozenset(wanted["values"])})
        return cls(**fields)


def describe(candidate: Candidate, module: Module, host: Host) -> TrialRevision:
    """Return the revision that this entry's gateways of version ``host`` would run."""
    wanted, plugin = candidate.wanted(), candidate.release.spec.plugin
    name = f"{wanted.namespace}.{wanted.name}"
    is_translated = not isinstance(host, Higress) and host.has(TRANSLATED_SINCE) is not False
    plugin_name = f"{name}~istio-translated-wasmplugin" if is_translated else name
    kind = "trafficextension" if is_translated else "wasmplugin"
    imported = {function.name for function in module.imports}
    return TrialRevision(
        wanted=wanted,
        ecds_name=f"extensions.istio.io/{kind}/{plugin_name}",
        plugin_name=plugin_name,
        root_id=plugin.name or "",
        size=module.size,
        failure_policy=isinstance(host, Higress) or host.has(FAILURE_POLICY_SINCE) is not False,
        place_calls=tuple(name for name in PLACE_CALLS if name in imported),
        unknown_values=tuple(_find_unknown_values(wanted)),
        native=bool(module.native) and candidate.release.spec.provider == "Higress",
    )


def _find_unknown_values(wanted: DesiredPlugin) -> list[str]:
    """Return the fields whose values a trial does not have: variables of the container, and Secrets' values."""
    found = [f"env {name} (from the gateway's container)" for name, value in wanted.env.items() if value is None]
    if wanted.has_placeholders:
        found.append(f"config ({placeholders.HIDDEN})")
    return found
