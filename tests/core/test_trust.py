"""What the agents in gateway pods accept of a registry's transport, from what their pods were told."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway import pods
from pluginrelease.core.registry import transport
from pluginrelease.core.registry.transport import RegistryTrust, Transport, TrustText

PLUGIN = image_manifests.parse("registry.corp.test:5000/team/plugin:1")
HOST = PLUGIN.registry
STOCK = RegistryTrust(stock=True)
VOLUME = "a volume at {}"


def env(**values: Any) -> dict[str, Any]:
    """A gateway's container with these variables."""
    listed = [
        {"name": key, **({"value": value} if isinstance(value, str) else {"valueFrom": value})}
        for key, value in values.items()
    ]
    return {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.31.0", "env": listed}


@pytest.mark.parametrize(
    ("container", "expected", "reason"),
    [
        ({}, RegistryTrust(), "nothing is told"),
        (env(), STOCK, "Istio's own image"),
        (env(WASM_INSECURE_REGISTRIES="a:5000,b"), RegistryTrust(("a:5000", "b"), stock=True), "a list"),
        (env(WASM_INSECURE_REGISTRIES="a, b"), RegistryTrust(("a", " b"), stock=True), "the agent leaves spaces in"),
        (
            env(WASM_INSECURE_REGISTRIES={"configMapKeyRef": {}}),
            RegistryTrust(None, stock=True),
            "it is in a ConfigMap",
        ),
        (
            env(OTHER="a", WASM_INSECURE_REGISTRIES="$(OTHER)"),
            RegistryTrust(None, stock=True),
            "it is made of another one",
        ),
        ({"envFrom": [{}]}, RegistryTrust(None, ("SSL_CERT_FILE", "SSL_CERT_DIR")), "anything may come from there"),
        (env(SSL_CERT_FILE="/ca.pem"), RegistryTrust((), ("SSL_CERT_FILE",), stock=True), "a file of authorities"),
        (
            {"volumeMounts": [{"mountPath": "/etc/ssl/certs/"}, {"mountPath": "/etc/istio/proxy"}]},
            RegistryTrust((), (VOLUME.format("/etc/ssl/certs"),)),
            "a volume where Go looks",
        ),
        (
            {"volumeMounts": [{"mountPath": "/etc/ssl/certs/corp.crt"}]},
            RegistryTrust((), (VOLUME.format("/etc/ssl/certs/corp.crt"),)),
            "one file",
        ),
        (
            {"volumeMounts": [{"mountPath": "/etc/ssl"}]},
            RegistryTrust((), (VOLUME.format("/etc/ssl"),)),
            "the folder above",
        ),
        ({"volumeMounts": [{"mountPath": "/etc/ssl2"}]}, RegistryTrust(), "another folder"),
        ({"image": "istio/proxyv2@sha256:00"}, RegistryTrust(), "an image without a tag is not known"),
        ({"image": "mirror.test/istio/proxyv2:1.31.0"}, RegistryTrust(), "a copy may have been built anew"),
        ({"image": "istio/proxyv2:1.31.0@sha256:00"}, STOCK, "by tag and digest"),
    ],
)
def test_what_a_pod_tells(container: dict[str, Any], expected: RegistryTrust, reason: str) -> None:
    """Of a pod's specification only what is certain is taken for certain."""
    assert transport.read(container) == expected, reason
    pod = {
        "metadata": {"name": "a", "namespace": "b", "uid": "c"},
        "spec": {"containers": [{**container, "name": "g"}]},
    }
    [chosen] = pods.select([pod], "g")
    assert chosen.trust == expected


@pytest.mark.parametrize(
    ("known", "doubt", "reason"),
    [
        (RegistryTrust((HOST,), stock=True), "", "it does not check this registry's certificate"),
        (RegistryTrust(("*",), stock=True), "", "it checks none"),
        (RegistryTrust(None, stock=True), transport.SKIPS, "a ConfigMap may have it"),
        (
            RegistryTrust((), ("SSL_CERT_FILE",), stock=True),
            "SSL_CERT_FILE",
            "authorities of its own",
        ),
        (RegistryTrust(), TrustText.NOT_STOCK.format(pod="edge/two"), "somebody's own image"),
    ],
)
def test_an_authority_of_ones_own(known: RegistryTrust, doubt: str, reason: str) -> None:
    """What a pod may have is told as a doubt that names the pod, and what it surely has is none."""
    said = transport.check_trust(
        PLUGIN, Transport.UNTRUSTED, [("edge/one", RegistryTrust(("*",))), ("edge/two", known)]
    )
    assert doubt in said, reason
    assert bool(said) is bool(doubt)
    assert not doubt or "pod edge/two" in said
    assert transport.check_trust(PLUGIN, Transport.TRUSTED, [("edge/one", STOCK)]) == "", "anybody trusts it"


@pytest.mark.parametrize("skips", [(), ("registry.corp.test",), (" registry.corp.test:5000",), ("corp.test:5000",)])
def test_a_gateway_that_surely_does_not_trust_it(skips: tuple[str, ...]) -> None:
    """One pod with Istio's own image and nothing besides is enough: refused in its words, with what to set where."""
    pods_ = [("edge/one", RegistryTrust(("*",))), ("edge/two", RegistryTrust(skips, stock=True))]
    with pytest.raises(Refused) as refused:
        transport.check_trust(PLUGIN, Transport.UNTRUSTED, pods_)
    assert refused.value.reason == "RegistryNotAcceptedByGateway"
    assert "pod edge/two" in refused.value.message
    assert "x509" in refused.value.message
    assert f"WASM_INSECURE_REGISTRIES to {HOST}" in refused.value.remedy


def test_no_pod_yet() -> None:
    """Without a pod it cannot be told, and the first one is not left without its plugin."""
    assert TrustText.NO_POD in transport.check_trust(PLUGIN, Transport.UNTRUSTED, [])


def test_plain_http() -> None:
    """Agents go on by http when they are told so, whatever the pods say; else they stop, and it is refused."""
    assert transport.check_trust(PLUGIN, Transport.PLAIN, [("edge/one", STOCK)]) == ""
    with pytest.raises(Refused, match="server gave HTTP response to HTTPS client") as refused:
        transport.check_trust(PLUGIN, Transport.MUTE, [("edge/one", RegistryTrust(("*",)))])
    assert refused.value.reason == "RegistryNotAcceptedByGateway"
    assert transport.check_trust(PLUGIN, Transport.HIDDEN, []) == TrustText.BEHIND_PROXY.format(registry=HOST)


@pytest.mark.parametrize(
    ("registry", "plain"),
    [
        ("10.244.0.1:5000", True),
        ("172.31.0.1", True),
        ("172.32.0.1", False),
        ("192.168.1.1:80", True),
        ("localhost:5000", True),
        ("registry.localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.0.0.2:5000", False),
        ("[::1]:5000", True),
        ("[fd00::2]:5000", False),
        ("[::ffff:10.244.0.1]:5000", False),
        ("registry.local:5000", False),
        ("registry.corp.test:5000", False),
    ],
)
def test_registries_that_go_for_local(registry: str, plain: bool) -> None:
    """go-containerregistry's guess, with its gaps: there an agent goes by http whatever https said."""
    assert transport.prefers_plain(image_manifests.parse(f"{registry}/a/b:1")) is plain
