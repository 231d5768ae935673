"""``pluginrelease adapt``: turn a module for Higress into one that stock Envoy loads, for previews."""

from __future__ import annotations

from pathlib import Path

import click

from pluginrelease.api.reasons import Reason
from pluginrelease.cli._look import find_module
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.core.compat import abi_rewrite
from pluginrelease.core.errors import Refused


@click.command("adapt")
@click.argument("file", metavar="FILE.wasm", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Path of the adapted module.  [default: FILE.adapted.wasm]",
)
def adapt(file: Path, output: Path | None) -> None:
    """Make a copy of Higress's module FILE.wasm that stock Envoy loads, and say what is different there.

    Only the ABI version that it announces is changed, 0.2.100 to 0.2.1. For previews and tests: on Higress, release
    the module as it was built. A module that imports functions that only Higress has is refused by their names.
    """
    target = output or file.with_suffix(".adapted.wasm")
    try:
        adapted = abi_rewrite.adapt(find_module(file, image_manifests.MAX_WASM_BYTES))
        write(target, adapted.content)
    except Refused as refused:
        raise click.ClickException(f"{refused.reason}: {refused.sentence()}") from refused
    for difference in adapted.differences:
        click.echo(f"warning: {difference}", err=True)
    click.echo(f"adapted {target}: exports Proxy-Wasm ABI 0.2.1 instead of Higress's 0.2.100")
    click.echo(f"sha256  {Digest.of(adapted.content).hex}")


def write(target: Path, content: bytes) -> None:
    """Write the file. Raises `Refused` (TargetNotWritable)."""
    try:
        target.write_bytes(content)
    except OSError as error:
        text = f"{target} cannot be written: {error.strerror}"
        raise Refused(Reason.TARGET_NOT_WRITABLE, text, "Choose another file with --output.") from None
