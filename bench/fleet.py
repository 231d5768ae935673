"""Any number of simulated gateway pods: kwok serves their port-forwards and their logs.

All are forwarded to one admin port with recorded answers, and share one recorded log. The API server, kwok's kubelet
and all bytes between them and the operator are real; the Envoys are not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench import recorded
from pluginrelease_lab import Lab, network

NAMESPACE = "apps"
CONTAINER = "istio-proxy"
ADMIN_PORT = 15000
SERVER_PORT = 15999
NODE = "lab-node"
BATCH = 100
READY_WITHIN = "180s"

JSON = dict[str, Any]


@contextmanager
def admin_port(lab: Lab, folder: Path) -> Iterator[None]:
    """Serve the recorded admin port during the body."""
    argv = [sys.executable, recorded.__file__, network.ADDRESS, str(SERVER_PORT), str(folder)]
    with lab.popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "listening\n":
                raise RuntimeError("the recorded admin port does not listen")
            yield
        finally:
            process.kill()


def make(lab: Lab, log: Path, numbers: range) -> None:
    """Create pods ``gateway-<number>`` with a label ``fleet:

    <size>`` for each size that includes them; return when ready.
    """
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(namespace()))
    for start in range(numbers.start, numbers.stop, BATCH):
        batch = range(start, min(start + BATCH, numbers.stop))
        objects = [manifest for number in batch for manifest in objects_of(number, log)]
        lab.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(objects), timeout=180)
    waiting = ["wait", "pods", "--all", "-n", NAMESPACE, "--for=condition=Ready", f"--timeout={READY_WITHIN}"]
    lab.kubectl(*waiting, timeout=200)


def namespace() -> JSON:
    """Return their namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def objects_of(number: int, log: Path) -> list[JSON]:
    """Return the pod, and the objects that lead kwok to its admin port and its log."""
    about = {"name": f"gateway-{number:04}", "namespace": NAMESPACE}
    target = {"address": network.ADDRESS, "port": SERVER_PORT}
    container = {"name": CONTAINER, "image": "istio/proxyv2:1.31.0", "ports": [{"containerPort": ADMIN_PORT}]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**about, "labels": {"istio": "fleet"}},
            "spec": {"nodeName": NODE, "containers": [container]},
        },
        kwok("PortForward", about, {"forwards": [{"ports": [ADMIN_PORT], "target": target}]}),
        kwok("Logs", about, {"logs": [{"containers": [CONTAINER], "logsFile": str(log)}]}),
    ]


def kwok(kind: str, about: JSON, spec: JSON) -> JSON:
    """Return one of kwok's own objects about a pod."""
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}


def write_log(recorded_lines: str, place: Path) -> None:
    """Write a recorded log in the kubelet's form: each line begins with its time."""
    lines = [line for line in recorded_lines.splitlines() if line[:4].isdigit()]
    place.write_text("".join(f"{line.split()[0].rstrip('Z')}000Z stdout F {line}\n" for line in lines))
