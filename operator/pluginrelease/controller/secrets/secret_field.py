"""A Secret that a field of a release names: read where it is, and refused with the command that makes it right."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.core.rollout import plan
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import SECRETS

RETRY = 15.0  # seconds

JSON = dict[str, Any]


@dataclass(frozen=True)
class Named:
    """Which Secret, and by which field of the spec; ``kind`` and ``content`` are the words of ``kubectl create secret``
    before and after its name, ``missing`` and ``unfit`` the reasons for one that is not there or of no use."""

    field: str
    namespace: str
    name: str
    kind: str
    content: str
    missing: Reason
    unfit: Reason

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name} ({self.field})"

    async def read(self, cluster: Cluster, types: Collection[str] = ()) -> JSON:
        """The Secret, of one of these types if any are given; raises `Waiting` (`missing`), `Refused` (`unfit`)."""
        secret = await cluster.get(SECRETS, self.namespace, self.name)
        if secret is None:
            raise Waiting(
                self.missing,
                f"{self.field} names Secret {self.namespace}/{self.name}, which does not exist",
                f"Create it: {self.command}",
                retry_after=RETRY,
            )
        if types and secret.get("type") not in types:
            raise self.wrong(f"is of type {secret.get('type')}, and not {' or '.join(types)}")
        return secret

    def value(self, secret: JSON, key: str) -> bytes:
        """One value; raises `Refused` (`unfit`)."""
        try:
            return base64.b64decode(secret["data"][key], validate=True)
        except (KeyError, TypeError, binascii.Error):
            raise self.wrong(f"has no readable key {key}") from None

    def wrong(self, what: str) -> Refused:
        """The refusal of a Secret that is of no use; what is in it is in no message."""
        return Refused(self.unfit, f"{self} {what}", f"Make it anew: {self.command}", recheck=plan.RECHECK)

    @property
    def command(self) -> str:
        """What makes it."""
        return f"kubectl -n {self.namespace} create secret {self.kind} {self.name} {self.content}"
