"""The extension configurations (ECDS) in a config dump: ours, and those of other plugins."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pluginrelease.core import placeholders
from pluginrelease.core.gateway import shapes
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.logs import parse_time
from pluginrelease.core.gateway.observations import ExtensionConfig, FilterKind

_WASM = ("envoy.extensions.filters.http.wasm.v3.Wasm", "envoy.extensions.filters.network.wasm.v3.Wasm")
_RBAC = ("envoy.extensions.filters.http.rbac.v3.RBAC", "envoy.extensions.filters.network.rbac.v3.RBAC")
_CODE = re.compile(r"(?:^|/)([0-9a-f]{64})\.wasm$")


@dataclass(frozen=True)
class Extensions:
    ours: tuple[ExtensionConfig, ...]
    others: tuple[ExtensionConfig, ...]

    @classmethod
    def read(cls, text: str, wanted: DesiredPlugin, unknown: list[str]) -> Extensions:
        entries = [_read_entry(item, unknown) for item in shapes.read_items(text, "ecds_filters", unknown)]
        ours = tuple(entry for entry in entries if wanted.ecds_name_matches(entry.name))
        others = tuple(entry for entry in entries if not wanted.ecds_name_matches(entry.name))
        return cls(ours, others)

    def is_shared(self) -> bool:
        codes = {_code_identity(entry) for entry in self.ours if entry.path}
        return any(_code_identity(entry) in codes for entry in self.others)

    def secrets(self, wanted: DesiredPlugin) -> frozenset[str]:
        """Return the values of Secrets that the gateway received. No message may contain them."""
        given = ((entry.config, entry.env) for entry in self.ours if wanted.replaces)
        return wanted.values | frozenset(
            secret for pair in given for secret in placeholders.read_values((wanted.config, wanted.env), pair)
        )

    def sharers(self) -> tuple[str, ...]:
        codes = {_code_identity(entry) for entry in self.ours if entry.path}
        return tuple(entry.plugin_name for entry in (*self.ours, *self.others) if _code_identity(entry) in codes)

    def loaded_files(self, stats: Mapping[str, int]) -> int:
        """Return the number of different codes among the plugins that Envoy has created.

        If Envoy does not say which it created, all plugins count.
        """
        wasm = [entry for entry in (*self.ours, *self.others) if entry.kind is FilterKind.WASM]
        named = [entry for entry in wasm if f"wasm.{entry.plugin_name}.vm_reload" in stats]
        return len({_code_identity(entry) for entry in named or wasm})


def _code_identity(entry: ExtensionConfig) -> str:
    """Return what identifies the VM that Envoy shares: the code's bytes.

    The same image in two repositories gives two files, but one code.
    """
    return entry.digest_hex or entry.path


def _read_entry(item: Mapping[str, Any], unknown: list[str]) -> ExtensionConfig:
    extension = shapes.descend(item, "ecds_filter")
    typed = shapes.descend(extension, "typed_config")
    name, type_url = shapes.as_text(extension.get("name")) or "", shapes.as_text(typed.get("@type")) or ""
    if not name or not type_url:
        unknown.append("an extension configuration without a name or a type")
    updated = parse_time(item.get("last_updated"))
    kind = _read_kind(type_url, typed)
    if kind is not FilterKind.WASM:
        return ExtensionConfig(name, kind, type_url, last_updated=updated)
    plugin = shapes.descend(typed, "config")
    path = shapes.as_text(shapes.descend(plugin, "vm_config", "code", "local").get("filename")) or ""
    code = _CODE.search(path)
    return ExtensionConfig(
        name=name,
        kind=kind,
        type_url=type_url,
        plugin_name=shapes.as_text(plugin.get("name")) or "",
        path=path,
        digest_hex=code.group(1) if code else None,
        config=_read_configuration(plugin),
        fail=shapes.as_text(plugin.get("failure_policy"))
        or ("FAIL_OPEN" if plugin.get("fail_open") else "FAIL_CLOSED"),
        last_updated=updated,
        env=_read_environment(shapes.descend(plugin, "vm_config", "environment_variables")),
    )


def _read_environment(variables: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the module's environment without what Istio adds for its agent (istio pkg/model/wasm.go)."""
    hosts = variables.get("host_env_keys")
    own = {str(name): None for name in hosts} if isinstance(hosts, list) else {}
    given = {str(name): str(value) for name, value in shapes.descend(variables, "key_values").items()}
    return {name: value for name, value in {**own, **given}.items() if not name.startswith("ISTIO_META_")}


def _read_kind(type_url: str, typed: Mapping[str, Any]) -> FilterKind:
    name = type_url.rpartition("/")[2]
    if name in _WASM:
        return FilterKind.WASM
    if name in _RBAC:
        return FilterKind.RBAC_DENY if "rules" in typed else FilterKind.RBAC_ALLOW
    return FilterKind.OTHER


def _read_configuration(plugin: Mapping[str, Any]) -> Any:
    """Return the plugin's configuration: {} if it has none, and the raw text if it is not JSON or nests too deep."""
    value = shapes.descend(plugin, "configuration").get("value")
    if not isinstance(value, str) or not value:
        return {}
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
