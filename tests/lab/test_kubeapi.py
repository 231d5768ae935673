"""The lab's own client of its API server, as far as no API server is needed."""

from __future__ import annotations

import json

import pytest

from pluginrelease_lab import kubeapi

FIRST, SECOND = {"kind": "Pod", "spec": {"text": "}\n"}}, {"kind": "Pod", "items": []}


@pytest.mark.parametrize(
    ("text", "found", "why"),
    [
        ("", [], "nothing yet"),
        (json.dumps(FIRST, indent=4) + "\n" + json.dumps(SECOND, indent=4) + "\n", [FIRST, SECOND], "one by one"),
        (json.dumps(FIRST, indent=4), [FIRST], "the last one has no line break"),
        (json.dumps(FIRST, indent=4)[:-2], [], "one that was cut is none"),
    ],
)
def test_the_objects_of_a_watch(text: str, found: list[object], why: str) -> None:
    """kubectl prints each object over several lines, the last of which is its closing brace alone."""
    assert list(kubeapi.read_documents(text.splitlines(keepends=True))) == found, why
