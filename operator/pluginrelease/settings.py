"""The operator's settings: flags, or environment variables of the same names.

The way to gateways is set here and not in the API: with a field a tenant could send the operator to any address.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pluginrelease.core.apiserver import lease
from pluginrelease.core.apiserver.scope import Scope
from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.mesh.target import GatewayLabel
from pluginrelease.core.registry import allowlist


@dataclass(frozen=True)
class Settings:
    """Settings of the operator. Times are in seconds.

    ``namespaces``: those of releases; ``gateway_namespaces``: those of gateways; empty means all.
    ``allowed_registries``: hosts, or hosts with the beginning of a path; empty means all. ``private_realms``:
    registries that may send the operator to private addresses for tokens and blobs; ``allow_private_realms``: all may.
    ``cache_dir`` None: below the folder for temporary files. ``trusted_root``: for keyless signatures of releases that
    name none. ``registry_ca_file``: PEM certificates to trust for every registry, in addition to the usual ones.
    ``allow_native_code``: Higress may run native code of a module. Such code runs in the gateway's own process, so the
    gateways' owner decides this, not a tenant. ``identity``: this process's name in the Lease; containers of one pod
    share it. ``raise_filter_logger``: the operator may set Envoy's filter logger to debug. ``lease_namespace``: where
    the Lease is if all namespaces are watched. ``restart_hung_gateways``: restart gateways that hang, or whose Envoy
    refuses the fallback, one after the other while another is ready.
    """

    namespaces: tuple[str, ...] = ()
    gateway_namespaces: tuple[str, ...] = ()
    raise_filter_logger: bool = True
    kubeconfig: Path | None = None
    identity: str = "pluginrelease"
    lease_namespace: str = lease.NAMESPACE
    istio_root_namespace: str = "istio-system"
    resync: float = 300.0
    liveness_port: int = 8080
    metrics_port: int = 0
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
    restart_hung_gateways: bool = True
    pull_deadline: float = 30.0  # as Istio's agent (pilot/pkg/model/extensions.go), which would stop then too
    pull_max_bytes: int = 256 * 1024 * 1024
    look_deadline: float = 20.0
    probe_deadline: float = 30.0
    parallel_pulls: int = 4  # from one registry
    parallel_pulls_in_all: int = 16
    parallel_passes: int = 16  # of releases without anything written, and as many of releases with a written revision

    @property
    def scope(self) -> Scope:
        """Return the namespaces that the operator may read."""
        return Scope(self.namespaces, self.gateway_namespaces)

    def private_realms_of(self, reference: Reference) -> bool:
        """Return whether this registry may send the operator to private addresses."""
        return self.allow_private_realms or any(allowlist.covers(name, reference) for name in self.private_realms)
