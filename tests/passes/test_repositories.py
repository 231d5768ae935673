"""examples/flux, examples/argocd and docs/ci.md do what they say, in a clone, on the lab.

Their commands are run in the order in which a reader types them. The Git server applies each commit on main; the tests
of `tests/gitops` run the same commands with Flux and Argo CD themselves."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease_lab import Lab
from tests.harness import example_repositories
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster, Operator
from tests.harness.example_repositories import (
    ENVIRONMENTS,
    IMAGE,
    INTERNAL,
    NAME,
    PLACEHOLDER,
    ROOT,
    STAGING,
    ExampleClone,
    served,
    typed,
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def environments(
    lab: Lab, running_operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabCluster]:
    """Gateways in three namespaces, and the plugin's versions in the registry."""
    cluster = LabCluster(lab, running_operator)
    example_repositories.deploy(cluster, tmp_path_factory.mktemp("modules"))
    yield cluster
    cluster.clean_up()


@pytest.fixture
def repository(request: pytest.FixtureRequest, environments: LabCluster, tmp_path: Path) -> Iterator[ExampleClone]:
    """One of the example repositories, pushed nowhere yet; what it brought to the cluster is deleted at the end."""
    server = tmp_path / "server.git"
    one = example_repositories.clone(environments, request.param, server, tmp_path)
    make_it_apply(server, tmp_path / "applied")
    yield one
    for namespace in ENVIRONMENTS.values():
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
