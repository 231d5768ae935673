"""The published chart: it names its own image by digest, and its source."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from pluginrelease_lab import operator

JSON = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parents[1]
CHART = CHECKOUT / "charts" / "pluginrelease"
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
PUSHED = re.compile(r"^Digest: (sha256:[0-9a-f]{64})$", re.MULTILINE)
SECONDS = 120.0


@dataclass(frozen=True)
class PublishedImage:
    """The operator's image: ``repository`` with its registry, ``digest`` of the index of all architectures."""

    repository: str
    digest: str

    def __post_init__(self) -> None:
        if not DIGEST.match(self.digest):
            raise ValueError(f"{self.digest} is not a digest such as sha256: with 64 hex digits")

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


def pin(values: str, image: PublishedImage) -> str:
    """Return values.yaml, with its comments, and with this image as the default."""
    for name, value in (("repository", image.repository), ("digest", f'"{image.digest}"')):
        values, found = re.subn(rf"^(image:\n(?:  .*\n)*?  {name}:) .*$", rf"\g<1> {value}", values, flags=re.MULTILINE)
        if found != 1:
            raise ValueError(f"values.yaml has no image.{name}")
    return values


def describe(chart: JSON, image: PublishedImage, source: str) -> JSON:
    """Return Chart.yaml with its source, and with what catalogues of charts show about its image."""
    version = str(chart["version"])
    about = {
        "artifacthub.io/images": yaml.safe_dump([{"name": "operator", "image": str(image)}], sort_keys=False),
        "artifacthub.io/links": yaml.safe_dump(
            [
                {"name": "Install", "url": f"{source}/blob/v{version}/docs/install.md"},
                {"name": "Changes", "url": f"{source}/blob/v{version}/CHANGELOG.md"},
                {"name": "Security", "url": f"{source}/blob/v{version}/SECURITY.md"},
            ],
            sort_keys=False,
        ),
        "artifacthub.io/prerelease": "true" if "-" in version else "false",
    }
    return {**chart, "home": source, "sources": [source], "annotations": {**chart["annotations"], **about}}


def package(folder: Path, image: PublishedImage, source: str) -> Path:
    """Write the chart's archive to ``folder``. ``source``: the address of the repository. Raises LabError."""
    with tempfile.TemporaryDirectory(prefix="chart-") as scratch:
        staged = Path(scratch) / CHART.name
        shutil.copytree(CHART, staged)
        values, described = staged / "values.yaml", staged / "Chart.yaml"
        values.write_text(pin(values.read_text(encoding="utf-8"), image), encoding="utf-8")
        content = describe(yaml.safe_load(described.read_text(encoding="utf-8")), image, source)
        described.write_text(yaml.safe_dump(content, sort_keys=False, width=110), encoding="utf-8")
        operator.helm("lint", "--strict", staged)
        operator.helm("package", staged, "--destination", folder, timeout=SECONDS)
    return folder / f"{content['name']}-{content['version']}.tgz"


def push(archive: Path, repository: str, *, insecure: bool = False) -> str:
    """Push an archive below ``repository`` (registry/path); return the chart's digest there. Raises LabError.

    ``insecure``: use plain HTTP.
    """
    plain = ["--plain-http"] if insecure else []
    said = operator.helm("push", archive, f"oci://{repository}", *plain, timeout=SECONDS)
    found = PUSHED.search(said)
    if found is None:
        raise ValueError(f"helm push names no digest: {said}")
    return found.group(1)


@click.group()
def main() -> None:
    """The chart of a release."""


@main.command("package")
@click.option("--image", required=True, help="The image's repository, with its registry.")
@click.option("--digest", required=True, help="The digest of the image's index.")
@click.option("--source", required=True, help="The address of the project's repository.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def package_command(image: str, digest: str, source: str, folder: Path) -> None:
    """Write the chart's archive to FOLDER, with the image by digest."""
    folder.mkdir(parents=True, exist_ok=True)
    click.echo(package(folder, PublishedImage(image, digest), source))


@main.command("push")
@click.argument("archive", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("repository")
def push_command(archive: Path, repository: str) -> None:
    """Push ARCHIVE below REPOSITORY (registry/path), and print the chart's digest."""
    click.echo(push(archive, repository))


if __name__ == "__main__":
    main()
