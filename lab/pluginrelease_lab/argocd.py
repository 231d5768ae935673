"""Argo CD on the lab: its own application-controller and repo-server, and the objects that they expect.

They run as in a cluster: in the namespace argocd, as a ServiceAccount that may do everything. There is no API server of
Argo CD, no web page and no login: Applications are objects of Kubernetes, and so are its actions' results.
"""

from __future__ import annotations

import base64
import http
import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from pluginrelease_lab import binaries, network, operator
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab

JSON = dict[str, Any]

NAMESPACE = "argocd"
PROGRAM = "argocd"
PROGRAMS = (PROGRAM, "kustomize")
REDIS, REPO_SERVER, CONTROLLER = "redis-server", "argocd-repo-server", "argocd-application-controller"
REDIS_PORT, REPO_PORT, REPO_METRICS_PORT, CONTROLLER_METRICS_PORT = 9795, 9796, 9797, 9798
SETTINGS = "argocd-cm"
REFRESH_SECONDS = 10
START_WITHIN = 90.0
_PART_OF = {"app.kubernetes.io/part-of": "argocd"}
_CONFIG_MAPS = (SETTINGS, "argocd-rbac-cm", "argocd-tls-certs-cm", "argocd-ssh-known-hosts-cm", "argocd-gpg-keys-cm")
_KINDS = ("application", "appproject")


def start(lab: Lab) -> list[subprocess.Popen[Any]]:
    """Install the kinds, and return when both programs are ready. They end with the lab, and with the calling thread.

    Raises LabError if one ends or is not ready within `START_WITHIN` seconds, and if redis-server is missing.
    """
    if shutil.which(REDIS) is None:
        raise LabError("Argo CD keeps its cache in redis-server, which is missing: apt-get install redis-server")
    install(lab)
    redis, server, controller = start_redis(lab), start_repo_server(lab), start_controller(lab)
    for name, process, port in (
        (REPO_SERVER, server, REPO_METRICS_PORT),
        (CONTROLLER, controller, CONTROLLER_METRICS_PORT),
    ):
        lab.await_answer(name, process, port, "/healthz", status=http.HTTPStatus.OK, within=START_WITHIN)
    return [redis, server, controller]


def install(lab: Lab) -> None:
    """The CustomResourceDefinitions, as the module has them, and what Argo CD's own manifests would have installed."""
    folder = binaries.module_dir("argo-cd") / "manifests" / "crds"
    for kind in _KINDS:
        lab.kubectl("apply", "--server-side", "-f", str(folder / f"{kind}-crd.yaml"))
        operator.await_established(lab, f"crd/{kind}s.argoproj.io")
    lab.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, _objects())))
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(_cluster(_account(lab))))


def _objects() -> list[JSON]:
    about = {"namespace": NAMESPACE, "labels": _PART_OF}
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**about, "name": name}} for name in _CONFIG_MAPS),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**about, "name": "argocd-secret"},
            "stringData": {"server.secretkey": key},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": CONTROLLER, "namespace": NAMESPACE}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": CONTROLLER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": NAMESPACE}],
        },
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": {"name": "default", "namespace": NAMESPACE},
            "spec": {
                "sourceRepos": ["*"],
                "destinations": [{"namespace": "*", "server": "*"}],
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
            },
        },
    ]


def _account(lab: Lab) -> JSON:
    """The cluster and the user of the controller's kubeconfig."""
    known = yaml.safe_load(lab.kubeconfig_for(NAMESPACE, CONTROLLER).read_text(encoding="utf-8"))
    return {**known["clusters"][0]["cluster"], **known["users"][0]["user"]}


def find_server(lab: Lab) -> str:
    """The address by which Applications name the lab's cluster."""
    return str(_account(lab)["server"])


def _cluster(account: JSON) -> JSON:
    """The cluster that Applications name by its address: the controller is in no pod, where it would know its own."""
    config = {
        "bearerToken": account["token"],
        "tlsClientConfig": {"caData": account["certificate-authority-data"]},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "lab",
            "namespace": NAMESPACE,
            "labels": {"argocd.argoproj.io/secret-type": "cluster"},
        },
        "stringData": {"name": "lab", "server": account["server"], "config": json.dumps(config)},
    }


def start_redis(lab: Lab) -> subprocess.Popen[Any]:
    """The cache of both programs, kept in memory alone; nothing outside of the lab's network reaches it."""
    own = [
        "--port",
        str(REDIS_PORT),
        "--bind",
        network.ADDRESS,
        "--save",
        "",
        "--appendonly",
        "no",
        "--protected-mode",
        "no",
    ]
    with lab.log(REDIS).open("ab") as lines:
        return lab.popen([REDIS, *own], stdin=subprocess.DEVNULL, stdout=lines, stderr=lines)


def start_repo_server(lab: Lab) -> subprocess.Popen[Any]:
    """It fetches what Applications name, and renders it."""
    own = [
        "--address=0.0.0.0",
        f"--port={REPO_PORT}",
        f"--metrics-port={REPO_METRICS_PORT}",
        "--disable-tls",
        "--client-ca-path=",
        f"--revision-cache-expiration={REFRESH_SECONDS}s",
    ]
    return _start(lab, REPO_SERVER, *own)


def start_controller(lab: Lab) -> subprocess.Popen[Any]:
    """It compares, applies, and says how healthy an Application is."""
    own = [
        f"--kubeconfig={lab.kubeconfig_for(NAMESPACE, CONTROLLER)}",
        f"--namespace={NAMESPACE}",
        f"--metrics-port={CONTROLLER_METRICS_PORT}",
        f"--repo-server={network.ADDRESS}:{REPO_PORT}",
        "--repo-server-plaintext",
        f"--app-resync={REFRESH_SECONDS}",
        "--self-heal-timeout-seconds=1",
        "--self-heal-backoff-timeout-seconds=0",
    ]
    return _start(lab, CONTROLLER, *own)


def _start(lab: Lab, role: str, *own: str) -> subprocess.Popen[Any]:
    argv: list[str | Path] = [binaries.provide(PROGRAM), f"--redis={network.ADDRESS}:{REDIS_PORT}", *own]
    folder = _tools(lab)
    environ = {
        **os.environ,
        "ARGOCD_BINARY_NAME": role,
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_TLS_DATA_PATH": str(folder / "tls"),
        "ARGOCD_SSH_DATA_PATH": str(folder / "ssh"),
        "KUBECONFIG": str(lab.kubeconfig_for(NAMESPACE, CONTROLLER)),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(folder),
    }
    with lab.log(role).open("ab") as lines:
        return lab.popen(argv, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, env=environ)


def _tools(lab: Lab) -> Path:
    """A folder with what the repo-server calls by name: kustomize, and Argo CD's own wrapper around Git."""
    folder = lab.state / "argocd"
    for name in ("tls", "ssh"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for program in (binaries.provide("kustomize"), binaries.module_dir("argo-cd") / "hack" / "git-verify-wrapper.sh"):
        if not (folder / program.name).exists():
            shutil.copy(program, folder)
            (folder / program.name).chmod(0o755)
    return folder
