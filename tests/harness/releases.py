"""Releases to test with: one that is whole, and changes to it by the wire's own paths."""

from __future__ import annotations

import copy
from typing import Any

from pluginrelease import api
from pluginrelease.core.mesh.placement import Placement, placements

JSON = dict[str, Any]

UID = "6f1c2a0e-0001-4000-8000-000000000001"
DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example.com/plugins/auth@{DIGEST}"

OBJECT: JSON = {
    "apiVersion": api.API_VERSION,
    "kind": api.KIND,
    "metadata": {"name": "auth", "namespace": "istio-ingress", "uid": UID, "generation": 1},
    "spec": {
        "artifact": {"image": {"ref": "registry.example.com/plugins/auth:1.2"}},
        "provider": "Istio",
        "gateways": [
            {
                "name": "public",
                "namespace": "istio-ingress",
                "selector": {"matchLabels": {"istio": "ingressgateway"}},
            }
        ],
    },
}

ARTIFACT = api.ArtifactStatus(
    ref="registry.example.com/plugins/auth:1.2",
    image=IMAGE,
    digest=DIGEST,
    wasm_sha256="cd" * 32,
    size=2048,
    layout="OCICompat",
    abi="0.2.1",
    toolchain="Go 1.26.1",
)


def manifest(**changes: Any) -> JSON:
    """Return OBJECT with fields set by their paths, ``__`` for the dot: ``spec__plugin__phase="AUTHN"``.

    A number is a place in a list: ``spec__gateways__0__namespace="istio-ingress"``.
    """
    changed = copy.deepcopy(OBJECT)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node: Any = changed
        for parent in parents:
            node = node[int(parent)] if parent.isdecimal() else node.setdefault(parent, {})
        node[last] = value
    return changed


def release(**changes: Any) -> api.Release:
    """The same as the model of it."""
    return api.Release.model_validate(manifest(**changes))


def placed(asked: api.Release, place: int = 0) -> Placement:
    """A release as one of its entries sees it, by default the first."""
    return placements(asked)[place]


def placement(**changes: Any) -> Placement:
    """The first entry of a release with these changes."""
    return placed(release(**changes))


def abroad(**changes: Any) -> api.Release:
    """A release of namespace team-a for gateways in istio-ingress."""
    return release(metadata__namespace="team-a", **changes)
