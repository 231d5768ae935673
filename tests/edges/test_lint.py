"""The linter against a real API server: both take the same, and both refuse the same."""

from __future__ import annotations

import re

import pytest

from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab
from tests.core.test_lint import REFUSED, TAKEN
from tests.edges.test_crd import offer, release

NAMESPACE = "crd-rules"
STRICT = ("create", "--validate=strict")
# how the server, or kubectl before it, says of these fields what lint says in words of its own
OTHER_WORDS = {
    "apiVersion": "no matches for kind",
    "kind": "no matches for kind",
    "metadata.annotations": "ObjectMeta.metadata.annotations of type string",
    "metadata.creationTimestamp": 'parsing time "today"',
    "metadata.labels": "metadata.labels: Invalid value",
    "metadata.ownerReferences": "metadata.ownerReferences.uid: Invalid value",
    "spec.plugin.priority": "spec.plugin.priority",
}


@pytest.mark.parametrize(("path", "value"), TAKEN)
def test_the_server_takes_what_lint_takes(cluster: Lab, path: str, value: object) -> None:
    """A manifest that lint calls well is created."""
    offer(cluster, release(path, value), *STRICT)


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_the_server_refuses_what_lint_refuses(cluster: Lab, path: str, value: object, words: str) -> None:
    """A manifest that lint refuses is refused for the same thing, in the same words but where others are known."""
    with pytest.raises(LabError, match=re.escape(OTHER_WORDS.get(path, words))):
        offer(cluster, release(path, value), *STRICT)
