"""``pluginrelease inspect``: what a plugin is, and whether a gateway can load it, before one receives it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import click
import yaml

from pluginrelease.cli._access import with_registry_options
from pluginrelease.cli._look import look
from pluginrelease.cli._view import make_readable
from pluginrelease.core.compat import gateway_versions
from pluginrelease.core.compat.gateway_versions import Meant
from pluginrelease.core.errors import Refused
from pluginrelease.core.offline.inspection import Inspection, Usability
from pluginrelease.core.wasm import Limits, Module
from pluginrelease.edges.oci.access import Access

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
WORDS = {Usability.USABLE: "usable", Usability.REFUSED: "refused", Usability.NOT_LOOKED: "not known"}


def gateway(context: click.Context, parameter: click.Parameter, value: str | None) -> Meant | None:
    """Parse the value of --for. Raises a usage error."""
    try:
        return gateway_versions.read(value) if value else None
    except Refused as refused:
        raise click.BadParameter(refused.sentence()) from None


def owner_allows(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Apply --allow-native-code to the gateway of --for, which must come first."""
    meant: Meant | None = context.params.get("meant")
    if value and meant is None:
        raise click.UsageError("--allow-native-code needs a gateway: name it with --for")
    if value and meant is not None:
        context.params["meant"] = replace(meant, allow_native=True)


def for_option(command: Decorated) -> Decorated:
    """Add --for, and what the owner of that gateway allows."""
    allows = click.option(
        "--allow-native-code",
        is_flag=True,
        callback=owner_allows,
        expose_value=False,
        help="The operator of that gateway also has this flag.",
    )
    meant = click.option(
        "--for",
        "meant",
        callback=gateway,
        is_eager=True,
        metavar="GATEWAY",
        help=f"The gateway to check for: {gateway_versions.FORM}.",
    )
    return meant(allows(command))


@click.command("inspect")
@click.argument("target")
@for_option
@click.option(
    "--semver", metavar="RANGE", help="Inspect the highest tag within this range; TARGET is then a repository."
)
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
@click.option("--functions", is_flag=True, help="In the table: every import and export with its type.")
@with_registry_options
def inspect(target: str, meant: Meant | None, semver: str | None, output: str, functions: bool, access: Access) -> None:
    """Say what TARGET is and whether a gateway can load it.

    TARGET is a .wasm file, an image's reference, or a folder that is an OCI image layout (DIR or DIR:TAG).
    Exit codes: 0 usable, 1 refused, 2 could not look.
    """
    seen = look(target, meant, access, semver=semver)
    if output == "json":
        click.echo(json.dumps(seen.as_json(), indent=2, ensure_ascii=False))
    elif output == "yaml":
        click.echo(yaml.safe_dump(seen.as_json(), sort_keys=False, width=110, allow_unicode=True), nl=False)
    else:
        for label, text in rows(seen, functions):
            click.echo(f"{label:<10}  {make_readable(text)}".rstrip())
    sys.exit(seen.answer)


def rows(seen: Inspection, functions: bool) -> Iterator[tuple[str, str]]:
    """Yield the table for people: a label and a text per row."""
    found = seen.found
    yield "TARGET", found.target
    if found.digest:
        yield "DIGEST", found.digest
    if found.layout:
        yield "LAYOUT", found.layout
    if found.module is not None:
        yield "SHA256", found.sha256 or ""
        yield from facts(found.module, functions)
    meant = f" for {seen.meant}" if seen.meant else ""
    yield "ANSWER", f"{WORDS[seen.answer]}{meant}"
    for reason in seen.reasons:
        yield "", f"{reason.reason}: {reason.message}"
    for warning in seen.warnings:
        yield "WARNING", f"{warning.reason}: {warning.message}"
    if seen.unsure:
        yield "", f"Not every gateway supports {', '.join(seen.unsure)}: name yours with --for."


def facts(module: Module, functions: bool) -> Iterator[tuple[str, str]]:
    """Yield what the module says of itself."""
    yield "SIZE", f"{module.size} bytes"
    yield "ABI", ", ".join(abi.replace("_", ".") for abi in module.abis[:8]) or "none"
    yield "TOOLCHAIN", f"{module.toolchain} {module.toolchain_version}".strip() or "unknown"
    yield "SECTIONS", ", ".join(module.custom_sections[:16]) or "only the standard's"
    yield "IMPORTS", f"{len(module.imports)}"
    if functions:
        yield from (("", f"{imported}: {imported.type or imported.kind}") for imported in module.imports)
    yield "MEMORY", ", ".join(map(size, module.memories[:8])) or "none"
    if module.features:
        yield "NEEDS", ", ".join(sorted(module.features))
    if module.native:
        yield "NATIVE", f"{module.native}: native code, which Higress runs instead of the module"
    yield "EXPORTS", f"{len(module.exports)}"
    if functions:
        yield from (("", f"{exported.name}: {exported.type or exported.kind}") for exported in module.exports)


def size(memory: Limits) -> str:
    """Return a memory size in Wasm pages."""
    kind = ("shared " if memory.shared else "") + ("64-bit " if memory.wide else "")
    unit = f"{memory.page >> 10} KiB" if memory.page >= 1024 else f"{memory.page} bytes"
    most = "" if memory.maximum is None else f" to {memory.maximum}"
    return f"{kind}pages of {unit}: {memory.minimum}{most}"
