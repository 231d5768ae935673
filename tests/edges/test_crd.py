"""The CRD in a real kube-apiserver: what it adds, what it keeps, and what kubectl shows."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pluginrelease import api
from pluginrelease.api import crd
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab
from tests.edges import crd_objects
from tests.edges.crd_objects import GATEWAY, PROBE, RELEASE, Node, offer, release

NAMESPACE = crd_objects.NAMESPACE
PROBES = "spec.checks.probes"


@pytest.fixture
def stored(cluster: Lab) -> Iterator[Lab]:
    """The lab with RELEASE in it."""
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(RELEASE))
    yield cluster
    cluster.kubectl("delete", api.PLURAL, "--all", "-n", NAMESPACE)


def test_a_typo_is_refused(cluster: Lab) -> None:
    """kubectl's strict validation names a field that does not exist."""
    with pytest.raises(LabError, match=r'unknown field "spec\.plugin\.prioritty"'):
        offer(cluster, release("spec.plugin.prioritty", 1))


def test_a_new_object_shows_its_defaults(stored: Lab) -> None:
    """`kubectl get -o yaml` shows what the operator goes by, and that nothing was observed yet."""
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    assert found["status"] == crd.object_schema()["properties"]["status"]["default"]
    assert found["status"]["observedGeneration"] == -1
    assert found["metadata"]["generation"] == 1
    assert found["spec"] == {
        "suspend": False,
        "provider": "Istio",
        "artifact": {"image": {"ref": "registry.example.com/plugins/auth:1.2", "insecure": False}},
        "gateways": [GATEWAY],
        "plugin": {"failStrategy": "FAIL_CLOSE"},
        "checks": {"load": {"timeout": "2m"}, "probes": []},
        "rollout": {"progressDeadline": "10m", "onFailure": "Rollback", "watchFor": "15m"},
        "revisionHistoryLimit": 10,
    }


def test_a_new_probe_shows_its_defaults(cluster: Lab) -> None:
    """A probe that only has a name is GET / over HTTP and wants 200, and `kubectl get -o yaml` says so."""
    offered = json.loads(offer(cluster, release(PROBES, [PROBE])))
    [probe] = offered["spec"]["checks"]["probes"]
    assert probe == {"name": "hello", "scheme": "HTTP", "method": "GET", "path": "/", "expect": {"status": 200}}


def test_probes_merge_by_name(stored: Lab) -> None:
    """Two appliers may each bring a probe of their own: a list merges by the probe's name."""
    for owner, probe in (("one", {"name": "b", "path": "/b"}), ("other", {"name": "a", "path": "/a"})):
        partial = {**release(), "spec": {**RELEASE["spec"], "checks": {"probes": [probe]}}}
        stored.kubectl("apply", "--server-side", f"--field-manager={owner}", "-f", "-", stdin=json.dumps(partial))
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    assert {probe["name"]: probe["path"] for probe in found["spec"]["checks"]["probes"]} == {"a": "/a", "b": "/b"}


def test_what_the_api_server_stores_is_what_the_models_read(stored: Lab) -> None:
    """An object of the API server parses into a Release, and its spec comes out unchanged."""
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    parsed = api.Release.model_validate(found)
    assert parsed.spec.wire() == found["spec"]
    assert parsed.status.observed_generation == -1


def test_config_keeps_every_shape(cluster: Lab) -> None:
    """plugin.config is the plugin's own: nested objects, lists, numbers and nulls stay as they are written."""
    config = {"rules": [{"path": "/a", "limits": {"rps": 1.5}}], "deep": {"on": True, "none": None}, "n": 7}
    offered = json.loads(offer(cluster, release("spec.plugin.config", config)))
    assert offered["spec"]["plugin"]["config"] == config


HEALTHY_STATUS: Node = {
    "observedGeneration": 1,
    "phase": "Ready",
    "targetRevision": "5f2a9c01",
    "stableRevision": "5f2a9c01",
    "artifact": {
        "ref": "registry.example.com/plugins/auth:1.2",
        "image": "registry.example.com/plugins/auth@sha256:" + "a" * 64,
        "digest": "sha256:" + "a" * 64,
        "wasmSha256": "b" * 64,
        "size": 2300000,
        "layout": "OCICompat",
    },
    "summary": {"gateways": "1/1", "pods": "3/3", "desired": 3, "loaded": 3, "failed": 0},
    "gateways": [{"name": "public", "state": "Loaded", "reason": "Loaded", "desired": 3, "loaded": 3, "failed": 0}],
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Loaded", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Stalled", "status": "False", "reason": "Loaded", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ],
}


def write_status(lab: Lab, status: Node) -> None:
    """What the operator does at the end of a pass."""
    patch = json.dumps({"status": status})
    lab.kubectl("patch", "prel", "auth", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)


def columns(table: str) -> dict[str, str]:
    """The one row of a table of kubectl, by column."""
    head, row = table.splitlines()
    starts = [head.index(name) for name in head.split()]
    ends = [*starts[1:], None]
    return {name: row[start:end].strip() for name, start, end in zip(head.split(), starts, ends, strict=True)}


def test_the_columns_of_kubectl_get(stored: Lab) -> None:
    """`kubectl get prel` answers: does it run, where, which one, and why not; -o wide adds the digest."""
    write_status(stored, HEALTHY_STATUS)
    narrow = columns(stored.kubectl("get", "prel", "-n", NAMESPACE))
    assert narrow.pop("AGE")
    assert narrow == {
        "NAME": "auth",
        "PHASE": "Ready",
        "REVISION": "5f2a9c01",
        "GATEWAYS": "1/1",
        "LOADED": "3/3",
        "READY": "True",
        "REASON": "Loaded",
    }
    wide = columns(stored.kubectl("get", "prel", "-n", NAMESPACE, "-o", "wide"))
    assert wide.items() >= narrow.items()
    assert wide["DIGEST"] == HEALTHY_STATUS["artifact"]["digest"]


def test_kubectl_wait_sees_ready(stored: Lab) -> None:
    """`kubectl wait --for=condition=Ready` returns when the condition is True, and not before."""
    with pytest.raises(LabError, match="timed out"):
        stored.kubectl("wait", "--for=condition=Ready", "prel/auth", "-n", NAMESPACE, "--timeout=100ms")
    write_status(stored, HEALTHY_STATUS)
    stored.kubectl("wait", "--for=condition=Ready", "prel/auth", "-n", NAMESPACE, "--timeout=30s")


def test_status_belongs_to_the_subresource(stored: Lab) -> None:
    """Who may edit a release cannot write its status with it, and a status is no new generation."""
    stored.kubectl("apply", "-f", "-", stdin=json.dumps({**release(), "status": {"phase": "Forged"}}))
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    assert found["status"]["phase"] == "New"
    write_status(stored, HEALTHY_STATUS)
    assert (
        json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))["metadata"]["generation"] == 1
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("conditions", [{**HEALTHY_STATUS["conditions"][0], "status": "Maybe"}]),
        ("gateways", [{"name": "public", "state": "Fine", "reason": "Loaded"}]),
        ("pods", [{"gateway": "public", "name": "a", "namespace": "b", "state": "Fine", "reason": "Loaded"}]),
    ],
)
def test_unknown_words_in_status_are_refused(stored: Lab, field: str, value: object) -> None:
    """A status of a condition, a gateway or a pod is one of the documented words."""
    with pytest.raises(LabError, match="Unsupported value"):
        write_status(stored, {**HEALTHY_STATUS, field: value})


def test_it_is_listed_with_the_rest(stored: Lab) -> None:
    """`kubectl get all` and `kubectl get wasm` show releases."""
    for category in ("all", "wasm"):
        listed = stored.kubectl("get", category, "-n", NAMESPACE, "-o", "name")
        assert f"{api.SINGULAR}.{api.GROUP}/auth" in listed.split()


def test_kubectl_explains_a_field(cluster: Lab) -> None:
    """`kubectl explain` gives the description that the models give."""
    explained = " ".join(cluster.kubectl("explain", "prel.spec.artifact.image.ref").split())
    described = crd.object_schema()["properties"]["spec"]["properties"]["artifact"]["properties"]["image"]
    assert described["properties"]["ref"]["description"] in explained


LINES: list[tuple[str, str]] = [
    ("a run without its hash", "0123456"),
    ("marks that are not known", "0123456.abcd X"),
    ("text", "istio-ingressgateway-7d9c5b6f8d-abcde"),
]


@pytest.mark.parametrize(("reason", "line"), LINES, ids=[row[0] for row in LINES])
def test_notes_of_another_form_are_refused(stored: Lab, reason: str, line: str) -> None:
    """What the operator could not read again is not stored."""
    noted = {"name": "public", "revision": "r", "since": "2026-01-01T00:00:00Z", "pods": ["0123456.abcd LB 0,,-", line]}
    with pytest.raises(LabError, match="should match"):
        write_status(stored, {**HEALTHY_STATUS, "checkpoint": {"gateways": [noted]}})
    write_status(stored, {**HEALTHY_STATUS, "checkpoint": {"gateways": [{**noted, "pods": noted["pods"][:1]}]}})
