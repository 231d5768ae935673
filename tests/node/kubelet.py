"""What happens to a node, done to the lab's real one: its kubelet stops, its disk fills, its pods are made again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pluginrelease_lab import Lab
from pluginrelease_lab.node import configuration, mounts
from tests.harness.cluster import JSON

PAUSE = b"/lab-pause"
LEFT = 400_000
"""Bytes that are left on a full disk: less than the one percent at which the kubelet evicts, and room for a plugin."""


def pods(lab: Lab, namespace: str, selector: str) -> list[JSON]:
    """The pods of a namespace, whole, without those on their way out."""
    listed = lab.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "json")
    return [pod for pod in json.loads(listed)["items"] if "deletionTimestamp" not in pod["metadata"]]


def proxies(lab: Lab, namespace: str, selector: str) -> list[JSON]:
    """The status of the container that runs Envoy, in each pod that has one yet."""
    statuses = [pod["status"] for pod in pods(lab, namespace, selector)]
    listed = [[*it.get("containerStatuses", []), *it.get("initContainerStatuses", [])] for it in statuses]
    return [status for each in listed for status in each if status["name"] == "istio-proxy"]


def process_of(lab: Lab, word: str) -> int:
    """The process of the lab whose command line begins with a program of this name."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0") if process.name.isdigit() else [b""]
            if Path(os.fsdecode(words[0])).name == word and any(os.fsencode(lab.state) in each for each in words):
                return int(process.name)
    raise AssertionError(f"no {word} of this lab runs")


@contextlib.contextmanager
def stopped(process: int) -> Iterator[None]:
    """The process does nothing meanwhile, as on a machine that hangs; what it started goes on."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def node_says(lab: Lab, kind: str) -> str:
    """The status of one of the node's conditions: True, False or Unknown; "" without a node."""
    text = lab.kubectl("get", "node", configuration.NAME, "-o", "json", "--ignore-not-found")
    found = json.loads(text)["status"]["conditions"] if text.strip() else []
    return next((str(condition["status"]) for condition in found if condition["type"] == kind), "")


def sandbox_of(pod: JSON) -> int:
    """The process that holds a pod's sandbox, which is the first of the pod's."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            is_pause = process.name.isdigit() and (process / "cmdline").read_bytes().startswith(PAUSE)
            if is_pause and pod["metadata"]["uid"] in (process / "cgroup").read_text():
                return int(process.name)
    raise AssertionError(f"no sandbox of {pod['metadata']['name']} runs")


@contextlib.contextmanager
def full_disk(lab: Lab) -> Iterator[None]:
    """The file system of the kubelet has next to no room meanwhile, so that it puts pods off its node."""
    folder = str(mounts.KUBELET_ROOT)
    size = room(lab, "%b %S")
    on_node(lab, "mount", "-o", "remount,size=64m", folder)
    on_node(lab, "fallocate", "-l", str(room(lab, "%a %S") - LEFT), f"{folder}/ballast")
    try:
        yield
    finally:
        on_node(lab, "rm", f"{folder}/ballast")
        on_node(lab, "mount", "-o", f"remount,size={size}", folder)


def room(lab: Lab, fields: str) -> int:
    """Bytes of the kubelet's file system: the product of two fields of `stat -f`."""
    count, size = on_node(lab, "stat", "-f", "-c", fields, str(mounts.KUBELET_ROOT)).split()
    return int(count) * int(size)


def on_node(lab: Lab, *argv: str) -> str:
    """Run a program of this machine with the node's files."""
    done = subprocess.run(lab.command_on_node(argv), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout
