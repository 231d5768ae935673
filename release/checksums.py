"""SHA256SUMS of a folder: written for a release, and checked by users who download it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

FILE = "SHA256SUMS"
# not in the list: they are made from it
AFTER = (FILE, f"{FILE}.sigstore.json")


def files(folder: Path) -> list[Path]:
    """Return every file of the folder except the list and its signature."""
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name not in AFTER)


def text(folder: Path) -> str:
    """Return the list in sha256sum's form."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files(folder))


def differences(folder: Path) -> list[str]:
    """Return the differences from the folder's list: changed, missing, or unlisted files."""
    listed = {}
    for line in (folder / FILE).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files(folder)}
    said = {name: "changed" for name in listed.keys() & there.keys() if listed[name] != there[name]}
    said |= dict.fromkeys(listed.keys() - there.keys(), "missing") | dict.fromkeys(there.keys() - listed, "not listed")
    return [f"{name}: {what}" for name, what in sorted(said.items())]


@click.command()
@click.option("--check", is_flag=True, help="Compare with the list instead of writing it.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(check: bool, folder: Path) -> None:
    """Write SHA256SUMS of FOLDER."""
    if not check:
        (folder / FILE).write_text(text(folder), encoding="utf-8")
    elif found := differences(folder):
        raise click.ClickException("; ".join(found))
    click.echo(f"{folder / FILE}: {len(files(folder))} files")


if __name__ == "__main__":
    main()
