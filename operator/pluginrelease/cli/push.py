"""``pluginrelease push``: plugin.wasm → an image that every gateway reads, named by its digest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from pluginrelease.core import artifact, compat, wasm
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges import registry

# What a person at a terminal does, where a release's own remedy speaks of its spec.
_LOGIN = "Log in with `docker login` or `crane auth login`, or name a file with --docker-config."
_REMEDIES = {
    "AuthenticationFailed": _LOGIN,
    "AuthenticationRequired": _LOGIN,
    "InvalidPullSecret": _LOGIN,
    "RegistryTLS": "Give the registry a certificate that this machine trusts; if it speaks plain http, say --insecure.",
    "RegistryUnavailable": "Check the host, and the proxy between here and the registry.",
}


@click.command("push")
@click.argument("file", metavar="FILE.wasm", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("reference", metavar="REFERENCE")
@click.option("--insecure", is_flag=True, help="Speak plain http with the registry.")
@click.option(
    "--docker-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A config.json with the registry's credentials.  [default: $DOCKER_CONFIG or ~/.docker, if there]",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds for it all.")
def command(
    file: Path, reference: str, insecure: bool, docker_config: Path | None, output: str, timeout: float
) -> None:
    """Push the module FILE.wasm to REFERENCE (registry/repository:tag) and print the reference by digest."""
    access = registry.Access(
        insecure=insecure,
        dockerconfigjson=_credentials(docker_config),
        deadline_seconds=timeout,
        allow_private_realms=True,  # whoever pushes has named the registry and may log in wherever it says
    )
    try:
        place = artifact.parse(reference)
        module = _read(file, access.max_bytes)
        digest = registry.push(place, file, access)
    except ReleaseError as error:
        remedy = _REMEDIES.get(error.reason, error.remedy)
        raise click.ClickException(f"{error.reason}: {error.message.rstrip('.')}. {remedy}".strip()) from error
    _warn(module)
    _print(place.pinned(digest), module, output)


def _read(file: Path, most: int) -> wasm.Module:
    """The module in a file; a file that is not one is not pushed."""
    if file.stat().st_size > most:
        raise artifact.too_large(file.name, most)
    return wasm.read(file.read_bytes())


def _credentials(named: Path | None) -> bytes | None:
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    file = named or Path(folder, "config.json")
    if named is None and not file.is_file():
        return None
    raw = file.read_bytes()
    try:
        content = json.loads(raw)
    except ValueError:
        raise click.ClickException(f"{file} is not JSON") from None
    # A config.json of its own accord has no "auths"; as a pull secret it would be wrong.
    return raw if named or (isinstance(content, dict) and content.get("auths")) else None


def _warn(module: wasm.Module) -> None:
    """Say now what every gateway would refuse later. Not an error: a newer gateway may be meant."""
    verdict = compat.judge(module, ())
    if verdict.state is compat.State.INCOMPATIBLE:
        click.echo(f"warning: {verdict.reason}: {verdict.sentence()}", err=True)


def _print(pinned: artifact.Reference, module: wasm.Module, output: str) -> None:
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
