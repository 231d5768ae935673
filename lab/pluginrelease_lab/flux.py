"""Flux on the lab: its own source-controller and kustomize-controller, and what they made of a Kustomization.

They run as in a cluster: in the namespace flux-system, each as a ServiceAccount of its name that may do everything.
"""

from __future__ import annotations

import http
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from pluginrelease_lab import binaries, githttp, network, operator
from pluginrelease_lab.host import Lab

JSON = dict[str, Any]

NAMESPACE = "flux-system"
SOURCE, KUSTOMIZE = "source-controller", "kustomize-controller"
PROGRAMS = (SOURCE, KUSTOMIZE)
STORAGE_PORT, SOURCE_METRICS_PORT, SOURCE_HEALTH_PORT = 9790, 9791, 9792
KUSTOMIZE_METRICS_PORT, KUSTOMIZE_HEALTH_PORT = 9793, 9794
SOURCE_INTERVAL = "5s"
START_WITHIN = 60.0


def start(lab: Lab) -> list[subprocess.Popen[Any]]:
    """Install the kinds of both controllers, and return when they are ready. They end with the lab, and with the
    calling thread. Raises LabError if one ends or is not ready within `START_WITHIN` seconds."""
    install(lab, SOURCE)
    install(lab, KUSTOMIZE)
    started = [start_source_controller(lab), start_kustomize_controller(lab)]
    for controller, process, port in zip(PROGRAMS, started, (SOURCE_HEALTH_PORT, KUSTOMIZE_HEALTH_PORT), strict=True):
        lab.await_answer(controller, process, port, "/readyz", status=http.HTTPStatus.OK, within=START_WITHIN)
    return started


def install(lab: Lab, controller: str) -> None:
    """The CustomResourceDefinitions of a controller, as its module has them, and its account."""
    lab.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, _accounts(controller))))
    folder = binaries.module_dir(controller) / "config" / "crd" / "bases"
    for path in sorted(folder.glob("*.yaml")):
        lab.kubectl("apply", "--server-side", "-f", str(path))
        [definition] = [found for found in yaml.safe_load_all(path.read_text()) if found]
        operator.await_established(lab, f"crd/{definition['metadata']['name']}")


def _accounts(controller: str) -> list[JSON]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": controller, "namespace": NAMESPACE}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{NAMESPACE}-{controller}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": controller, "namespace": NAMESPACE}],
        },
    ]


def start_source_controller(lab: Lab, *more: str) -> subprocess.Popen[Any]:
    """It fetches what GitRepositories and OCIRepositories name, and serves it to the other."""
    folder, address = lab.state / SOURCE, network.ADDRESS
    folder.mkdir(exist_ok=True)
    own = [
        f"--storage-path={folder}",
        f"--storage-addr={address}:{STORAGE_PORT}",
        f"--storage-adv-addr={address}:{STORAGE_PORT}",
        f"--metrics-addr={address}:{SOURCE_METRICS_PORT}",
        f"--health-addr={address}:{SOURCE_HEALTH_PORT}",
    ]
    return _start(lab, SOURCE, *own, *more)


def start_kustomize_controller(lab: Lab) -> subprocess.Popen[Any]:
    """It applies what is fetched, and waits for it where a Kustomization says `wait: true`."""
    own = [
        f"--metrics-addr={network.ADDRESS}:{KUSTOMIZE_METRICS_PORT}",
        f"--health-addr={network.ADDRESS}:{KUSTOMIZE_HEALTH_PORT}",
        "--concurrent=20",
    ]
    return _start(lab, KUSTOMIZE, *own)


def _start(lab: Lab, controller: str, *own: str) -> subprocess.Popen[Any]:
    argv: list[str | Path] = [
        binaries.provide(controller),
        "--enable-leader-election=false",
        "--watch-all-namespaces=true",
        "--events-addr=",
        "--log-level=info",
        *own,
    ]
    account = lab.kubeconfig_for(NAMESPACE, controller)
    environ = {**os.environ, "KUBECONFIG": str(account), "RUNTIME_NAMESPACE": NAMESPACE}
    with lab.log(controller).open("ab") as lines:
        return lab.popen(argv, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, env=environ)


def git_repository(name: str) -> JSON:
    """The source of a repository of the lab's Git server."""
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "interval": SOURCE_INTERVAL,
            "url": f"{githttp.URL}/{name}.git",
            "ref": {"branch": githttp.BRANCH},
        },
    }


def kustomization(name: str, source: str, path: str, **spec: Any) -> JSON:
    """A Kustomization that waits for what it applies; ``spec`` overrides fields of its spec."""
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "interval": "1h",
            "path": path,
            "prune": True,
            "wait": True,
            "timeout": "3m",
            "sourceRef": {"kind": "GitRepository", "name": source},
            **spec,
        },
    }
