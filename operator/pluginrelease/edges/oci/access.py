"""How a registry may be reached, and with which credentials."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.desk import Desk
from pluginrelease.edges.oci.connections import find_authorities


@dataclass(frozen=True)
class Access:
    """How a registry may be reached. Its repr hides the secret.

    ``insecure``: plain http. ``dockerconfigjson``: the bytes of a pull secret, None for none. ``deadline_seconds``:
    for a whole call. ``max_bytes``: cap of the layer and of the module. ``allow_private_realms``: let the registry
    send us for tokens and blobs to private, loopback and link-local addresses (its own host is always allowed for
    blobs). ``authorities``: PEM certificates that the release trusts besides the usual ones, None for none;
    ``registry_ca``: those that the operator does. ``usual_only``: the usual ones and nothing of the environment's.
    ``desk``: in place of a pull secret, what a person is logged in with; it is asked only when the registry wants
    credentials.
    """

    insecure: bool = False
    dockerconfigjson: bytes | None = field(default=None, repr=False)
    deadline_seconds: float = 60.0
    max_bytes: int = image_manifests.MAX_WASM_BYTES
    allow_private_realms: bool = False
    authorities: bytes | None = None
    registry_ca: bytes | None = None
    usual_only: bool = False
    desk: Desk | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """Tells one way of access from another without giving it away: to key what was fetched by it."""
        parts = (self.dockerconfigjson, self.authorities, self.registry_ca, self.insecure, self.allow_private_realms)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def trusts_more(self) -> bool:
        """Whether it trusts authorities that others may not know."""
        return self.authorities is not None or self.registry_ca is not None or find_authorities() is not True

    def as_others(self) -> Access:
        """The same with the usual authorities only."""
        return replace(self, authorities=None, registry_ca=None, usual_only=True)
