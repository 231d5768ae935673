"""``pluginrelease push``: push plugin.wasm as an image that every gateway reads; print its digest."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pluginrelease.cli._access import explain_at_terminal, with_registry_options
from pluginrelease.core import compat, wasm
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access


@click.command("push")
@click.argument("file", metavar="FILE.wasm", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("reference", metavar="REFERENCE")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@with_registry_options
def command(file: Path, reference: str, output: str, access: Access) -> None:
    """Push the module FILE.wasm to REFERENCE (registry/repository:tag) and print the reference by digest."""
    try:
        place = image_manifests.parse(reference)
        module = _read(file, access.max_bytes)
        digest = registry.push(place, file, access)
    except ReleaseError as error:
        raise click.ClickException(f"{error.reason}: {explain_at_terminal(error).sentence()}") from error
    warn(module)
    _print(place.pinned(digest), module, output)


def _read(file: Path, most: int) -> wasm.Module:
    """Return the module of a file. A file that is no module is not pushed."""
    if file.stat().st_size > most:
        raise image_manifests.refuse_too_large(file.name, most)
    return wasm.read(file.read_bytes())


def warn(module: wasm.Module) -> None:
    """Report what every gateway would refuse, and what is unusual.

    This is no error, because a newer gateway may accept it.
    """
    verdict = compat.judge(module, ())
    if verdict.state is compat.CompatibilityState.INCOMPATIBLE:
        click.echo(f"warning: {verdict.reason}: {verdict.sentence()}", err=True)
    for odd in compat.find_warnings(module, ()):
        click.echo(f"warning: {odd}", err=True)


def _print(pinned: image_manifests.Reference, module: wasm.Module, output: str) -> None:
    if output == "text":
        click.echo(str(pinned))
        return
    facts = {
        "reference": str(pinned),
        "digest": str(pinned.digest),
        "abi": module.abi,
        "toolchain": f"{module.toolchain} {module.toolchain_version}".strip(),
        "size": module.size,
    }
    click.echo(json.dumps(facts))
