"""Whose gateways a lab has: the data plane is the same, and what stands around it is not."""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease_lab.blueprint import Blueprint


@dataclass(frozen=True)
class LabMesh:
    """One kind of installation. Files are those of the folder ``manifests``; ``namespace`` is that of its gateways.

    ``translated``: WasmPlugins of a kind of its own become Istio's, by a part of the lab (`pluginrelease_lab.higress`).
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
    """The mesh that a lab was asked for."""
    return NAMED[lab.mesh]
