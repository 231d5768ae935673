"""A look at a target, be it a file, an image in a registry or an image as a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from pluginrelease.api.reasons import Reason
from pluginrelease.cli._access import explain_at_terminal
from pluginrelease.core import wasm
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.core.compat.gateway_versions import Meant
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.offline import inspection
from pluginrelease.core.offline.inspection import Inspected, Inspection
from pluginrelease.core.registry import challenge, tags
from pluginrelease.edges.oci import layouts, registry
from pluginrelease.edges.oci.access import Access


def look(
    target: str, meant: Meant | None, access: Access, *, semver: str | None = None, only_registry: bool = False
) -> Inspection:
    """All that can be known of a target. Every error is an answer. ``only_registry``: it is an image's reference,
    whatever files are called so here. ``semver``: it is a repository, of which the highest tag within that is meant.
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
    """With the module that the bytes are. Raises what `wasm.read` refuses."""
    return replace(found, sha256=Digest.of(content).hex, module=wasm.read(content))


def find_module(file: Path, most: int) -> bytes:
    """A file's bytes; raises `Refused` for one that no gateway would read, or that cannot be read here."""
    try:
        if file.stat().st_size > most:
            raise image_manifests.refuse_too_large(file.name, most)
        return file.read_bytes()
    except OSError as error:
        raise Refused(
            Reason.TARGET_NOT_FOUND, f"{file} cannot be read: {error.strerror}", "Name another file."
        ) from None


def split_folder_and_tag(target: str) -> tuple[Path, str] | None:
    """``DIR`` or ``DIR:TAG``, if there is an OCI layout; None for anything else."""
    whole, (folder, _, tag) = Path(target), target.rpartition(":")
    if layouts.is_layout(whole):
        return whole, ""
    return (Path(folder), tag) if folder and layouts.is_layout(Path(folder)) else None


def refuse_no_target(target: str) -> Refused:
    return Refused(
        Reason.TARGET_NOT_FOUND,
        f"{target!r} is no file, and no folder that is an OCI image layout",
        "Name a .wasm file, an image's reference, or a folder with an index.json.",
    )


def look_into(found: Inspected, folder_and_tag: tuple[Path, str], meant: Meant | None, access: Access) -> Inspection:
    """An image as a folder."""
    image = layouts.open_layout(*folder_and_tag)
    found = replace(found, digest=str(image.digest))
    try:
        layout, content = image.module()
        return inspection.inspect(read(replace(found, layout=str(layout)), content), meant)
    except ReleaseError as error:
        return inspection.report_failed(found, meant, error)


def ask(found: Inspected, meant: Meant | None, access: Access) -> Inspection:
    """An image in a registry, and how that asks for credentials, which Istio's agent judges, too."""
    reference = image_manifests.parse(found.target)
    digest = registry.resolve(reference, access).digest
    found = replace(found, digest=str(digest))
    try:
        fetched = registry.fetch(reference.pinned(digest), access)
    except ReleaseError as error:
        return inspection.report_failed(found, meant, explain_at_terminal(error))
    found = replace(found, layout=str(fetched.layout), sha256=fetched.wasm_sha256, module=fetched.module)
    return inspection.inspect(found, meant, find_objections(reference, meant, access))


def find_highest(repository: str, semver: str, access: Access) -> Inspected:
    """The target that a range of versions picks; raises as `tags.pick`."""
    reference = image_manifests.parse_repository(repository)
    if reference.question:
        raise Refused(
            Reason.INVALID_REFERENCE,
            f"{repository!r} names a tag or a digest, and the range picks one",
            "Leave it out.",
        )
    listed = registry.list_tags(reference, access)
    picked = tags.pick(reference.name, semver, listed.tags, whole=listed.whole)
    if not listed.whole:
        click.echo(f"TagListIncomplete: {tags.describe_doubt(reference.name, picked)}", err=True)
    return Inspected(f"{repository}:{picked}")


def find_objections(
    reference: image_manifests.Reference, meant: Meant | None, access: Access
) -> tuple[ReleaseError, ...]:
    """What an agent of the Istio that is meant would say of the registry's challenge."""
    if meant is None or not meant.agent:
        return ()
    try:
        challenge.check_gateways(reference.registry, registry.read_challenge(reference, access), {meant.agent})
    except Refused as refused:
        return (refused,)
    return ()
