"""istiod with its certificate authority and its kinds, and the upstream of the lab's gateways."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from pluginrelease_lab import controlplane, echo, meshes, network
from pluginrelease_lab.blueprint import ECHO_PORT, Blueprint
from pluginrelease_lab.controlplane import MANIFESTS, answers, part_kubeconfig
from pluginrelease_lab.kubeapi import KubeApi, read_manifests
from pluginrelease_lab.processes import Argv, Program

DISCOVERY_PORT = 15012
_HTTP_PORT = 8180
_CRDS = Path("manifests/charts/base/files/crd-all.gen.yaml")
# what istiod makes the Deployment of a Gateway from: of its chart the template, and the values that it reads
_GATEWAY_TEMPLATE = Path("manifests/charts/istio-control/istio-discovery/files/kube-gateway.yaml")
_INJECTION = Path("var/lib/istio/inject")
_LAST_KINDS = ("/apis/networking.istio.io/v1/gateways", "/apis/extensions.istio.io/v1alpha1/wasmplugins")

_STOCK_ENVOY = {
    # Istio's own Envoy has filters that stock Envoy lacks and would refuse
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
}


def istiod(lab: Blueprint) -> Program:
    """Return istiod. Gateways reach it only at `DISCOVERY_PORT`, with TLS and the token of their ServiceAccount."""
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
        **_STOCK_ENVOY,
    }
    folder = lab.run / "istiod"
    _write_injection(lab, folder / _INJECTION)
    ready = answers(f"http://{network.ADDRESS}:{_HTTP_PORT}/ready")
    return Program("istiod", argv, lab.log("istiod"), ready, env=env, cwd=folder)


def _write_injection(lab: Blueprint, folder: Path) -> None:
    """istiod injects no sidecars here. It makes the Deployments of Gateways from the same configuration."""
    folder.mkdir(parents=True)
    template = (lab.istio_sources / _GATEWAY_TEMPLATE).read_text()
    config = {"policy": "disabled", "templates": {"kube-gateway": template}}
    (folder / "config").write_text(yaml.safe_dump(config))
    (folder / "values").write_text(json.dumps(_values()))


def _values() -> dict[str, Any]:
    """Istio's chart has these by default, but for the address of istiod, which has no Service here."""
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    proxy = {
        "image": "istio/proxyv2:1.31.0",
        "clusterDomain": "cluster.local",
        "logLevel": "warning",
        "componentLogLevel": "misc:error",
        "resources": resources,
    }
    return {
        "revision": "",
        "gateways": {},
        "pilot": {"env": {}},
        "global": {
            "caAddress": f"{network.ADDRESS}:{DISCOVERY_PORT}",
            "istioNamespace": "istio-system",
            "pilotCertProvider": "istiod",
            "logging": {"level": "default:info"},
            "multiCluster": {"clusterName": "Kubernetes"},
            "proxy": proxy,
            "sds": {"token": {"aud": "istio-ca"}},
            "sts": {"servicePort": 0},
        },
    }


def upstream(lab: Blueprint) -> Program:
    argv: Argv = [sys.executable, "-P", Path(echo.__file__), network.ADDRESS, str(ECHO_PORT)]
    packages = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ready = answers(f"http://{network.ADDRESS}:{ECHO_PORT}/")
    return Program("echo", argv, lab.log("echo"), ready, env=packages)


async def install_kinds(lab: Blueprint, api: KubeApi) -> None:
    """Install Istio's CRDs, the mesh's CRDs, its root namespace and its configuration."""
    mesh = meshes.of(lab)
    text = (lab.istio_sources / _CRDS).read_text()
    crds = await asyncio.to_thread(read_manifests, text)
    crds += [crd for name in mesh.kinds for crd in read_manifests((MANIFESTS / name).read_text())]
    async with asyncio.TaskGroup() as group:
        for crd in crds:
            group.create_task(api.apply(crd))
    for manifest in read_manifests((MANIFESTS / mesh.configuration).read_text()):
        await api.apply_when_known(manifest)
    for path in _LAST_KINDS:
        await controlplane.known(api, path)
