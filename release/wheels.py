"""Build the operator and the lab as wheels and source archives. The same commit gives the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECTS = (CHECKOUT, CHECKOUT / "lab")
SECONDS = 300


def commit_time(checkout: Path) -> str:
    """Return the seconds since 1970 of the newest commit, used as the time of every file in the archives."""
    argv = ["git", "-C", str(checkout), "log", "-1", "--format=%ct"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.strip()


def build(folder: Path, epoch: str) -> list[Path]:
    """Build both projects into ``folder``; return the new files. The build needs no network."""
    before = set(folder.glob("*")) if folder.exists() else set()
    for project in PROJECTS:
        argv = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder.resolve())]
        environ = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
        subprocess.run(argv, cwd=project, env=environ, check=True, timeout=SECONDS)
    return sorted(set(folder.glob("*")) - before)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Build wheels and source archives into FOLDER."""
    for path in build(folder, commit_time(CHECKOUT)):
        click.echo(path)


if __name__ == "__main__":
    main()
