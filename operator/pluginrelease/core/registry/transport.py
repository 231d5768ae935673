"""Whether the agents in the gateway pods accept a registry's transport: TLS by an authority that they know, or HTTP.

``insecure``, ``caSecretRef`` and the operator's own authorities and proxy change only the operator's own pull. What the
agents do is in istio pkg/wasm/imagefetcher.go and cache.go, google/go-containerregistry pkg/name/registry.go, and Go's
crypto/x509 root_linux.go and root_unix.go:

* plain HTTP needs no setting: they ask by https, and by http if the answer is HTTP, or the host is a private address.
* a certificate of an unknown authority needs WASM_INSECURE_REGISTRIES with just this host and port, or ``*``, or the
  authority where Go looks for it.
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
# Istio's own images bring the usual authorities and no others; a copy of one elsewhere may have been built anew
STOCK = (
    "istio/proxyv2",
    "docker.io/istio/proxyv2",
    "gcr.io/istio-release/proxyv2",
    "registry.istio.io/release/proxyv2",
)
PRIVATE = tuple(ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


class Transport(StrEnum):
    """What a client meets at a registry that asks by https and knows the usual authorities only.

    Plain: an answer in HTTP. Mute: none in HTTP, though it speaks HTTP. Hidden: behind a proxy of the operator's.
    """

    TRUSTED = "Trusted"
    UNTRUSTED = "Untrusted"
    PLAIN = "Plain"
    MUTE = "Mute"
    HIDDEN = "Hidden"


@dataclass(frozen=True)
class RegistryTrust:
    """What a gateway's container was started with, as far as its pod tells.

    ``skips``: registries whose certificates it does not check, None where that cannot be told. ``adds``: what may bring
    it authorities. ``stock``: it runs an image of Istio's own.
    """

    skips: tuple[str, ...] | None = ()
    adds: tuple[str, ...] = ()
    stock: bool = False


def read(container: JSON) -> RegistryTrust:
    """The settings of a pod's container. Of two variables of a name the last one counts."""
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
    """pilot/cmd/pilot-agent/options/agent.go: parted by commas, and spaces stay."""
    if found is None:
        return None if elsewhere else ()
    value = str(found.get("value", ""))
    return None if "valueFrom" in found or "$(" in value else tuple(value.split(","))


def _sees_transport(path: str, place: str) -> bool:
    return place == path or place.startswith(f"{path}/") or path.startswith(f"{place}/")


def prefers_plain(reference: Reference) -> bool:
    """Whether an agent goes on by http whatever comes of https: go-containerregistry's guess at a local registry."""
    name = reference.registry
    host = name.partition(":")[0]
    try:
        private = any(ipaddress.ip_address(host) in net for net in PRIVATE)
    except ValueError:
        private = False
    local = name.startswith("localhost:") or host.endswith(".localhost") or "127.0.0.1" in name or "::1" in name
    return private or local


def check_trust(reference: Reference, door: Transport, pods: Iterable[tuple[str, RegistryTrust]]) -> str:
    """What cannot be told, as a sentence; empty: every pod accepts the registry. ``pods``: their names, their settings.

    Raises `Refused` (``RegistryNotAcceptedByGateway``) where a pod surely does not.
    """
    if door is Transport.MUTE:
        raise _refuse_silent(reference)
    if door is Transport.HIDDEN:
        return f"Whether gateways reach the registry {reference.registry} is not known: the operator goes by a proxy"
    if door is not Transport.UNTRUSTED:
        return ""
    judged = [(name, _check_pod(reference, name, trust)) for name, trust in pods]
    doubts = [doubt for _, doubt in judged if doubt]
    if not judged:
        doubts = ["no gateway pod tells what it trusts"]
    if not doubts:
        return ""
    more = f" (and {count_noun(len(doubts) - 1, 'more pod')})" if len(doubts) > 1 else ""
    return (
        f"Whether gateways trust the authority of the registry {reference.registry} is not known: {doubts[0]}{more}. "
        "Those that do not cannot fetch the plugin"
    )


def _check_pod(reference: Reference, pod: str, trust: RegistryTrust) -> str:
    """Why it cannot be told of a pod; empty: it takes the registry. Raises as `judge`."""
    if trust.skips is not None and ({"*", reference.registry} & set(trust.skips)):
        return ""
    if trust.skips is None:
        return f"pod {pod} has its {SKIPS} from elsewhere"
    if trust.adds:
        return f"pod {pod} has {' and '.join(trust.adds)}, and what is in there is not looked at"
    if not trust.stock:
        return f"pod {pod} has none, unless its image brings it"
    raise Refused(
        Reason.REGISTRY_NOT_ACCEPTED_BY_GATEWAY,
        f"Gateway pod {pod} would refuse the registry: could not fetch manifest: "
        f'Get "https://{reference.registry}/v2/": tls: failed to verify certificate: x509: certificate signed by '
        "unknown authority (artifact.image.caSecretRef and the operator's own settings are for its own pull)",
        "Mount the authority into the gateway pods (for example as a file that SSL_CERT_FILE names, together with the "
        f"usual ones), or set {SKIPS} to {reference.registry} there: then its certificate is not checked",
    )


def _refuse_silent(reference: Reference) -> Refused:
    return Refused(
        Reason.REGISTRY_NOT_ACCEPTED_BY_GATEWAY,
        f"Gateways would not go on to plain HTTP: they ask https://{reference.registry}/v2/ first, and go by http only "
        "if they are told that the server gave HTTP response to HTTPS client, which this one does not",
        "Give the registry a certificate, or put it behind a server that answers whatever comes in HTTP, at the port "
        "that the reference names",
    )
