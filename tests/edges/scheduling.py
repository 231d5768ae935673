"""What a scheduler does for a lab without a node: gives pods one, so that `helm --wait` comes to its end."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator

from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab

PAUSE_SECONDS = 0.3


@contextlib.contextmanager
def running(lab: Lab, namespace: str) -> Iterator[None]:
    """Meanwhile every pod of the namespace is bound to the lab's simulated node."""
    node = lab.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(PAUSE_SECONDS):
            for name in waiting(lab, namespace):
                bind(lab, namespace, name, node)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)


def waiting(lab: Lab, namespace: str) -> list[str]:
    """The pods that have no node."""
    pods = json.loads(lab.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
    return [pod["metadata"]["name"] for pod in pods if not pod["spec"].get("nodeName")]


def bind(lab: Lab, namespace: str, name: str, node: str) -> None:
    """Give one pod its node; one that is gone meanwhile needs none."""
    target = {"kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
    with contextlib.suppress(LabError):
        lab.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))
