"""What the chart's roles for users let them read and write, by requests that a real API server answers."""

from __future__ import annotations

import json

import pytest
import yaml

from pluginrelease import api
from tests.edges.contenders import NAMESPACE, ONE_INSTALL
from tests.edges.lone_apiserver import Lone

VIEWER, EDITOR = "ann@example.com", "ben@example.com"
RELEASES, REVISIONS = f"{api.PLURAL}.{api.GROUP}", "controllerrevisions.apps"
PLUGINS = "wasmplugins.extensions.istio.io"

READS, WRITES = ("get", "list", "watch"), ("create", "update", "patch", "delete", "deletecollection")

CASES: list[tuple[str, str, str, bool, str]] = [
    *((VIEWER, verb, RELEASES, True, "a viewer sees releases") for verb in READS),
    *((VIEWER, verb, RELEASES, False, "a viewer changes none") for verb in WRITES),
    (VIEWER, "get", f"{RELEASES}/status", True, "the status alone, as `kubectl get --subresource` asks for it"),
    (VIEWER, "patch", f"{RELEASES}/status", False, "the operator alone writes it"),
    (VIEWER, "get", PLUGINS, True, "what a release wrote"),
    (VIEWER, "list", PLUGINS, False, "those that no release wrote are no business of this chart"),
    *((VIEWER, verb, REVISIONS, False, "a revision keeps a whole configuration") for verb in (*READS, *WRITES)),
    *((EDITOR, verb, RELEASES, True, "an editor writes releases") for verb in WRITES),
    (EDITOR, "patch", f"{RELEASES}/status", False, "no user writes a status"),
    *((EDITOR, verb, REVISIONS, False, "an editor needs no revision to write a release") for verb in (*READS, *WRITES)),
    (EDITOR, "get", "secrets", False, "the chart gives no Secret to anybody"),
]


@pytest.fixture(scope="module")
def users(lone: Lone) -> Lone:
    """One user with the chart's role view, one with its role edit, in a namespace with a kept revision."""
    for role, user in (("view", VIEWER), ("edit", EDITOR)):
        own = [f"--clusterrole={ONE_INSTALL}-{role}", f"--user={user}", "-n", NAMESPACE]
        lone.kubectl("create", "rolebinding", f"chart-{role}", *own)
    revision = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": "kept", "namespace": NAMESPACE},
        "revision": 1,
        "data": {"plugin": {"config": {"upstream": "internal"}}},
    }
    lone.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(revision))
    return lone


@pytest.mark.parametrize(("user", "verb", "resource", "allowed", "reason"), CASES)
def test_users_may_do_what_their_role_is_for(
    users: Lone, user: str, verb: str, resource: str, allowed: bool, reason: str
) -> None:
    """The API server's own answer to the user, in a namespace where they have the chart's role and no other."""
    name, _, subresource = resource.partition("/")
    plural, _, group = name.partition(".")
    asked = {"namespace": NAMESPACE, "verb": verb, "group": group, "resource": plural, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    said = users.kubectl("create", "--raw", path, "-f", "-", "--as", user, stdin=json.dumps(review))
    assert json.loads(said)["status"]["allowed"] is allowed, reason


@pytest.mark.parametrize("user", [VIEWER, EDITOR])
def test_a_revision_is_not_read(users: Lone, user: str) -> None:
    """The request itself is refused, by name and as a list; the same user reads releases."""
    for what in (["controllerrevisions"], ["controllerrevision", "kept"]):
        with pytest.raises(AssertionError, match=r'cannot (list|get) resource "controllerrevisions"'):
            users.kubectl("get", *what, "-n", NAMESPACE, "--as", user)
    if user == VIEWER:
        assert users.kubectl("get", api.PLURAL, "-n", NAMESPACE, "--as", user) == ""


def test_kubernetes_own_view_reads_revisions(users: Lone) -> None:
    """docs/rights.md warns of this: the part of the role view that comes with Kubernetes has them."""
    role = json.loads(users.kubectl("get", "clusterrole", "system:aggregate-to-view", "-o", "json"))
    assert any("controllerrevisions" in rule["resources"] and "get" in rule["verbs"] for rule in role["rules"])
