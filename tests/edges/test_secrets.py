"""The Secrets that a release names, read from a real API server: what they have, or whose turn it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.controller.secrets import ca_certificates, pull_secrets
from pluginrelease.core.errors import Refused, ReleaseError, Waiting
from pluginrelease.core.mesh.placement import placements
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease_lab import Lab
from tests.harness.releases import release

NAMESPACE, THERE = "secrets-here", "secrets-there"
AUTHORITY = (Path(__file__).parents[1] / "fixtures" / "tls" / "self-signed.pem").read_text()
CONFIG = json.dumps({"auths": {"registry.example.com": {"username": "me", "password": "hush"}}})
KEYS = {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": CONFIG}}

Read = Callable[[Cluster, api.Release], Awaitable[bytes | None]]


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Iterator[Lab]:
    """The lab with two namespaces of this module."""
    for namespace in (NAMESPACE, THERE):
        lab.kubectl("create", "namespace", namespace)
    yield lab
    for namespace in (NAMESPACE, THERE):
        lab.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def secret(cluster: Lab) -> Iterator[Callable[..., None]]:
    """Makes the Secret ``one``, in either namespace."""

    def make(content: dict[str, Any], namespace: str = NAMESPACE) -> None:
        own = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one", "namespace": namespace}}
        cluster.kubectl("create", "-f", "-", stdin=json.dumps({**own, **content}))

    yield make
    for namespace in (NAMESPACE, THERE):
        cluster.kubectl("delete", "secret", "one", "-n", namespace, "--ignore-not-found")


async def pull_secret(cluster: Cluster, asking: api.Release) -> bytes | None:
    """What the only entry of a release pulls with."""
    [placement] = placements(asking)
    return await pull_secrets.content(cluster, placement)


def read(cluster: Lab, how: Read, field: str) -> bytes | None:
    """What a release of NAMESPACE for gateways in THERE gets from the Secret that this field names."""
    named = {f"spec__artifact__image__{field}": {"name": "one"}} if field else {}
    asking = release(metadata__namespace=NAMESPACE, spec__gateways__0__namespace=THERE, **named)

    async def ask() -> bytes | None:
        async with await Cluster.connect(cluster.kubeconfig) as connected:
            return await how(connected, asking)

    return asyncio.run(ask())


def refusal(cluster: Lab, how: Read, field: str) -> ReleaseError:
    with pytest.raises(ReleaseError) as raised:
        read(cluster, how, field)
    assert "hush" not in raised.value.sentence()
    assert "BEGIN" not in raised.value.sentence()
    return raised.value


def test_without_a_secret_none_is_read(cluster: Lab) -> None:
    """Most registries need neither credentials nor an authority of their own."""
    assert read(cluster, ca_certificates.content, "") is None
    assert read(cluster, pull_secret, "") is None


@pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/tls"])
def test_an_authority(cluster: Lab, secret: Callable[..., None], kind: str) -> None:
    """The certificates in ca.crt, as somebody made the Secret or as cert-manager does."""
    pair = {"tls.crt": AUTHORITY, "tls.key": AUTHORITY} if kind == "kubernetes.io/tls" else {}
    secret({"type": kind, "stringData": {"ca.crt": AUTHORITY, **pair}})
    assert read(cluster, ca_certificates.content, "caSecretRef") == AUTHORITY.encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (KEYS, "kubernetes.io/dockerconfigjson"),
        ({"type": "Opaque", "stringData": {"tls.crt": AUTHORITY}}, "ca.crt"),
        ({"type": "Opaque"}, "ca.crt"),
    ],
)
def test_what_is_no_authority(cluster: Lab, secret: Callable[..., None], content: dict[str, Any], words: str) -> None:
    """A Secret of another kind is named, with the command that makes a right one; it is looked at again by itself."""
    secret(content)
    found = refusal(cluster, ca_certificates.content, "caSecretRef")
    assert isinstance(found, Refused)
    assert (found.reason, found.recheck is not None) == ("InvalidCASecret", True)
    assert f"Secret {NAMESPACE}/one (artifact.image.caSecretRef) " in found.message
    assert words in found.message
    assert f"kubectl -n {NAMESPACE} " in found.remedy
    assert " one --from-file=ca.crt" in found.remedy


@pytest.mark.parametrize(
    ("how", "field", "namespace", "reason"),
    [
        (ca_certificates.content, "caSecretRef", NAMESPACE, "CASecretNotFound"),
        (pull_secret, "pullSecretRef", NAMESPACE, "PullSecretNotFound"),
        (pull_secret, "gatewayPullSecretRef", THERE, "PullSecretNotFound"),
    ],
)
def test_a_secret_that_is_not_there(cluster: Lab, how: Read, field: str, namespace: str, reason: str) -> None:
    """It may still come, and the command says where it belongs: one of the same name elsewhere is not meant."""
    found = refusal(cluster, how, field)
    assert isinstance(found, Waiting)
    assert found.reason == reason
    assert f"artifact.image.{field} names Secret {namespace}/one" in found.message
    assert f"kubectl -n {namespace} create secret" in found.remedy


@pytest.mark.parametrize(("field", "namespace"), [("pullSecretRef", NAMESPACE), ("gatewayPullSecretRef", THERE)])
def test_a_pull_secret(cluster: Lab, secret: Callable[..., None], field: str, namespace: str) -> None:
    """Each field's Secret is read in its own namespace, and nowhere else."""
    secret(KEYS, namespace)
    assert json.loads(read(cluster, pull_secret, field) or b"") == json.loads(CONFIG)
    other = next(field_name for field_name in ("pullSecretRef", "gatewayPullSecretRef") if field_name != field)
    assert refusal(cluster, pull_secret, other).reason == "PullSecretNotFound"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"type": "Opaque", "stringData": {".dockerconfigjson": CONFIG}},
            "one (artifact.image.pullSecretRef)",
        ),
        ({**KEYS, "stringData": {".dockerconfigjson": '{"auths":{"registry.example.com":{"auth":"%"}}}'}}, "base64"),
        ({**KEYS, "stringData": {".dockerconfigjson": '{"auths":{}, "credsStore": "desktop"}'}}, "helper 'desktop'"),
    ],
)
def test_what_is_no_pull_secret(cluster: Lab, secret: Callable[..., None], content: dict[str, Any], words: str) -> None:
    """A Secret that gateways could not use is refused with the command that makes a right one."""
    secret(content)
    found = refusal(cluster, pull_secret, "pullSecretRef")
    assert found.reason == "InvalidPullSecret"
    assert words in found.message
    assert " secret docker-registry " in found.remedy
