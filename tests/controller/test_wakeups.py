"""Which change wakes which release."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pluginrelease import api
from pluginrelease.controller.store import Store
from pluginrelease.controller.wakeups import Wakeups
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.apiserver.watching import Change
from pluginrelease.core.mesh.target import MeshSettings
from tests.harness.releases import JSON, UID, manifest

OTHER = "6f1c2a0e-0002-4000-8000-000000000002"


class Woken:
    """Wake-ups over a store that knows two releases: one with gateways in its own namespace, one in another."""

    def __init__(self) -> None:
        self.store = Store(cast(Any, None), MeshSettings())
        self.rung: set[str] = set()
        self.forgotten: set[str] = set()
        self.wakeups = Wakeups(self.store, self.rung.add, self.forgotten.add)
        self.store.took(manifest(metadata__resourceVersion="1"))
        elsewhere = {"metadata__uid": OTHER, "metadata__name": "other", "metadata__resourceVersion": "1"}
        self.store.took(manifest(**elsewhere, spec__gateways__0__namespace="apps"))


@pytest.fixture
def woken() -> Woken:
    return Woken()


READ = manifest()
# reason, what is changed, does it wake
CHANGES: list[tuple[str, JSON, bool]] = [
    ("a new generation", manifest(metadata__generation=2), True),
    ("a command", manifest(metadata__annotations={api.RETRY_ANNOTATION: "1"}), True),
    ("the finalizer", manifest(metadata__finalizers=[api.FINALIZER]), True),
    ("its deletion", manifest(metadata__deletionTimestamp="2026-01-01T10:00:00Z"), True),
    ("its status", manifest(status={"phase": "Ready"}), False),
    ("a label", manifest(metadata__labels={"team": "a"}), False),
    ("a permission", manifest(metadata__annotations={api.REMOVE_FOREIGN_FIELDS_ANNOTATION: "*"}), True),
    ("another annotation", manifest(metadata__annotations={"note": "a"}), False),
]


@pytest.mark.parametrize(("reason", "now", "wakes"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_change_of_a_release(woken: Woken, reason: str, now: JSON, wakes: bool) -> None:
    """A release wakes for what people and controllers wish, and not for what its status says."""
    woken.wakeups.release_changed(Change(READ, now), is_own=False)
    assert (UID in woken.rung) is wakes, reason


def test_a_release_that_is_new_or_gone(woken: Woken) -> None:
    """A new release is woken, one that is gone is forgotten; made anew under the same name it is both."""
    woken.wakeups.release_changed(Change(None, READ), is_own=False)
    assert (woken.rung, woken.forgotten) == ({UID}, set())
    woken.wakeups.release_changed(Change(READ, manifest(metadata__uid="new")), is_own=False)
    assert (woken.rung, woken.forgotten) == ({UID, "new"}, {UID})


def carrier(owner: str | None, version: str = "1", url: str = "") -> JSON:
    labels = {api.UID_LABEL: owner} if owner else {}
    metadata = {"name": "a", "namespace": "n", "uid": "c", "resourceVersion": version, "labels": labels}
    return {"metadata": metadata, "spec": {"url": url} if url else {}}


SAME, ANOTHER = "oci://registry.example.com/plugins/auth:0.9", "oci://registry.example.com/plugins/other:1"


@pytest.mark.parametrize(
    ("reason", "change", "is_own", "rung"),
    [
        ("another hand changed it", Change(carrier(UID), carrier(UID, "2")), False, {UID}),
        ("another hand deleted it", Change(carrier(UID), None), False, {UID}),
        ("its owner became another", Change(carrier(UID), carrier(OTHER, "2")), False, {UID, OTHER}),
        ("it is nobody's", Change(None, carrier(None)), False, set()),
        ("nobody's, with the same plugin", Change(None, carrier(None, url=SAME)), False, {UID, OTHER}),
        ("nobody's, and the plugin goes", Change(carrier(None, url=SAME), None), False, {UID, OTHER}),
        ("nobody's, with another plugin", Change(None, carrier(None, url=ANOTHER)), False, set()),
        ("we wrote it", Change(carrier(UID), carrier(UID, "2")), True, set()),
    ],
)
def test_a_change_of_an_object(woken: Woken, reason: str, change: Change, is_own: bool, rung: set[str]) -> None:
    """Whose object another hand changed is woken, and not who wrote it; so is who has the same plugin."""
    woken.wakeups.carrier_changed(change, is_own)
    assert woken.rung == rung, reason


def test_a_kind_that_comes_later_wakes_all(woken: Woken) -> None:
    """When a kind is installed any release may have waited for it; when a watch goes on, none has."""
    woken.wakeups.kind_changed(None, NotFound("no such kind", served=False))
    assert woken.rung == set()
    woken.wakeups.kind_changed(NotFound("no such kind", served=False), None)
    assert woken.rung == {UID, OTHER}


def namespace(allowed: str | None, uid: str = "n") -> JSON:
    annotations = {api.ALLOWED_NAMESPACES_ANNOTATION: allowed} if allowed else {}
    return {"metadata": {"name": "apps", "uid": uid, "annotations": annotations}}


@pytest.mark.parametrize(
    ("reason", "change", "rung"),
    [
        ("it comes", Change(None, namespace("*")), {OTHER}),
        ("it goes", Change(namespace("*"), None), {OTHER}),
        ("it allows others", Change(namespace(None), namespace("istio-ingress")), {OTHER}),
        ("it allows the same", Change(namespace("*"), namespace("*")), set()),
        ("it was made anew", Change(namespace("*"), namespace("*", uid="m")), {OTHER}),
    ],
)
def test_a_change_of_a_namespace(woken: Woken, reason: str, change: Change, rung: set[str]) -> None:
    """Who reaches into a namespace is woken when that comes, goes, or allows others."""
    woken.wakeups.namespace_changed(change, False)
    assert woken.rung == rung, reason
