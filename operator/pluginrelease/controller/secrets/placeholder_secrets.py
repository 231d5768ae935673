"""Check the Secrets of a configuration's placeholders, which the control plane fills in."""

from __future__ import annotations

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.reading import ObjectReader
from pluginrelease.controller.secrets.secret_field import RETRY, Named
from pluginrelease.core import placeholders
from pluginrelease.core.errors import Waiting
from pluginrelease.core.mesh import providers
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.placeholders import Placeholder

# the types that Higress's controller does not read (alibaba/higress pkg/ingress/kube/secret/controller.go)
UNREAD = ("helm.sh/release.v1", "kubernetes.io/service-account-token")


async def check(reader: ObjectReader, placement: Placement) -> None:
    """Check all placeholders. Raises `Waiting` (PlaceholderSecretNotFound) or `Refused` (InvalidPlaceholder)."""
    for placeholder in providers.plugin_api_of(placement.spec).find_placeholders(placement):
        await check_one(reader, placeholder)


async def check_one(reader: ObjectReader, one: Placeholder) -> None:
    """Check one placeholder. The Secret's value is only checked, and kept nowhere."""
    secret = Named(
        one.path,
        one.namespace or "",
        one.name,
        kind="generic",
        content=f"--from-literal={one.key}=…",
        missing=Reason.PLACEHOLDER_SECRET_NOT_FOUND,
        unfit=Reason.INVALID_PLACEHOLDER,
    )
    found = await secret.read(reader)
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
