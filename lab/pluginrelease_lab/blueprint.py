"""The description of a lab and its directory: written before the start, and read by every later client."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from pluginrelease_lab import network
from pluginrelease_lab.files import write_private

API_PORT = 6443
REGISTRY_PORT = 5000
PRIVATE_REGISTRY_PORT = 5001
ECHO_PORT = 8090
PRIVATE_USER = "lab"

PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kwok",
    "registry",
    "pilot-discovery",
    "pilot-agent",
    "envoy",
)
NODE_PROGRAMS = ("lab-pause", "kubelet", "kube-scheduler", "kube-proxy")
"""Additional programs of a lab with a real node."""
ISTIO_DATA = "/var/lib/istio/data"
"""Where Istio's agent keeps fetched modules.

The path is fixed, so each gateway gets its own directory mounted there.
"""


@dataclass(frozen=True)
class Ports:
    """Ports on the host's 127.0.0.1 that lead into the lab."""

    api: int
    registry: int
    private_registry: int
    proxy: int


@dataclass(frozen=True)
class Tokens:
    """Bearer tokens of the lab's own users, new for each lab."""

    admin: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    controllers: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    nodes: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    istiod: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    higress: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    lab: str = field(default_factory=lambda: secrets.token_urlsafe(24))


@dataclass(frozen=True)
class Blueprint:
    """One lab. ``programs`` maps the names of `PROGRAMS` to their paths; ``mesh`` is a name in `meshes.NAMED`.

    ``node`` is the cgroup of the real node, and empty without one. ``images`` are its archives. ``gateways_on_node``
    says whether the gateways are pods on it.
    """

    name: str
    state: Path
    gateways: int
    programs: dict[str, Path]
    istio_sources: Path
    kwok_sources: Path
    gateway_api_sources: Path
    ports: Ports
    mesh: str = "istio"
    node: str = ""
    images: tuple[Path, ...] = ()
    gateways_on_node: bool = False
    tokens: Tokens = field(default_factory=Tokens)

    @property
    def run(self) -> Path:
        """Return the directory of the running parts' data, deleted by `down`."""
        return self.state / "run"

    @property
    def certificates(self) -> Path:
        return self.run / "certificates"

    @property
    def ca_file(self) -> Path:
        """Return the API server's certificate with its CA. The API server makes both."""
        return self.certificates / "apiserver.crt"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def inside_kubeconfig(self) -> Path:
        return self.state / "kubeconfig-inside"

    @property
    def audit_log(self) -> Path:
        return self.state / "logs" / "audit.log"

    @property
    def api_inside(self) -> str:
        return f"https://{network.ADDRESS}:{API_PORT}"

    @property
    def api_outside(self) -> str:
        """Return the API server's URL on the host. It has a name, because the certificate names only localhost."""
        return f"https://localhost:{self.ports.api}"

    def log(self, part: str) -> Path:
        return self.state / "logs" / f"{part}.log"

    def save(self) -> None:
        write_private(self.state / "lab.json", json.dumps(dataclasses.asdict(self), default=os.fspath, indent=1))


def load(state: Path) -> Blueprint:
    """Return the blueprint in ``state``. Raises FileNotFoundError if no lab was ever started there."""
    kept = json.loads((state / "lab.json").read_text())
    return Blueprint(
        name=kept["name"],
        state=state,
        gateways=kept["gateways"],
        programs={name: Path(path) for name, path in kept["programs"].items()},
        istio_sources=Path(kept["istio_sources"]),
        kwok_sources=Path(kept["kwok_sources"]),
        gateway_api_sources=Path(kept["gateway_api_sources"]),
        ports=Ports(**kept["ports"]),
        mesh=kept["mesh"],
        node=kept["node"],
        images=tuple(map(Path, kept["images"])),
        gateways_on_node=kept["gateways_on_node"],
        tokens=Tokens(**kept["tokens"]),
    )
