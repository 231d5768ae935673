"""Substitutes for the clusters that a plugin may call: each has one endpoint, the trial's own upstream.

Envoy refuses a host call to an unknown cluster at once, and accepts one to a cluster with an endpoint. So a plugin that
calls a service while it is configured needs the cluster's name here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_STUBS = 64
MAX_HOSTS = 32
MAX_DEPTH = 32
_HOST = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9_])?")
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?([^/:?#\s]+)(?::(\d{1,5}))?(?:[/?#].*)?")
# how Istio and Higress name the services of their registries (wasm-go, pkg/wrapper/cluster_wrapper.go)
_ENDINGS = ("", ".dns", ".static", ".nacos")
_DEFAULT_PORTS = (80, 443)


def find(config: Any, known: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the clusters that a configuration may name, at most `MAX_STUBS`.

    ``known``: the gateway's clusters; those count that share a host with a text of the configuration. Without them the
    names are made from hosts and ports of the configuration, as Istio and Higress make them.
    """
    texts, ports = _read_values(config)
    hosts = list(dict.fromkeys(host for text in texts for host in _read_hosts(text)))[:MAX_HOSTS]
    listed = [name for name in known if _shares_host(name, hosts)]
    named = [text for text in texts if "|" in text and len(text) <= 317]
    made = [] if listed else [*hosts, *_make_names(hosts, ports)]
    return tuple(dict.fromkeys([*named, *listed, *made]))[:MAX_STUBS]


def _read_values(config: Any) -> tuple[list[str], list[int]]:
    """Return all texts and all possible ports of a configuration."""
    texts: list[str] = []
    ports: list[int] = []
    for value in _walk(config, 0):
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 65536:
            ports.append(int(value))
    return texts, [*dict.fromkeys(ports)][:8]


def _walk(value: Any, depth: int) -> Iterator[Any]:
    if depth > MAX_DEPTH:
        return
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for child in children:
        yield from _walk(child, depth + 1)
    if not isinstance(value, Mapping | list):
        yield value


def _read_hosts(text: str) -> Iterator[str]:
    match = _URL.fullmatch(text)
    if match and _HOST.fullmatch(match[1]) and not match[1].isdigit():
        yield match[1]


def _shares_host(cluster: str, hosts: Iterable[str]) -> bool:
    """Return True if a cluster like ``outbound|80||auth.default.svc.cluster.local`` is of one of these hosts."""
    host = cluster.rpartition("|")[2]
    return any(host == name or host.startswith(f"{name}.") for name in hosts)


def _make_names(hosts: list[str], ports: list[int]) -> Iterator[str]:
    """Yield names like ``outbound|8080||auth.dns``; a short name is also one of Kubernetes, in any named namespace."""
    short = [host for host in hosts if "." not in host]
    inside = [f"{name}.{space}.svc.cluster.local" for name in short for space in ["default", *short] if name != space]
    for port in ports or _DEFAULT_PORTS:
        for host in [*(f"{host}{ending}" for host in hosts for ending in _ENDINGS), *inside]:
            yield f"outbound|{port}||{host}"
