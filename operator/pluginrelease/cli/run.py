"""``pluginrelease run``: the operator."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, ClassVar

import click
import kopf

from pluginrelease import telemetry
from pluginrelease.controller import handlers
from pluginrelease.core import duration
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh.target import GatewayLabel
from pluginrelease.edges import healthz
from pluginrelease.settings import Settings

# kopf would ask for the user's name, which a UID of a container does not have; only its peering, which is off, uses it
IDENTITY: Any = "pluginrelease"


class DurationType(click.ParamType[float]):
    """``90s``, ``5m``: seconds as a float."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return duration.parse(str(value)).total_seconds()
        except Refused as error:
            self.fail(error.sentence(), param, ctx)


class SizeType(click.ParamType[int]):
    """``512Mi``, ``2Gi``: bytes, and no fewer than two of the largest modules need."""

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
    """A registry's host, or a host and the beginning of a path."""

    name = "registry"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+(/[a-z0-9._-]+)*/?", str(value)):
            self.fail(f"{value} is not a registry such as ghcr.io or ghcr.io/team", param, ctx)
        return str(value)


class GatewayLabelType(click.ParamType[GatewayLabel]):
    """``higress=edge`` for every Higress, ``team-a:higress=edge`` for the one in that namespace."""

    name = "label"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> GatewayLabel:
        found = GatewayLabel.parse(str(value))
        if found is None:
            self.fail(f"{value} is not a label such as higress=edge or team-a:higress=edge", param, ctx)
        return found


@click.command("run", context_settings={"auto_envvar_prefix": "PLUGINRELEASE", "show_default": True})
@click.option("--namespace", "namespaces", multiple=True, help="Watch releases in this namespace; repeatable. [all]")
@click.option("--kubeconfig", type=click.Path(path_type=Path, exists=True), help="Instead of the pod's ServiceAccount.")
@click.option("--istio-root-namespace", default="istio-system", help="Where a WasmPlugin reaches every namespace.")
@click.option("--resync", type=DurationType(), default="5m", help="How often a settled release is looked at again.")
@click.option("--liveness-port", type=click.IntRange(0, 65535), default=8080, help="GET /healthz and /readyz; 0: none.")
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--gateway-container", default="istio-proxy", help="The container of Istio's gateways in their pods.")
@click.option(
    "--higress-gateway-label",
    "higress_labels",
    type=GatewayLabelType(),
    multiple=True,
    metavar="[NAMESPACE:]KEY=VALUE",
    help="The label of the gateways of a Higress whose chart has another; repeatable. "
    "[higress=<namespace>-higress-gateway]",
)
@click.option("--gateway-admin-port", type=click.IntRange(1, 65535), default=15000, help="Envoy's admin port.")
@click.option(
    "--allowed-registries",
    type=RegistryType(),
    multiple=True,
    help="Take plugins from this registry, or from below this path of it; repeatable. [all]",
)
@click.option(
    "--allow-private-realms", is_flag=True, help="Let every registry send the operator to private addresses for tokens."
)
@click.option(
    "--private-realms-of",
    type=RegistryType(),
    multiple=True,
    help="Let this registry do so, or what is below this path of it; repeatable. [none]",
)
@click.option(
    "--cache-dir", type=click.Path(path_type=Path, file_okay=False), help="Keep fetched layers here. [below /tmp]"
)
@click.option("--cache-size", type=SizeType(), default="1Gi", help="How much of them, those on their way included.")
@click.option(
    "--trusted-root",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A trusted_root.json, for keyless signatures of releases that name none of their own. [none]",
)
@click.option(
    "--registry-ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Authorities (PEM) to trust for every registry, besides the usual ones. [none]",
)
@click.option(
    "--allow-native-code",
    is_flag=True,
    help="Let modules bring native code along (sections wamr-aot…), which Higress runs in the gateway's own process.",
)
def run(
    namespaces: tuple[str, ...],
    kubeconfig: Path | None,
    istio_root_namespace: str,
    resync: float,
    liveness_port: int,
    log_format: str,
    log_level: str,
    gateway_container: str,
    higress_labels: tuple[GatewayLabel, ...],
    gateway_admin_port: int,
    allowed_registries: tuple[str, ...],
    allow_private_realms: bool,
    private_realms_of: tuple[str, ...],
    cache_dir: Path | None,
    cache_size: int,
    trusted_root: Path | None,
    registry_ca_file: Path | None,
    allow_native_code: bool,
) -> None:
    """Run the operator until it is told to stop."""
    telemetry.configure(log_format, log_level)
    settings = Settings(
        namespaces=namespaces,
        kubeconfig=kubeconfig,
        istio_root_namespace=istio_root_namespace,
        resync=resync,
        liveness_port=liveness_port,
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
    )
    asyncio.run(operate(settings))


async def operate(settings: Settings) -> None:
    """kopf with our handlers, in this process's event loop."""
    memo = handlers.Memo(settings)
    try:
        await memo.connect()
    except Refused as error:
        raise click.ClickException(error.sentence()) from error
    async with healthz.serve(settings.liveness_port, {"/healthz": memo.beyond_help, "/readyz": memo.unready}):
        await kopf.operator(
            registry=handlers.registry,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            identity=IDENTITY,
            memo=memo,
        )
