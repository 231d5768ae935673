"""Decide if a request goes through a proxy, from the environment as Go reads it (golang.org/x/net/http/httpproxy).

kubectl and other programs in a cluster read it in this way, with address ranges and suffixes in ``NO_PROXY``.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

_PORTS = {"http": 80, "https": 443}


def choose(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for a URL; None: connect directly."""
    parts = urlsplit(url)
    name = f"{parts.scheme}_proxy"
    proxy = environ.get(name.upper()) or environ.get(name)
    excluded = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    port = parts.port or _PORTS.get(parts.scheme, 0)
    if not proxy or is_direct(parts.hostname or "", port, excluded):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_direct(host: str, port: int, excluded: str) -> bool:
    """Return True for a host without proxy: this machine, or one that ``NO_PROXY`` names."""
    address = read_address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    entries = (entry.strip().lower() for entry in excluded.split(","))
    return any(covers(entry, host.lower(), address, port) for entry in entries if entry)


def covers(entry: str, host: str, address: Address | None, port: int) -> bool:
    """Return True if one entry of ``NO_PROXY`` covers this host. ``address`` is set if the host is an IP address."""
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and is_in_range(address, entry)
    name, named_port = split_port(entry)
    if named_port and named_port != str(port):
        return False
    if (named := read_address(name)) is not None:
        return named == address
    return address is None and is_below(host, name)


def is_in_range(address: Address, text: str) -> bool:
    """Return True if an address is in a range such as ``10.0.0.0/8``; False for a text that is no range."""
    try:
        return address in ip_network(text, strict=False)
    except ValueError:
        return False


def is_below(host: str, name: str) -> bool:
    """Return True if a host has this name or is below it.

    A name that begins with a dot or ``*.`` covers only the hosts below it.
    """
    suffix = name.removeprefix("*")
    if suffix.startswith("."):
        return host.endswith(suffix) and len(suffix) > 1
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def split_port(entry: str) -> tuple[str, str]:
    """Return host and port of an entry; the port is empty if there is none."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""


def read_address(text: str) -> Address | None:
    """Return an IP address; None for a name. An IPv4 address in the form of IPv6 is an IPv4 address."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
