"""Decide if the operator may read the gateways of an entry, when it has rights in some namespaces only."""

from __future__ import annotations

from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver.scope import Scope
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.mesh.target import Pods


def is_within(where: Pods, scope: Scope) -> bool:
    """Return True if all these pods are in namespaces that the operator may read."""
    return not scope.gateways or (where.namespace is not None and scope.has_gateways_in(where.namespace))


def check(placement: Placement, where: Pods, scope: Scope) -> None:
    """Raise `Refused` (``RootNamespaceNotWatched``, ``GatewayNamespaceNotWatched``) for an entry outside."""
    if is_within(where, scope):
        return
    theirs, listed = placement.gateway.namespace, ", ".join(scope.gateways)
    if where.namespace is None:
        raise Refused(
            Reason.ROOT_NAMESPACE_NOT_WATCHED,
            f"gateways[{placement.name}].namespace is {theirs}, Istio's root namespace: a WasmPlugin there reaches "
            f"pods of every namespace, and the operator may look into these only: {listed}",
            'Name the namespace of the gateway pods, or set gatewayNamespaces to ["*"]',
        )
    raise Refused(
        Reason.GATEWAY_NAMESPACE_NOT_WATCHED,
        f"gateways[{placement.name}].namespace is {theirs}, and the operator may look into these only: {listed}",
        f"Have {theirs} added to gatewayNamespaces, or name another namespace",
    )
