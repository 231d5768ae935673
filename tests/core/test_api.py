"""The models are the wire: what is written comes back, defaults are the documented ones, nothing changes in place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from pluginrelease import api
from tests.harness.releases import ARTIFACT, manifest, release

FULL = manifest(
    spec={
        "suspend": True,
        "deletionPolicy": "Orphan",
        "artifact": {
            "image": {"ref": "localhost:5000/auth:1", "pullSecretRef": {"name": "keys"}, "insecure": True},
            "wasmSha256": "0" * 64,
        },
        "provider": "Istio",
        "gateways": [
            {
                "name": "public",
                "namespace": "istio-system",
                "selector": {"matchLabels": {"istio": "ingressgateway"}},
                "objectName": "auth",
                "adopt": True,
            },
            {"name": "edge", "namespace": "edge", "selector": {"matchLabels": {"istio": "edge"}}},
        ],
        "plugin": {
            "name": "root",
            "phase": "AUTHZ",
            "priority": -3,
            "failStrategy": "FAIL_OPEN",
            "config": {"allow": ["a", None, 1.5], "nested": {"null": None, "no": False}},
        },
        "checks": {
            "load": {"timeout": "5m"},
            "probes": [
                {
                    "name": "hello",
                    "scheme": "HTTPS",
                    "host": "shop.example.com",
                    "port": 8443,
                    "method": "POST",
                    "path": "/hello?a=b",
                    "headers": {"allow": "true"},
                    "body": "{}",
                    "expect": {"status": 403, "headers": {"via": "auth"}, "bodyContains": "denied"},
                }
            ],
        },
        "rollout": {"progressDeadline": "30m", "onFailure": "Hold", "watchFor": "1h"},
        "revisionHistoryLimit": 0,
    },
)


def test_a_spec_comes_back_as_it_was_written() -> None:
    """Every field of the API is read and written under its camelCase name, also null values inside plugin.config."""
    assert api.Release.model_validate(FULL).spec.wire() == FULL["spec"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suspend", False),
        ("deletion_policy", None),
        ("plugin.fail_strategy", "FAIL_CLOSE"),
        ("plugin.phase", None),
        ("plugin.priority", None),
        ("plugin.config", None),
        ("checks.load.timeout", timedelta(minutes=2)),
        ("checks.probes", []),
        ("rollout.progress_deadline", timedelta(minutes=10)),
        ("rollout.on_failure", "Rollback"),
        ("revision_history_limit", 10),
        ("artifact.image.insecure", False),
        ("artifact.image.pull_secret_ref", None),
        ("artifact.wasm_sha256", None),
    ],
)
def test_the_shortest_release_has_the_safe_defaults(field: str, value: Any) -> None:
    """What is left out is: not suspended, put back on deletion as it was, closed on failure, TLS, two minutes to load,
    the last good revision put back when a new one fails."""
    node: Any = release().spec
    for part in field.split("."):
        node = getattr(node, part)
    assert node == value


def test_the_shortest_probe_is_a_plain_request() -> None:
    """A probe that only has a name is GET / over HTTP through the one listener with the plugin, and wants 200."""
    [probe] = release(spec__checks__probes=[{"name": "hello"}]).spec.checks.probes
    assert (probe.scheme, probe.method, probe.path, probe.expect.status) == ("HTTP", "GET", "/", 200)
    assert probe.wire().keys() == {"name", "scheme", "method", "path", "expect"}


def test_a_new_object_is_not_taken_for_done() -> None:
    """observedGeneration begins at -1, so that no tool reads an object that nobody has looked at as ready."""
    status = api.Status()
    assert status.observed_generation == -1
    assert status.conditions == []


def test_a_status_comes_back_as_it_was_written() -> None:
    """A restarted operator reads from status exactly what it noted there."""
    status = api.Status(
        observed_generation=3,
        phase="Ready",
        artifact=ARTIFACT,
        summary=api.GatewaysSummary(gateways="1/1", pods="1/1", desired=1, loaded=1, failed=0),
        gateways=[
            api.GatewayStatus(
                name="public",
                object=api.ObjectStatus(api_version="a/v1", kind="WasmPlugin", namespace="n", name="auth", uid="u"),
                revision="0123456789",
                stable=api.StableRevision(revision="r", selector=api.Selector(match_labels={"istio": "edge"})),
                adopted="auth-adopted",
                state=api.GatewayState.LOADED,
                reason="Loaded",
                desired=1,
                loaded=1,
            )
        ],
        pods=[api.PodStatus(gateway="public", name="p", namespace="n", state="Loaded", reason="Loaded")],
        checkpoint=api.Checkpoint(
            gateways=[
                api.Observation(
                    name="public",
                    revision="0123456789",
                    since="2026-01-01T00:00:00.000001Z",
                    load_hash_before="l",
                    pods=["0123456.abcd", "1234567.abcd LB 0,1", "0123456 Szq0ao"],
                    shared=["0123abcd"],
                    raised_loggers=[
                        api.RaisedLoggers(namespace="n", level="warning", names_begin="p-", pods=["a 0123456"])
                    ],
                    probes_failed_before=["hello"],
                    probes_failing_since="2026-01-01T00:00:00Z",
                    refetch=api.Refetch(count=2, attempts=1, at="2026-01-01T00:00:00Z"),
                )
            ]
        ),
        rollout=api.RolloutStatus(
            spec_hash="0123456789",
            started_at="2026-01-01T00:00:00Z",
            rollback_to="0000000000",
            failure=api.RolloutFailure(
                revision="r", gateways=["public"], reason="PluginRejected", message="m", at="2026-01-01T00:00:00Z"
            ),
            fallbacks=[api.GatewayFallback(name="public", detour=api.Detour(restarted=["0123456"]))],
        ),
        history=[
            api.HistoryEntry(
                revision="0123456789",
                number=2,
                state=api.HistoryState.FAILED,
                ref=ARTIFACT.ref,
                digest=ARTIFACT.digest,
                reason="PluginRejected",
                first_deployed="2026-01-01T00:00:00Z",
                last_deployed="2026-01-01T00:00:01Z",
            )
        ],
        handled=api.Handled(retry="t", rollback_to="0000000000:t"),
    )
    assert api.Status.model_validate(status.wire()) == status


def test_what_is_unset_is_not_written() -> None:
    """A status without an artifact has no key for it: kubectl shows no nulls, and apply owns no empty fields."""
    lists = ("conditions", "gateways", "pods", "history")
    assert api.Status().wire() == {"observedGeneration": -1, **{name: [] for name in lists}}


def test_nothing_changes_in_place() -> None:
    """A pass cannot alter the release that it was given."""
    found = release()
    with pytest.raises(ValidationError, match="frozen"):
        found.spec.suspend = True  # type: ignore[misc]


def test_fields_of_a_newer_version_are_left_alone() -> None:
    """A field that this version does not know does not stop the operator; the API server judges fields."""
    assert release(spec__rollout={"strategy": "Canary"}).spec == release().spec


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("spec__provider", "Linkerd", "Istio and Higress are supported"),
        ("spec__gateways", [], "somewhere it has to run"),
        ("spec__gateways", [{"name": "a.b", "namespace": "a"}], "an entry's name is part of an object's name"),
        ("spec__gateways", [{"name": f"a{n}", "namespace": "a"} for n in range(65)], "64 entries at most"),
        ("spec__gateways__0__namespace", "Not_A_Name", "a namespace is a DNS label"),
        ("spec__artifact__wasmSha256", "ABC", "64 lower-case hex digits"),
        ("spec__plugin__failStrategy", "FAIL_MAYBE", "one of three"),
        ("spec__plugin__priority", 2**31, "Istio's priority is an int32"),
        ("spec__checks__load__timeout", "soon", "a duration"),
        ("spec__rollout__onFailure", "Ignore", "put back or hold, nothing else"),
        ("spec__rollout__progressDeadline", "soon", "a duration"),
        ("spec__revisionHistoryLimit", 101, "the list of the history has an end"),
        ("spec__checks__probes", [{"path": "/"}], "messages call a probe by its name"),
        ("spec__checks__probes", [{"name": "a", "path": "/a b"}], "a path goes into a request line"),
        ("spec__checks__probes", [{"name": "a", "method": "CONNECT"}], "a request, no tunnel"),
    ],
)
def test_an_object_that_no_schema_allows_is_not_read(path: str, value: Any, reason: str) -> None:
    """The models refuse what the CRD refuses, in case the CRD in the cluster is an older one."""
    with pytest.raises(ValidationError):
        release(**{path: value})
    assert reason
