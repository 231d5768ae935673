"""How to reach a registry, and with which credentials."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.desk import Desk
from pluginrelease.edges.oci.connections import find_authorities


@dataclass(frozen=True)
class Access:
    """How to reach a registry. Its repr hides the secret.

    ``insecure``: plain http. ``dockerconfigjson``: the bytes of a pull secret, or None. ``deadline_seconds``: for a
    whole call. ``max_bytes``: limit for the layer and for the module. ``allow_private_realms``: let the registry send
    us to private, loopback and link-local addresses for tokens and blobs (its own host is always allowed for blobs).
    ``authorities``: PEM certificates that the release trusts in addition to the usual ones, or None. ``registry_ca``:
    those that the operator adds. ``usual_only``: ignore the CA settings of the environment. ``desk``: the user's login,
    used instead of a pull secret if the registry wants credentials.
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
        """Return a text that differs for different access and hides the credentials: a key for fetched artifacts."""
        parts = (self.dockerconfigjson, self.authorities, self.registry_ca, self.insecure, self.allow_private_realms)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def trusts_more(self) -> bool:
        """Return whether it trusts authorities that others may not know."""
        return self.authorities is not None or self.registry_ca is not None or find_authorities() is not True

    def as_others(self) -> Access:
        """Return the same with only the usual authorities."""
        return replace(self, authorities=None, registry_ca=None, usual_only=True)
