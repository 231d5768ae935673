"""The mesh of a lab: the data plane is the same for all; the control plane differs."""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease_lab.blueprint import Blueprint


@dataclass(frozen=True)
class LabMesh:
    """One kind of installation. ``namespace`` is that of its gateways. Files are in the folder ``manifests``.

    ``translated``: a part of the lab turns its own kind of WasmPlugin into Istio's (`pluginrelease_lab.higress`).
    """

    namespace: str
    configuration: str
    gateways: str
    kinds: tuple[str, ...] = ()
    translated: bool = False


ISTIO = LabMesh("istio-ingress", "istio.yaml", "gateways.yaml")
HIGRESS = LabMesh(
    "higress-system", "higress-mesh.yaml", "higress-gateways.yaml", kinds=("higress-kinds.yaml",), translated=True
)
NAMED = {"istio": ISTIO, "higress": HIGRESS}


def of(lab: Blueprint) -> LabMesh:
    """Return the mesh of a lab."""
    return NAMED[lab.mesh]
