"""One authority for all registries: an operator's setting, against a real registry with TLS, up to what it says of the
gateways before the write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from pluginrelease.cli import run as run_command
from pluginrelease.controller import artifacts, preflight, pulling
from pluginrelease.controller.context import Context
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import DirectReader
from pluginrelease.controller.writer import Writer
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.registry.transport import RegistryTrust, TrustText
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.settings import Settings
from tests.edges import real_registry
from tests.edges.real_registry import Real
from tests.edges.scripted import WASM
from tests.harness.releases import release

TLS = Path(__file__).parents[1] / "fixtures" / "tls"
AUTHORITY, ANOTHER = TLS / "self-signed.pem", TLS / "lab-registry.pem"
STOCK, CLOSED = RegistryTrust(stock=True), RegistryTrust((), ("SSL_CERT_FILE",), stock=True)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A registry whose certificate is of an authority of its own, with one image."""
    folder = tmp_path_factory.mktemp("secured")
    file = folder / "plugin.wasm"
    file.write_bytes(WASM)
    with real_registry.running(folder, tls=AUTHORITY) as real:
        registry.push(real.reference("team/plugin:1"), file, Access(registry_ca=AUTHORITY.read_bytes()))
        yield real


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class Asking:
    """The only entry of a release that names this registry, and what a pass over it acts with."""

    work: PassContext
    placement: Placement

    @property
    def image(self) -> image_manifests.Reference:
        return image_manifests.parse(self.placement.spec.artifact.image.ref)

    async def obtain(self) -> artifacts.PulledArtifact:
        """The release's artifact, as a pass gets it."""
        return await self.work.context.shelf.obtain(self.image, await pulling.find_access(self.work, self.placement))


def entry_of(secured: Real, file: Path | None) -> Asking:
    """The only entry of a release that names this registry."""
    asking = release(spec__artifact={"image": {"ref": f"{secured.host}/team/plugin:1"}})
    nobody = cast("Cluster", None)
    context = Context(nobody, Settings(registry_ca_file=file), artifacts.ArtifactCache(), Writer(nobody))
    return Asking(PassContext(context, DirectReader(context.cluster)), Placement(asking, asking.spec.gateways[0]))


async def obtain(entry: Asking) -> artifacts.PulledArtifact:
    """The release's artifact, as a pass gets it."""
    return await entry.obtain()


async def doubts(entry: Asking, *trusts: RegistryTrust) -> str:
    """What is said of pods with these settings before anything is written."""
    found = await entry.obtain()
    now = datetime.now(UTC)
    before = [
        PodObservation(PodRef("edge", f"pod-{number}", "u", True, trust=it), now) for number, it in enumerate(trusts)
    ]
    return await preflight.find_doubts(entry.work, entry.placement, found.artifact, before)


async def test_an_authority_for_every_registry(secured: Real, tmp_path: Path) -> None:
    """No release needs to name it; it is read again at every pass, as a ConfigMap's file is replaced."""
    file = tmp_path / "ca.crt"
    shutil.copy(ANOTHER, file)
    entry = entry_of(secured, file)
    with pytest.raises(Refused) as raised:
        await obtain(entry)
    assert raised.value.reason == "RegistryTLS"
    file.write_bytes(ANOTHER.read_bytes() + AUTHORITY.read_bytes())
    found = await obtain(entry)
    assert found.artifact.size == len(WASM)


def test_a_release_adds_its_own(secured: Real) -> None:
    """caSecretRef is an addition to the operator's setting, and needs none."""
    reference, own, other = secured.reference("team/plugin:1"), AUTHORITY.read_bytes(), ANOTHER.read_bytes()
    for access in (Access(authorities=own, registry_ca=other), Access(authorities=other, registry_ca=own)):
        assert registry.pull(reference, access).wasm == WASM
    assert Access(registry_ca=own).fingerprint not in (Access().fingerprint, Access(authorities=own).fingerprint)


async def test_what_the_gateways_make_of_it(secured: Real) -> None:
    """The operator's trust is not the gateways': said, or refused, before anything is written."""
    entry = entry_of(secured, AUTHORITY)
    assert "SSL_CERT_FILE" in await doubts(entry, CLOSED)
    assert await doubts(entry, RegistryTrust((secured.host,), stock=True)) == "", (
        "they check no certificate of this registry"
    )
    with pytest.raises(Refused) as raised:
        await doubts(entry, STOCK)
    assert raised.value.reason == "RegistryNotAcceptedByGateway"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
async def test_an_authority_from_the_environment(name: str, secured: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority that the operator's own pod brings is no more known to the gateways."""
    monkeypatch.setenv(name, str(AUTHORITY))
    entry = entry_of(secured, None)
    assert "SSL_CERT_FILE" in await doubts(entry, CLOSED)
    with pytest.raises(Refused) as raised:
        await doubts(entry, STOCK)
    assert raised.value.reason == "RegistryNotAcceptedByGateway"


async def test_an_operator_behind_a_proxy(secured: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator reaches through its proxy, gateways may not: it is said, whatever they trust."""
    entry = entry_of(secured, AUTHORITY)
    found = await entry.obtain()
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    before = [PodObservation(PodRef("edge", "pod", "u", True, trust=RegistryTrust(("*",))), datetime.now(UTC))]
    doubt = await preflight.find_doubts(entry.work, entry.placement, found.artifact, before)
    assert TrustText.BEHIND_PROXY.partition("{")[0] in doubt
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert await preflight.find_doubts(entry.work, entry.placement, found.artifact, before) == ""


@pytest.mark.parametrize("content", [None, b"", b"hush", b"x" * (2**20 + 1)], ids=["absent", "empty", "text", "large"])
async def test_a_file_that_cannot_be_used(content: bytes | None, secured: Real, tmp_path: Path) -> None:
    """It is the operator's setting that is named, and nothing of the file; it is looked at again."""
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_bytes(content)
    entry = entry_of(secured, file)
    with pytest.raises(Refused) as raised:
        await obtain(entry)
    assert (raised.value.reason, raised.value.recheck) == ("InvalidRegistryCA", 60)
    assert "hush" not in raised.value.sentence()


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_the_setting(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag of the operator, or the environment variable of its name."""
    seen: list[Settings] = []

    async def operate(settings: Settings) -> None:
        seen.append(settings)

    monkeypatch.setattr(run_command, "operate", operate)
    monkeypatch.setattr(run_command.telemetry, "configure", lambda *_: None)

    flags = ["--registry-ca-file", str(AUTHORITY)] if by == "flag" else []
    env = {} if flags else {"PLUGINRELEASE_REGISTRY_CA_FILE": str(AUTHORITY)}
    assert CliRunner().invoke(run_command.run, flags, env=env).exit_code == 0
    assert [access.registry_ca_file for access in seen] == [AUTHORITY]
