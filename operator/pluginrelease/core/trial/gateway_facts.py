"""What a trial takes over from a gateway: node, runtime, statistics' tags, threads and the names of clusters.

Shapes: envoy.admin.v3.BootstrapConfigDump, ClustersConfigDump and ServerInfo.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pluginrelease.core.gateway import documents, shapes

# Plugins read the node as properties. Envoy itself adds what is not listed: its build and its extensions.
_NODE = ("id", "cluster", "locality", "metadata")
DEFAULT_CONCURRENCY = 2
MAX_CONCURRENCY = 64


@dataclass(frozen=True)
class GatewayFacts:
    """Facts about one gateway. Without a gateway, the defaults. ``envoy``: its version, "" if not known."""

    node: Mapping[str, Any] = field(default_factory=lambda: {"id": "trial", "cluster": "trial"})
    runtime: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = DEFAULT_CONCURRENCY
    clusters: tuple[str, ...] = ()
    envoy: str = ""
    is_known: bool = False
    unknown: tuple[str, ...] = ()


def read(config_dump: str, server_info: str = "") -> GatewayFacts:
    """Read `/config_dump` and `/server_info` of a gateway. ``unknown`` lists what was not understood.

    xDS, tracing, sinks, secrets and bootstrap extensions are left out, and so is what hides statistics.
    """
    unknown: list[str] = []
    configs = shapes.read_list(shapes.read_document(config_dump, unknown, "/config_dump"), "configs", unknown)
    bootstrap = next((shapes.descend(each, "bootstrap") for each in configs if "bootstrap" in each), {})
    if not bootstrap:
        unknown.append("/config_dump has no bootstrap")
    info = shapes.read_document(server_info, unknown, "/server_info") if server_info else {}
    threads = shapes.as_number(shapes.descend(info, "command_line_options").get("concurrency"))
    node = shapes.descend(bootstrap, "node")
    kept = {name: node[name] for name in _NODE if name in node}
    return GatewayFacts(
        node=kept or GatewayFacts().node,
        runtime=_keep_static_layers(shapes.descend(bootstrap, "layered_runtime")),
        stats=_keep_tags(shapes.descend(bootstrap, "stats_config")),
        concurrency=min(max(threads or DEFAULT_CONCURRENCY, 1), MAX_CONCURRENCY),
        clusters=tuple(dict.fromkeys(_list_clusters(configs))),
        envoy=documents.read_version(server_info) or "" if server_info else "",
        is_known=bool(bootstrap),
        unknown=tuple(unknown),
    )


def _keep_static_layers(runtime: Mapping[str, Any]) -> dict[str, Any]:
    layers = runtime.get("layers")
    static = [layer for layer in layers if "static_layer" in layer] if isinstance(layers, list) else []
    return {"layers": static} if static else {}


def _keep_tags(stats: Mapping[str, Any]) -> dict[str, Any]:
    return {name: stats[name] for name in ("stats_tags", "use_all_default_tags") if name in stats}


def _list_clusters(configs: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the names of all clusters, in the order of the dump."""
    for section in configs:
        for part in ("static_clusters", "dynamic_active_clusters"):
            listed = section.get(part)
            for item in listed if isinstance(listed, list) else []:
                name = shapes.descend(item, "cluster").get("name") if isinstance(item, Mapping) else None
                if isinstance(name, str) and name:
                    yield name
