"""The Secrets that a configuration has placeholders for: whether the control plane will find what it puts there."""

from __future__ import annotations

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.secrets.secret_field import RETRY, Named
from pluginrelease.core import placeholders
from pluginrelease.core.errors import Waiting
from pluginrelease.core.mesh import providers
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.placeholders import Placeholder
from pluginrelease.edges.kubernetes.client import Cluster

# the types that Higress's controller does not read (alibaba/higress pkg/ingress/kube/secret/controller.go)
UNREAD = ("helm.sh/release.v1", "kubernetes.io/service-account-token")


async def check(cluster: Cluster, placement: Placement) -> None:
    """Raises `Waiting` (PlaceholderSecretNotFound) or `Refused` (InvalidPlaceholder) for what would stay as text."""
    for one in providers.of(placement.spec).find_placeholders(placement):
        await check_one(cluster, one)


async def check_one(cluster: Cluster, one: Placeholder) -> None:
    """One of them; what the Secret has is only looked at."""
    secret = Named(
        one.path,
        one.namespace or "",
        one.name,
        kind="generic",
        content=f"--from-literal={one.key}=…",
        missing=Reason.PLACEHOLDER_SECRET_NOT_FOUND,
        unfit=Reason.INVALID_PLACEHOLDER,
    )
    found = await secret.read(cluster)
    if found.get("type") in UNREAD:
        raise secret.wrong(f"is of type {found.get('type')}, which Higress does not read")
    if one.key not in (found.get("data") or {}):
        raise Waiting(
            Reason.PLACEHOLDER_SECRET_NOT_FOUND,
            f"{one.path} has {one.text}, and Secret {one.namespace}/{one.name} has no key {one.key}",
            f"Add it, or make the Secret again: {secret.command}",
            retry_after=RETRY,
        )
    placeholders.check_value(one, secret.value(found, one.key))
