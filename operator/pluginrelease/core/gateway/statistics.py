"""Envoy's statistics, those of the wanted plugin among them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pluginrelease.core.gateway import shapes
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import Stats

_RUNTIME = "wasm.envoy.wasm.runtime.v8."


# a VM that was made for a plugin that was loaded before: by FAIL_RELOAD, or by Higress after a crash or as it had grown
_RESTART = re.compile(
    r"wasm\..*\.vm_reload(_success|_failure)?|wasm\.envoy\.wasm\.runtime\.v8\.plugin\..*"
    r"\.(recover_total|rebuild_total|worker_init_recovered_total)"
)


def read_numbers(text: str, unknown: list[str]) -> dict[str, int]:
    listed = shapes.read_list(shapes.read_document(text, unknown, "/stats"), "stats", unknown)
    pairs = [(item.get("name"), item.get("value")) for item in listed]
    return {name: value for name, value in pairs if isinstance(name, str) and isinstance(value, int)}


def read_stats(stats: Mapping[str, int], wanted: DesiredPlugin) -> Stats:
    reloads = [value for name, value in stats.items() if _RESTART.fullmatch(name)]
    return Stats(
        config_reload=_find_discovery_counter(stats, wanted, "config_reload"),
        config_fail=_find_discovery_counter(stats, wanted, "config_fail"),
        update_rejected=_find_discovery_counter(stats, wanted, "update_rejected"),
        vm_created=stats.get(f"{_RUNTIME}created"),
        vm_active=stats.get(f"{_RUNTIME}active"),
        vm_reloads=sum(reloads) if reloads else None,
        named=any(_is_named(name, wanted) for name in stats),
        crashed=_find_plugin_counter(stats, wanted, "crash"),
        crashes=_find_plugin_counter(stats, wanted, "crash_total"),
        unstarted=_find_plugin_counter(stats, wanted, "worker_uninitialized"),
    )


def _find_discovery_counter(stats: Mapping[str, int], wanted: DesiredPlugin, counter: str) -> int | None:
    for name, value in stats.items():
        match = re.fullmatch(r"extension_config_discovery\.(?:http|network)_filter\.(.+)\.(\w+)", name)
        if match and match.group(2) == counter and wanted.ecds_name_matches(match.group(1)):
            return value
    return None


def _is_named(name: str, wanted: DesiredPlugin) -> bool:
    match = re.fullmatch(r"wasm\.(.+)\.vm_reload", name)
    return bool(match and wanted.plugin_name_matches(match.group(1)))


def _find_plugin_counter(stats: Mapping[str, int], wanted: DesiredPlugin, what: str) -> int | None:
    """What Higress keeps by the plugin's name (envoy source/extensions/common/wasm/stats_handler.h there)."""
    for name, value in stats.items():
        match = re.fullmatch(rf"{re.escape(_RUNTIME)}plugin\.(.+)\.{what}", name)
        if match and wanted.plugin_name_matches(match.group(1)):
            return value
    return None
