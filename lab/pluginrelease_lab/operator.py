"""The operator on the lab, with the chart's ServiceAccount and RBAC as in a cluster.

The operator itself runs from this installation of the package, inside the lab's network. Everything else of the chart
is applied unchanged.
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
LEASE_LOST = 75
"""The exit code of an operator that lost its Lease. This is no error: it should be started again."""

KEEP_UP = (
    f"""while "$0" "$@"; test $? = {LEASE_LOST}; do echo "the operator lost its Lease, and is started again"; done"""
)
HELM_WITHIN = 60.0
"""Seconds for one run of Helm."""


def chart() -> Path:
    """Return the chart's folder."""
    return shipped.folder("charts") / "pluginrelease"


def helm(*arguments: str | os.PathLike[str], timeout: float = HELM_WITHIN) -> str:
    """Run real Helm and return its output. Raises LabError with its message.

    Settings of the user's own Helm (``HELM_…``) are removed, so that a lab does not depend on them.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    argv = [binaries.provide("helm"), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=environ, check=False)
    if done.returncode != 0:
        raise LabError(f"helm {' '.join(map(str, arguments))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def render(namespace: str = NAMESPACE, values: Sequence[str] = ()) -> list[JSON]:
    """Return every object of the chart except its tests, as `helm template` prints them.

    ``values``: for ``--set-json``.
    """
    settings = [part for value in values for part in ("--set-json", value)]
    text = helm("template", RELEASE, chart(), "--skip-tests", "--namespace", namespace, *settings)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def manifests(namespace: str = NAMESPACE) -> list[JSON]:
    """Return the chart's objects except the Deployment: CRD, ServiceAccount, roles and bindings."""
    return [manifest for manifest in render(namespace) if manifest["kind"] != "Deployment"]


@functools.cache
def service_account(namespace: str = NAMESPACE) -> str:
    """Return the name of the operator's ServiceAccount in the chart. It is read once, because Helm is slow."""
    [name] = [manifest["metadata"]["name"] for manifest in manifests(namespace) if manifest["kind"] == "ServiceAccount"]
    return str(name)


def await_established(lab: Lab, definition: str = CRD) -> None:
    """Return when the API server serves the kinds of a definition. Raises LabError if this takes too long.

    `kubectl wait` fails if a definition has no conditions yet, as in its first moment. Then it runs again.
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
    """Apply `manifests` and wait for the CRD. Return a kubeconfig of the ServiceAccount for use inside the lab."""
    objects: list[JSON] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}]
    text = yaml.safe_dump_all(objects + manifests(namespace))
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    await_established(lab)
    return lab.kubeconfig_for(namespace, service_account(namespace))


def run(lab: Lab, *arguments: str, log: Path, namespace: str = NAMESPACE) -> subprocess.Popen[Any]:
    """Start ``pluginrelease run`` with further ``arguments`` after `install`; append its lines to ``log``.

    The process id is the operator's own. It ends with the lab, and with the calling thread.
    """
    argv = command(lab, *arguments, namespace=namespace)
    with log.open("ab") as lines:
        return lab.popen(argv, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines)


def leave_running(lab: Lab, *arguments: str, log: Path, namespace: str = NAMESPACE) -> None:
    """Do as `run`, but let the operator end only with the lab, so that it survives this process.

    An operator that lost the Lease is started again, as by a kubelet, and its log says so.
    """
    kept_up = ["sh", "-c", KEEP_UP, *command(lab, *arguments, namespace=namespace)]
    argv = lab.command_inside(kept_up)
    with log.open("ab") as lines:
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, start_new_session=True)


def command(lab: Lab, *arguments: str, namespace: str = NAMESPACE) -> list[str]:
    """Return the command line of the operator with the chart's ServiceAccount, for the lab's network.

    Fetched images are kept in the lab's directory, because another lab's registry has other images under the same
    names. For the Lease it is one container that restarts; a second operator at the same time needs its own
    ``--identity``.
    """
    kubeconfig = lab.kubeconfig_for(namespace, service_account(namespace))
    own = [
        "--identity",
        f"lab-{namespace}",
        "--kubeconfig",
        str(kubeconfig),
        "--cache-dir",
        str(lab.state / "operator-cache"),
    ]
    return [sys.executable, "-m", "pluginrelease.cli", "run", *own, *arguments]


def forbidden(lab: Lab, namespace: str = NAMESPACE) -> list[str]:
    """Return the operator's forbidden requests as ``verb path``: the chart's RBAC lacks these rights.

    A 403 for a namespace that is terminating does not count.
    """
    mine = f"system:serviceaccount:{namespace}:{service_account(namespace)}"
    return [f"{event['verb']} {event['requestURI']}" for event in audited(lab, mine) if not is_authorized(event)]


def is_authorized(event: JSON) -> bool:
    """Return whether the authorizer allowed the request, whether or not it succeeded then."""
    return bool(event.get("annotations", {}).get("authorization.k8s.io/decision") != "forbid")


def audited(lab: Lab, user: str) -> Iterator[JSON]:
    """Yield the audit events of one user's requests, in the order in which the API server wrote them."""
    with lab.audit_log.open(encoding="utf-8") as lines:
        for event in complete_events(lines):
            if event["user"].get("username") == user:  # a request without authentication has none
                yield event


def complete_events(lines: IO[str]) -> Iterator[JSON]:
    """Yield one event per line. An incomplete last line is left for the next read."""
    for line in lines:
        if line.endswith("\n"):
            yield json.loads(line)
