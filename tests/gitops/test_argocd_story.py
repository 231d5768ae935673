"""docs/argocd.md, run from its first command to its last: real Git, the real application-controller and repo-server of
Argo CD, the operator, and real gateways.

The tests follow each other, as the sections of the page do.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease_lab import Lab, argocd, githttp
from tests.gitops import story, transcript
from tests.gitops.conftest import Git
from tests.gitops.story import carrier, runs
from tests.gitops.transcript import Command, Page, Shell
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster

PROGRAMS = argocd.PROGRAMS
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "argocd.md"
IMAGE = "tests/argocd/auth"
TRACKING = "argocd.argoproj.io"
SERVER = "https://kubernetes.default.svc"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def images(operated: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The four versions of the page; the second refuses its configuration. Returns the repository."""
    return story.push_images(operated, IMAGE, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def page(images: str, with_argo_cd: Lab) -> Page:
    """The page, about the lab's own registry, which has no certificate, and the cluster by the lab's address."""
    names = {
        r"https://git\.example\.com/platform": githttp.URL,
        SERVER: argocd.find_server(with_argo_cd),
        r"deploy/argocd/argocd-cm\.yaml": str(ROOT / "deploy/argocd/argocd-cm.yaml"),
        r"^( *)ref: registry\.example\.com/plugins/auth:(\S+)": rf"\1ref: {images}:\2\n\1insecure: true",
    }
    return transcript.open_page(PAGE, names)


@pytest.fixture(scope="module")
def reader(
    page: Page, operated: LabCluster, with_argo_cd: Lab, git: Git, tmp_path_factory: pytest.TempPathFactory
) -> Shell:
    """A reader's shell, in a clone of the repository with the page's files."""
    return story.begin(page, with_argo_cd, git, tmp_path_factory.mktemp("argocd") / "reader")


def test_argo_cd_takes_the_scripts(page: Page, reader: Shell, operated: LabCluster) -> None:
    """The patch of the page fits Argo CD's own ConfigMap."""
    reader.run(page.section("Health and actions"))
    found = json.loads(operated.lab.kubectl("get", "configmap", argocd.SETTINGS, "-n", argocd.NAMESPACE, "-o", "json"))
    assert set(found["data"]) == {
        f"resource.customizations.{what}.{api.GROUP}_{api.KIND}" for what in ("health", "actions")
    }


def test_a_good_commit_is_served(page: Page, reader: Shell, operated: LabCluster) -> None:
    """The Application is Healthy when every gateway runs the plugin, and no mark of Argo CD is on the WasmPlugin."""
    reader.run(page.section("A good commit"))
    runs(operated, "1.0")
    about = carrier(operated)["metadata"]
    assert [name for name in (*about["labels"], *about["annotations"]) if TRACKING in name] == []


def test_a_bad_commit_is_degraded_and_the_next_one_goes_on(page: Page, reader: Shell, operated: LabCluster) -> None:
    """The Application is Degraded while the gateways run the version before, and Healthy with 1.2."""
    commands = page.section("A bad commit")
    following = next(number for number, command in enumerate(commands) if "auth:1.2" in command.line)
    reader.run(commands[:following])
    runs(operated, "1.0")
    reader.run(commands[following:])
    runs(operated, "1.2")


def test_a_rollback_stays_when_argo_cd_heals_the_spec(page: Page, reader: Shell, operated: LabCluster) -> None:
    """A sync undoes what a person changed in the spec, and not a command."""
    reader.run(page.section("A rollback by hand"))
    runs(operated, "1.0")


def test_off_stays_when_argo_cd_heals_the_spec(page: Page, reader: Shell, operated: LabCluster) -> None:
    """Neither the spec in Git nor a sync brings the plugin back."""
    reader.run(page.section("Switched off"))
    runs(operated, None)


def test_the_next_commit_goes_on(page: Page, reader: Shell, operated: LabCluster) -> None:
    """After `on`, Git decides again."""
    reader.run(page.section("The next commit"))
    runs(operated, "1.3")


def test_an_application_that_goes_takes_the_plugin_along(reader: Shell, operated: LabCluster) -> None:
    """Argo CD deletes the release, and its finalizer takes the plugin from the gateways."""
    reader.run([Command(f"kubectl delete application plugins -n {argocd.NAMESPACE} --timeout=60s", ())])
    operated.lab.kubectl("wait", "--for=delete", f"{api.PLURAL}/auth", "-n", GATEWAY_NAMESPACE, "--timeout=60s")
    runs(operated, None)
