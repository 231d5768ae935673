"""docs/install.md does what it says: its commands are run in the order in which a reader types them, on a lab."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import pluginrelease_lab as labs
from pluginrelease import api
from pluginrelease_lab import Lab, binaries, operator
from tests.edges import scheduling

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "install.md"
RUN = ("helm", "kubectl")
ELSEWHERE = ("docker", "kind")  # what needs a Docker engine: tests/node builds the image by buildah
NAMESPACE = "pluginrelease-system"
EXAMPLE = ROOT / "examples" / "header-authorization" / "pluginrelease.yaml"
SECONDS = 150

pytestmark = pytest.mark.timeout(600)


def commands() -> list[list[str]]:
    """Every command line of the page, in its order."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE)]
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def empty_lab(labs_folder: None) -> Iterator[Lab]:
    """A lab without the CRD, as a reader's cluster is."""
    binaries.provide("helm")
    with labs.up(f"install-page-{os.getpid()}", gateways=1) as lab:
        lab.kubectl("create", "namespace", NAMESPACE)
        yield lab


def leave_a_release(lab: Lab) -> None:
    """One that hangs in its deletion, as no operator takes its finalizer away; with the plugin that it made."""
    manifest = yaml.safe_load(EXAMPLE.read_text())
    manifest["metadata"]["finalizers"] = [api.FINALIZER]
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    where = ["header-authorization", "-n", manifest["metadata"]["namespace"]]
    uid = lab.kubectl("get", "prel", *where, "-o", "jsonpath={.metadata.uid}")
    about = {"name": "made", "namespace": manifest["metadata"]["namespace"], "labels": {"pluginrelease.io/uid": uid}}
    plugin = {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "metadata": about}
    lab.kubectl("apply", "-f", "-", stdin=json.dumps({**plugin, "spec": {"url": "oci://registry.example.com/a"}}))
    lab.kubectl("delete", "prel", *where, "--wait=false")


def test_every_command_is_run_or_is_known_not_to_be() -> None:
    """A command of another program would be told to readers and tried by nobody."""
    assert {words[0] for words in commands()} == {*RUN, *ELSEWHERE}


def test_the_commands_do_what_the_page_says(empty_lab: Lab, tmp_path: Path) -> None:
    """From the first install to the last uninstall; each command ends well, and at the end only the CRD is left."""
    for folder in ("charts", "deploy"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "company-ca.pem").write_text((ROOT / "tests/fixtures/tls/self-signed.pem").read_text())
    environ = {**os.environ, "KUBECONFIG": str(empty_lab.kubeconfig), "HOME": str(tmp_path)}
    uid = ""
    with scheduling.running(empty_lab, NAMESPACE):
        for words in [words for words in commands() if words[0] in RUN]:
            if words[-1] == "jsonpath={.metadata.uid}":
                leave_a_release(empty_lab)
            typed = [word.replace("UID", uid) for word in words[1:]]
            argv = [str(binaries.provide(words[0])), *typed]
            done = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=SECONDS)
            print(f"$ {shlex.join(words)}\n{done.stdout}{done.stderr}")
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
            if words[-1] == "jsonpath={.metadata.uid}":
                uid = done.stdout
    assert uid
    left = ["prel,wasmplugins.extensions.istio.io,deployments", "-A", "-o", "name"]
    assert [name for name in empty_lab.kubectl("get", *left).split() if "gateway" not in name] == []
    assert empty_lab.kubectl("get", operator.CRD, "-o", "name")
