"""What the stories of docs/flux.md and docs/argocd.md share: their images, their reader, and what gateways answer."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pluginrelease_lab import Lab, binaries, githttp
from tests import wasm_modules
from tests.gitops import transcript
from tests.gitops.conftest import Git
from tests.gitops.transcript import Page, Shell
from tests.harness import registries
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster

REPOSITORY = "gateways"


def push_images(cluster: LabCluster, image: str, folder: Path) -> str:
    """Push the four versions of a page; the second refuses its configuration. Returns the repository."""
    for version in ("1.0", "1.1", "1.2", "1.3"):
        module = folder / f"{version}.wasm"
        module.write_bytes(wasm_modules.answering(version, refuses_configuration=version == "1.1"))
        registries.push(cluster.lab, module, f"{image}:{version}")
    return f"{cluster.lab.registry}/{image}"


def begin(page: Page, lab: Lab, git: Git, folder: Path) -> Shell:
    """Return a reader's shell, in a clone of a new repository with the page's files."""
    programs = {
        "kubectl": binaries.provide("kubectl"),
        "kubectl-pluginrelease": Path(sys.executable).with_name("kubectl-pluginrelease"),
    }
    shell = transcript.shell(folder, programs, lab.kubeconfig)
    shutil.rmtree(git.folder / f"{REPOSITORY}.git", ignore_errors=True)  # the other page's
    git.commit(REPOSITORY, {"README.md": "Plugins of our gateways\n"}, "Begin")
    githttp.git("clone", "--quiet", str(git.folder / f"{REPOSITORY}.git"), str(shell.folder))
    for path, text in page.files().items():
        (shell.folder / path).parent.mkdir(exist_ok=True)
        (shell.folder / path).write_text(text, encoding="utf-8")
    return shell


def runs(cluster: LabCluster, version: str | None) -> None:
    """Wait until each gateway answers through this version; None: through no plugin."""
    cluster.await_answers(lambda status, headers, _: status == 200 and headers.get("x-plugin") == version)


def carrier(cluster: LabCluster) -> JSON:
    """Return the WasmPlugin of the release."""
    found = cluster.get("wasmplugin", GATEWAY_NAMESPACE, "auth-public")
    assert found is not None
    return found
