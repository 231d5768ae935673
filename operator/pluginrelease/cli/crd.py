"""``pluginrelease crd``: the CustomResourceDefinition as YAML, to apply and for the chart; or as JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path

import click
import yaml

from pluginrelease import api
from pluginrelease.api import field_tables, reasons_page
from pluginrelease.api.crd import render
from pluginrelease.core.offline import json_schema, kustomize_schema

HEADER = "# Generated from operator/pluginrelease/api by `make crds`; edit that file.\n"
FILE = f"{api.GROUP}_{api.PLURAL}.yaml"
# copies in the checkout, with the same bytes: one to apply by hand, one in the chart
COPIES = (Path("crds") / FILE, Path("charts/pluginrelease/files/crds") / FILE)
# kubeconform finds it as {{.ResourceKind}}.schema.json
SCHEMA = Path("crds") / f"{api.SINGULAR}.schema.json"
KUSTOMIZE = Path("deploy/releases/openapi.json")
REFERENCE = Path("docs/api.md")
REASONS = Path("docs/reasons.md")
CHECKOUT = Path(__file__).resolve().parents[3]


def text() -> str:
    """Return the CRD as YAML, byte for byte as in ``crds/``."""
    return HEADER + yaml.safe_dump(render(), sort_keys=False, width=110, allow_unicode=True)


def schema_text() -> str:
    """The JSON Schema as it is in ``crds/``, byte for byte."""
    return json.dumps(json_schema.render(), indent=2, ensure_ascii=False) + "\n"


def kustomize_text() -> str:
    """The schema for Kustomize as it is in ``deploy/releases``, byte for byte."""
    return json.dumps(kustomize_schema.render(), indent=2) + "\n"


def write(checkout: Path) -> list[Path]:
    """Write all that is made of the models below ``checkout``; return the paths written."""
    copies = [checkout / copy for copy in COPIES]
    for path in copies:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(), encoding="utf-8")
    schemas = {SCHEMA: schema_text(), KUSTOMIZE: kustomize_text()}
    for path, content in schemas.items():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_text(content, encoding="utf-8")
    page = checkout / REFERENCE
    page.write_text(field_tables.fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    reasons = checkout / REASONS
    reasons.write_text(reasons_page.render(), encoding="utf-8")
    return [*copies, *(checkout / path for path in schemas), page, reasons]


@click.command("crd", short_help="Print the CustomResourceDefinition.")
@click.option(
    "--write",
    "to_files",
    is_flag=True,
    help="Write crds/, the JSON Schema, docs/api.md and docs/reasons.md of this checkout instead, as `make crds` does.",
)
@click.option("--json-schema", "for_editors", is_flag=True, help="Print the JSON Schema for editors and kubeconform.")
def crd(to_files: bool, for_editors: bool) -> None:
    """Print the CustomResourceDefinition of PluginRelease: pluginrelease crd | kubectl apply --server-side -f -"""
    if to_files and for_editors:
        raise click.UsageError("--write already writes the JSON Schema")
    if not to_files:
        click.echo(schema_text() if for_editors else text(), nl=False)
        return
    if not (CHECKOUT / "pyproject.toml").is_file():
        raise click.UsageError(f"--write is for a checkout of the project, and {CHECKOUT} is none")
    for path in write(CHECKOUT):
        click.echo(f"wrote {path.relative_to(CHECKOUT)}")
