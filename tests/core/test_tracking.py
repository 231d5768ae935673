"""What GitOps tools mark a release with stays on the release: else they would prune or undo what the operator makes."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.mesh import providers, target
from tests.harness.releases import ARTIFACT, placed, release

JSON = dict[str, Any]

LABELS = {
    "app.kubernetes.io/instance": "gateways",
    "argocd.argoproj.io/instance": "gateways",
    "kustomize.toolkit.fluxcd.io/name": "plugins",
    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
}
ANNOTATIONS = {
    "argocd.argoproj.io/tracking-id": "gateways:pluginrelease.io/PluginRelease:istio-ingress/auth",
    "argocd.argoproj.io/sync-wave": "2",
    "argocd.argoproj.io/sync-options": "Prune=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
    "kubectl.kubernetes.io/last-applied-configuration": "{}",
}


@pytest.mark.parametrize("namespace", ["istio-ingress", "team-a"])
@pytest.mark.parametrize("provider", ["Istio", "Higress"])
def test_no_mark_of_a_tool_is_passed_on(provider: str, namespace: str) -> None:
    """WasmPlugins, copied Secrets and kept revisions have the operator's own labels and annotations only."""
    tracked = release(
        metadata__namespace=namespace,
        metadata__labels=LABELS,
        metadata__annotations=ANNOTATIONS,
        spec__provider=provider,
        spec__artifact__image__pullSecretRef={"name": "pull"},
    )
    made: list[JSON] = [
        providers.plugin_api_of(tracked.spec).wasm_plugin(placed(tracked), ARTIFACT),
        target.render_pull_secret(placed(tracked), "e30="),
        revision.manifest(tracked, ARTIFACT, 1),
    ]
    for thing in made:
        about = thing["metadata"]
        marks = {**about.get("labels", {}), **about.get("annotations", {})}
        assert marks.keys() & {*LABELS, *ANNOTATIONS} == set(), thing["kind"]
        assert marks[api.UID_LABEL] == tracked.metadata.uid, thing["kind"]
