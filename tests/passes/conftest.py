"""One operator on the session's lab, as the chart's ServiceAccount; each test leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease_lab import Lab, operator
from tests.harness import registries
from tests.harness.cluster import Operator, World


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
def world(lab: Lab, running_operator: Operator) -> Iterator[World]:
    """The lab with its operator; what the test applied is deleted when it ends."""
    one = World(lab, running_operator)
    yield one
    one.clean_up()


@pytest.fixture
def registry(lab: Lab, tmp_path: Path) -> Iterator[registries.Registry]:
    """A registry that the test may stop, and that gateways of the test's own pull from."""
    one = registries.Registry(lab, tmp_path)
    one.start()
    yield one
    one.stop()
