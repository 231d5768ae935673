"""Sign a release with cosign: keyless in the workflow, with a key if there is no network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import click

from pluginrelease_lab import binaries

SECONDS = 300
# only a key pair: no transparency log, no timestamp, and a registry without TLS
OFFLINE = ("--tlog-upload=false", "--use-signing-config=false")
BUNDLE = ".sigstore.json"


def image_command(reference: str, key: Path | None) -> list[str]:
    """Return cosign's arguments for an image or a chart. Raises ValueError without a digest, because tags change."""
    if "@sha256:" not in reference:
        raise ValueError(f"{reference} has no digest: what is signed must be what was built")
    return ["sign", *_keyed(key), *(["--allow-http-registry"] if key else []), reference]


def attestation_command(reference: str, sbom: Path, key: Path | None) -> list[str]:
    """Return cosign's arguments that attach an SBOM in CycloneDX to an image."""
    about = ["--type", "cyclonedx", "--predicate", str(sbom)]
    return ["attest", *_keyed(key), *(["--allow-http-registry"] if key else []), *about, reference]


def file_command(path: Path, key: Path | None) -> list[str]:
    """Return cosign's arguments for a file. The signature is written beside it."""
    return ["sign-blob", *_keyed(key), "--bundle", f"{path}{BUNDLE}", str(path)]


def _keyed(key: Path | None) -> list[str]:
    return ["--yes", *([*OFFLINE, "--key", str(key)] if key else [])]


def run(commands: Sequence[Sequence[str]]) -> None:
    """Run cosign once for each command. Raises CalledProcessError with its message on stderr."""
    for arguments in commands:
        argv = [str(binaries.provide("cosign")), *arguments]
        subprocess.run(argv, env={"COSIGN_PASSWORD": "", **os.environ}, check=True, timeout=SECONDS)


@click.command()
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="A private key; otherwise keyless.")
@click.option("--image", "images", multiple=True, metavar="REF@DIGEST", help="An image or chart; repeatable.")
@click.option("--sbom", type=click.Path(path_type=Path, exists=True), help="Attach this SBOM to the first image.")
@click.option("--file", "files", type=click.Path(path_type=Path, exists=True), multiple=True, help="Repeatable.")
def main(key: Path | None, images: tuple[str, ...], sbom: Path | None, files: tuple[Path, ...]) -> None:
    """Sign images, charts and files."""
    try:
        commands = [image_command(image, key) for image in images]
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if sbom and images:
        commands.append(attestation_command(images[0], sbom, key))
    run([*commands, *(file_command(path, key) for path in files)])


if __name__ == "__main__":
    main()
