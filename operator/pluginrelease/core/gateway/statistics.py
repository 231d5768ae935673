"""Read Envoy's statistics, and those of the wanted plugin among them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pluginrelease.core.gateway import shapes
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import Stats

_WORKER_HANG = re.compile(r"server\.worker_\d+\.watchdog_mega_miss")
_RUNTIME = "wasm.envoy.wasm.runtime.v8."


# a VM that replaced one of a loaded plugin: by FAIL_RELOAD, or by Higress after a crash or when it had grown
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
        worker_hangs=_count_worker_hangs(stats),
        unstarted=_find_plugin_counter(stats, wanted, "worker_uninitialized"),
    )


def _count_worker_hangs(stats: Mapping[str, int]) -> int | None:
    """Return how often Envoy's watchdog (`GuardDogImpl`) counted a worker that hung for a second."""
    counts = [value for name, value in stats.items() if _WORKER_HANG.fullmatch(name)]
    return sum(counts) if counts else None


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
    """Return a number that Higress keeps by the plugin's name.

    Source: source/extensions/common/wasm/stats_handler.h of Higress's Envoy.
    """
    for name, value in stats.items():
        match = re.fullmatch(rf"{re.escape(_RUNTIME)}plugin\.(.+)\.{what}", name)
        if match and wanted.plugin_name_matches(match.group(1)):
            return value
    return None
