"""Labs with a real node, and the operator's image on them; what is missing on the machine fails with the remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pluginrelease
import pluginrelease_lab as labs
from pluginrelease_lab import Lab, binaries, blueprint
from pluginrelease_lab.images import operator as operator_image
from pluginrelease_lab.images.operator import OperatorImage
from pluginrelease_lab.node import packages
from tests.node.world import NodeWorld

IMAGE = f"docker.io/library/pluginrelease-operator:{pluginrelease.__version__}"
"""The chart's default image, as a container runtime spells it."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Programs and images take minutes the first time: outside of the tests' time limits."""
    if any("node" in item.path.parts for item in session.items):
        packages.require({**packages.RUNTIME, **packages.IMAGES}, "tests/node")
        binaries.ensure((*blueprint.PROGRAMS, *blueprint.NODE_PROGRAMS, "kubectl", "helm"))


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> OperatorImage:
    """The operator's image, from this checkout's Dockerfile."""
    return operator_image.build(IMAGE, tmp_path_factory.mktemp("image") / "operator.tar", print)


Start = Callable[..., Lab]


@pytest.fixture(scope="module")
def start_lab(labs_folder: None, image: OperatorImage) -> Iterator[Start]:
    """Starts the one lab of a module; it has the operator's image."""
    started: list[Lab] = []

    def start(name: str, *, gateways_on_node: bool = False) -> Lab:
        lab = labs.up(
            f"{name}-{os.getpid()}", node=True, images=[image.archive], gateways_on_node=gateways_on_node, gateways=2
        )
        started.append(lab)
        return lab

    yield start
    for lab in started:
        lab.close()


@pytest.fixture
def world(node_lab: Lab, tmp_path: Path) -> Iterator[NodeWorld]:
    """The module's lab; what a test applied is deleted when it ends."""
    one = NodeWorld(node_lab, tmp_path)
    yield one
    one.clean_up()
