"""Inspect a target: a file, an image in a registry, or an image as a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from pluginrelease.api.reasons import Reason
from pluginrelease.cli._access import explain_at_terminal
from pluginrelease.core import wasm
from pluginrelease.core.artifact import downloads, image_manifests
from pluginrelease.core.artifact.downloads import Download
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.core.compat.gateway_versions import Meant
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.offline import inspection
from pluginrelease.core.offline.inspection import Inspected, Inspection
from pluginrelease.core.registry import challenge, tags
from pluginrelease.edges.oci import downloads as http_files
from pluginrelease.edges.oci import layouts, registry
from pluginrelease.edges.oci.access import Access


def look(
    target: str, meant: Meant | None, access: Access, *, semver: str | None = None, only_registry: bool = False
) -> Inspection:
    """Return all that can be known of a target; errors are part of the result.

    ``only_registry``: the target is an image reference, even if a file has this name. ``semver``: the target is a
    repository, and its highest tag in this range is inspected.
    """
    found = Inspected(target)
    try:
        if semver is not None:
            return ask(find_highest(target, semver, access), meant, access)
        if only_registry:
            return ask(found, meant, access)
        if (path := Path(target)).is_file():
            return inspection.inspect(read(found, find_module(path, access.max_bytes)), meant)
        if (folder := split_folder_and_tag(target)) is not None:
            return look_into(found, folder, meant, access)
        if path.exists() or target.endswith(".wasm") or target.startswith((".", "/")):
            raise refuse_no_target(target)
        return ask(found, meant, access)
    except ReleaseError as error:
        return inspection.report_failed(found, meant, explain_at_terminal(error))


def read(found: Inspected, content: bytes) -> Inspected:
    """Add the module that the bytes contain. Raises what `wasm.read` refuses."""
    return replace(found, sha256=Digest.of(content).hex, module=wasm.read(content))


def find_module(file: Path, most: int) -> bytes:
    """Return a file's bytes. Raises `Refused` if it cannot be read, or no gateway would read it."""
    try:
        if file.stat().st_size > most:
            raise image_manifests.refuse_too_large(file.name, most)
        return file.read_bytes()
    except OSError as error:
        raise Refused(
            Reason.TARGET_NOT_FOUND, f"{file} cannot be read: {error.strerror}", "Name another file."
        ) from None


def split_folder_and_tag(target: str) -> tuple[Path, str] | None:
    """Split ``DIR`` or ``DIR:TAG`` if it is an OCI layout; return None for anything else."""
    whole, (folder, _, tag) = Path(target), target.rpartition(":")
    if layouts.is_layout(whole):
        return whole, ""
    return (Path(folder), tag) if folder and layouts.is_layout(Path(folder)) else None


def refuse_no_target(target: str) -> Refused:
    return Refused(
        Reason.TARGET_NOT_FOUND,
        f"{target!r} is neither a file nor a folder with an OCI image layout",
        "Name a .wasm file, an image's reference, or a folder with an index.json.",
    )


def look_into(found: Inspected, folder_and_tag: tuple[Path, str], meant: Meant | None, access: Access) -> Inspection:
    """Inspect an image as a folder."""
    image = layouts.open_layout(*folder_and_tag)
    found = replace(found, digest=str(image.digest))
    try:
        layout, content = image.module()
        return inspection.inspect(read(replace(found, layout=str(layout)), content), meant)
    except ReleaseError as error:
        return inspection.report_failed(found, meant, error)


def ask(found: Inspected, meant: Meant | None, access: Access) -> Inspection:
    """Inspect an image in a registry, and the registry's challenge, which Istio's agent judges as well."""
    if (download := downloads.read_name(found.target)) is not None:
        return ask_server(replace(found, digest=str(download.digest)), download, meant, access)
    reference = image_manifests.parse(found.target)
    digest = registry.resolve(reference, access).digest
    found = replace(found, digest=str(digest))
    try:
        fetched = registry.fetch(reference.pinned(digest), access)
    except ReleaseError as error:
        return inspection.report_failed(found, meant, explain_at_terminal(error))
    found = replace(found, layout=str(fetched.layout), sha256=fetched.wasm_sha256, module=fetched.module)
    return inspection.inspect(found, meant, find_objections(reference, meant, access))


def ask_server(found: Inspected, download: Download, meant: Meant | None, access: Access) -> Inspection:
    """Inspect a module on an HTTP server."""
    fetched = http_files.fetch(download, access)
    found = replace(found, layout=str(fetched.layout), sha256=fetched.wasm_sha256, module=fetched.module)
    return inspection.inspect(found, meant)


def find_highest(repository: str, semver: str, access: Access) -> Inspected:
    """Return the target that a version range selects. Raises as `tags.pick`."""
    reference = image_manifests.parse_repository(repository)
    if reference.question:
        raise Refused(
            Reason.INVALID_REFERENCE,
            f"{repository!r} names a tag or a digest, but the range chooses the tag",
            "Remove the tag or the digest from the reference.",
        )
    listed = registry.list_tags(reference, access)
    picked = tags.pick(reference.name, semver, listed.tags, whole=listed.whole)
    if not listed.whole:
        click.echo(f"TagListIncomplete: {tags.describe_doubt(reference.name, picked)}", err=True)
    return Inspected(f"{repository}:{picked}")


def find_objections(
    reference: image_manifests.Reference, meant: Meant | None, access: Access
) -> tuple[ReleaseError, ...]:
    """Return how the agent of the given Istio would object to the registry's challenge."""
    if meant is None or not meant.agent:
        return ()
    try:
        challenge.check_gateways(reference.registry, registry.read_challenge(reference, access), {meant.agent})
    except Refused as refused:
        return (refused,)
    return ()
