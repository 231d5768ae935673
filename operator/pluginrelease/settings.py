"""What the operator is told when it starts: flags, or environment variables of the same names.

How gateways are reached stands here and not in the API: a tenant's field could point the operator at an address of
the tenant's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """``namespaces`` empty: all. Times in seconds."""

    namespaces: tuple[str, ...] = ()
    kubeconfig: Path | None = None
    istio_root_namespace: str = "istio-system"
    resync: float = 300.0
    liveness_port: int = 8080
    gateway_container: str = "istio-proxy"
    gateway_admin_port: int = 15000
    allow_private_realms: bool = False
    pull_deadline: float = 30.0  # as Istio's agent (pilot/pkg/model/extensions.go): it would give up too
    pull_max_bytes: int = 256 * 1024 * 1024
    look_deadline: float = 20.0
    probe_deadline: float = 30.0
    parallel_pulls: int = 4
