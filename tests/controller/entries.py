"""Releases of two entries as they were written, ran and are carried, and one pass over them."""

from __future__ import annotations

from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core import revision
from pluginrelease.core.errors import Transient
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import placements
from pluginrelease.core.status import settlement
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.releases import ARTIFACT, DIGEST, manifest

JSON = dict[str, Any]

PUBLIC, INTERNAL = "public", "internal"
NAMESPACES = {PUBLIC: "istio-ingress", INTERNAL: "apps"}
LABELS = {"istio": "ingressgateway"}
AT = "2026-01-01T00:00:00Z"
OLD_PLUGIN: JSON = {"config": {"old": True}}
BUSY = Transient(Reason.API_SERVER_UNAVAILABLE, "the API server answered 503")


def entries(*names: str) -> list[JSON]:
    return [{"name": name, "namespace": NAMESPACES[name], "selector": {"matchLabels": LABELS}} for name in names]


def two(*names: str, **changes: Any) -> JSON:
    """Return a release of these entries, by default both, as a person wrote it."""
    return manifest(spec__gateways=entries(*(names or (PUBLIC, INTERNAL))), **changes)


def revision_of(body: JSON, plugin: JSON | None = None) -> str:
    spec = {**body["spec"], **({"plugin": plugin} if plugin else {})}
    return revision.compute_identity(api.Spec.model_validate(spec), DIGEST)


def consent(*names: str) -> dict[str, JSON]:
    """Return the Namespaces of these entries; each allows all others."""
    annotations = {api.ALLOWED_NAMESPACES_ANNOTATION: "*"}
    return {
        NAMESPACES[name]: {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACES[name], "annotations": annotations},
        }
        for name in names
    }


def carrier(body: JSON, name: str, plugin: JSON | None = None) -> JSON:
    """Return the WasmPlugin of an entry, with the plugin of some revision."""
    changed = {**body, "spec": {**body["spec"], **({"plugin": plugin} if plugin else {})}}
    [placement] = [found for found in placements(api.Release.model_validate(changed)) if found.name == name]
    made = istio.wasm_plugin(placement, ARTIFACT, 0)
    made["metadata"]["uid"] = f"object-{name}"
    return made


def kept(body: JSON, plugin: JSON) -> JSON:
    """Return the ControllerRevision of an old plugin."""
    return revision.manifest(
        api.Release.model_validate({**body, "spec": {**body["spec"], "plugin": plugin}}), ARTIFACT, 0
    )


def ran(body: JSON, stable: dict[str, str]) -> JSON:
    """Return the release after a rollout that has run; entry → the revision that is stable there."""
    done = {"type": "", "status": "True", "reason": "Done", "message": "", "lastTransitionTime": AT}
    rows = [
        {
            "name": name,
            "state": "Loaded",
            "reason": "Loaded",
            "revision": there,
            "stable": {"revision": there, "selector": {"matchLabels": LABELS}},
            "object": {
                "apiVersion": istio.TARGET.api_version,
                "kind": "WasmPlugin",
                "namespace": NAMESPACES[name],
                "name": carrier(two(), name)["metadata"]["name"],
            },
        }
        for name, there in stable.items()
    ]
    noted = [{"name": name, "revision": there, "since": AT} for name, there in stable.items()]
    spec = api.Release.model_validate(body).spec
    status = {
        "observedGeneration": 1,
        "artifact": ARTIFACT.wire(),
        "conditions": [{**done, "type": step} for step in ("Ready", "ArtifactReady", "Compatible", "Applied")],
        "targetRevision": revision_of(body),
        "gateways": rows,
        "checkpoint": {"gateways": noted},
        "rollout": {"specHash": revision.spec_hash(spec), "startedAt": AT, "completedAt": AT},
    }
    return {**body, "status": status}


ROWS = {
    "loaded": (State.LOADED, "Loaded"),
    "refuses": (State.UNHEALTHY, "PluginRejected"),
    "crashes": (State.UNHEALTHY, "GatewayCrashed"),
    "coming": (State.PENDING, "AwaitingConfig"),
}


async def settle(cluster: ScriptedAPI, body: JSON) -> settlement.Ending:
    return await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)


def carried(cluster: ScriptedAPI) -> dict[str, str]:
    """Return entry → the revision that its object carries."""
    return {
        found["metadata"]["annotations"][api.GATEWAY_ANNOTATION]: found["metadata"]["annotations"].get(
            api.REVISION_ANNOTATION, ""
        )
        for (kind, _, _), found in cluster.objects.items()
        if kind.plural == "wasmplugins"
    }
