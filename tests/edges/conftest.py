"""What several tests of the edges share: registries, gateways, and the CRD in the lab's API server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO

import pytest

from pluginrelease import api
from pluginrelease.cli import crd
from pluginrelease.core import revision
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import placements
from pluginrelease_lab import operator
from pluginrelease_lab.host import Lab
from tests.edges import cli_release, contenders, plain_envoy, real_registry
from tests.edges.cli_release import Shop
from tests.edges.gateway_delivery import GatewayDelivery, StartDelivery, variant
from tests.edges.lone_apiserver import Lone
from tests.edges.puller import PullOrder
from tests.edges.puller_process import CHECKOUT, PullerProcess
from tests.edges.real_envoy import RealGateway, api_server
from tests.edges.real_registry import Real
from tests.edges.registry_access import WASM
from tests.edges.scripted import Scripted, good, serving
from tests.harness import releases

CRD_NAME = f"crd/{api.PLURAL}.{api.GROUP}"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A registry that lets everybody in."""
    with real_registry.running(tmp_path_factory.mktemp("plain")) as real:
        yield real


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Real]:
    """A registry with a password, and with the realm that the module calls REALM, if it does."""
    realm = getattr(request.module, "REALM", real_registry.REALM)
    with real_registry.guarded(tmp_path_factory.mktemp("private"), realm) as real:
        yield real


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    """An API server with the chart in two namespaces, but for its Deployments."""
    with contenders.running(tmp_path_factory.mktemp("lone")) as server:
        yield server


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """Starts servers that answer by a script; ends them all."""
    with serving() as start:
        yield start


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A module to push."""
    path = tmp_path / "any-name.wasm"
    path.write_bytes(WASM)
    return path


@pytest.fixture(scope="module")
def puller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PullerProcess]:
    """The process, which has pulled once: what it needs for good is in memory."""
    log = tmp_path_factory.mktemp("puller") / "log"
    program = [sys.executable, "-m", "tests.edges.puller"]
    with log.open("w") as out, serving() as start:
        pipes: dict[str, IO[str] | int] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": out}
        with subprocess.Popen(program, cwd=CHECKOUT, text=True, **pipes) as process:  # type: ignore[call-overload]
            one = PullerProcess(process, log)
            assert one(PullOrder(str(start(good).reference()))).reason == ""
            yield one
            process.stdin.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[plain_envoy.PlainGateway]:
    """One Envoy for all tests of a file; each has a listener of its own."""
    with plain_envoy.running(tmp_path_factory.mktemp("envoy")) as one:
        yield one


@pytest.fixture
async def start_delivery(tmp_path: Path) -> AsyncIterator[StartDelivery]:
    """Makes a gateway that runs the first variant of the plugin, and of other plugins that are named."""
    async with AsyncExitStack() as stack:

        async def make(*others: str, show_subscriptions: bool = False, concurrency: int = 2) -> GatewayDelivery:
            gateway = RealGateway(tmp_path, show_subscriptions=show_subscriptions, concurrency=concurrency)
            gateway.deliver("header", variant("first"))
            for other in others:
                gateway.deliver(other, variant(other))
            gateway.listen("header", *others)
            stack.push_async_callback(gateway.stop)
            await gateway.start()
            channels = await stack.enter_async_context(api_server(gateway=gateway))
            return GatewayDelivery(gateway, channels)

        yield make


@pytest.fixture(scope="module")
def cluster(lab: Lab, request: pytest.FixtureRequest) -> Lab:
    """The lab with the CRD, and with the namespace that the module calls NAMESPACE; that stays, for other modules."""
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=crd.text())
    operator.await_established(lab, CRD_NAME)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": request.module.NAMESPACE}}
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    return lab


@pytest.fixture
def shop(cluster: Lab) -> Iterator[Shop]:
    """The namespace with a new release in it."""
    shop = Shop(cluster, cluster.kubeconfig)
    shop.create(cli_release.written())
    yield shop
    cluster.kubectl("delete", "prel,wasmplugin,controllerrevision", "--all", "-n", cli_release.NAMESPACE)


@pytest.fixture
def released(shop: Shop) -> Shop:
    """The release with what the operator writes for it: WasmPlugin, ControllerRevision and status."""
    found = shop.release
    for entry_placement in placements(found):
        shop.create(istio.wasm_plugin(entry_placement, releases.ARTIFACT))
    shop.create(revision.manifest(found, releases.ARTIFACT, 1))
    wanted = revision.compute_identity(found.spec, releases.ARTIFACT.digest)
    shop.tell(
        cli_release.READY,
        targetRevision=wanted,
        artifact=releases.ARTIFACT.wire(),
        history=[cli_release.entry(wanted, 1, "Stable")],
    )
    return shop
