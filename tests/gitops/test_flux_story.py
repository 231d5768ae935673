"""docs/flux.md, run from its first command to its last: real Git, real Flux, the operator, and real gateways.

The tests follow each other, as the sections of the page do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease_lab import Lab, flux, githttp
from tests.gitops import story, transcript
from tests.gitops.conftest import Git
from tests.gitops.story import carrier, runs
from tests.gitops.transcript import Page, Shell
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster

PROGRAMS = flux.PROGRAMS
PAGE = Path(__file__).resolve().parents[2] / "docs" / "flux.md"
IMAGE = "tests/flux/auth"
NAMES = {
    r"https://git\.example\.com/platform": githttp.URL,
    r"interval: 1m$": "interval: 2s",
    r"timeout: 12m$": "timeout: 3m",
}
TRACKING = "kustomize.toolkit.fluxcd.io"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def images(operated: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The four versions of the page; the second refuses its configuration. Returns the repository."""
    return story.push_images(operated, IMAGE, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def page(images: str) -> Page:
    """The page, about the lab's own registry, which has no certificate."""
    return transcript.open_page(
        PAGE,
        {**NAMES, r"^( *)ref: registry\.example\.com/plugins/auth:(\S+)": rf"\1ref: {images}:\2\n\1insecure: true"},
    )


@pytest.fixture(scope="module")
def reader(
    page: Page, operated: LabCluster, with_flux: Lab, git: Git, tmp_path_factory: pytest.TempPathFactory
) -> Shell:
    """A reader's shell, in a clone of the repository with the page's files."""
    return story.begin(page, with_flux, git, tmp_path_factory.mktemp("flux") / "reader")


def test_a_good_commit_is_served(page: Page, reader: Shell, operated: LabCluster) -> None:
    """The Kustomization is Ready when every gateway runs the plugin, and none of Flux's labels is on the WasmPlugin."""
    reader.run(page.section("A good commit"))
    runs(operated, "1.0")
    about = carrier(operated)["metadata"]
    assert [name for name in (*about["labels"], *about["annotations"]) if TRACKING in name] == []


def test_a_bad_commit_fails_early_and_the_next_one_goes_on(page: Page, reader: Shell, operated: LabCluster) -> None:
    """Flux reports the failure before its timeout, the gateways run the version before, and 1.2 is rolled out."""
    commands = page.section("A bad commit")
    reader.run(commands[:-2])
    runs(operated, "1.0")
    reader.run(commands[-2:])
    runs(operated, "1.2")


def test_a_rollback_stays_when_flux_takes_the_annotation_away(page: Page, reader: Shell, operated: LabCluster) -> None:
    """A command is carried out once and holds by the status, not by its annotation."""
    reader.run(page.section("A rollback by hand"))
    runs(operated, "1.0")


def test_off_stays_when_flux_takes_the_annotation_away(page: Page, reader: Shell, operated: LabCluster) -> None:
    """Neither the spec in Git nor a reconcile brings the plugin back."""
    reader.run(page.section("Switched off"))
    runs(operated, None)


def test_the_next_commit_goes_on(page: Page, reader: Shell, operated: LabCluster) -> None:
    """After `on`, Git decides again."""
    reader.run(page.section("The next commit"))
    runs(operated, "1.3")


def test_a_kustomization_that_goes_takes_the_plugin_along(reader: Shell, operated: LabCluster) -> None:
    """Flux prunes the release, and its finalizer takes the plugin from the gateways."""
    reader.run([transcript.Command("kubectl delete kustomization plugins -n flux-system", ())])
    operated.lab.kubectl("wait", "--for=delete", f"{api.PLURAL}/auth", "-n", GATEWAY_NAMESPACE, "--timeout=60s")
    runs(operated, None)
