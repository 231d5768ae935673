"""``pluginrelease lab binaries``: prepare the lab's programs and print their paths."""

from __future__ import annotations

import click

from pluginrelease.core.errors import ReleaseError
from pluginrelease_lab import binaries as programs
from pluginrelease_lab import recipes

NAMES = tuple(binary.name for tool in recipes.TOOLS for binary in tool.binaries)
OF_A_LAB = tuple(binary.name for tool in recipes.TOOLS if not tool.is_asked_for for binary in tool.binaries)


@click.command("binaries")
@click.argument("names", nargs=-1, type=click.Choice([*NAMES, "envoy"]))
def binaries(names: tuple[str, ...]) -> None:
    """Find, fetch or build the lab's programs, and print their paths.

    Without NAMES these are all programs that some lab starts. Argo CD's are made only by their names.
    """
    try:
        ready = programs.ensure(names or (*OF_A_LAB, "envoy"), report=lambda line: click.echo(line, err=True))
    except ReleaseError as error:
        raise click.ClickException(f"{error.reason}: {error.sentence()}") from error
    for name, path in ready.items():
        click.echo(f"{name:24} {path}")
