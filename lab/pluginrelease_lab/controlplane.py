"""The control plane: etcd, kube-apiserver, kube-controller-manager, and kwok as kubelet for the API server."""

from __future__ import annotations

import asyncio
import base64
import secrets
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from pluginrelease_lab import network
from pluginrelease_lab.blueprint import API_PORT, Blueprint
from pluginrelease_lab.files import write_private
from pluginrelease_lab.kubeapi import ApiError, KubeApi, Object, read_manifests, write_kubeconfig
from pluginrelease_lab.processes import Argv, Probe, Program

ETCD = "http://127.0.0.1:2379"
KUBELET_PORT = 10247
NODE = "lab-node"
HOSTNAME = "kubernetes.io/hostname"
_SIMULATED = {"key": "pluginrelease.io/lab", "value": "simulated", "effect": "NoSchedule"}
"""With a real node: the scheduler puts a pod on kwok's node only if the pod asks for it."""
SERVICE_RANGE = "10.96.0.0/16"
GATEWAY_LABEL = "pluginrelease.io/lab"
GATEWAY_VALUE = "gateway"
MANIFESTS = Path(__file__).parent / "manifests"
_KWOK_CRDS = ("portforwards", "logs")
_PROBE_TIMEOUT = aiohttp.ClientTimeout(total=2)


def answers(url: str, *, status: int = 200) -> Probe:
    """Return a probe: whether a GET of ``url`` answers with ``status``. Certificates are not checked."""

    async def probe() -> bool:
        try:
            async with aiohttp.ClientSession(timeout=_PROBE_TIMEOUT) as session, session.get(url, ssl=False) as answer:
                return answer.status == status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    return probe


def etcd(lab: Blueprint) -> Program:
    """Return etcd without fsync: a lab's data may be lost in a power cut."""
    argv: Argv = [
        lab.programs["etcd"],
        f"--data-dir={lab.run / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return Program("etcd", argv, lab.log("etcd"), answers(f"{ETCD}/readyz"))


def prepare(lab: Blueprint) -> None:
    """Write the files that the API server reads: its users, the key of ServiceAccount tokens and the audit policy."""
    lab.certificates.mkdir(parents=True, exist_ok=True)
    write_private(lab.certificates / "users.csv", _users(lab))
    write_private(lab.certificates / "service-accounts.key", _new_elliptic_key())


def _users(lab: Blueprint) -> str:
    tokens = lab.tokens
    rows = [
        (tokens.admin, "lab-admin", "system:masters"),
        (tokens.lab, "lab-keeper", "system:masters"),
        (tokens.nodes, "lab-nodes", "system:masters"),
        (tokens.istiod, "lab-istiod", "system:masters"),
        (tokens.higress, "lab-higress", "system:masters"),
        (tokens.controllers, "system:kube-controller-manager", ""),
    ]
    return "".join(f'{token},{user},{user},"{group}"\n' for token, user, group in rows)


def _new_elliptic_key() -> str:
    """Return a new P-256 private key as PEM (RFC 5915), without its public half, which readers compute."""
    scalar = bytes([secrets.randbelow(0x7F) + 1]) + secrets.token_bytes(31)  # below the order of the curve
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    der = b"\x30\x31\x02\x01\x01\x04\x20" + scalar + curve
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END EC PRIVATE KEY-----\n"


def apiserver(lab: Blueprint) -> Program:
    """Return kube-apiserver with RBAC and audit.

    It listens on every address, so that its certificate names localhost.
    """
    key = lab.certificates / "service-accounts.key"
    argv: Argv = [
        lab.programs["kube-apiserver"],
        f"--etcd-servers={ETCD}",
        f"--cert-dir={lab.certificates}",
        "--bind-address=0.0.0.0",
        f"--advertise-address={network.ADDRESS}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={lab.certificates / 'users.csv'}",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={MANIFESTS / 'audit-policy.yaml'}",
        f"--audit-log-path={lab.audit_log}",
        "--audit-log-mode=blocking",
        "--profiling=false",
    ]
    return Program("kube-apiserver", argv, lab.log("kube-apiserver"), answers(f"{lab.api_inside}/readyz"))


def write_kubeconfigs(lab: Blueprint) -> None:
    """Write kubeconfigs for users and for the parts, after the API server has made its certificate."""
    ca = lab.ca_file.read_bytes()
    write_kubeconfig(lab.admin_kubeconfig, server=lab.api_outside, ca=ca, token=lab.tokens.admin)
    write_kubeconfig(lab.inside_kubeconfig, server=lab.api_inside, ca=ca, token=lab.tokens.admin)
    for user in ("controllers", "nodes", "istiod"):
        write_kubeconfig(part_kubeconfig(lab, user), server=lab.api_inside, ca=ca, token=getattr(lab.tokens, user))


def part_kubeconfig(lab: Blueprint, user: str) -> Path:
    return lab.run / "kubeconfigs" / user


def controller_manager(lab: Blueprint) -> Program:
    """Return kube-controller-manager:

    garbage collection, Deployments, disruption budgets and namespace deletion are real.
    """
    argv: Argv = [
        lab.programs["kube-controller-manager"],
        f"--kubeconfig={part_kubeconfig(lab, 'controllers')}",
        f"--service-account-private-key-file={lab.certificates / 'service-accounts.key'}",
        f"--root-ca-file={lab.ca_file}",
        f"--cert-dir={lab.run / 'controller-manager'}",
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--profiling=false",
    ]
    return Program(
        "kube-controller-manager",
        argv,
        lab.log("kube-controller-manager"),
        answers("https://127.0.0.1:10257/healthz"),
    )


def kwok(lab: Blueprint) -> Program:
    """Return kwok, the kubelet of its node and of simulated pods. The lab itself is the kubelet of gateway pods."""
    config = lab.run / "kwok.yaml"
    write_private(config, yaml.safe_dump_all(_stages(lab.kwok_sources)))
    argv: Argv = [
        lab.programs["kwok"],
        f"--kubeconfig={part_kubeconfig(lab, 'nodes')}",
        f"--config={config}",
        *_managed(lab),
        f"--cidr={network.SIMULATED_PODS}",
        f"--node-ip={network.ADDRESS}",
        f"--node-port={KUBELET_PORT}",
        f"--server-address=0.0.0.0:{KUBELET_PORT}",
        f"--tls-cert-file={lab.ca_file}",
        f"--tls-private-key-file={lab.certificates / 'apiserver.key'}",
        "--node-lease-duration-seconds=40",
        "--enable-crds=PortForward",
        "--enable-crds=Logs",
    ]
    return Program("kwok", argv, lab.log("kwok"), answers(f"https://{network.ADDRESS}:{KUBELET_PORT}/healthz"))


def _managed(lab: Blueprint) -> Argv:
    """Return which nodes kwok manages: all, so that tests can add some; with a real node only the lab's own."""
    if not lab.node:
        return ["--manage-all-nodes=true"]
    return ["--manage-all-nodes=false", f"--manage-nodes-with-label-selector={HOSTNAME}={NODE}"]


def _stages(kwok_sources: Path) -> list[Object]:
    """Return kwok's own rules for nodes and pods, without gateway pods: those are ready when they really are."""
    folders = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
    files = [file for folder in folders for file in sorted((kwok_sources / "kustomize/stage" / folder).glob("*.yaml"))]
    stages = [stage for file in files for stage in read_manifests(file.read_text()) if stage["kind"] == "Stage"]
    return [_without_gateways(stage) if stage["spec"]["resourceRef"]["kind"] == "Pod" else stage for stage in stages]


def _without_gateways(stage: dict[str, Any]) -> Object:
    rule = {"key": f'.metadata.labels["{GATEWAY_LABEL}"]', "operator": "NotIn", "values": [GATEWAY_VALUE]}
    stage["spec"]["selector"]["matchExpressions"].append(rule)
    return stage


async def install_kwok_kinds(lab: Blueprint, api: KubeApi) -> None:
    """Install kwok's kinds for ports and logs of pods. kwok looks for them when it starts."""
    folder = lab.kwok_sources / "kustomize/crd/bases"
    for kind in _KWOK_CRDS:
        [crd] = read_manifests((folder / f"kwok.x-k8s.io_{kind}.yaml").read_text())
        await api.apply(crd)
        await known(api, f"/apis/kwok.x-k8s.io/v1alpha1/{kind}")


async def known(api: KubeApi, path: str) -> None:
    """Wait until the API server serves a new kind. The caller sets a deadline."""
    while True:
        try:
            await api.text(f"{path}?limit=1")
            return
        except ApiError as error:
            if error.status != 404:
                raise
        await asyncio.sleep(0.1)


async def make_node(lab: Blueprint, api: KubeApi) -> None:
    """Create kwok's node, which the lab's own pods name."""
    about = {"name": NODE, "labels": {HOSTNAME: NODE, "kubernetes.io/os": "linux"}}
    spec = {"taints": [_SIMULATED]} if lab.node else {}
    await api.apply({"apiVersion": "v1", "kind": "Node", "metadata": about, "spec": spec})
    while not is_ready(await api.get(f"/api/v1/nodes/{NODE}")):  # noqa: ASYNC110 - it can only be asked for
        await asyncio.sleep(0.1)


def is_ready(node: Object) -> bool:
    """Return whether a Node reports Ready."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
