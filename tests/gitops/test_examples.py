"""examples/flux and examples/argocd, command by command, with Flux and Argo CD themselves.

Their two clusters are one here: what a file brings to its cluster has the environment in its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pluginrelease import api
from pluginrelease_lab import Lab, argocd, flux, githttp
from tests.gitops.conftest import Git
from tests.harness import example_repositories
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster
from tests.harness.example_repositories import ENVIRONMENTS, INTERNAL, NAME, ROOT, STAGING, ExampleClone, served, typed

PROGRAMS = (*flux.PROGRAMS, *argocd.PROGRAMS)
URL = "https://git.example.com/platform/plugins.git"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def environments(operated: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> LabCluster:
    """Gateways in three namespaces, and the plugin's versions in the registry."""
    example_repositories.deploy(operated, tmp_path_factory.mktemp("modules"))
    return operated


@pytest.fixture
def repository(
    request: pytest.FixtureRequest, environments: LabCluster, git: Git, tmp_path: Path
) -> Iterator[ExampleClone]:
    """One of the example repositories, pushed nowhere yet; what it brought to the cluster is deleted at the end."""
    yield example_repositories.clone(environments, request.param, git.folder / f"{request.param}.git", tmp_path)
    for namespace in ENVIRONMENTS.values():
        environments.delete(api.PLURAL, namespace, NAME)


def read(path: Path, tool: str) -> list[JSON]:
    """The objects of a file, about the lab's Git server, asked often."""
    text = path.read_text(encoding="utf-8").replace(URL, f"{githttp.URL}/{tool}.git")
    return list(yaml.safe_load_all(re.sub(r"interval: 1m$", "interval: 2s", text, flags=re.MULTILINE)))


def apply(lab: Lab, objects: list[JSON]) -> None:
    lab.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))


def run(tool: str, clone: ExampleClone) -> None:
    for command in typed(ROOT / "examples" / tool / "README.md"):
        clone.type(command)


@pytest.mark.parametrize("repository", ["flux"], indirect=True)
def test_the_repository_for_flux(repository: ExampleClone, environments: LabCluster, with_flux: Lab) -> None:
    """Flux brings each commit to its environment; a rollback and a switch-off by hand hold against it."""
    brought = []
    for environment in ENVIRONMENTS:
        source, kustomization = read(ROOT / f"examples/flux/clusters/{environment}/plugins.yaml", "flux")
        kustomization["metadata"]["name"] += f"-{environment}"
        brought += [source, kustomization]
    apply(with_flux, brought)
    run("flux", repository)
    assert [served(environments, at) for at in (STAGING, GATEWAY_NAMESPACE, INTERNAL)] == [{"1.1"}] * 3
    for thing in brought:
        environments.delete(thing["kind"], flux.NAMESPACE, thing["metadata"]["name"])


@pytest.mark.parametrize("repository", ["argocd"], indirect=True)
def test_the_repository_for_argo_cd(repository: ExampleClone, environments: LabCluster, with_argo_cd: Lab) -> None:
    """Argo CD renders each environment with Kustomize and brings each commit to it."""
    brought = []
    for environment in ENVIRONMENTS:
        [application] = read(ROOT / f"examples/argocd/applications/{environment}.yaml", "argocd")
        del application["spec"]["destination"]["name"]
        application["spec"]["destination"]["server"] = argocd.find_server(with_argo_cd)
        brought.append(application)
    apply(with_argo_cd, brought)
    run("argocd", repository)
    assert [served(environments, at) for at in (STAGING, GATEWAY_NAMESPACE, INTERNAL)] == [{"1.1"}, {"1.0"}, {"1.0"}]
    for thing in brought:
        environments.delete("applications.argoproj.io", argocd.NAMESPACE, thing["metadata"]["name"])
