"""A rollout under way: the new revision is written, and a gateway that was well before has crashed since."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import placements
from tests.harness.releases import ARTIFACT, DIGEST, manifest, release

JSON = dict[str, Any]

GATEWAY, ENTRY = "istio-ingress", "public"
WROTE = "2026-01-01T00:00:00Z"
NEW = revision.compute_identity(release().spec, DIGEST)
OLD_SPEC: JSON = {"spec__plugin": {"config": {"old": True}}}
OLD = revision.compute_identity(release(**OLD_SPEC).spec, DIGEST)


def rolling_out(**changes: Any) -> JSON:
    """The release as the API server has it after the write."""
    steps = ("ArtifactReady", "Compatible", "Applied")
    about = {"reason": "Done", "message": "", "lastTransitionTime": WROTE, "observedGeneration": 1}
    run = Incarnation.of("pod", datetime(2025, 12, 31, tzinfo=UTC))
    deployed = {"firstDeployed": WROTE, "lastDeployed": WROTE}
    observation = {"name": ENTRY, "revision": NEW, "loadHash": "", "since": WROTE, "pods": [f"{run.pod}.{run.run} - 0"]}
    body = manifest(**changes)
    selector = body["spec"]["gateways"][0].get("selector")
    stable = {"revision": OLD, **({"selector": selector} if selector else {})}
    row = {"name": ENTRY, "state": "Pending", "reason": "Pending", "revision": NEW, "stable": stable}
    status = {
        "observedGeneration": 1,
        "artifact": ARTIFACT.model_dump(by_alias=True, exclude_none=True),
        "conditions": [{"type": step, "status": "True", **about} for step in steps],
        "gateways": [row],
        "checkpoint": {"gateways": [observation]},
        "rollout": {"specHash": revision.spec_hash(release().spec), "startedAt": WROTE},
        "stableRevision": OLD,
        "history": [{"revision": NEW, "number": 2, "state": "Deploying", "ref": "r", "digest": DIGEST, **deployed}],
    }
    return manifest(**{"status": status, **changes})


def written(body: JSON) -> JSON:
    """The WasmPlugin with the new revision."""
    [placement] = placements(api.Release.model_validate(body))
    made = istio.wasm_plugin(placement, ARTIFACT, 0)
    made["metadata"]["uid"] = "object"
    return made


def old(body: JSON) -> JSON:
    """The ControllerRevision of the stable revision."""
    spec = {**body["spec"], "plugin": {"config": {"old": True}}}
    return revision.manifest(api.Release.model_validate({**body, "spec": spec}), ARTIFACT, 0)


def crashed(name: str = "gateway", uid: str = "pod") -> JSON:
    """A gateway pod whose Envoy died twice of a fault since the write."""
    ended = {"reason": "Error", "exitCode": 139, "finishedAt": "2026-01-01T00:00:09Z"}
    container = {
        "name": "istio-proxy",
        "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": GATEWAY, "uid": uid, "labels": {"istio": "ingressgateway"}},
        "spec": {"containers": [{"name": "istio-proxy", "image": "proxy"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [container],
        },
    }


def failed(body: JSON, reason: str) -> JSON:
    """The same after the decision to go back."""
    failure = {"revision": NEW, "gateways": [ENTRY], "reason": reason, "message": "no", "at": "2026-01-01T00:00:05Z"}
    body["status"]["rollout"] |= {"failure": failure}
    return body
