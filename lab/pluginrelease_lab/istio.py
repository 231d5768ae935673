"""istiod with its certificate authority, its kinds, and the upstream that the lab's gateways route to."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from pluginrelease_lab import controlplane, echo, meshes, network
from pluginrelease_lab.blueprint import ECHO_PORT, Blueprint
from pluginrelease_lab.controlplane import MANIFESTS, answers, part_kubeconfig
from pluginrelease_lab.kubeapi import KubeApi, read_manifests
from pluginrelease_lab.processes import Argv, Program

DISCOVERY_PORT = 15012
_HTTP_PORT = 8180
_CRDS = Path("manifests/charts/base/files/crd-all.gen.yaml")
_LAST_KINDS = ("/apis/networking.istio.io/v1/gateways", "/apis/extensions.istio.io/v1alpha1/wasmplugins")

_STOCK_ENVOY = {
    # Istio's own Envoy has filters that stock Envoy lacks, and would refuse
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
}


def istiod(lab: Blueprint) -> Program:
    """Gateways find it at `DISCOVERY_PORT` only, by TLS and with the token of their ServiceAccount."""
    argv: Argv = [
        lab.programs["pilot-discovery"],
        "discovery",
        f"--kubeconfig={part_kubeconfig(lab, 'istiod')}",
        f"--httpAddr={network.ADDRESS}:{_HTTP_PORT}",
        "--httpsAddr=",
        "--grpcAddr=127.0.0.1:15010",
        f"--secureGRPCAddr={network.ADDRESS}:{DISCOVERY_PORT}",
        f"--monitoringAddr={network.ADDRESS}:15014",
    ]
    env = {
        "POD_NAME": "istiod-lab",
        "POD_NAMESPACE": "istio-system",
        "SERVICE_ACCOUNT": "istiod",
        "REVISION": "default",
        "CLUSTER_ID": "Kubernetes",
        "PILOT_CERT_PROVIDER": "istiod",
        "INJECT_ENABLED": "false",
        **_STOCK_ENVOY,
    }
    folder = lab.run / "istiod"
    folder.mkdir(parents=True)
    ready = answers(f"http://{network.ADDRESS}:{_HTTP_PORT}/ready")
    return Program("istiod", argv, lab.log("istiod"), ready, env=env, cwd=folder)


def upstream(lab: Blueprint) -> Program:
    argv: Argv = [sys.executable, "-P", Path(echo.__file__), network.ADDRESS, str(ECHO_PORT)]
    packages = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ready = answers(f"http://{network.ADDRESS}:{ECHO_PORT}/")
    return Program("echo", argv, lab.log("echo"), ready, env=packages)


async def install_kinds(lab: Blueprint, api: KubeApi) -> None:
    """Istio's CRDs, those of the mesh, its root namespace and its configuration."""
    text = (lab.istio_sources / _CRDS).read_text()
    mesh = meshes.of(lab)
    crds = await asyncio.to_thread(read_manifests, text)
    crds += [crd for name in mesh.kinds for crd in read_manifests((MANIFESTS / name).read_text())]
    async with asyncio.TaskGroup() as group:
        for crd in crds:
            group.create_task(api.apply(crd))
    for manifest in read_manifests((MANIFESTS / mesh.configuration).read_text()):
        await api.apply_when_known(manifest)
    for path in _LAST_KINDS:
        await controlplane.known(api, path)
