"""Gateways of the Gateway API on the lab: istiod makes the Deployment, and the lab runs its pods as real gateways."""

from __future__ import annotations

from typing import Any

from pluginrelease_lab.host import GatewayPod
from tests.harness.cluster import LabCluster

JSON = dict[str, Any]

GROUP = "gateway.networking.k8s.io"
NAME_LABEL = f"{GROUP}/gateway-name"
KINDS = ("gatewayclasses", "gateways")
PORT, OTHER_PORT = 8080, 8081


def target(name: str) -> JSON:
    """One of ``targetRefs``."""
    return {"group": GROUP, "kind": "Gateway", "name": name}


def deploy(cluster: LabCluster, namespace: str, *gateways: JSON) -> None:
    """A namespace with these Gateways, which answer 404, as none has a route. Returns when their pods are ready."""
    cluster.lab.install_gateway_api(KINDS)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for made in gateways:
        cluster.apply(made)
    for made in gateways:
        deployment = f"deployment/{made['metadata']['name']}-istio"
        wait = ("wait", "-n", namespace, "--timeout=120s")
        cluster.lab.kubectl(*wait, "--for=create", deployment, timeout=150)
        cluster.lab.kubectl(*wait, "--for=condition=Available", deployment, timeout=150)


def gateway(namespace: str, name: str, **labels: str) -> JSON:
    """A Gateway of Istio's class with two HTTP listeners; ``labels``: ``spec.infrastructure.labels``."""
    spec: JSON = {
        "gatewayClassName": "istio",
        "listeners": [{"name": f"http-{port}", "port": port, "protocol": "HTTP"} for port in (PORT, OTHER_PORT)],
    }
    if labels:
        spec["infrastructure"] = {"labels": labels}
    about = {"name": name, "namespace": namespace, "annotations": {"networking.istio.io/service-type": "ClusterIP"}}
    return {"apiVersion": f"{GROUP}/v1", "kind": "Gateway", "metadata": about, "spec": spec}


def application(namespace: str, name: str) -> JSON:
    """A Deployment of an application with a native sidecar, as Istio's injection makes it; the lab runs the sidecar."""
    proxy: JSON = {
        "name": "istio-proxy",
        "image": "istio/proxyv2:1.31.0",
        "args": ["proxy", "sidecar", "--domain", f"{namespace}.svc.cluster.local"],
        "restartPolicy": "Always",
        "env": [{"name": "WASM_INSECURE_REGISTRIES", "value": "10.244.0.1:5000"}],
        "ports": [{"name": "http-envoy-prom", "containerPort": 15090}],
    }
    pod = {
        "metadata": {"labels": {"app": name, "pluginrelease.io/lab": "gateway"}},
        "spec": {
            "nodeName": "lab-node",
            "initContainers": [proxy],
            "containers": [{"name": "app", "image": "none"}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": pod},
    }


def pods_of(cluster: LabCluster, namespace: str, name: str) -> list[GatewayPod]:
    """The pods of a Gateway."""
    found = cluster.lab.gateway_pods(f"{NAME_LABEL}={name}")
    return [pod for pod in found if pod.namespace == namespace]
