"""The version of a release: check that it is the same everywhere, and print what is new in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
SECTION = re.compile(r"^## \[([^\]]+)\][^\n]*\n(.*?)(?=^## \[|\Z)", re.MULTILINE | re.DOTALL)
CHART = "charts/pluginrelease/Chart.yaml"


def versions(checkout: Path) -> dict[str, str]:
    """Return each place of the version, and the version there."""
    described = yaml.safe_load((checkout / CHART).read_text(encoding="utf-8"))
    module = (checkout / "operator/pluginrelease/__init__.py").read_text(encoding="utf-8")
    found = {
        name: tomllib.loads((checkout / name).read_text(encoding="utf-8"))["project"]["version"]
        for name in ("pyproject.toml", "lab/pyproject.toml")
    }
    found |= {f"{CHART} {key}": str(described[key]) for key in ("version", "appVersion")}
    [found["operator/pluginrelease/__init__.py"]] = re.findall(r'^__version__ = "([^"]+)"', module, re.MULTILINE)
    return found


def section(changelog: str, version: str) -> str:
    """Return the changelog's section of a version. Raises ValueError if there is none."""
    for name, text in SECTION.findall(changelog):
        if name == version and text.strip():
            return str(text).strip() + "\n"
    raise ValueError(f"CHANGELOG.md has no section [{version}]: rename [Unreleased], and add the date")


def check(checkout: Path, tag: str) -> str:
    """Return the version of a tag ``v1.2.3``. Raises ValueError if a place has another version."""
    version = tag.removeprefix("v")
    others = [f"{place} says {found}" for place, found in versions(checkout).items() if found != version]
    if not tag.startswith("v") or others:
        raise ValueError(f"the tag {tag} is not the version of this checkout: {'; '.join(others) or 'it has no v'}")
    return version


@click.command()
@click.argument("tag")
def main(tag: str) -> None:
    """Print what is new in the version of TAG, such as v0.1.0; end with 1 where the checkout is another version."""
    try:
        version = check(CHECKOUT, tag)
        click.echo(section((CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), version), nl=False)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
