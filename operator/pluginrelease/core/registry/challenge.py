"""What a registry's WWW-Authenticate challenge means, for the operator and for a gateway with Istio's guard.

Since 1.27.8, 1.28.5, 1.29.1 and 1.30 Istio's agent refuses every 401 answer that names a realm which is not an http(s)
URL of a public host (istio pkg/wasm/imagefetcher.go, validateRealmURL). It checks Basic challenges too. So a registry
that answers ``Basic realm="Registry"`` works with every other tool, but with FAIL_CLOSE the gateway answers every
request with 403. `check_gateways` finds that before anything is written.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

# The first patch release with the guard, of each minor release that began without it.
_GUARDED_FROM = {(1, 27): 8, (1, 28): 5, (1, 29): 1}
_GUARDED_SINCE = (1, 30)

MAX_VALUES = 20  # challenges of one answer that are read

_METADATA = "metadata.google.internal"
_NOT_PUBLIC = [
    ipaddress.ip_network(net)
    for net in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "127.0.0.0/8",
        "::1/128",
        "169.254.0.0/16",
        "fe80::/10",
    )
]


@dataclass(frozen=True)
class Challenge:
    """One challenge: ``scheme`` in lower case (``basic``, ``bearer``) and its parameters."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")


# Possessive throughout: a text of unknown origin is read once, without backtracking.
_PARAMETER = r'[A-Za-z0-9_.-]++\s*+=\s*+(?:"(?:[^"\\]|\\.)*+"|[^\s,"]++)'
_ONE = re.compile(
    rf"(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]++)(?:\s++({_PARAMETER}(?:\s*+,\s*+{_PARAMETER})*+))?+\s*+(?:,|$)"
)
_PAIR = re.compile(r'([A-Za-z0-9_.-]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]++))')


def read(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Read WWW-Authenticate header values (RFC 9110, 11.6.1). What cannot be read is left out."""
    return tuple(
        Challenge(
            match.group(1).lower(),
            {key.lower(): quoted or plain for key, quoted, plain in _PAIR.findall(match.group(2) or "")},
        )
        for value in itertools.islice(values, MAX_VALUES)
        for match in _ONE.finditer(value[:4096])
    )


def find_objection(realm: str) -> str:
    """Return why Istio's guard refuses a realm, in its words; an empty string if it does not."""
    try:
        url = urlsplit(realm)
        host = url.hostname or ""
    except ValueError as error:
        return f"invalid realm URL: {error}"
    if url.scheme not in ("http", "https"):
        return f'realm scheme "{url.scheme}" not allowed'
    if not host:
        return "realm missing host"
    if host == _METADATA:
        return "realm targets cloud metadata service"
    if host == "localhost":
        return "realm targets localhost"
    if is_not_public(host):
        return "realm targets private/loopback/link-local IP"
    return ""


def is_internal(host: str) -> bool:
    """Return True if no registry may redirect the operator to this host.

    That is this machine, its cloud's metadata service, and an address in a private network.
    """
    return host in ("localhost", _METADATA) or is_not_public(host)


def is_own_machine(host: str) -> bool:
    """Return True for this machine and its cloud's metadata service: a loopback or link-local address."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host in ("localhost", _METADATA)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_link_local or address.is_unspecified


def is_not_public(host: str) -> bool:
    """Return True if a host is a private, loopback or link-local address. Names are not resolved."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in _NOT_PUBLIC if network.version == address.version)


def has_guard(version: str) -> bool:
    """Return True if an Istio of this version (``1.29.1``) has the guard. An unreadable version counts as guarded."""
    match = re.match(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", version)
    if match is None:
        return True
    release = (int(match.group(1)), int(match.group(2)))
    if release in _GUARDED_FROM:
        return int(match.group(3) or 0) >= _GUARDED_FROM[release]
    return release >= _GUARDED_SINCE


def check_gateways(registry: str, values: Iterable[str], versions: Iterable[str] = ()) -> None:
    """Raise `Refused` (``RegistryChallengeRefused``) if a gateway would refuse the registry because of its challenge.

    ``values`` are the WWW-Authenticate values of an unauthenticated ``GET /v2/`` (none if it answered 200).
    ``versions`` are the Istio versions of the gateway's pods; the newest counts, and if none is known, the guard is
    assumed.
    """
    known = list(versions)
    if known and not any(has_guard(version) for version in known):
        return
    for value in values:
        # The guard looks for exactly this text, in any challenge.
        for realm in re.findall(r'realm="([^"]*)"', value[:4096]):
            reason = find_objection(realm)
            if reason:
                raise Refused(
                    Reason.REGISTRY_CHALLENGE_REFUSED,
                    f"The gateway would refuse the registry {registry}: rejected unsafe bearer realm: {reason} "
                    f"(it asks for credentials with realm={realm[:100]!r})",
                    f"Set the registry's realm to an https URL with a public host name, for example {_realm(registry)} "
                    "(in distribution's configuration: auth.htpasswd.realm or auth.token.realm).",
                )


def _realm(registry: str) -> str:
    """Return a realm that the guard accepts: the registry's own host, if that is a public name."""
    own = f"https://{re.sub(r':[0-9]+$', '', registry)}/"
    return "https://registry.example.com/" if find_objection(own) else own
