"""examples/flux, examples/argocd and docs/ci.md do what they say, in a clone, on the lab.

Their commands are run in the order in which a reader types them. The Git server applies each commit on main, as Flux or
Argo CD do."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease_lab import Lab, binaries
from tests import wasm_modules
from tests.harness import gateways, registries
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster, Operator

ROOT = Path(__file__).resolve().parents[2]
PLACEHOLDER = "registry.example.com"
IMAGE = "plugins/header-authorization"
NAME = "header-authorization"
STAGING, INTERNAL = "istio-staging", "istio-internal"
LABELS = {STAGING: "staginggateway", INTERNAL: "internalgateway"}
REFUSED = ("1.2", "1.9")  # these start only without a configuration, and the repositories have one
SECONDS = 120.0
ENVIRONMENTS = ("staging", "production")

pytestmark = pytest.mark.timeout(600)


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


@pytest.fixture(scope="module")
def environments(
    lab: Lab, running_operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabCluster]:
    """Gateways in three namespaces, and the plugin's versions in the registry."""
    cluster, folder = LabCluster(lab, running_operator), tmp_path_factory.mktemp("modules")
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
    yield cluster
    cluster.clean_up()


@pytest.fixture
def repository(request: pytest.FixtureRequest, environments: LabCluster, tmp_path: Path) -> Iterator[ExampleClone]:
    """One of the example repositories, pushed nowhere yet; what it brought to the cluster is deleted at the end."""
    lab, clone, server = environments.lab, tmp_path / "clone", tmp_path / "server.git"
    shutil.copytree(ROOT / "examples" / request.param, clone)
    shutil.copy(ROOT / "examples/ci/promote.sh", clone)
    for file in clone.rglob("*.yaml"):
        text = file.read_text().replace(PLACEHOLDER, lab.registry)
        file.write_text(text.replace("      # the environments", "      insecure: true\n      # the environments"))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, program in (
        ("kubectl", binaries.provide("kubectl")),
        ("pluginrelease", Path(sys.executable).parent / "pluginrelease"),
    ):
        (tools / name).symlink_to(program)
    known = {"HOME": str(tmp_path), "KUBECONFIG": str(lab.kubeconfig), "PATH": f"{tools}:{os.environ['PATH']}"}
    me = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    one = ExampleClone(clone, {**known, **me}, lab.registry)
    done = one.run(
        f"git init --quiet --bare --initial-branch main {server}; git init --quiet --initial-branch main; "
        f"git add --all; git commit --quiet --message first; git remote add origin {server}"
    )
    assert done.returncode == 0, done.stderr
    make_it_apply(server, tmp_path / "applied")
    yield one
    for namespace in (STAGING, GATEWAY_NAMESPACE):
        environments.delete(api.PLURAL, namespace, NAME)


def make_it_apply(server: Path, folder: Path) -> None:
    """The server applies both environments of main after each push to it."""
    folders = " ".join(f"apps/{NAME}/{environment}" for environment in ENVIRONMENTS)
    hook = server / "hooks" / "post-receive"
    hook.write_text(
        '#!/bin/sh\nset -e\nread -r _ _ ref\n[ "$ref" = refs/heads/main ] || exit 0\n'
        f"mkdir -p {folder}\ngit archive main | tar -x -C {folder}\ncd {folder}\n"
        f"for each in {folders}; do kubectl apply -k $each; done\n"
    )
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)


def served(cluster: LabCluster, namespace: str) -> set[str | None]:
    """The version that gateways of a namespace serve."""
    pods = cluster.gateways(namespace)
    return {cluster.lab.request(pod.address, 8080).headers.get("x-plugin") for pod in pods}


@pytest.mark.parametrize("repository", ["flux"], indirect=True)
def test_the_repository_for_flux(repository: ExampleClone, environments: LabCluster) -> None:
    """An update comes to staging, and then to production. A bad one is put back in the cluster, and then in Git. A
    rollback and a switch-off by hand end as the page says."""
    commands = typed(ROOT / "examples/flux/README.md")
    assert len(commands) >= 20
    for command in commands:
        repository.type(command)
    assert [served(environments, at) for at in (STAGING, GATEWAY_NAMESPACE, INTERNAL)] == [{"1.1"}] * 3


@pytest.mark.parametrize("repository", ["argocd"], indirect=True)
def test_the_repository_for_argo_cd(repository: ExampleClone, environments: LabCluster) -> None:
    """An update comes to staging alone, and a bad one is put back there."""
    commands = typed(ROOT / "examples/argocd/README.md")
    assert len(commands) >= 12
    for command in commands:
        repository.type(command)
    assert [served(environments, at) for at in (STAGING, GATEWAY_NAMESPACE, INTERNAL)] == [{"1.1"}, {"1.0"}, {"1.0"}]


def steps() -> dict[str, str]:
    """The shell of each pipeline of docs/ci.md."""
    text = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    github, gitlab, tekton = (
        yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    )
    [run] = [step["run"] for step in github["jobs"]["staging"]["steps"] if "run" in step]
    return {
        "github": run,
        "gitlab": "\n".join(gitlab["production"]["script"]),
        "tekton": "\n".join(step["script"] for step in tekton["spec"]["steps"]),
    }


@pytest.mark.parametrize("repository", ["flux"], indirect=True)
def test_the_pipelines_of_the_page(repository: ExampleClone, environments: LabCluster) -> None:
    """A good tag ends with 0 and runs; one that the gateways refuse ends with 1, and Git has the tag before again."""
    consent = f"{api.ALLOWED_NAMESPACES_ANNOTATION}={GATEWAY_NAMESPACE}"
    environments.lab.kubectl("annotate", "--overwrite", "namespace", INTERNAL, consent)
    pushed = repository.run("git push origin main")
    assert pushed.returncode == 0, pushed.stderr
    shell: Any = steps()
    for pipeline, tag, code, at, serves in (
        ("gitlab", "1.1", 0, INTERNAL, "1.1"),
        ("gitlab", "1.9", 1, INTERNAL, "1.1"),
        ("github", "1.3", 0, STAGING, "1.3"),
        ("tekton", "1.3", 0, STAGING, "1.3"),
        ("tekton", "1.9", 1, STAGING, "1.3"),
    ):
        done = repository.run(shell[pipeline], TAG=tag, TIMEOUT="90s")
        assert done.returncode == code, f"{pipeline} {tag}\n{done.stdout}{done.stderr}"
        assert served(environments, at) == {serves}
        assert (str(Reason.PLUGIN_REJECTED) in done.stdout) is bool(code)
    log = repository.run("git log --format=%s origin/main").stdout.splitlines()
    assert [line.startswith("Revert ") for line in log] == [True, False, False, True, False, False, False]
    wait = "pluginrelease wait header-authorization --timeout 60s"
    for namespace, tag in ((STAGING, "1.3"), (GATEWAY_NAMESPACE, "1.1")):
        waited = repository.run(f"{wait} -n {namespace} --image {PLACEHOLDER}/{IMAGE}:{tag}")
        assert waited.returncode == 0, waited.stderr


def test_every_repository_has_the_component() -> None:
    """The folder `component` is deploy/releases, byte for byte."""
    wanted = {path.name: path.read_bytes() for path in (ROOT / "deploy/releases").iterdir()}
    for tool in ("flux", "argocd"):
        folder = ROOT / "examples" / tool / "component"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted
