"""What the operator is told when it starts: flags, or environment variables of the same names.

How gateways are reached stands here and not in the API: a tenant's field could point the operator at an address of
the tenant's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.mesh.target import GatewayLabel
from pluginrelease.core.registry import allowlist


@dataclass(frozen=True)
class Settings:
    """``namespaces`` empty: all. Times in seconds.

    ``allowed_registries``: hosts, or hosts with the beginning of a path; empty: all. ``private_realms``: those that may
    send the operator to private addresses for tokens and blobs; ``allow_private_realms``: all may. ``cache_dir`` None:
    below the folder for temporary files. ``trusted_root``: for keyless signatures of releases that name none.
    ``registry_ca_file``: PEM certificates that are trusted for every registry, besides the usual ones.
    ``allow_native_code``: Higress may run native code that a module brings along; it is the owner of the gateways who
    says so, and no tenant, as that code runs in the gateway's own process.
    """

    namespaces: tuple[str, ...] = ()
    kubeconfig: Path | None = None
    istio_root_namespace: str = "istio-system"
    resync: float = 300.0
    liveness_port: int = 8080
    gateway_container: str = "istio-proxy"
    higress_labels: tuple[GatewayLabel, ...] = ()
    gateway_admin_port: int = 15000
    allowed_registries: tuple[str, ...] = ()
    allow_private_realms: bool = False
    private_realms: tuple[str, ...] = ()
    cache_dir: Path | None = None
    cache_bytes: int = 1024**3
    trusted_root: Path | None = None
    registry_ca_file: Path | None = None
    allow_native_code: bool = False
    pull_deadline: float = 30.0  # as Istio's agent (pilot/pkg/model/extensions.go): it would give up too
    pull_max_bytes: int = 256 * 1024 * 1024
    look_deadline: float = 20.0
    probe_deadline: float = 30.0
    parallel_pulls: int = 4  # from one registry
    parallel_pulls_in_all: int = 16

    def private_realms_of(self, reference: Reference) -> bool:
        """Whether this registry may send the operator to private addresses."""
        return self.allow_private_realms or any(allowlist.covers(name, reference) for name in self.private_realms)
