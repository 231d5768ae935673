"""deploy/argocd/argocd-cm.yaml: the health and the actions of a PluginRelease, as Argo CD's ConfigMap wants them.

The scripts lie in deploy/argocd/resource_customizations, one folder for each kind, as in Argo CD's own repository.
The keys and their values: https://argo-cd.readthedocs.io/en/stable/operator-manual/health and
https://argo-cd.readthedocs.io/en/stable/operator-manual/resource_actions.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from pluginrelease import api

FOLDER = Path("deploy/argocd/resource_customizations") / api.GROUP / api.KIND
PATCH = Path("deploy/argocd/argocd-cm.yaml")
KEY = f"{api.GROUP}_{api.KIND}"
HEALTH_KEY = f"resource.customizations.health.{KEY}"
ACTIONS_KEY = f"resource.customizations.actions.{KEY}"
HEADER = """\
# Generated from deploy/argocd/resource_customizations by `make manifests`; edit the scripts.
#   kubectl patch configmap argocd-cm -n argocd --patch-file deploy/argocd/argocd-cm.yaml
"""


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as such."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def health(checkout: Path) -> str:
    """Return the script that says how a release is."""
    return (checkout / FOLDER / "health.lua").read_text(encoding="utf-8")


def actions(checkout: Path) -> str:
    """Return the script that says which actions there are, and the script of each, as one YAML document."""
    folder = checkout / FOLDER / "actions"
    scripts = {path.parent.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*/action.lua"))}
    discovery = (folder / "discovery.lua").read_text(encoding="utf-8")
    definitions = [{"name": name, "action.lua": script} for name, script in scripts.items()]
    return _dump({"discovery.lua": discovery, "definitions": definitions})


def patch_text(checkout: Path) -> str:
    """Return the patch of argocd-cm."""
    return HEADER + _dump({"data": {HEALTH_KEY: health(checkout), ACTIONS_KEY: actions(checkout)}})


def _dump(content: dict[str, object]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
