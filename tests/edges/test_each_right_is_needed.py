"""Without any one right of the chart's roles something fails, and the operator says what: on a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease_lab import operator
from tests.edges import contenders as operators
from tests.edges.contenders import NAMESPACE, ONE_INSTALL, Contender
from tests.edges.lone_apiserver import Lone
from tests.edges.real_registry import Real
from tests.harness import registries

EDGE = "edge"
SECONDS = 60.0
LEASES = ("role", f"{ONE_INSTALL}-lease", "kube-system")
RIGHTS = ("clusterrole", ONE_INSTALL, "")

JSON = dict[str, Any]

# they need a gateway that runs: tests/passes/test_scoped_rights.py sees them used, and the second taken away
OF_REAL_GATEWAYS = {"pods/log", "pods/portforward"}
# each other resource of the roles, by the role that has it
CASES = [
    (RIGHTS, "pluginreleases"),
    (RIGHTS, "pluginreleases/status"),
    (RIGHTS, "controllerrevisions"),
    (RIGHTS, "secrets"),
    (RIGHTS, "configmaps"),
    (RIGHTS, "events"),
    (RIGHTS, "wasmplugins"),
    (RIGHTS, "pods"),
    (RIGHTS, "namespaces"),
    (LEASES, "leases"),
]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def edge(lone: Lone) -> Lone:
    """A gateway whose node is not there, and the login of a registry beside the releases."""
    about = {"name": EDGE, "annotations": {api.ALLOWED_NAMESPACES_ANNOTATION: "*"}}
    gateway = {"name": "istio-proxy", "image": "proxyv2"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "gateway", "namespace": EDGE, "labels": {"istio": "gateway"}},
        "spec": {"containers": [gateway], "nodeName": "nowhere", "automountServiceAccountToken": False},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": EDGE}}
    login = registries.pull_secret("login", NAMESPACE, "registry.example.com", ("somebody", "password"))
    for made in ({"apiVersion": "v1", "kind": "Namespace", "metadata": about}, account, pod, login):
        lone.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    runs = {"name": "istio-proxy", "ready": True, "restartCount": 0, "image": "proxyv2", "imageID": ""}
    container = {**runs, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    status = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [container],
    }
    patch = json.dumps({"status": status})
    lone.kubectl("patch", "pod", "gateway", "-n", EDGE, "--subresource=status", "--type=merge", "-p", patch)
    return lone


@contextmanager
def without(lone: Lone, role: tuple[str, str, str], resource: str) -> Iterator[None]:
    """The role lacks a resource meanwhile."""
    kind, name, namespace = role
    where = ["-n", namespace] if namespace else []
    found = json.loads(lone.kubectl("get", kind, name, *where, "-o", "json"))
    kept = {key: found["metadata"][key] for key in ("name", "namespace", "labels") if key in found["metadata"]}
    whole = {**found, "metadata": kept}
    rules = [{**rule, "resources": [one for one in rule["resources"] if one != resource]} for rule in whole["rules"]]
    assert rules != whole["rules"]
    less = {**whole, "rules": [rule for rule in rules if rule["resources"]]}
    lone.kubectl("replace", "-f", "-", stdin=json.dumps(less))
    try:
        yield
    finally:
        lone.kubectl("replace", "-f", "-", stdin=json.dumps(whole))


def release_for(plain: Real, name: str, resource: str) -> JSON:
    """A release for the gateway, with a login that must come along, and what else needs a right to this resource."""
    made = operators.release(plain, name)
    if resource == "configmaps":
        made["spec"]["plugin"]["configFrom"] = [{"kind": "ConfigMap", "name": "limits", "key": "limits.yaml"}]
    made["spec"]["artifact"]["image"]["pullSecretRef"] = {"name": "login"}
    made["spec"]["gateways"] = [
        {"name": "public", "namespace": EDGE, "selector": {"matchLabels": {"istio": "gateway"}}}
    ]
    return made


def refused(lone: Lone, skipped: int) -> set[str]:
    """The resources of the requests that the API server refused the operator, after the first so many events."""
    user = f"system:serviceaccount:{ONE_INSTALL}:{ONE_INSTALL}"
    with lone.audit_log.open(encoding="utf-8") as lines:
        events = list(operator.complete_events(lines))[skipped:]
    about = [
        event.get("objectRef", {})
        for event in events
        if event["user"].get("username") == user and not operator.is_authorized(event)
    ]
    return {"/".join(filter(None, (one.get("resource"), one.get("subresource")))) for one in about}


def read_told(contender: Contender, name: str) -> str:
    """Return all that the operator tells a user: the release's status, /readyz, and its log."""
    status = contender.lone.kubectl("get", api.PLURAL, name, "-n", NAMESPACE, "-o", "jsonpath={.status}")
    return "\n".join([status, contender.says()[1], contender.log.read_text(encoding="utf-8")])


def says_so(contender: Contender, name: str) -> bool:
    """Whether the operator tells that a right is missing."""
    told = read_told(contender, name)
    return any(word in told for word in ("Forbidden", "forbidden", "not watched"))


@pytest.mark.parametrize(("role", "resource"), CASES, ids=[row[1] for row in CASES])
def test_no_right_is_one_too_many(
    edge: Lone, plain: Real, tmp_path: Path, role: tuple[str, str, str], resource: str
) -> None:
    """An operator that starts without one of its rights is refused what it needs that right for, and says so."""
    operators.push_image(plain, tmp_path)
    name = f"lacks-{resource.replace('/', '-')}"
    skipped = len(edge.audit_log.read_bytes().splitlines())
    contender = Contender(edge, name, tmp_path)
    with without(edge, role, resource):
        contender.start()
        edge.kubectl("apply", "-f", "-", stdin=json.dumps(release_for(plain, name, resource)))
        deadline = time.monotonic() + SECONDS
        try:
            while not (resource in refused(edge, skipped) and says_so(contender, name)):
                assert time.monotonic() < deadline, (refused(edge, skipped), read_told(contender, name))
                time.sleep(0.3)
        finally:
            operators.end(contender)
    assert refused(edge, skipped) == {resource}


def test_every_right_is_tried(lone: Lone) -> None:
    """The cases are all resources that the chart's roles for the operator have."""
    for kind, name, namespace in {role for role, _ in CASES}:
        where = ["-n", namespace] if namespace else []
        rules = json.loads(lone.kubectl("get", kind, name, *where, "-o", "json"))["rules"]
        mine = {resource for role, resource in CASES if role[1] == name}
        assert {resource for rule in rules for resource in rule["resources"]} - OF_REAL_GATEWAYS == mine
