"""The operator on the lab, as in a cluster: as the ServiceAccount and with the RBAC of the chart.

The operator itself runs from this installation of the package, inside the lab's network; everything else that the
chart makes is applied as it is.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from pluginrelease import shipped
from pluginrelease_lab import binaries
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab

JSON = dict[str, Any]

NAMESPACE = "pluginrelease-system"
RELEASE = "pluginrelease"
CRD = "crd/pluginreleases.pluginrelease.io"
# seconds until the API server serves a kind that it was given
ESTABLISHED_WITHIN = 30.0
HELM_WITHIN = 60.0
"""Seconds for one run of Helm."""


def chart() -> Path:
    """The chart's folder."""
    return shipped.folder("charts") / "pluginrelease"


def helm(*arguments: str | os.PathLike[str], timeout: float = HELM_WITHIN) -> str:
    """Run real Helm and return what it prints. Raises LabError with its message when it fails.

    Settings of the user's own Helm (``HELM_…``) are left out: a lab does not depend on them.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    argv = [binaries.provide("helm"), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=environ, check=False)
    if done.returncode != 0:
        raise LabError(f"helm {' '.join(map(str, arguments))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def render(namespace: str = NAMESPACE, values: Sequence[str] = ()) -> list[JSON]:
    """Every object of the chart but its tests, as `helm template` prints it; ``values`` are those of ``--set-json``."""
    settings = [part for value in values for part in ("--set-json", value)]
    text = helm("template", RELEASE, chart(), "--skip-tests", "--namespace", namespace, *settings)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def manifests(namespace: str = NAMESPACE) -> list[JSON]:
    """What the chart makes but the Deployment: CRD, ServiceAccount, roles and bindings."""
    return [manifest for manifest in render(namespace) if manifest["kind"] != "Deployment"]


@functools.cache
def service_account(namespace: str = NAMESPACE) -> str:
    """The name of the operator's ServiceAccount, by the chart; asked once, as Helm takes its time."""
    [name] = [manifest["metadata"]["name"] for manifest in manifests(namespace) if manifest["kind"] == "ServiceAccount"]
    return str(name)


def await_established(lab: Lab, definition: str = CRD) -> None:
    """Return when the API server serves the kinds of a definition. Raises LabError when it does not in time.

    `kubectl wait` fails on a definition that has no conditions yet, as in its first moment: then it is asked again.
    """
    deadline = time.monotonic() + ESTABLISHED_WITHIN
    while True:
        try:
            lab.kubectl("wait", "--for=condition=Established", "--timeout=30s", definition)
        except LabError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def install(lab: Lab, namespace: str = NAMESPACE) -> Path:
    """Apply `manifests` and wait for the CRD. Returns a kubeconfig of the ServiceAccount, for inside the lab."""
    objects: list[JSON] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}]
    text = yaml.safe_dump_all(objects + manifests(namespace))
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    await_established(lab)
    return lab.kubeconfig_for(namespace, service_account(namespace))


def run(lab: Lab, *arguments: str, log: Path, namespace: str = NAMESPACE) -> subprocess.Popen[Any]:
    """Start ``pluginrelease run`` with further ``arguments`` after `install`; its lines are appended to ``log``.

    The process id is the operator's own. It ends with the lab, and with the thread that calls this.
    """
    argv = command(lab, *arguments, namespace=namespace)
    with log.open("ab") as lines:
        return lab.popen(argv, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines)


def leave_running(lab: Lab, *arguments: str, log: Path, namespace: str = NAMESPACE) -> None:
    """As `run`, but it ends only with the lab: for one that is left running after this process."""
    argv = lab.command_inside(command(lab, *arguments, namespace=namespace))
    with log.open("ab") as lines:
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, start_new_session=True)


def command(lab: Lab, *arguments: str, namespace: str = NAMESPACE) -> list[str]:
    """The command line of the operator as the chart's ServiceAccount, for inside the lab's network.

    What it fetches is kept with the lab: another lab's registry has other images under the same names.
    """
    kubeconfig = lab.kubeconfig_for(namespace, service_account(namespace))
    own = ["--kubeconfig", str(kubeconfig), "--cache-dir", str(lab.state / "operator-cache")]
    return [sys.executable, "-m", "pluginrelease.cli", "run", *own, *arguments]


def forbidden(lab: Lab, namespace: str = NAMESPACE) -> list[str]:
    """Return what the operator asked for without a right, as ``verb path``: the chart's RBAC lacks it.

    Not every 403 is that: a namespace that is terminating answers so too.
    """
    mine = f"system:serviceaccount:{namespace}:{service_account(namespace)}"
    return [f"{event['verb']} {event['requestURI']}" for event in audited(lab, mine) if not is_authorized(event)]


def is_authorized(event: JSON) -> bool:
    """Whether the authorizer let the request pass, whatever became of it then."""
    return bool(event.get("annotations", {}).get("authorization.k8s.io/decision") != "forbid")


def audited(lab: Lab, user: str) -> Iterator[JSON]:
    """The audit events of one user's requests, in the order in which the API server wrote them."""
    with lab.audit_log.open(encoding="utf-8") as lines:
        for event in complete_events(lines):
            if event["user"].get("username") == user:  # a request that is not authenticated has none
                yield event


def complete_events(lines: IO[str]) -> Iterator[JSON]:
    """One event a line; a last line that is still being written is left for the next look."""
    for line in lines:
        if line.endswith("\n"):
            yield json.loads(line)
