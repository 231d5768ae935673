"""``pluginrelease copy``: pack the module of an unreadable image into one that every gateway reads."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from pluginrelease.cli._access import explain_at_terminal, with_registry_options
from pluginrelease.cli._look import find_module, split_folder_and_tag
from pluginrelease.cli.push import warn
from pluginrelease.core import wasm
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.oci import layouts, registry
from pluginrelease.edges.oci.access import Access


@click.command("copy")
@click.argument("source")
@click.argument("target", metavar="TARGET")
@with_registry_options
def copy(source: str, target: str, access: Access) -> None:
    """Pack the module in SOURCE again as TARGET (registry/repository:tag), and print TARGET with its digest.

    SOURCE is an image reference with any layout, a folder with an OCI image layout, or a .wasm file. The module's bytes
    do not change. If SOURCE has no module, the command refuses it.
    """
    try:
        reference = image_manifests.parse(target)
        content = module_of(source, access)
        module = wasm.read(content)
        with tempfile.TemporaryDirectory(prefix="pluginrelease-") as folder:
            file = Path(folder, image_manifests.PLUGIN_FILE)
            file.write_bytes(content)
            digest = registry.push(reference, file, access)
    except ReleaseError as error:
        raise click.ClickException(f"{error.reason}: {explain_at_terminal(error).sentence()}") from error
    warn(module)
    click.echo(str(reference.pinned(digest)))


def module_of(source: str, access: Access) -> bytes:
    """Return the module of the source."""
    if (file := Path(source)).is_file():
        return find_module(file, access.max_bytes)
    if (folder_and_tag := split_folder_and_tag(source)) is not None:
        return layouts.open_layout(*folder_and_tag, anything=True).salvage()
    return registry.salvage(image_manifests.parse(source), access)
