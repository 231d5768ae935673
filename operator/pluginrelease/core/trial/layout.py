"""Every file of a trial, as a pure function of the revisions and of what is known about the gateway.

Envoy watches two files, `LISTENERS` (LDS) and `EXTENSION` (ECDS). The driver puts one of the prepared `parts` at such a
place in one step. So Envoy receives a plugin as from Istio's agent: by ECDS, as a local file, in place. A name of a
file is relative to ``root``, the absolute path of the folder where Envoy reads it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pluginrelease.core.trial import control
from pluginrelease.core.trial.gateway_facts import GatewayFacts
from pluginrelease.core.trial.revisions import TrialRevision

JSON = dict[str, Any]

BOOTSTRAP, LISTENERS, EXTENSION, CONTROL_EXTENSION = (
    "bootstrap.json",
    "listeners.json",
    "extension.json",
    "control.json",
)
PLAN, LOG, TRACE, ADMIN_ADDRESS = "trial.json", "envoy.log", "trace.log", "admin-address"
# what may be put at LISTENERS and EXTENSION
LISTEN_CONTROL, LISTEN_PLUGIN, LISTEN_PLAIN = (
    "parts/listen-control.json",
    "parts/listen-plugin.json",
    "parts/listen-plain.json",
)
NEW, STABLE = "parts/new.json", "parts/stable.json"

LISTENER = "trial"
ROUTE = "trial"
UPSTREAM = "trial-upstream"
# Istio's log format (pilot-agent's flag --log-format), which `core.gateway.logs` reads
LOG_FORMAT = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"
ROUTE_TIMEOUT = "30s"
DRAIN_SECONDS = 1
# Envoy writes a log file of its own every 10 s, and the signs in it would come as late
FLUSH_MILLISECONDS = "50"
_API = "type.googleapis.com/envoy"
_FILTERS = f"{_API}.extensions.filters"
_WASM = f"{_FILTERS}.http.wasm.v3.Wasm"
_RBAC = f"{_FILTERS}.http.rbac.v3.RBAC"


@dataclass(frozen=True)
class Upstream:
    """Where requests end: an address with a port; ``tls`` with the host as server name."""

    host: str
    port: int
    tls: bool = False

    @property
    def is_address(self) -> bool:
        """Return True if the host is an IP address, and no name that must be resolved."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


@dataclass(frozen=True)
class TrialPlace:
    """Where a trial runs. ``port`` 0: a free one. ``stubs``: clusters that lead to ``echo``."""

    root: str
    upstream: Upstream
    echo: Upstream
    port: int = 0
    stubs: tuple[str, ...] = ()
    facts: GatewayFacts = field(default_factory=GatewayFacts)


def render_files(place: TrialPlace, revision: TrialRevision, stable: TrialRevision | None) -> dict[str, str]:
    """Return the text of each file; modules are separate (`TrialRevision.module_file` below ``modules/``)."""
    files = {
        BOOTSTRAP: render_bootstrap(place),
        **render_parts(place, revision, stable),
        LISTEN_PLAIN: _render_resources(render_listener(place, None)),
    }
    if stable is not None:
        first = {LISTENERS: files[LISTEN_PLUGIN], EXTENSION: files[STABLE]}
        return dump({**files, **first})
    own = control.make()
    files[LISTEN_CONTROL] = _render_resources(render_listener(place, own, CONTROL_EXTENSION))
    files[CONTROL_EXTENSION] = render_extension(place, own)
    return dump({**files, LISTENERS: files[LISTEN_CONTROL]})


def render_parts(place: TrialPlace, revision: TrialRevision, stable: TrialRevision | None) -> dict[str, JSON]:
    """Return the parts that depend on the revisions."""
    parts = {
        NEW: render_extension(place, revision),
        LISTEN_PLUGIN: _render_resources(render_listener(place, revision)),
    }
    return parts if stable is None else {**parts, STABLE: render_extension(place, stable)}


def list_arguments(root: str, concurrency: int, *, wasm_level: str = "info", log_path: bool = False) -> list[str]:
    """Return Envoy's arguments: the agent's, and those that keep a trial apart from other Envoys.

    ``log_path``: Envoy writes `LOG` itself, because its driver is in another container.
    """
    return [
        *("-c", f"{root}/{BOOTSTRAP}", "--admin-address-path", f"{root}/{ADMIN_ADDRESS}"),
        *("--concurrency", str(concurrency), "--disable-hot-restart", "--allow-unknown-static-fields"),
        *("-l", "warning", "--component-log-level", f"misc:error,filter:debug,wasm:{wasm_level}"),
        *("--log-format", LOG_FORMAT),
        *(("--log-path", f"{root}/{LOG}", "--file-flush-interval-msec", FLUSH_MILLISECONDS) if log_path else ()),
        *("--drain-time-s", str(DRAIN_SECONDS), "--drain-strategy", "immediate"),
    ]


def render_bootstrap(place: TrialPlace) -> JSON:
    """Return the bootstrap: the gateway's node, runtime and tags, loopback, and static clusters."""
    upstream = _render_cluster(UPSTREAM, place.upstream)
    stubs = [_render_cluster(name, place.echo) for name in place.stubs]
    facts = place.facts
    return {
        "node": dict(facts.node),
        "admin": {"address": _render_address("127.0.0.1", 0)},
        "dynamic_resources": {"lds_config": _watch(place, LISTENERS)},
        "static_resources": {"clusters": [upstream, *stubs]},
        **({"layered_runtime": dict(facts.runtime)} if facts.runtime else {}),
        **({"stats_config": dict(facts.stats)} if facts.stats else {}),
    }


def render_listener(place: TrialPlace, revision: TrialRevision | None, extension: str = EXTENSION) -> JSON:
    """Return the listener, with the plugin's filter or without one."""
    filters = [_render_filter(place, revision.ecds_name, extension)] if revision is not None else []
    route = {
        "name": ROUTE,
        "match": {"prefix": "/"},
        "route": {"cluster": UPSTREAM, "timeout": ROUTE_TIMEOUT},
    }
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "trial",
        "route_config": {"name": ROUTE, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            *filters,
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"}},
        ],
    }
    return {
        "@type": f"{_API}.config.listener.v3.Listener",
        "name": LISTENER,
        "address": _render_address("127.0.0.1", place.port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def render_extension(place: TrialPlace, revision: TrialRevision) -> JSON:
    """Return the answer of ECDS, as Istio's agent writes it after it has fetched the module.

    Source: istio ``pilot/pkg/model/extensions.go``, ``pkg/wasm/convert.go``.
    """
    wanted = revision.wanted
    plugin: JSON = {
        "name": revision.plugin_name,
        "root_id": revision.root_id,
        "vm_config": _render_vm(place, revision),
        **_render_failure(revision),
    }
    if wanted.config:
        text = json.dumps(wanted.config, ensure_ascii=False, separators=(",", ":"))
        plugin["configuration"] = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}
    kind = f"{_API}.config.core.v3.TypedExtensionConfig"
    typed = {"@type": _WASM, "config": plugin}
    return _render_resources({"@type": kind, "name": revision.ecds_name, "typed_config": typed})


def _render_failure(revision: TrialRevision) -> JSON:
    strategy = revision.wanted.fail_strategy
    if not revision.failure_policy:
        return {"fail_open": strategy == "FAIL_OPEN"}
    return {"failure_policy": "FAIL_CLOSED" if strategy == "FAIL_CLOSE" else strategy}


def _render_vm(place: TrialPlace, revision: TrialRevision) -> JSON:
    """Return the VM's settings. Higress's agent lets native code run in another runtime."""
    own = {name: value for name, value in revision.wanted.env.items() if value is not None}
    host = [name for name, value in revision.wanted.env.items() if value is None]
    variables = {**({"key_values": own} if own else {}), **({"host_env_keys": host} if host else {})}
    return {
        "runtime": "envoy.wasm.runtime.wamr" if revision.native else "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": f"{place.root}/modules/{revision.module_file}"}},
        **({"allow_precompiled": True} if revision.native else {}),
        **({"environment_variables": variables} if variables else {}),
    }


def _render_filter(place: TrialPlace, name: str, extension: str) -> JSON:
    source = {**_watch(place, extension), "initial_fetch_timeout": "0s"}
    return {"name": name, "config_discovery": {"config_source": source, "type_urls": [_WASM, _RBAC]}}


def _watch(place: TrialPlace, file: str) -> JSON:
    return {"path_config_source": {"path": f"{place.root}/{file}"}, "resource_api_version": "V3"}


def _render_cluster(name: str, to: Upstream) -> JSON:
    endpoint = {"endpoint": {"address": _render_address(to.host, to.port)}}
    context: JSON = {"@type": f"{_API}.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": to.host}
    return {
        "name": name,
        **({"type": "STATIC"} if to.is_address else {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}),
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **({"transport_socket": {"name": "tls", "typed_config": context}} if to.tls else {}),
    }


def _render_address(host: str, port: int) -> JSON:
    return {"socket_address": {"address": host, "port_value": port}}


def _render_resources(*resources: JSON) -> JSON:
    return {"resources": list(resources)}


def dump(files: Mapping[str, JSON]) -> dict[str, str]:
    """Return the files' texts."""
    return {name: json.dumps(content, ensure_ascii=False) for name, content in files.items()}
