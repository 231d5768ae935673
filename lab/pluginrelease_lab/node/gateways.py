"""Gateways as pods of the real node, as Istio's injection makes them from a gateway's Deployment."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

from pluginrelease_lab import network
from pluginrelease_lab.controlplane import GATEWAY_LABEL, GATEWAY_VALUE, HOSTNAME, answers
from pluginrelease_lab.istio import DISCOVERY_PORT
from pluginrelease_lab.kubeapi import KubeApi, Object
from pluginrelease_lab.node import configuration
from pluginrelease_lab.processes import until

IMAGE = "docker.io/istio/proxyv2:1.31.0"
"""The name of the image that `images.gateway` builds; the containers of the lab's gateways use it."""
LISTENER_PORT = 8080
_USER = 1337
_DISCOVERY = f"{network.ADDRESS}:{DISCOVERY_PORT}"
_FIELDS = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "INSTANCE_IP": "status.podIP",
    "HOST_IP": "status.hostIP",
    "SERVICE_ACCOUNT": "spec.serviceAccountName",
    "ISTIO_META_NODE_NAME": "spec.nodeName",
}
_VALUES = {
    "PILOT_CERT_PROVIDER": "istiod",
    "CA_ADDR": _DISCOVERY,
    "ISTIOD_SAN": "istiod.istio-system.svc",
    "TRUST_DOMAIN": "cluster.local",
    "PROXY_CONFIG": json.dumps({"discoveryAddress": _DISCOVERY}),
    "ISTIO_META_CLUSTER_ID": "Kubernetes",
    "ISTIO_META_MESH_ID": "cluster.local",
    "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
    "ISTIO_META_APP_CONTAINERS": "",
}
_VOLUMES: dict[str, tuple[str, Object]] = {
    "workload-socket": ("/var/run/secrets/workload-spiffe-uds", {"emptyDir": {}}),
    "credential-socket": ("/var/run/secrets/credential-uds", {"emptyDir": {}}),
    "workload-certs": ("/var/run/secrets/workload-spiffe-credentials", {"emptyDir": {}}),
    "istio-envoy": ("/etc/istio/proxy", {"emptyDir": {"medium": "Memory"}}),
    "istio-data": ("/var/lib/istio/data", {"emptyDir": {}}),
    "istiod-ca-cert": ("/var/run/secrets/istio", {"configMap": {"name": "istio-ca-root-cert"}}),
    "istio-podinfo": (
        "/etc/istio/pod",
        {
            "downwardAPI": {
                "items": [
                    {"path": field, "fieldRef": {"fieldPath": f"metadata.{field}"}}
                    for field in ("labels", "annotations")
                ]
            }
        },
    ),
    "istio-token": (
        "/var/run/secrets/tokens",
        {"projected": {"sources": [{"serviceAccountToken": {"audience": "istio-ca", "path": "istio-token"}}]}},
    ),
}
"""Volumes by name: mount path and source."""


def injected(deployment: Object) -> Object:
    """Return the Deployment whose first container is a whole proxy, for the real node. Its own fields are kept."""
    made = copy.deepcopy(deployment)
    pod = made["spec"]["template"]["spec"]
    pod.pop("nodeName", None)
    pod["nodeSelector"] = {HOSTNAME: configuration.NAME}
    pod["securityContext"] = {"runAsUser": _USER, "runAsGroup": _USER, "runAsNonRoot": True, "fsGroup": _USER}
    pod["volumes"] = [{"name": name, **source} for name, (_, source) in _VOLUMES.items()]
    pod["containers"][0] = _proxy(pod["containers"][0], made["metadata"]["name"])
    return made


def _proxy(container: Object, workload: str) -> Object:
    own = {each["name"]: each for each in container.get("env", [])}
    fields = [_variable(name, valueFrom={"fieldRef": {"fieldPath": path}}) for name, path in _FIELDS.items()]
    values = {**_VALUES, "ISTIO_META_WORKLOAD_NAME": workload, "ISTIO_META_POD_PORTS": json.dumps(container["ports"])}
    fixed = [_variable(name, value=value) for name, value in values.items()]
    probe = {"httpGet": {"path": "/healthz/ready", "port": 15021}, "timeoutSeconds": 3}
    return {
        **container,
        "args": _ARGUMENTS,
        "env": [each for each in (*fields, *fixed) if each["name"] not in own] + list(own.values()),
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {**probe, "periodSeconds": 2, "failureThreshold": 4},
        "volumeMounts": [{"name": name, "mountPath": path} for name, (path, _) in _VOLUMES.items()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


_ARGUMENTS = [
    "proxy",
    "router",
    "--domain=$(POD_NAMESPACE).svc.cluster.local",
    "--proxyLogLevel=warning",
    "--proxyComponentLogLevel=misc:error",
    "--log_output_level=default:info",
]


def _variable(name: str, **source: Any) -> Object:
    return {"name": name, **source}


async def wait_until_serving(api: KubeApi, namespace: str, count: int) -> None:
    """Wait until ``count`` gateway pods are ready and serve a request. The caller sets a deadline."""
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={GATEWAY_LABEL}%3D{GATEWAY_VALUE}"
    while len(addresses := ready_addresses(await api.get(path))) < count:  # noqa: ASYNC110 - only to be asked for
        await asyncio.sleep(0.2)
    for address in addresses:
        await until(answers(f"http://{address}:{LISTENER_PORT}/"))


def ready_addresses(pods: Object) -> list[str]:
    """Return the addresses of a list's ready pods."""
    return [pod["status"]["podIP"] for pod in pods["items"] if _is_ready(pod)]


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
