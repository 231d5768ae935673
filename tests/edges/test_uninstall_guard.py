"""What an uninstall that would delete the CRD asks first, against a real API server that listens on IPv6 alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pluginrelease.cli import crd
from tests.edges import lone_apiserver
from tests.edges.chart_values import CHART, only, rendered
from tests.edges.lone_apiserver import Lone

ADDRESS = "::1"


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    """Without the CRD at first."""
    with lone_apiserver.running(tmp_path_factory.mktemp("lone"), ADDRESS) as started:
        yield started


def ask(lone: Lone, folder: Path, token: str = "") -> tuple[int, str]:
    """The exit code and the words of the script that the chart's job runs, in a pod of that API server."""
    (folder / "token").write_text(token or lone.token)
    (folder / "ca.crt").write_bytes(lone.ca)
    job = only(rendered("--set", "crds.keep=false"), "Job")
    [container] = job["spec"]["template"]["spec"]["containers"]
    server = {"KUBERNETES_SERVICE_HOST": ADDRESS, "KUBERNETES_SERVICE_PORT": str(lone.port), "ACCOUNT": str(folder)}
    argv = [sys.executable, *container["command"][1:], *container["args"]]
    done = subprocess.run(argv, env={**os.environ, **server}, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_it_asks_only_where_the_crd_goes() -> None:
    """A CRD that is kept, is not the chart's, or a user who said so: no job; then it is a hook before the deletion."""
    for settings in ("crds.keep=true", "crds.keep=false,uninstall.guard=false", "crds.keep=false,crds.install=false"):
        assert [it for it in rendered("--set", settings) if it["kind"] == "Job"] == []
    about = only(rendered("--set", "crds.keep=false"), "Job")["metadata"]["annotations"]
    assert (about["helm.sh/hook"], about["helm.sh/hook-output-log-policy"]) == ("pre-delete", "hook-failed")


def test_what_it_says(lone: Lone, tmp_path: Path) -> None:
    """It agrees without a CRD and without releases, refuses with the names of those that are there, and refuses what
    it could not ask."""
    assert ask(lone, tmp_path)[0] == 0
    lone.apply(crd.text())
    assert ask(lone, tmp_path)[0] == 0
    code, said = ask(lone, tmp_path, "no-token")
    assert (code, "401" in said) == (1, True)

    example = yaml.safe_load((CHART.parents[1] / "examples/header-authorization/pluginrelease.yaml").read_text())
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}}
    releases = [example | {"metadata": {"namespace": "edge", "name": f"auth-{number:02}"}} for number in range(21)]
    lone.apply(yaml.safe_dump_all([namespace, *releases]))
    code, said = ask(lone, tmp_path)
    assert code == 1
    assert "edge/auth-00, edge/auth-01" in said
    assert ("edge/auth-19" in said, "edge/auth-20" in said) == (True, False)
    assert "kubectl delete prel --all --all-namespaces" in said
