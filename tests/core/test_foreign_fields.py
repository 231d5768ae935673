"""Fields that the release does not set: found wherever they are, and taken away where the release asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core.rollout import foreign_fields
from tests.harness.releases import placement

JSON = dict[str, Any]
VERSION = "extensions.istio.io/v1alpha1"


@pytest.mark.parametrize(
    ("wanted", "observed", "found", "reason"),
    [
        ({"url": "a"}, {"url": "b"}, [], "another value is written over"),
        ({"url": "a"}, {"url": "a", "sha256": "x"}, ["spec.sha256"], "one more field"),
        ({"c": {"a": 1}}, {"c": {"a": 1, "b": {"d": 2}}}, ["spec.c.b"], "maps are merged at every depth"),
        ({"c": [1]}, {"c": [1, 2]}, [], "a list is one value"),
        ({}, {"match": []}, ["spec.match"], "an empty list is somebody's"),
        ({}, {"match": None, "vmConfig": {}}, [], "what is empty says nothing"),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "0"}]},
            ["spec.env[B]"],
            "a list of named items is merged by the names",
        ),
        (
            {"env": [{"name": "A"}]},
            {"env": [{"name": "A", "value": "1"}]},
            ["spec.env[A].value"],
            "and such an item is merged, too",
        ),
    ],
)
def test_what_is_foreign(wanted: JSON, observed: JSON, found: list[str], reason: str) -> None:
    """Whatever an apply would leave is named by its path."""
    assert foreign_fields.find({"spec": wanted}, {"spec": observed}) == found, reason


@pytest.mark.parametrize(
    ("said", "asked", "reason"),
    [
        (None, False, "nobody asks"),
        ("", False, "an empty value asks for nothing"),
        ("public", True, "the entry is named"),
        ("internal, public", True, "as one of several"),
        ("internal", False, "another one is"),
        ("*", True, "each one is"),
        ("pub", False, "a part of a name is none"),
    ],
)
def test_who_asks_to_take_them_away(said: str | None, asked: bool, reason: str) -> None:
    """Only what the release's annotation names loses a field: adoption alone takes nothing away."""
    annotations = {} if said is None else {api.REMOVE_FOREIGN_FIELDS_ANNOTATION: said}
    assert foreign_fields.is_removal_asked(placement(metadata__annotations=annotations)) is asked, reason


def managed(manager: str, fields: JSON, operation: str = "Update", **more: Any) -> JSON:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": VERSION,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **more,
    }


LABEL: JSON = {"f:metadata": {"f:labels": {"f:team": {}}}}
KUBECTL = managed("kubectl-client-side-apply", {**LABEL, "f:spec": {"f:url": {}, "f:match": {}}})
OURS = managed("pluginrelease", {"f:metadata": {"f:labels": {}}, "f:spec": {"f:url": {}, "f:c": {"f:a": {}}}}, "Apply")
HELM = managed("helm", {"f:spec": {"f:c": {"f:b": {}}}})
STATUS = managed("istiod", {"f:spec": {"f:odd": {}}}, subresource="status")


def test_the_release_owns_the_spec_and_nothing_else() -> None:
    """Who owned fields of the spec owns its labels still; whoever owned nothing else is no manager any more."""
    found = foreign_fields.take_over_spec([KUBECTL, HELM, STATUS, OURS], VERSION)
    spec = {"f:url": {}, "f:match": {}, "f:c": {"f:a": {}, "f:b": {}}}
    assert found == [
        {**KUBECTL, "fieldsV1": LABEL},
        STATUS,
        {**OURS, "fieldsV1": {"f:metadata": {"f:labels": {}}, "f:spec": spec}},
    ]


def test_a_release_that_owned_nothing_becomes_the_manager() -> None:
    """At adoption the release is not there yet; its entry is the one that its apply goes on with."""
    [others, own] = foreign_fields.take_over_spec([KUBECTL], VERSION)
    assert others["fieldsV1"] == LABEL
    assert own == managed("pluginrelease", {"f:spec": {"f:url": {}, "f:match": {}}}, "Apply")


def test_taking_over_twice_is_taking_over_once() -> None:
    """A process that was killed in between finds nothing left to do."""
    once = foreign_fields.take_over_spec([KUBECTL, HELM], VERSION)
    assert foreign_fields.take_over_spec(once, VERSION) == once
