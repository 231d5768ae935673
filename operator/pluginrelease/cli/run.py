"""``pluginrelease run``: the operator."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import kopf

from pluginrelease import handlers, telemetry
from pluginrelease.core import duration
from pluginrelease.core.errors import Refused
from pluginrelease.settings import Settings


class DurationType(click.ParamType[float]):
    """``90s``, ``5m``: seconds as a float."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return duration.parse(str(value)).total_seconds()
        except Refused as error:
            self.fail(error.sentence(), param, ctx)


@click.command("run", context_settings={"auto_envvar_prefix": "PLUGINRELEASE", "show_default": True})
@click.option("--namespace", "namespaces", multiple=True, help="Watch releases in this namespace; repeatable. [all]")
@click.option("--kubeconfig", type=click.Path(path_type=Path, exists=True), help="Instead of the pod's ServiceAccount.")
@click.option("--istio-root-namespace", default="istio-system", help="Where a WasmPlugin reaches every namespace.")
@click.option("--resync", type=DurationType(), default="5m", help="How often a settled release is looked at again.")
@click.option("--liveness-port", type=click.IntRange(0, 65535), default=8080, help="GET /healthz; 0: none.")
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--gateway-container", default="istio-proxy", help="The gateway's container in its pods.")
@click.option("--gateway-admin-port", type=click.IntRange(1, 65535), default=15000, help="Envoy's admin port.")
@click.option(
    "--allow-private-realms", is_flag=True, help="Let registries send the operator to private addresses for tokens."
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
    gateway_admin_port: int,
    allow_private_realms: bool,
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
        gateway_admin_port=gateway_admin_port,
        allow_private_realms=allow_private_realms,
    )
    asyncio.run(operate(settings))


async def operate(settings: Settings) -> None:
    """kopf with our handlers, in this process's event loop."""
    endpoint = f"http://0.0.0.0:{settings.liveness_port}/healthz" if settings.liveness_port else None
    await kopf.operator(
        registry=handlers.registry,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        liveness_endpoint=endpoint,
        memo=handlers.Memo(settings),
    )
