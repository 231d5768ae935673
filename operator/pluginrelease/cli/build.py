"""``pluginrelease build``: compile a plugin's Go source to plugin.wasm."""

from __future__ import annotations

from pathlib import Path

import click

from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.toolchain import builder


@click.command("build")
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("plugin.wasm"),
    show_default=True,
    help="Path of the built module.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    help="Seconds that the build may take.",
)
def build(source: Path, output: Path, timeout: float) -> None:
    """Build the Go plugin in DIR with plain Go, and say what was built."""
    try:
        built = builder.compile_go(source, output, deadline=timeout, tick=_say_progress)
    except ReleaseError as error:
        raise click.ClickException(f"{error.reason}: {error.sentence()}") from error
    click.echo(f"built {built.path} in {built.seconds:.1f} s with Go {built.go}")
    click.echo(f"size   {built.size} bytes")
    click.echo(f"sha256 {built.sha256}")


def _say_progress(seconds: float, _lines: int) -> None:
    click.echo(f"compiling … {seconds:.0f} s", err=True)
