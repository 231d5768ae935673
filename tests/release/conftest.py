"""What the tests of a release share: a registry, cosign with a key pair, and the published chart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pluginrelease_lab import binaries
from release import chart
from release.chart import PublishedImage
from tests.edges import real_registry
from tests.edges.real_cosign import Cosign
from tests.edges.real_registry import Real

IMAGE = PublishedImage("registry.example.com/ops/pluginrelease-operator", f"sha256:{'1' * 64}")
SOURCE = "https://git.example.com/ops/pluginrelease"


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A registry that lets everybody in."""
    with real_registry.running(tmp_path_factory.mktemp("registry")) as real:
        yield real


@pytest.fixture(scope="session")
def cosign(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    """Keys, in a folder of their own."""
    return Cosign(tmp_path_factory.mktemp("cosign"))


@dataclass(frozen=True)
class PublishedChart:
    """The archive, and where it was pushed to."""

    archive: Path
    repository: str
    digest: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@pytest.fixture(scope="session")
def published(plain: Real, tmp_path_factory: pytest.TempPathFactory) -> PublishedChart:
    """The chart as the workflow publishes it, in the test's registry."""
    binaries.provide("helm")
    archive = chart.package(tmp_path_factory.mktemp("chart"), IMAGE, SOURCE)
    digest = chart.push(archive, f"{plain.host}/charts", insecure=True)
    return PublishedChart(archive, f"{plain.host}/charts/pluginrelease", digest)
