"""Servers that listen on the IPv6 loopback alone: a registry, an API server and an Envoy, all of them real."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes.aio.config import incluster_config

from pluginrelease.api import Probe
from pluginrelease.cli import crd
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.registry import allowlist, challenge, credentials
from pluginrelease.core.registry.transport import Transport
from pluginrelease.edges.envoy import observing, probes
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import NAMESPACES
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab.kubeapi import write_kubeconfig
from tests import wasm_modules as made
from tests.edges import lone_apiserver, real_envoy, real_registry
from tests.edges.lone_apiserver import Lone
from tests.edges.real_envoy import EnvoyChannels, RealGateway
from tests.edges.real_registry import Real, as_tester

ADDRESS = "::1"
WASM = made.answering("here")
OPEN = Access(insecure=True, deadline_seconds=20)
POD = PodRef("edge", "gateway", "uid", ready=True)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("module") / "plugin.wasm"
    file.write_bytes(WASM)
    return file


# --- a registry ---


@pytest.fixture(scope="module")
def open_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """It lets everybody in."""
    with real_registry.running(tmp_path_factory.mktemp("open"), address=ADDRESS) as real:
        yield real


@pytest.fixture(scope="module")
def closed_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """It asks for the tester's password, with a realm that gateways take."""
    with real_registry.guarded(tmp_path_factory.mktemp("closed"), address=ADDRESS) as real:
        yield real


def test_an_image_goes_in_and_out(open_one: Real, module: Path) -> None:
    """It is pushed, found by its tag, listed and fetched, under the reference that a manifest has."""
    place = open_one.reference("team/plugin:1.2.0")
    digest = registry.push(place, module, OPEN)
    assert registry.resolve(place, OPEN).digest == digest
    assert registry.pull(place.pinned(digest), OPEN).wasm == WASM
    assert registry.list_tags(image_manifests.parse_repository(place.name), OPEN).tags == ("1.2.0",)
    assert str(registry.fetch(place, OPEN).pinned) == f"{open_one.host}/team/plugin@{digest}"


def test_gateways_take_it_for_local(open_one: Real) -> None:
    """It speaks HTTP and an agent goes on by http, as go-containerregistry does with ::1."""
    assert registry.find_transport(open_one.reference("team/plugin:1.2.0"), OPEN) is Transport.PLAIN


def test_a_pull_secret_is_found_by_its_address(closed_one: Real, module: Path) -> None:
    """The secret's entry has the address in brackets and the port, for the operator and for gateways; one without
    credentials is told whose they are."""
    place, access = closed_one.reference("team/plugin:1"), as_tester(closed_one.host)
    registry.push(place, module, access)
    assert registry.pull(place, access).wasm == WASM
    assert credentials.render_for_agent(real_registry.secret(closed_one.host), place)
    with pytest.raises(Refused) as refused:
        registry.pull(place, OPEN)
    assert refused.value.reason == "AuthenticationRequired"
    with pytest.raises(Refused) as refused:
        registry.pull(place, as_tester("[::2]:5000"))
    assert refused.value.reason == "AuthenticationRequired"


def test_its_challenge_is_judged(closed_one: Real) -> None:
    """The realm is read off a real 401; one that names the registry's own private address would be refused."""
    place = closed_one.reference("team/plugin:1")
    values = registry.read_challenge(place, OPEN)
    challenge.check_gateways(place.registry, values)
    with pytest.raises(Refused, match="private/loopback/link-local"):
        challenge.check_gateways(place.registry, [f'Basic realm="http://{closed_one.host}/"'])


def test_it_is_allowed_by_its_address(open_one: Real) -> None:
    """An allowed registry is named as references name it."""
    place: Reference = open_one.reference("team/plugin:1")
    for name in (open_one.host, f"{open_one.host}/team", f"http://{open_one.host}/v2/"):
        allowlist.check([name], place)
    with pytest.raises(Refused):
        allowlist.check(["[::1]:1"], place)


def test_a_certificate_for_an_address(module: Path, tmp_path: Path) -> None:
    """By https it is reached with a certificate that has the address, and not with one of another address."""
    for address, trusted in ((ADDRESS, True), ("::2", False)):
        folder = tmp_path / address.strip(":")
        folder.mkdir()
        file = certificate(folder, address)
        with real_registry.running(folder, tls=file, address=ADDRESS) as real:
            access = Access(deadline_seconds=20, authorities=file.read_bytes())
            if trusted:
                registry.push(real.reference("team/plugin:1"), module, access)
                assert registry.pull(real.reference("team/plugin:1"), access).wasm == WASM
                continue
            with pytest.raises(Refused) as refused:
                registry.push(real.reference("team/plugin:1"), module, access)
            assert refused.value.reason == "RegistryTLS"


def certificate(folder: Path, address: str) -> Path:
    """A file with a certificate for an address that its own key has signed, and with the key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "registry.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(signed.public_bytes(Encoding.PEM) + private)
    return file


# --- an API server ---


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    with lone_apiserver.running(tmp_path_factory.mktemp("apiserver"), ADDRESS) as one:
        yield one


@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]"])
async def test_it_is_reached_by_a_kubeconfig(server: Lone, host: str, tmp_path: Path) -> None:
    """However the address is written: the certificate is checked, and the token is sent."""
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, server=f"https://{host}:{server.port}", ca=server.ca, token=server.token)
    async with await Cluster.connect(kubeconfig) as cluster:
        assert await cluster.get(NAMESPACES, None, "default")
        assert await cluster.get(NAMESPACES, None, "nowhere") is None


async def test_it_is_reached_from_a_pod(server: Lone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubelet gives every container the address as it is, without brackets."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", ADDRESS)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    for constant, name, content in (("TOKEN", "token", server.token.encode()), ("CERT", "ca.crt", server.ca)):
        (tmp_path / name).write_bytes(content)
        monkeypatch.setattr(incluster_config, f"SERVICE_{constant}_FILENAME", str(tmp_path / name))
    async with await Cluster.connect() as cluster:
        assert cluster.login.server == f"https://[::1]:{server.port}"
        assert await cluster.get(NAMESPACES, None, "default")


def test_the_operator_becomes_ready(server: Lone, tmp_path: Path) -> None:
    """It logs in, watches releases, and says so to the kubelet at an IPv6 address."""
    server.apply(crd.text())
    kubeconfig, port = tmp_path / "kubeconfig", real_envoy.free_port(ADDRESS)
    write_kubeconfig(kubeconfig, server=server.url, ca=server.ca, token=server.token)
    flags = [f"--kubeconfig={kubeconfig}", f"--liveness-port={port}", f"--cache-dir={tmp_path / 'cache'}"]
    argv = [sys.executable, "-m", "pluginrelease.cli", "run", *flags]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            lone_apiserver.until_ok(f"http://[{ADDRESS}]:{port}/readyz", process, tmp_path / "log")
        finally:
            process.terminate()


# --- a gateway ---


@dataclass(frozen=True)
class Reached:
    """A gateway, the API server's ways to it, and the plugin that it has."""

    gateway: RealGateway
    channels: EnvoyChannels
    wanted: DesiredPlugin

    async def look(self) -> PodObservation:
        since = datetime.now(UTC)
        (seen,) = await observing.observe(self.channels, [POD], self.wanted, since=since, deadline_seconds=30)
        return seen


@pytest.fixture(params=[ADDRESS, "::"], ids=["loopback", "any address"])
async def reached(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Reached]:
    """Its admin port is on ::1 alone, and its listener there or on every IPv6 address."""
    gateway = RealGateway(tmp_path, address=ADDRESS, bound=request.param)
    wanted = DesiredPlugin("apps", "header", gateway.deliver("header", WASM), None, "FAIL_CLOSE")
    gateway.listen("header")
    try:
        await gateway.start()
        async with real_envoy.api_server(gateway=gateway) as channels:
            yield Reached(gateway, channels, wanted)
    finally:
        await gateway.stop()


async def test_a_gateway_is_looked_at_and_probed(reached: Reached) -> None:
    """The look finds its listener, and a probe's requests meet the plugin there."""
    while not (seen := await reached.look()).listeners:
        pass
    assert ([listener.port for listener in seen.listeners], seen.referenced) == ([reached.gateway.port], True)
    asked = Probe.model_validate({"name": "first", "expect": {"headers": {"x-plugin": "here"}}})
    (found,) = await probes.ask(reached.channels, [seen], [asked], deadline_seconds=30)
    assert found.ok, found.message
