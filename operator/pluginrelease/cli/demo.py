"""``pluginrelease demo``: the main job from start to end, in a lab of its own."""

from __future__ import annotations

import sys

import click

from pluginrelease.core.errors import ReleaseError
from pluginrelease_lab.errors import LabError


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep everything running at the end, and print the commands to use it.")
@click.option("--gateways", type=click.IntRange(1, 10), default=2, show_default=True, help="Number of gateway pods.")
@click.option(
    "--mesh",
    type=click.Choice(["istio", "higress"]),
    default="istio",
    show_default=True,
    help="Kind of mesh.",
)
def demo(keep: bool, gateways: int, mesh: str) -> None:
    """Build a plugin, release it to real gateways, and see it work.

    For Istio a bad one follows, and is refused; for Higress the plugin is reconfigured, then for one domain only.
    """
    from pluginrelease_lab import demo as demonstration  # late: the lab's libraries are an extra

    try:
        failures = demonstration.run(keep=keep, gateways=gateways, mesh=mesh, report=click.echo)
    except (LabError, ReleaseError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(1 if failures else 0)
