"""The linter against a real API server: both take the same, and both refuse the same."""

from __future__ import annotations

import pytest

from pluginrelease.cli import crd as crd_command
from pluginrelease.lab.errors import LabError
from pluginrelease.lab.host import Lab
from tests.core.test_lint import REFUSED, TAKEN
from tests.edges.test_crd import CRD_NAME, offer, release

NAMESPACE = "crd-rules"
STRICT = ("create", "--validate=strict")


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Lab:
    """The lab with the CRD and the namespace of the table's release."""
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=crd_command.text())
    lab.kubectl("wait", "--for=condition=Established", "--timeout=30s", CRD_NAME)
    namespace = f'{{"apiVersion": "v1", "kind": "Namespace", "metadata": {{"name": "{NAMESPACE}"}}}}'
    lab.kubectl("apply", "-f", "-", stdin=namespace)
    return lab


@pytest.mark.parametrize(("path", "value"), TAKEN)
def test_the_server_takes_what_lint_takes(cluster: Lab, path: str, value: object) -> None:
    """A manifest that lint calls well is created."""
    offer(cluster, release(path, value), *STRICT)


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_the_server_refuses_what_lint_refuses(cluster: Lab, path: str, value: object, words: str) -> None:
    """A manifest that lint refuses is refused; the words of the schema are the same, those of the decoder its own."""
    with pytest.raises(LabError):
        offer(cluster, release(path, value), *STRICT)
