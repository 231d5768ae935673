"""What the operator tells Prometheus: which metrics there are, and what a status or a request counts as."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pluginrelease import api
from pluginrelease.core.apiserver import requests
from pluginrelease.core.apiserver.requests import RequestClass
from pluginrelease.core.status import census, measurements
from pluginrelease.core.status.measurements import Measurements
from pluginrelease.edges.metrics import FAMILIES, Metrics, Standing
from tests.reports import BACK, NEW, NOW, OLD, PUBLIC, TRYING

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(pluginrelease_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)
# what one operator may give out at most in one scrape, whatever there is in the cluster
SERIES_MAX = 5000


def described() -> set[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and help of every metric of our own."""
    metrics = Metrics()
    own = (metrics.rollouts, metrics.loads, metrics.failures, metrics.events, metrics.passes, metrics.turns)
    rest = (metrics.looks, metrics.snapshots, metrics.pulls, metrics.limited)
    found = {
        (family.name, "counter" if family.is_counter else "gauge", family.labels, family.help) for family in FAMILIES
    }
    for metric in (*own, *rest):
        [family] = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found.add((name, family.type, tuple(metric._labelnames), family.documentation))
    return found


def test_the_page_lists_every_metric() -> None:
    """docs/metrics.md has each metric with its type, its labels and what it means, and no other."""
    listed = {
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), text)
        for name, kind, labels, text in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }
    assert listed == described()


def test_nothing_that_tenants_name_is_a_label() -> None:
    """No label names a release, a namespace, an image or a pod: a tenant cannot make series."""
    labels = {label for _, _, labels, _ in described() for label in labels}
    assert labels & {"name", "namespace", "release", "image", "ref", "pod", "gateway", "registry", "uid"} == set()


def test_prometheus_can_read_the_page() -> None:
    """The page parses, with a counter's name as PromQL has it, and its values are those that were read."""
    metrics = Metrics()
    metrics.read_from(lambda: Standing({"pluginrelease_releases": {("Ready", "Loaded"): 3}}))
    metrics.events.labels("Warning", "FetchFailed").inc()
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }
    assert found["pluginrelease_releases", (("phase", "Ready"), ("reason", "Loaded"))] == 3
    assert found["pluginrelease_events_total", (("reason", "FetchFailed"), ("type", "Warning"))] == 1
    assert ("pluginrelease_build_info", (("version", "0.1.0"),)) in found


# ------------------------------------------------------------------------------------------------ what is there


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": ""}


def raw(phase: str | None, *conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "auth", "namespace": "team"},
        "status": {"phase": phase, "conditions": [*conditions], **status},
    }


def test_releases_are_counted_as_their_status_says() -> None:
    """A release counts once by its phase and Ready's reason, its entries each, its pods by the summary."""
    summary = {"gateways": "1/2", "pods": "3/5", "desired": 5, "loaded": 3, "failed": 1}
    rows = [
        {"name": "a", "state": "Loaded", "reason": "Loaded"},
        {"name": "b", "state": "Unhealthy", "reason": "FetchFailed"},
    ]
    bad = raw(
        "Unhealthy",
        condition("Ready", "False", "FetchFailed"),
        condition("Stalled", "True", "FetchFailed"),
        summary=summary,
        gateways=rows,
    )
    found = census.count([bad, raw("Ready", condition("Ready", "True", "Loaded"), summary=summary)])
    assert found.releases == {("Unhealthy", "FetchFailed"): 1, ("Ready", "Loaded"): 1}
    assert found.conditions["Stalled", "True", "FetchFailed"] == 1
    assert found.entries == {("Loaded", "Loaded"): 1, ("Unhealthy", "FetchFailed"): 1}
    assert found.pods == {"Loaded": 6, "Failed": 2, "Unproven": 2}


@pytest.mark.parametrize(
    ("release", "counted", "reason"),
    [
        (raw("Brewing", condition("Ready", "False", "Boiling")), ("Other", "Other"), "words of a newer version"),
        ({"metadata": {}}, ("New", "Other"), "no status yet"),
        ({"metadata": {}, "status": api.status.UNSEEN}, ("New", "Pending"), "nobody has looked"),
        (raw(None, {"type": "Ready"}), ("New", "Other"), "a condition without a status"),
        ({"metadata": {}, "status": {"conditions": "none", "gateways": [3]}}, ("New", "Other"), "no list, no mapping"),
    ],
)
def test_odd_statuses_make_no_series(release: dict[str, Any], counted: tuple[str, str], reason: str) -> None:
    """A status that this version cannot read counts as Other, and never as a word of its own."""
    assert census.count([release]).releases == {counted: 1}, reason


def test_the_number_of_series_has_a_bound() -> None:
    """Ten thousand releases in all states there are make no more series than that."""
    reasons = [*api.reasons.Reason]
    releases = [
        raw(
            sorted(census.PHASES)[number % len(census.PHASES)],
            condition("Ready", "False", reasons[number % len(reasons)]),
        )
        for number in range(10_000)
    ]
    counted = census.count(releases)
    assert len(counted.releases) + len(counted.conditions) + len(counted.entries) < SERIES_MAX


def test_every_phase_is_known() -> None:
    """The phases that are counted are those that docs/states.md lists and that a release can have."""
    table = (PAGE.parent / "states.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| **")]
    told = {word for row in rows for word in re.findall(r"[A-Z]\w+", row[5])}
    assert told - {"New"} <= census.PHASES
    assert census.PHASES - told == {"Pending"}


# ------------------------------------------------------------------------------------------------------- rollouts

SINCE = TRYING.started_at
DONE = TRYING.model_copy(update={"completed_at": NOW})
STABLE = api.StableRevision(revision=NEW)


def status(
    rollout: api.RolloutStatus | None, phase: str = "Loading", stable: api.StableRevision | None = None
) -> api.Status:
    noted = api.Observation(name=PUBLIC, revision=NEW, since=SINCE + timedelta(seconds=60))
    row = api.GatewayStatus(name=PUBLIC, state=api.GatewayState.PENDING, reason="Pending", stable=stable)
    return api.Status(rollout=rollout, phase=phase, gateways=[row], checkpoint=api.Checkpoint(gateways=[noted]))


OLDER = DONE.model_copy(update={"started_at": SINCE - timedelta(hours=1), "spec_hash": "g"})
TOOK, WROTE = (NOW - SINCE).total_seconds(), (NOW - SINCE).total_seconds() - 60


@pytest.mark.parametrize(
    ("before", "after", "expected", "reason"),
    [
        (status(TRYING), status(TRYING), Measurements(), "it goes on"),
        (
            status(TRYING),
            status(DONE, "Ready", STABLE),
            Measurements(("Loaded", TOOK), (WROTE,)),
            "it ran everywhere: from its beginning, and from the write",
        ),
        (status(DONE, "Ready", STABLE), status(DONE, "Ready", STABLE), Measurements(), "a look at rest"),
        (
            status(OLDER, "Ready", api.StableRevision(revision=OLD)),
            status(DONE, "Ready", STABLE),
            Measurements(("Loaded", TOOK), (WROTE,)),
            "the next one began and ended in one pass",
        ),
        (
            status(TRYING),
            status(BACK, "RollingBack"),
            Measurements(failed="PluginRejected"),
            "it failed; the way back goes on",
        ),
        (
            status(BACK, "RollingBack"),
            status(BACK, "RolledBack"),
            Measurements(("RolledBack", TOOK)),
            "it was put back",
        ),
        (
            status(TRYING),
            status(BACK, "Removed"),
            Measurements(("Removed", TOOK), failed="PluginRejected"),
            "it failed and was taken off in one pass",
        ),
        (status(BACK, "RolledBack"), status(BACK, "RolledBack"), Measurements(), "a look at what was put back"),
        (status(None), status(None, "Refused"), Measurements(), "there was no rollout"),
    ],
)
def test_what_a_pass_made_of_a_rollout(
    before: api.Status, after: api.Status, expected: Measurements, reason: str
) -> None:
    """A rollout is measured once, when it ends; a failure when it is decided."""
    assert measurements.measure(before, after, NOW) == expected, reason


def test_a_revision_that_nobody_wrote_now_has_no_load_time() -> None:
    """What ran before the rollout began, as after an entry joined, was not written for it."""
    late = DONE.model_copy(update={"started_at": SINCE + timedelta(seconds=61)})
    assert measurements.measure(status(TRYING), status(late, "Ready", STABLE), NOW).loaded == ()


# ------------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("method", "path", "is_watch", "expected"),
    [
        ("GET", "/api/v1/namespaces/edge/pods", False, RequestClass("list", "pods")),
        ("GET", "/api/v1/pods", True, RequestClass("watch", "pods")),
        ("GET", "/api/v1/namespaces/edge", False, RequestClass("get", "namespaces")),
        ("GET", "/api/v1/namespaces", True, RequestClass("watch", "namespaces")),
        ("GET", "/api/v1/namespaces/edge/pods/gw-1/log", False, RequestClass("get", "pods/log")),
        ("GET", "/api/v1/namespaces/edge/pods/gw-1/portforward", False, RequestClass("get", "pods/portforward")),
        (
            "PATCH",
            "/apis/pluginrelease.io/v1alpha1/namespaces/team/pluginreleases/auth/status",
            False,
            RequestClass("patch", "pluginreleases/status"),
        ),
        ("POST", "/apis/events.k8s.io/v1/namespaces/team/events", False, RequestClass("create", "events")),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/x/leases/a", False, RequestClass("update", "leases")),
        (
            "DELETE",
            "/apis/extensions.istio.io/v1alpha1/namespaces/x/wasmplugins/pods",
            False,
            RequestClass("delete", "wasmplugins"),
        ),
        (
            "GET",
            "/apis/extensions.istio.io/v1alpha1/namespaces/x/widgets/secret-name",
            False,
            RequestClass("get", "other"),
        ),
        ("GET", "/apis", False, RequestClass("list", "other")),
        ("GET", "/version", False, RequestClass("list", "other")),
    ],
)
def test_requests_are_counted_by_class(method: str, path: str, is_watch: bool, expected: RequestClass) -> None:
    """A request counts by RBAC's verb and the resource; no name of an object is in it."""
    assert requests.classify(method, path, is_watch=is_watch) == expected
