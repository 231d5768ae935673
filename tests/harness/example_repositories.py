"""The example repositories as a reader works with them: a clone, a Git server, and the environments' gateways."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from pluginrelease_lab import binaries
from tests import wasm_modules
from tests.harness import gateways, registries
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster

ROOT = Path(__file__).resolve().parents[2]
PLACEHOLDER = "registry.example.com"
IMAGE = "plugins/header-authorization"
NAME = "header-authorization"
STAGING, INTERNAL = "istio-staging", "istio-internal"
LABELS = {STAGING: "staginggateway", INTERNAL: "internalgateway"}
REFUSED = ("1.2", "1.9")  # these start only without a configuration, and the repositories have one
SECONDS = 120.0
ENVIRONMENTS = {"staging": STAGING, "production": GATEWAY_NAMESPACE}


@dataclass(frozen=True)
class PageCommand:
    """A command line of a page, and the exit code that the page says or 0."""

    line: str
    code: int


def typed(page: Path) -> list[PageCommand]:
    """Every command line of a page, in its order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line, code in re.findall(r"^\$ (.*)(?:\n\$ echo \$\?\n(\d+))?", block, re.MULTILINE):
            found.append(PageCommand(line, int(code or 0)))
    return [it for it in found if not it.line.startswith("echo ")]


@dataclass(frozen=True)
class ExampleClone:
    """A clone, and the environment in which a reader types; the registry is the lab's."""

    clone: Path
    environ: dict[str, str]
    registry: str

    def run(self, text: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A piece of shell, as a terminal or a pipeline runs it."""
        return subprocess.run(
            ["bash", "-ec", text.replace(PLACEHOLDER, self.registry)],
            cwd=self.clone,
            env={**self.environ, **more},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def type(self, command: PageCommand) -> None:
        """A command line, which ends as its page says."""
        done = self.run(f"set -o pipefail; {command.line}")
        said = f"$ {command.line}\n{done.stdout}{done.stderr}"
        print(said)
        assert done.returncode == command.code, said


def deploy(cluster: LabCluster, folder: Path) -> None:
    """Start gateways in the environments' namespaces, and push the plugin's versions to the lab's registry."""
    lab = cluster.lab
    for namespace, label in LABELS.items():
        for manifest in gateways.manifests(namespace, 1):
            text = yaml.safe_dump(manifest).replace(f"istio: {namespace}", f"istio: {label}")
            cluster.apply(yaml.safe_load(text))
    for namespace in LABELS:
        lab.kubectl("rollout", "status", f"deployment/{namespace}", "-n", namespace, "--timeout=120s", timeout=150)
    for version in ("1.0", "1.1", "1.3", *REFUSED):
        module = folder / f"{version}.wasm"
        module.write_bytes(wasm_modules.answering(version, refuses_configuration=version in REFUSED))
        registries.push(lab, module, f"{IMAGE}:{version}")


def clone(cluster: LabCluster, tool: str, server: Path, folder: Path) -> ExampleClone:
    """Return a clone of one of the repositories. Nothing is pushed yet; ``server``: the bare repository to be made."""
    lab, made = cluster.lab, folder / "clone"
    shutil.copytree(ROOT / "examples" / tool, made)
    shutil.copy(ROOT / "examples/ci/promote.sh", made)
    for file in made.rglob("*.yaml"):
        text = file.read_text().replace(PLACEHOLDER, lab.registry)
        file.write_text(text.replace("      # the environments", "      insecure: true\n      # the environments"))
    tools = folder / "bin"
    tools.mkdir()
    for name, program in (
        ("kubectl", binaries.provide("kubectl")),
        ("pluginrelease", Path(sys.executable).parent / "pluginrelease"),
    ):
        (tools / name).symlink_to(program)
    known = {"HOME": str(folder), "KUBECONFIG": str(lab.kubeconfig), "PATH": f"{tools}:{os.environ['PATH']}"}
    me = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    one = ExampleClone(made, {**known, **me}, lab.registry)
    done = one.run(
        f"git init --quiet --bare --initial-branch main {server}; git init --quiet --initial-branch main; "
        f"git add --all; git commit --quiet --message first; git remote add origin {server}"
    )
    assert done.returncode == 0, done.stderr
    return one


def served(cluster: LabCluster, namespace: str) -> set[str | None]:
    """The version that gateways of a namespace serve."""
    pods = cluster.gateways(namespace)
    return {cluster.lab.request(pod.address, 8080).headers.get("x-plugin") for pod in pods}
