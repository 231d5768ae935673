"""A lab with Git, Flux and Argo CD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pluginrelease_lab import Lab, argocd, binaries, flux, githttp, operator
from tests.harness.cluster import LabCluster, Operator


def pytest_collection_finish(session: pytest.Session) -> None:
    """A first run builds programs for minutes: outside of the tests' time limits. Each module says which it needs."""
    items = [item for item in session.items if isinstance(item, pytest.Function) and "gitops" in item.path.parts]
    if names := dict.fromkeys(name for item in items for name in item.module.PROGRAMS):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        binaries.ensure(names, report=reporter.write_line if reporter else print)


@dataclass(frozen=True)
class Git:
    """The lab's Git server, and the folder with its repositories."""

    folder: Path

    def commit(self, name: str, files: dict[str, str | None], message: str) -> str:
        """Commit to the repository ``name``; see `githttp.commit`."""
        return githttp.commit(self.folder, name, files, message)


@pytest.fixture(scope="session")
def git(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Git:
    """A Git server inside the lab's network."""
    folder = tmp_path_factory.mktemp("git")
    githttp.start(lab, folder)
    return Git(folder)


@pytest.fixture(scope="session")
def with_flux(lab: Lab, git: Git) -> Lab:
    """The lab with Flux's two controllers."""
    flux.start(lab)
    return lab


@pytest.fixture(scope="session")
def with_argo_cd(lab: Lab, git: Git) -> Lab:
    """The lab with Argo CD's application-controller and repo-server."""
    argocd.start(lab)
    return lab


@pytest.fixture(scope="session")
def with_kinds(lab: Lab) -> Lab:
    """The lab with the chart's objects, its CRD among them; no operator runs yet."""
    operator.install(lab)
    return lab


@pytest.fixture(scope="module")
def operated(with_kinds: Lab) -> Iterator[LabCluster]:
    """The lab with a running operator; what the module applied is deleted at its end."""
    running = Operator(with_kinds, with_kinds.log("operator"))
    running.start()
    cluster = LabCluster(with_kinds, running)
    yield cluster
    cluster.clean_up()
    running.stop()
