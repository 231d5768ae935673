"""Decide if the agents in the gateway pods accept a registry's transport: TLS by an authority that they know, or HTTP.

``insecure``, ``caSecretRef`` and the operator's own authorities and proxy change only the operator's own pull. The
agents' rules are in istio pkg/wasm/imagefetcher.go and cache.go, google/go-containerregistry pkg/name/registry.go, and
Go's crypto/x509 root_linux.go and root_unix.go:

* Plain HTTP needs no setting: they use https first, and http if the answer is HTTP, or if the host is a private
  address.
* A certificate of an unknown authority needs WASM_INSECURE_REGISTRIES with exactly this host and port, or ``*``, or the
  authority in a directory that Go reads.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.errors import Refused
from pluginrelease.core.wording import count_noun

JSON = dict[str, Any]

SKIPS = "WASM_INSECURE_REGISTRIES"
ROOTS = ("SSL_CERT_FILE", "SSL_CERT_DIR")
ROOT_PLACES = (
    "/etc/ssl/certs",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem",
)
# Istio's own images contain the usual authorities and no others; a copy elsewhere may have been rebuilt
STOCK = (
    "istio/proxyv2",
    "docker.io/istio/proxyv2",
    "gcr.io/istio-release/proxyv2",
    "registry.istio.io/release/proxyv2",
)
PRIVATE = tuple(ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


class TrustText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    BEHIND_PROXY = (
        "It is not known whether gateways can reach registry {registry}: the operator connects through a proxy"
    )
    NO_POD = "no gateway pod shows what it trusts"
    UNKNOWN = (
        "It is not known whether gateways trust the authority of registry {registry}: {doubt}. Gateways that do not "
        "trust it cannot fetch the plugin"
    )
    SKIPS_ELSEWHERE = "pod {pod} gets its {variable} from elsewhere"
    UNREAD = "pod {pod} has {sources}, whose content the operator does not read"
    NOT_STOCK = "pod {pod} adds no authority, but its image may contain it"
    UNTRUSTED = (
        'Gateway pod {pod} would refuse the registry: could not fetch manifest: Get "https://{registry}/v2/": tls: '
        "failed to verify certificate: x509: certificate signed by unknown authority. artifact.image.caSecretRef and "
        "the operator's own settings apply only to the operator"
    )
    MOUNT_AUTHORITY = (
        "Mount the authority into the gateway pods, for example in a file that SSL_CERT_FILE names, together with the "
        "system's authorities. Or set {variable} to {registry} there, to skip the check of its certificate"
    )
    SILENT = (
        "Gateways would not fall back to plain HTTP. They send https://{registry}/v2/ first, and use http only if the "
        "server gave HTTP response to HTTPS client, which this one does not"
    )
    ANSWER_IN_HTTP = (
        "Give the registry a certificate, or put a server in front of it, at the port of the reference, that answers "
        "https requests in HTTP"
    )


class Transport(StrEnum):
    """What an https client with the system's authorities finds at a registry.

    Plain: it answers in HTTP. Mute: it uses HTTP but sent no HTTP answer. Hidden: it is behind the operator's proxy.
    """

    TRUSTED = "Trusted"
    UNTRUSTED = "Untrusted"
    PLAIN = "Plain"
    MUTE = "Mute"
    HIDDEN = "Hidden"


@dataclass(frozen=True)
class RegistryTrust:
    """The registry settings of a gateway's container, as far as its pod shows them.

    ``skips``: registries whose certificates it does not verify, None if unknown. ``adds``: what may give it more
    authorities. ``stock``: it runs one of Istio's own images.
    """

    skips: tuple[str, ...] | None = ()
    adds: tuple[str, ...] = ()
    stock: bool = False


def read(container: JSON) -> RegistryTrust:
    """Read the settings of a pod's container. Of two variables with one name the last counts."""
    env = {variable["name"]: variable for variable in container.get("env") or []}
    mounts = [str(mount.get("mountPath", "")).rstrip("/") for mount in container.get("volumeMounts") or []]
    elsewhere = bool(container.get("envFrom"))
    return RegistryTrust(
        skips=_skips(env.get(SKIPS), elsewhere),
        adds=(
            *(name for name in ROOTS if name in env or elsewhere),
            *(f"a volume at {path}" for path in mounts if any(_sees_transport(path, place) for place in ROOT_PLACES)),
        ),
        stock=str(container.get("image", "")).partition("@")[0].rpartition(":")[0] in STOCK,
    )


def _skips(found: JSON | None, elsewhere: bool) -> tuple[str, ...] | None:
    """Read a list as pilot/cmd/pilot-agent/options/agent.go does: separated by commas; spaces are kept."""
    if found is None:
        return None if elsewhere else ()
    value = str(found.get("value", ""))
    return None if "valueFrom" in found or "$(" in value else tuple(value.split(","))


def _sees_transport(path: str, place: str) -> bool:
    return place == path or place.startswith(f"{path}/") or path.startswith(f"{place}/")


def prefers_plain(reference: Reference) -> bool:
    """Return True if an agent uses http after any https error: go-containerregistry's rule for local registries."""
    name = reference.registry
    host = name.partition(":")[0]
    try:
        private = any(ipaddress.ip_address(host) in net for net in PRIVATE)
    except ValueError:
        private = False
    local = name.startswith("localhost:") or host.endswith(".localhost") or "127.0.0.1" in name or "::1" in name
    return private or local


def check_trust(reference: Reference, door: Transport, pods: Iterable[tuple[str, RegistryTrust]]) -> str:
    """Return what is not known, as a sentence; empty: every pod accepts the registry. ``pods``: names and settings.

    Raises `Refused` (``RegistryNotAcceptedByGateway``) if a pod surely does not.
    """
    if door is Transport.MUTE:
        raise _refuse_silent(reference)
    if door is Transport.HIDDEN:
        return TrustText.BEHIND_PROXY.format(registry=reference.registry)
    if door is not Transport.UNTRUSTED:
        return ""
    judged = [(name, _check_pod(reference, name, trust)) for name, trust in pods]
    doubts = [doubt for _, doubt in judged if doubt]
    if not judged:
        doubts = [str(TrustText.NO_POD)]
    if not doubts:
        return ""
    more = f" (and {count_noun(len(doubts) - 1, 'more pod')})" if len(doubts) > 1 else ""
    return TrustText.UNKNOWN.format(registry=reference.registry, doubt=f"{doubts[0]}{more}")


def _check_pod(reference: Reference, pod: str, trust: RegistryTrust) -> str:
    """Return why it is not known for a pod; empty: the pod accepts the registry. Raises like `check_trust`."""
    if trust.skips is not None and ({"*", reference.registry} & set(trust.skips)):
        return ""
    if trust.skips is None:
        return TrustText.SKIPS_ELSEWHERE.format(pod=pod, variable=SKIPS)
    if trust.adds:
        return TrustText.UNREAD.format(pod=pod, sources=" and ".join(trust.adds))
    if not trust.stock:
        return TrustText.NOT_STOCK.format(pod=pod)
    raise Refused(
        Reason.REGISTRY_NOT_ACCEPTED_BY_GATEWAY,
        TrustText.UNTRUSTED.format(pod=pod, registry=reference.registry),
        TrustText.MOUNT_AUTHORITY.format(variable=SKIPS, registry=reference.registry),
    )


def _refuse_silent(reference: Reference) -> Refused:
    return Refused(
        Reason.REGISTRY_NOT_ACCEPTED_BY_GATEWAY,
        TrustText.SILENT.format(registry=reference.registry),
        str(TrustText.ANSWER_IN_HTTP),
    )
