"""A lab with a real node, as its user sees it: Helm, kubectl, and the operator in its pod."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pluginrelease_lab import Lab, operator
from tests.harness.cluster import JSON, LabCluster, Operator

NAMESPACE = "pluginrelease-system"
RELEASE = "pluginrelease"
SELECTOR = f"app.kubernetes.io/instance={RELEASE}"
HELM_SECONDS = 180

T = TypeVar("T")


def eventually(look: Callable[[], T | None], within: float = 90.0) -> T:
    """What ``look`` finds, asked again until it finds something; fails after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"not seen within {within} s"
        time.sleep(0.1)
    return found


class NodeCluster(LabCluster):
    """The verbs of `LabCluster`, with an operator that Helm installs."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__(lab, Operator(lab, folder / "operator.log"))
        self.folder = folder

    def helm(self, *arguments: str | Path) -> str:
        """Helm against the lab, in the operator's namespace."""
        own = ["--namespace", NAMESPACE, "--kubeconfig", self.lab.kubeconfig]
        return operator.helm(*arguments, *own, timeout=HELM_SECONDS)

    def make_namespace(self) -> None:
        """The operator's, which allows only restricted pods."""
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        about = {"name": NAMESPACE, "labels": restricted}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": about}
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))

    def install(self, *settings: str, chart: Path | None = None) -> str:
        """`helm install --wait` with the chart's defaults, and ``settings`` if any; or of another ``chart``."""
        self.make_namespace()
        waiting = ["--wait", f"--timeout={HELM_SECONDS - 10}s"]
        return self.helm("install", RELEASE, chart or operator.chart(), *waiting, *settings)

    def upgrade(self, *settings: str) -> str:
        """`helm upgrade --wait`."""
        waiting = ["--wait", f"--timeout={HELM_SECONDS - 10}s"]
        return self.helm("upgrade", RELEASE, operator.chart(), *waiting, *settings)

    def uninstall(self) -> None:
        """As a user does it; then until the garbage collector has taken what belonged to the Deployment.

        Helm's own --wait gives up within seconds now and then, with a Deployment that is just going.
        """
        self.helm("uninstall", RELEASE)
        eventually(lambda: not self.list_workloads())

    def list_workloads(self) -> list[str]:
        """What of the operator's Deployment is there, and of what that has made."""
        kinds = "deployments,replicasets,pods"
        return self.lab.kubectl("get", kinds, "-n", NAMESPACE, "-l", SELECTOR, "-o", "name").split()

    def operator_pods(self) -> list[JSON]:
        """Those that are not on their way out."""
        found = self.pods(NAMESPACE, SELECTOR)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pods(self, namespace: str, selector: str = "") -> list[JSON]:
        """The pods of a namespace, whole."""
        chosen = ["-l", selector] if selector else []
        return list(json.loads(self.lab.kubectl("get", "pods", "-n", namespace, *chosen, "-o", "json"))["items"])

    def operator_log(self) -> str:
        """What the operator has written so far."""
        return self.lab.kubectl("logs", "-n", NAMESPACE, "-l", SELECTOR, "--tail=-1")

    def clean_up(self) -> None:
        """Deletes what the test applied, newest first."""
        while self.created:
            self.delete(*self.created.pop())

    def await_release(self, name: str, done: Callable[[JSON], bool], **where: Any) -> JSON:
        """As in `LabCluster`; what the operator wrote is shown when it does not come to that."""
        try:
            return super().await_release(name, done, **where)
        except (AssertionError, FileNotFoundError):
            self.operator.log.write_text(self.operator_log())
            raise
