"""What all tests share: one lab for the whole session, and the programs for it made ready before any clock runs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pluginrelease import lab as labs
from pluginrelease.lab import binaries, blueprint

NEEDED = (*blueprint.PROGRAMS, "kubectl", "helm")


def pytest_collection_finish(session: pytest.Session) -> None:
    """A first run builds programs for minutes: outside of the tests' time limits, and telling what it does."""
    if any("lab" in getattr(item, "fixturenames", ()) for item in session.items):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        binaries.ensure(NEEDED, report=reporter.write_line if reporter else print)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Lab]:
    """A running lab with two gateways. Its logs stay in pytest's temporary directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLUGINRELEASE_LAB_DIR", str(tmp_path_factory.mktemp("labs")))
        with labs.up(f"tests-{os.getpid()}", gateways=2) as running:
            yield running
