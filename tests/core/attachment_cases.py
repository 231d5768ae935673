"""Istio's rules of attachment: which pods get the WasmPlugin of an entry (istio policyattachment.go, as of 1.31).

The pods have the labels of the entry's selector. tests/passes/test_gateway_api.py asks the lab's istiod about the rows
that have a pod there.
"""

from __future__ import annotations

from typing import NamedTuple

from pluginrelease.core.gateway.observations import ProxyRole
from pluginrelease.core.mesh.attachment import Attaches

EDGE, ROOT = "edge", "istio-system"


class AttachmentCase(NamedTuple):
    """``target``: the Gateway that the entry names, None for a selector; ``gateway``: that of the pod's label, None
    for a pod without it."""

    target: str | None
    namespace: str
    gateway: str | None
    pod_namespace: str
    role: ProxyRole
    attaches: Attaches
    reason: str


ROUTER, WAYPOINT = ProxyRole.ROUTER, ProxyRole.WAYPOINT
ALWAYS, BY_DEFAULT, NEVER = Attaches.ALWAYS, Attaches.BY_DEFAULT, Attaches.NEVER

CASES = (
    AttachmentCase(None, EDGE, None, EDGE, ROUTER, ALWAYS, "the labels match"),
    AttachmentCase(None, ROOT, None, EDGE, ROUTER, ALWAYS, "the root namespace reaches every namespace"),
    AttachmentCase(None, EDGE, "public", EDGE, ROUTER, BY_DEFAULT, "unless istiod's setting is false"),
    AttachmentCase(None, ROOT, "public", EDGE, ROUTER, BY_DEFAULT, "and from the root namespace as well"),
    AttachmentCase(None, EDGE, "waypoint", EDGE, WAYPOINT, NEVER, "a waypoint has no selector at all"),
    AttachmentCase("public", EDGE, "public", EDGE, ROUTER, ALWAYS, "the Gateway that is named"),
    AttachmentCase("waypoint", EDGE, "waypoint", EDGE, WAYPOINT, ALWAYS, "a waypoint has a Gateway, too"),
    AttachmentCase("public", EDGE, "internal", EDGE, ROUTER, NEVER, "another Gateway"),
    AttachmentCase("public", EDGE, None, EDGE, ROUTER, NEVER, "no pod of a Gateway"),
    AttachmentCase("public", ROOT, "public", EDGE, ROUTER, NEVER, "a Gateway is named in its own namespace only"),
    AttachmentCase("public", ROOT, "public", ROOT, ROUTER, ALWAYS, "which may be the root namespace"),
)
