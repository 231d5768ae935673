"""``pluginrelease run``: the operator."""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import socket
import uuid
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import click
import kopf

from pluginrelease import api, telemetry
from pluginrelease.controller import handlers
from pluginrelease.core.apiserver import lease
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh.target import GatewayLabel
from pluginrelease.edges import healthz, metrics
from pluginrelease.settings import Settings

# kopf would ask for the user's name, which a container's UID may not have; only its peering, which is off, needs it
IDENTITY: Any = "pluginrelease"


def make_identity() -> str:
    """Return a name that no other process has."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class DurationType(click.ParamType[float]):
    """Parse ``90s`` or ``5m`` to seconds as a float, at least ``least``."""

    name = "duration"

    def __init__(self, least: float = 0.0) -> None:
        self.least = least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = api.Duration.parse(str(value)).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds < self.least:
            self.fail(f"{value} is less than {self.least:g}s: write a time such as 90s or 5m", param, ctx)
        return seconds


AT_LEAST_1S = DurationType(least=1.0)


class SizeType(click.ParamType[int]):
    """Parse ``512Mi`` or ``2Gi`` to bytes, at least what two of the largest modules need."""

    name = "size"
    units: ClassVar[dict[str, int]] = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
    least = 2 * image_manifests.MAX_WASM_BYTES

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,15})(Ki|Mi|Gi|)", str(value))
        size = int(match.group(1)) * self.units[match.group(2)] if match else 0
        if size < self.least:
            self.fail(f"{value} is not a size such as 1Gi, of 512Mi or more", param, ctx)
        return size


class RegistryType(click.ParamType[str]):
    """Parse a registry's host, or a host with the beginning of a path."""

    name = "registry"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+(/[a-z0-9._-]+)*/?", str(value)):
            self.fail(f"{value} is not a registry such as ghcr.io or ghcr.io/team", param, ctx)
        return str(value)


class GatewayLabelType(click.ParamType[GatewayLabel]):
    """Parse ``higress=edge`` for every Higress, or ``team-a:higress=edge`` for the one in that namespace."""

    name = "label"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> GatewayLabel:
        found = GatewayLabel.parse(str(value))
        if found is None:
            self.fail(f"{value} is not a label such as higress=edge or team-a:higress=edge", param, ctx)
        return found


@click.command("run", context_settings={"auto_envvar_prefix": "PLUGINRELEASE", "show_default": True})
@click.option("--namespace", "namespaces", multiple=True, help="Watch releases in this namespace. Repeatable. [all]")
@click.option(
    "--gateway-namespace",
    "gateway_namespaces",
    multiple=True,
    help="Check gateways only in this namespace, with rights only there. Repeatable. [all]",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True),
    help="Use this file instead of the pod's ServiceAccount.",
)
@click.option(
    "--identity",
    default=make_identity,
    show_default="the host's name and a random word",
    help="Name of this process in the Lease. It must be unique: the operator does not wait for its own name.",
)
@click.option(
    "--lease-namespace",
    default=lease.NAMESPACE,
    help="Namespace of the Lease of the acting operator. With --namespace, each of those namespaces has one.",
)
@click.option(
    "--istio-root-namespace", default="istio-system", help="Namespace in which a WasmPlugin applies to all namespaces."
)
@click.option("--resync", type=AT_LEAST_1S, default="5m", help="Time between two checks of a settled release.")
@click.option(
    "--liveness-port", type=click.IntRange(0, 65535), default=8080, help="Port of GET /healthz and /readyz; 0: none."
)
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), default=0, help="Port of GET /metrics, for Prometheus; 0: none."
)
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--gateway-container", default="istio-proxy", help="Container of Istio's gateways in their pods.")
@click.option(
    "--higress-gateway-label",
    "higress_labels",
    type=GatewayLabelType(),
    multiple=True,
    metavar="[NAMESPACE:]KEY=VALUE",
    help="Label of Higress's gateways, if it is not the chart's. Repeatable. [higress=<namespace>-higress-gateway]",
)
@click.option(
    "--filter-logger",
    type=click.Choice(["raise", "leave"]),
    default="raise",
    help="raise: set Envoy's filter logger to debug during a load. leave: change no log level, and have fewer signs.",
)
@click.option("--gateway-admin-port", type=click.IntRange(1, 65535), default=15000, help="Envoy's admin port.")
@click.option(
    "--allowed-registries",
    type=RegistryType(),
    multiple=True,
    help="Allow plugins from this registry, or from below this path of it. Repeatable. [all]",
)
@click.option(
    "--allow-private-realms",
    is_flag=True,
    help="Allow every registry to send the operator to private addresses for tokens.",
)
@click.option(
    "--private-realms-of",
    type=RegistryType(),
    multiple=True,
    help="Allow only this registry to do so, or what is below this path of it. Repeatable. [none]",
)
@click.option(
    "--cache-dir", type=click.Path(path_type=Path, file_okay=False), help="Keep fetched layers here. [below /tmp]"
)
@click.option(
    "--cache-size", type=SizeType(), default="1Gi", help="Size of that cache, including downloads in progress."
)
@click.option(
    "--trusted-root",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A trusted_root.json, for keyless signatures of releases that name none. [none]",
)
@click.option(
    "--registry-ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Authorities (PEM) to trust for every registry, in addition to the system's. [none]",
)
@click.option(
    "--allow-native-code",
    is_flag=True,
    help="Allow modules with native code (sections wamr-aot…), which Higress runs in the gateway's process.",
)
@click.option(
    "--leave-hung-gateways",
    is_flag=True,
    help="Restart no gateway that hangs, or whose Envoy refuses a rollback. Name its pod, for a user to delete it.",
)
def run(
    namespaces: tuple[str, ...],
    gateway_namespaces: tuple[str, ...],
    kubeconfig: Path | None,
    identity: str,
    lease_namespace: str,
    istio_root_namespace: str,
    resync: float,
    liveness_port: int,
    metrics_port: int,
    log_format: str,
    log_level: str,
    gateway_container: str,
    higress_labels: tuple[GatewayLabel, ...],
    filter_logger: str,
    gateway_admin_port: int,
    allowed_registries: tuple[str, ...],
    allow_private_realms: bool,
    private_realms_of: tuple[str, ...],
    cache_dir: Path | None,
    cache_size: int,
    trusted_root: Path | None,
    registry_ca_file: Path | None,
    allow_native_code: bool,
    leave_hung_gateways: bool,
) -> None:
    """Run the operator until a signal stops it."""
    telemetry.configure(log_format, log_level)
    settings = Settings(
        namespaces=namespaces,
        gateway_namespaces=gateway_namespaces,
        raise_filter_logger=filter_logger == "raise",
        kubeconfig=kubeconfig,
        identity=identity,
        lease_namespace=lease_namespace,
        istio_root_namespace=istio_root_namespace,
        resync=resync,
        liveness_port=liveness_port,
        metrics_port=metrics_port,
        gateway_container=gateway_container,
        higress_labels=higress_labels,
        gateway_admin_port=gateway_admin_port,
        allowed_registries=allowed_registries,
        allow_private_realms=allow_private_realms,
        private_realms=private_realms_of,
        cache_dir=cache_dir,
        cache_bytes=cache_size,
        trusted_root=trusted_root,
        registry_ca_file=registry_ca_file,
        allow_native_code=allow_native_code,
        restart_hung_gateways=not leave_hung_gateways,
    )
    asyncio.run(operate(settings))


async def operate(settings: Settings) -> None:
    """Wait until the Lease is held, then run kopf with our handlers in this process's event loop."""
    memo, stop = handlers.Memo(settings), asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):  # a container's first process has no default handler
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    try:
        await memo.connect()
    except Refused as error:
        raise click.ClickException(error.sentence()) from error
    served = AsyncExitStack()
    await memo.lease.call(serve(memo, served))  # that thread answers even while the main loop is busy
    exempt_from_collections()
    try:
        if await stand_by(memo, stop):
            await lead(memo, stop)
    finally:
        await memo.lease.call(served.aclose())
    await memo.disconnect()


def exempt_from_collections() -> None:
    """Exempt what is in memory now from searches for garbage: it stays for as long as the process runs.

    A search stops every thread, also the one that renews the Lease, and its time grows with what it searches.
    """
    gc.freeze()


async def serve(memo: handlers.Memo, served: AsyncExitStack) -> None:
    """Answer the kubelet and Prometheus until ``served`` is closed. Raises OSError if a port is taken."""
    probes = {"/healthz": memo.liveness, "/readyz": memo.readiness}
    pages = {path: healthz.make_handler(check) for path, check in probes.items()}
    await served.enter_async_context(healthz.serve(memo.settings.liveness_port, pages))
    page = healthz.make_page(memo.metrics.render, metrics.CONTENT_TYPE)
    await served.enter_async_context(healthz.serve(memo.settings.metrics_port, {"/metrics": page}))


async def stand_by(memo: handlers.Memo, stop: asyncio.Event) -> bool:
    """Return True once the Lease is held, False if the operator should stop before that."""
    return await happens_before(stop, memo.lease.acquire())


async def happens_before(stop: asyncio.Event, act: Awaitable[None]) -> bool:
    """Return True once ``act`` is done, False if the operator should stop before that."""
    done, stopped = asyncio.ensure_future(act), asyncio.ensure_future(stop.wait())
    await asyncio.wait([done, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not done.done():
        done.cancel()
        return False
    await done
    return True


async def lead(memo: handlers.Memo, stop: asyncio.Event) -> None:
    """Act until the operator should stop."""
    if not await happens_before(stop, memo.begin()):
        return
    exempt_from_collections()
    await kopf.operator(
        registry=handlers.registry,
        clusterwide=not memo.settings.namespaces,
        namespaces=memo.settings.namespaces,
        identity=IDENTITY,
        memo=memo,
        stop_flag=stop,
    )
