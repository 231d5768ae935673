"""The programs of the node, as the lab starts them."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from pluginrelease_lab import network
from pluginrelease_lab.blueprint import Blueprint
from pluginrelease_lab.controlplane import answers, part_kubeconfig
from pluginrelease_lab.node import configuration, mounts
from pluginrelease_lab.node.configuration import NAME, SOCKET
from pluginrelease_lab.processes import Argv, Probe, Program

_ANSWER_SECONDS = 5.0
_PROXY_PORT = 10256


def containerd(lab: Blueprint) -> Program:
    """Return containerd with runc and the system's CNI plugins."""
    config = _written("containerd.toml", configuration.containerd())
    configuration.CNI_FOLDER.mkdir(exist_ok=True)
    (configuration.CNI_FOLDER / "10-lab.conflist").write_text(configuration.cni())
    return Program("containerd", ["containerd", "--config", config], lab.log("containerd"), _runtime_answers())


def _written(name: str, text: str) -> Path:
    place = mounts.CONFIGURATION / name
    place.write_text(text)
    return place


def ctr(*arguments: str) -> list[str]:
    """Return the command line of containerd's own client, for the images and containers of Kubernetes."""
    return ["ctr", "--address", str(SOCKET), "--namespace", "k8s.io", *arguments]


def _runtime_answers() -> Probe:
    async def probe() -> bool:
        return await asyncio.to_thread(_succeeds, ctr("version"))

    return probe


def _succeeds(argv: Argv) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=_ANSWER_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def kubelet(lab: Blueprint) -> Program:
    """Return the kubelet. It uses the port that the API server expects of a kubelet; kwok uses another."""
    config = _written("kubelet.yaml", configuration.kubelet(lab.node, lab.state / "logs" / "node-pods"))
    argv: Argv = [
        lab.programs["kubelet"],
        f"--config={config}",
        f"--kubeconfig={part_kubeconfig(lab, 'nodes')}",
        f"--root-dir={mounts.KUBELET_ROOT}",
        f"--cert-dir={mounts.KUBELET_ROOT / 'pki'}",
        f"--hostname-override={NAME}",
        f"--node-ip={network.ADDRESS}",
    ]
    return Program("kubelet", argv, lab.log("kubelet"), answers("http://127.0.0.1:10248/healthz"))


def scheduler(lab: Blueprint) -> Program:
    """Return the scheduler, for every pod that names no node."""
    argv: Argv = [
        lab.programs["kube-scheduler"],
        f"--kubeconfig={part_kubeconfig(lab, 'nodes')}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--profiling=false",
    ]
    return Program("kube-scheduler", argv, lab.log("kube-scheduler"), answers("https://127.0.0.1:10259/healthz"))


def proxy(lab: Blueprint) -> Program:
    """Return kube-proxy with iptables.

    All traffic is masqueraded, because pods of one bridge answer each other directly.
    """
    argv: Argv = [
        lab.programs["kube-proxy"],
        f"--kubeconfig={part_kubeconfig(lab, 'nodes')}",
        f"--hostname-override={NAME}",
        "--proxy-mode=iptables",
        "--masquerade-all=true",
        f"--cluster-cidr={network.ADDRESS}/{network.PREFIX_LENGTH}",
        "--conntrack-max-per-core=0",
        f"--healthz-bind-address=127.0.0.1:{_PROXY_PORT}",
        "--metrics-bind-address=127.0.0.1:10249",
    ]
    ready = answers(f"http://127.0.0.1:{_PROXY_PORT}/healthz")
    return Program("kube-proxy", argv, lab.log("kube-proxy"), ready)
