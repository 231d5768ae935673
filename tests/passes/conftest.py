"""One operator on the session's lab, as the chart's ServiceAccount; each test leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease_lab import Lab, operator
from tests import wasm_modules
from tests.harness import registries
from tests.harness.cluster import LabCluster, Operator, unique
from tests.passes.hanging import hold


@pytest.fixture(scope="session")
def running_operator(lab: Lab) -> Iterator[Operator]:
    """Started once; at the end, the API server must have refused it nothing.

    What it had refused the same account before is the chart's tests trying what that account may not do.
    """
    operator.install(lab)
    before = len(operator.forbidden(lab))
    running = Operator(lab, lab.log("operator"))
    running.start()
    yield running
    running.stop()
    assert operator.forbidden(lab)[before:] == [], "the chart's RBAC lacks something that the operator asked for"


@pytest.fixture
def cluster(lab: Lab, running_operator: Operator) -> Iterator[LabCluster]:
    """The lab with its operator; what the test applied is deleted when it ends."""
    one = LabCluster(lab, running_operator)
    yield one
    one.clean_up()


@pytest.fixture
def registry(lab: Lab, tmp_path: Path) -> Iterator[registries.Registry]:
    """A registry that the test may stop, and that gateways of the test's own pull from."""
    one = registries.Registry(lab, tmp_path)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def held(cluster: LabCluster, tmp_path: Path) -> tuple[str, str]:
    """A release whose new revision the gateways refuse, and which is held; its name and its stable revision."""
    name = unique("urgent")
    ref = cluster.push(wasm_modules.answering(name, refuses_configuration=True), tmp_path)
    return name, hold(cluster, name, ref)
