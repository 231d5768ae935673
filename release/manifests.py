"""``make manifests``: the chart's README and deploy/install.yaml, from the chart; Argo CD's patch; copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from pluginrelease_lab import operator
from release import argocd, values_table

JSON = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parents[1]
CHART = Path("charts/pluginrelease")
README = CHART / "README.md"
INSTALL = Path("deploy/install.yaml")
COMPONENT = Path("deploy/releases")
REPOSITORIES = (Path("examples/flux"), Path("examples/argocd"))
NAMESPACE = "pluginrelease-system"
HEADER = """\
# Generated from charts/pluginrelease with its defaults by `make manifests`; edit the chart.
#   kubectl apply --server-side -f deploy/install.yaml
"""
# untrue for objects without Helm
HELMS = ("helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/managed-by")


def install_text() -> str:
    """Return the namespace, the CRD and the chart's other objects with its defaults, in the order of application."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace: JSON = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}
    found = [without_helm(manifest) for manifest in operator.render(NAMESPACE)]
    first = [manifest for manifest in found if manifest["kind"] == "CustomResourceDefinition"]
    others = [manifest for manifest in found if manifest["kind"] != "CustomResourceDefinition"]
    return HEADER + yaml.safe_dump_all([namespace, *first, *others], sort_keys=False, width=110, allow_unicode=True)


def without_helm(manifest: JSON) -> JSON:
    """Return the object without the labels and annotations that Helm uses."""
    about = manifest["metadata"]
    for part in ("labels", "annotations"):
        kept = {name: value for name, value in about.pop(part, {}).items() if name not in HELMS}
        if kept:
            about[part] = kept
    return manifest


def write(checkout: Path) -> list[Path]:
    """Write the files below ``checkout``; return their paths."""
    readme, install, patch = checkout / README, checkout / INSTALL, checkout / argocd.PATCH
    readme.write_text(values_table.fill(readme.read_text(encoding="utf-8"), checkout / CHART), encoding="utf-8")
    install.write_text(install_text(), encoding="utf-8")
    patch.write_text(argocd.patch_text(checkout), encoding="utf-8")
    return [readme, install, patch, *copy_component(checkout)]


def copy_component(checkout: Path) -> list[Path]:
    """Copy the Kustomize component into the example repositories, which are complete; return the copies."""
    written = []
    for repository in REPOSITORIES:
        for source in sorted((checkout / COMPONENT).iterdir()):
            written.append(checkout / repository / "component" / source.name)
            written[-1].write_bytes(source.read_bytes())
    return written


@click.command()
def main() -> None:
    """Write the generated manifests of this checkout, and the chart's README."""
    for path in write(CHECKOUT):
        click.echo(f"wrote {path.relative_to(CHECKOUT)}")


if __name__ == "__main__":
    main()
