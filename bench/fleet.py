"""Gateway pods that are only simulated, as many as wanted: kwok serves their port-forwards and their logs.

All of them are forwarded to one admin port with recorded answers, and have one recorded log. API server, kwok's kubelet
and every byte between them and the operator are real; the Envoys are not.
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
    """The recorded admin port, while the context lasts."""
    argv = [sys.executable, recorded.__file__, network.ADDRESS, str(SERVER_PORT), str(folder)]
    with lab.popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "listening\n":
                raise RuntimeError("the recorded admin port does not listen")
            yield
        finally:
            process.kill()


def make(lab: Lab, log: Path, numbers: range) -> None:
    """Pods ``gateway-<number>`` with the label ``fleet: <size>`` for each size in which they are; ready on return."""
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(namespace()))
    for start in range(numbers.start, numbers.stop, BATCH):
        batch = range(start, min(start + BATCH, numbers.stop))
        objects = [one for number in batch for one in objects_of(number, log)]
        lab.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(objects), timeout=180)
    waiting = ["wait", "pods", "--all", "-n", NAMESPACE, "--for=condition=Ready", f"--timeout={READY_WITHIN}"]
    lab.kubectl(*waiting, timeout=200)


def namespace() -> JSON:
    """Where they are."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def objects_of(number: int, log: Path) -> list[JSON]:
    """The pod, and where kwok finds its admin port and its log."""
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
    """One of kwok's own objects about a pod."""
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}


def write_log(recorded_lines: str, place: Path) -> None:
    """A recorded log as the kubelet keeps it: each line's own time in front."""
    lines = [line for line in recorded_lines.splitlines() if line[:4].isdigit()]
    place.write_text("".join(f"{line.split()[0].rstrip('Z')}000Z stdout F {line}\n" for line in lines))
