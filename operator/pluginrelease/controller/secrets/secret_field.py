"""A Secret that a field of a release names: read it, or refuse it with the command that creates it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.reading import ObjectReader
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.core.rollout import plan
from pluginrelease.edges.kubernetes.resources import SECRETS

RETRY = 15.0  # seconds

JSON = dict[str, Any]


@dataclass(frozen=True)
class Named:
    """Which Secret, and which field of the spec names it.

    ``kind`` and ``content`` are the arguments of ``kubectl create secret`` before and after its name. ``missing`` and
    ``unfit`` are the reasons for one that does not exist or is invalid.
    """

    field: str
    namespace: str
    name: str
    kind: str
    content: str
    missing: Reason
    unfit: Reason

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name} ({self.field})"

    async def read(self, reader: ObjectReader, types: Collection[str] = ()) -> JSON:
        """Return the Secret. Raises `Waiting` (`missing`), or `Refused` (`unfit`) if ``types`` lacks its type."""
        secret = await reader.get(SECRETS, self.namespace, self.name)
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
        """Return one value. Raises `Refused` (`unfit`)."""
        try:
            return base64.b64decode(secret["data"][key], validate=True)
        except (KeyError, TypeError, binascii.Error):
            raise self.wrong(f"has no readable key {key}") from None

    def wrong(self, what: str) -> Refused:
        """Return the refusal of an invalid Secret. It never contains a value of the Secret."""
        return Refused(self.unfit, f"{self} {what}", f"Create it again: {self.command}", recheck=plan.RECHECK)

    @property
    def command(self) -> str:
        """Return the command that creates the Secret."""
        return f"kubectl -n {self.namespace} create secret {self.kind} {self.name} {self.content}"
