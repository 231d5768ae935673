"""Labs with a real node, and the operator's image on them; what is missing on the machine fails with the remedy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pluginrelease
import pluginrelease_lab as labs
from pluginrelease_lab import Lab, binaries, blueprint
from pluginrelease_lab.images import gateway as gateway_image
from pluginrelease_lab.images import operator as operator_image
from pluginrelease_lab.images.operator import OperatorImage
from pluginrelease_lab.node import packages
from tests.node import remains
from tests.node.cluster import NodeCluster

IMAGE = f"docker.io/library/pluginrelease-operator:{pluginrelease.__version__}"
"""The chart's default image, as a container runtime spells it."""


USED = ("kubectl", "helm", "registry")
"""What tests take besides those of the lab."""
USED_BY = {"cosign": "cosign", "watched": "prometheus"}
"""Fixtures, and the program that only their tests take."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Programs and images take minutes the first time: outside of the tests' time limits."""
    items = [item for item in session.items if "node" in item.path.parts]
    if not items:
        return
    packages.require({**packages.RUNTIME, **packages.IMAGES}, "tests/node")
    used = {name for item in items for name in getattr(item, "fixturenames", ())}
    more = [program for fixture, program in USED_BY.items() if fixture in used]
    binaries.ensure((*blueprint.PROGRAMS, *blueprint.NODE_PROGRAMS, *USED, *more))
    if "start_lab" in used:
        gateway_image.archive(print)
        with tempfile.TemporaryDirectory(prefix="pluginrelease-image-") as folder:
            operator_image.build(IMAGE, Path(folder) / "operator.tar", print)


@pytest.fixture(scope="session", autouse=True)
def machine_is_as_before(labs_folder: None) -> Iterator[None]:
    """Whatever the tests did, the machine has the mounts, cgroups, interfaces, rules and files that it had."""
    folder = Path(os.environ["PLUGINRELEASE_LAB_DIR"])
    before = remains.of_the_machine(folder)
    yield
    assert remains.of_the_machine(folder) == before
    assert remains.processes_in(folder) == []


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> OperatorImage:
    """The operator's image, from this checkout's Dockerfile."""
    return operator_image.build(IMAGE, tmp_path_factory.mktemp("image") / "operator.tar", print)


Start = Callable[..., Lab]


@pytest.fixture(scope="module")
def start_lab(labs_folder: None, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts the one lab of a module; its node has the operator's image, if that is wanted."""
    started: list[Lab] = []

    def start(name: str, *, gateways: int = 2, gateways_on_node: bool = False, with_operator: bool = True) -> Lab:
        images = [request.getfixturevalue("image").archive] if with_operator else []
        named = f"{name}-{os.getpid()}"
        lab = labs.up(named, node=True, images=images, gateways_on_node=gateways_on_node, gateways=gateways)
        started.append(lab)
        return lab

    yield start
    for lab in started:
        lab.close()


@pytest.fixture
def cluster(node_lab: Lab, tmp_path: Path) -> Iterator[NodeCluster]:
    """The module's lab; what a test applied is deleted when it ends."""
    one = NodeCluster(node_lab, tmp_path)
    yield one
    one.clean_up()
