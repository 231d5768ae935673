"""A release that a newer version wrote, in a real kube-apiserver whose CRD is of this version again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest
import yaml

from pluginrelease import api
from pluginrelease.cli import crd
from pluginrelease.controller import handlers
from pluginrelease.controller.interruption import SeenRelease
from pluginrelease.controller.writer import Writer
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import RELEASES
from pluginrelease.settings import Settings
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab
from tests.harness import releases
from tests.lab.gateway_under_test import eventually

NAMESPACE = "stored"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIME = "2026-01-01T10:00:00Z"
Node = dict[str, Any]

CONDITION = {"status": "True", "reason": "Running", "message": "", "lastTransitionTime": TIME, "observedGeneration": 1}
ENTRY = {"revision": "a" * 10, "number": 1, "ref": "r/p:1", "digest": releases.DIGEST, "lastDeployed": TIME}
STATUS: Node = {
    "observedGeneration": 1,
    "phase": "Ready",
    "conditions": [{"type": "Ready", **CONDITION}, {"type": "Applied", **CONDITION}],
    "stableRevision": "a" * 10,
    "checkpoint": {
        "gateways": [
            {
                "name": "public",
                "revision": "a" * 10,
                "loadHash": "",
                "since": TIME,
                "raisedLoggers": [{"namespace": "istio-ingress", "level": "warning", "pods": ["p 0123456"]}],
            }
        ]
    },
    "history": [{**ENTRY, "firstDeployed": TIME, "state": "Stable"}],
}


def newer() -> str:
    """The CRD as a newer version has it: one more provider, one more state in the history."""
    made = yaml.safe_load(crd.text())
    properties = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    properties["spec"]["properties"]["provider"]["enum"].append("Ambient")
    properties["status"]["properties"]["history"]["items"]["properties"]["state"]["enum"].append("Vanished")
    return yaml.safe_dump(made)


def define(lab: Lab, text: str, *, takes: bool) -> None:
    """Gives the API server this CRD; returns when it takes a newer version's objects, or takes them no more."""
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    eventually(lambda: is_taken(lab) is takes)


def manifest(name: str, **changes: Any) -> Node:
    return releases.manifest(metadata={"name": name, "namespace": NAMESPACE}, **changes)


def is_taken(lab: Lab) -> bool:
    newest = manifest("probe", spec__provider="Ambient")
    try:
        lab.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(newest))
    except LabError:
        return False
    return True


@pytest.fixture
def server(cluster: Lab) -> Iterator[Lab]:
    """The lab with the newer CRD; this version's comes back afterwards."""
    try:
        define(cluster, newer(), takes=True)
        yield cluster
    finally:
        cluster.kubectl("delete", api.PLURAL, "--all", "-n", NAMESPACE)
        define(cluster, crd.text(), takes=False)


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"spec__provider": "Ambient"}, STATUS),
        ({}, {**STATUS, "history": [{**ENTRY, "firstDeployed": TIME, "state": "Vanished"}]}),
    ],
    ids=["spec", "status"],
)
async def test_its_status_says_so(server: Lab, spec: Node, status: Node) -> None:
    """After the downgrade the release says that it cannot be read, and keeps what its status knows of the gateways."""
    made = manifest("newer", metadata__finalizers=[api.FINALIZER], **spec)
    server.kubectl("create", "-f", "-", stdin=json.dumps(made))
    async with await Cluster.connect(server.kubeconfig) as cluster:
        try:
            there = await cluster.get(RELEASES, NAMESPACE, "newer")
            assert there is not None
            await cluster.apply_raw_status(there["metadata"], status)
            define(server, crd.text(), takes=False)
            parts = {
                "store": None,
                "cluster": cluster,
                "writer": Writer(cluster),
                "settings": Settings(),
                "now": lambda: NOW,
            }
            memo = SimpleNamespace(connected=lambda: SimpleNamespace(**parts), tell=lambda *_: None)
            await handlers.one_pass(cast(Any, memo), kopf.Body(there), cast(Any, None), 0, SeenRelease())
            told = await cluster.get(RELEASES, NAMESPACE, "newer")
        finally:
            server.kubectl("patch", "prel", "newer", "-n", NAMESPACE, "--type=json", "-p", WITHOUT_FINALIZER)
    assert told is not None
    conditions = {
        condition["type"]: (condition["status"], condition["reason"]) for condition in told["status"]["conditions"]
    }
    stalled = {kind: (state, "ReleaseUnreadable") for kind, state in (("Ready", "False"), ("Stalled", "True"))}
    assert conditions == {"Applied": ("True", "Running"), **stalled}
    kept = told["status"].pop("checkpoint")["gateways"][0]["raisedLoggers"][0]
    assert kept.items() >= status["checkpoint"]["gateways"][0]["raisedLoggers"][0].items()
    others = {part: value for part, value in status.items() if part not in ("phase", "conditions", "checkpoint")}
    assert {part: told["status"][part] for part in others} == others


WITHOUT_FINALIZER = '[{"op": "remove", "path": "/metadata/finalizers"}]'


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Event: what posts it runs within kopf."""
    monkeypatch.setattr(kopf, "event", lambda *_, **__: None)
