"""``pluginrelease crd``: the CustomResourceDefinition as YAML, to apply by hand and for the chart."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from pluginrelease import api
from pluginrelease.api import field_tables, reasons_page
from pluginrelease.api.crd import render

HEADER = "# Generated from operator/pluginrelease/api by `make crds`; edit that file.\n"
FILE = f"{api.GROUP}_{api.PLURAL}.yaml"
# the checkout's copies: one to apply by hand, one inside the chart; the same bytes
COPIES = (Path("crds") / FILE, Path("charts/pluginrelease/files/crds") / FILE)
REFERENCE = Path("docs/api.md")
REASONS = Path("docs/reasons.md")
CHECKOUT = Path(__file__).resolve().parents[3]


def text() -> str:
    """The CRD as the YAML that is in ``crds/``, byte for byte."""
    return HEADER + yaml.safe_dump(render(), sort_keys=False, width=110, allow_unicode=True)


def write(checkout: Path) -> list[Path]:
    """Write every copy below ``checkout``, the tables of the API and the page of reasons; return the paths written."""
    copies = [checkout / copy for copy in COPIES]
    for path in copies:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(), encoding="utf-8")
    page = checkout / REFERENCE
    page.write_text(field_tables.fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    reasons = checkout / REASONS
    reasons.write_text(reasons_page.render(), encoding="utf-8")
    return [*copies, page, reasons]


@click.command("crd", short_help="Print the CustomResourceDefinition.")
@click.option(
    "--write",
    "to_files",
    is_flag=True,
    help="Write crds/, its copy in the chart, docs/api.md and docs/reasons.md of this checkout instead.",
)
def crd(to_files: bool) -> None:
    """Print the CustomResourceDefinition of PluginRelease: pluginrelease crd | kubectl apply --server-side -f -"""
    if not to_files:
        click.echo(text(), nl=False)
        return
    if not (CHECKOUT / "pyproject.toml").is_file():
        raise click.UsageError(f"--write is for a checkout of the project, and {CHECKOUT} is none")
    for path in write(CHECKOUT):
        click.echo(f"wrote {path.relative_to(CHECKOUT)}")
