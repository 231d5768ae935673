"""A release → the objects that make Istio's gateways load the plugin: a WasmPlugin, and a copy of the pull secret.

Whole objects are rendered, nothing is read from the cluster. Fields: istio/api ``extensions/v1alpha1/wasm.proto``.
"""

from __future__ import annotations

from typing import Any

from pluginrelease.core import api
from pluginrelease.core import revision as revisions

JSON = dict[str, Any]

API_VERSION = "extensions.istio.io/v1alpha1"
GROUP = "extensions.istio.io"
KIND = "WasmPlugin"
PLURAL = "wasmplugins"

# room for "-<10 hex>" and "-pull" within the 253 characters of a Kubernetes name
NAME_ROOM = 236


def object_name(release: api.Release) -> str:
    """The release's name; from another namespace ``<namespace>-<name>-<hash>``, so that two releases never meet."""
    own = release.metadata
    if own.namespace == release.spec.gateway.namespace:
        return own.name
    readable = f"{own.namespace}-{own.name}"[:NAME_ROOM].rstrip("-.")
    return f"{readable}-{revisions.digest_of([own.namespace, own.name])}"


def pull_secret_name(release: api.Release) -> str | None:
    """The Secret that the gateways pull with: the release's own in its namespace, a copy of it in another."""
    reference = release.spec.artifact.image.pull_secret_ref
    if reference is None:
        return None
    return reference.name if is_local(release) else copied_secret_name(release)


def copied_secret_name(release: api.Release) -> str:
    """Name of the copy in the gateway's namespace."""
    return f"{object_name(release)}-pull"


def pod_namespace(gateway: api.Gateway, root_namespace: str) -> str | None:
    """Where the selected pods are; None: in every namespace, which a WasmPlugin in Istio's root namespace reaches."""
    return None if gateway.namespace == root_namespace else gateway.namespace


def is_local(release: api.Release) -> bool:
    """Whether release and gateways share a namespace: only there can an owner reference hold."""
    return release.metadata.namespace == release.spec.gateway.namespace


def wasm_plugin(release: api.Release, artifact: api.ArtifactStatus, nudge: int = 0) -> JSON:
    """The WasmPlugin, with the image pinned by the digest of its manifest, never by a tag.

    ``nudge`` counts how often its gateways were made to fetch anew: with any change of the object, also of its
    metadata, istiod sends the plugin again, and only then does the agent try again (pkg/wasm/convert.go).
    """
    plugin = release.spec.plugin
    optional = {
        "pluginName": plugin.name,
        "phase": plugin.phase,
        "priority": plugin.priority,
        "pluginConfig": plugin.config,
        "imagePullSecret": pull_secret_name(release),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            **metadata(release, object_name(release)),
            "annotations": {
                **provenance(release),
                api.REVISION_ANNOTATION: revisions.identity(release.spec, artifact.digest),
                **({api.NUDGE_ANNOTATION: str(nudge)} if nudge else {}),
            },
        },
        "spec": {
            "selector": release.spec.gateway.selector.wire(),
            "url": f"oci://{artifact.image}",
            "imagePullPolicy": "IfNotPresent",
            "failStrategy": str(plugin.fail_strategy),
            **{
                key: str(value) if isinstance(value, api.Phase) else value
                for key, value in optional.items()
                if value is not None
            },
        },
    }


def pull_secret(release: api.Release, dockerconfigjson: str) -> JSON:
    """The copy of the pull secret for another namespace; ``dockerconfigjson`` is base64, as in the Secret's data."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {**metadata(release, copied_secret_name(release)), "annotations": provenance(release)},
        "data": {".dockerconfigjson": dockerconfigjson},
    }


def metadata(release: api.Release, name: str) -> JSON:
    """Name, namespace and whose it is; an owner reference only where the garbage collector honours it."""
    own = release.metadata
    owned = is_local(release) and release.spec.deletion_policy is api.DeletionPolicy.DELETE
    return {
        "name": name,
        "namespace": release.spec.gateway.namespace,
        "labels": {api.MANAGED_BY_LABEL: api.MANAGED_BY, api.UID_LABEL: own.uid},
        **({"ownerReferences": [release.as_owner()]} if owned else {}),
    }


def provenance(release: api.Release) -> dict[str, str]:
    """Where a reader of the object finds the release; names can be too long for labels."""
    return {api.RELEASE_ANNOTATION: f"{release.metadata.namespace}/{release.metadata.name}"}
