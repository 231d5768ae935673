"""Whose an object is: by the uid that it carries, or by the name of a release that a backup restored."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core.rollout import plan
from tests.harness.releases import UID, release

JSON = dict[str, Any]
NAMED = {api.RELEASE_ANNOTATION: "istio-ingress/auth"}
OWN = {"kind": api.KIND, "name": "auth", "uid": UID}
FORMER = {**OWN, "uid": "former"}
OTHER = {"kind": "Deployment", "name": "auth", "uid": "theirs"}


def thing(uid: str | None = None, annotations: JSON | None = None, *owners: JSON) -> JSON:
    """An object with a label of this uid."""
    labels = {"labels": {api.UID_LABEL: uid}} if uid else {}
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "metadata": {"name": "x", **labels, "annotations": annotations, "ownerReferences": list(owners)},
    }


@pytest.mark.parametrize(
    ("found", "ours", "restored", "reason"),
    [
        (thing(UID), True, False, "it carries the release's uid"),
        (thing(UID, {api.RELEASE_ANNOTATION: "other/one"}), True, False, "and whatever else it says"),
        (thing("former", NAMED), True, True, "a backup was restored: no two releases have one name"),
        (thing("former", {api.RELEASE_ANNOTATION: "istio-ingress/other"}), False, False, "another release's"),
        (thing("former"), False, False, "nobody knows whose it was"),
        (thing(None, NAMED), False, False, "it was let go, and says only whose it had been"),
        (thing(), False, False, "nobody's"),
    ],
)
def test_whose_an_object_is(found: JSON, ours: bool, restored: bool, reason: str) -> None:
    """By its uid; by its name only while it says that some release has it."""
    assert plan.is_ours(release(), found) is ours, reason
    assert plan.is_restored(release(), found) is restored, reason


@pytest.mark.parametrize(
    ("owners", "left", "reason"),
    [
        ([], None, "it has no owner"),
        ([OWN], None, "the release owns it"),
        ([FORMER], [], "the one of before the restore goes, as an object has one controller"),
        ([FORMER, OTHER], [OTHER], "others stay"),
        ([OTHER], None, "others alone are none of the release's business"),
    ],
)
def test_which_owners_stay(owners: list[JSON], left: list[JSON] | None, reason: str) -> None:
    """The API server refuses two controllers, and the garbage collector takes what only a gone owner has."""
    found = plan.find_first(release(), thing(UID, NAMED, *owners))
    assert found == (None if left is None else {"ownerReferences": left}), reason
