"""Releases that do not fit the models of this version: their own trouble, and nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest
from click.testing import CliRunner

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli import main
from pluginrelease.cli import status as status_command
from pluginrelease.controller import handlers, loggers, preflight
from pluginrelease.controller.handlers import Memo
from pluginrelease.controller.scope import Candidate
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.settings import Settings
from tests.harness.releases import ARTIFACT, JSON, manifest, release

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EARLIER = "2026-01-01T10:00:00Z"
OBSERVED = {"revision": "aaaaaaaaaa", "since": EARLIER}


def from_the_future(**changes: Any) -> JSON:
    """A release of a newer version, as it is read after a downgrade: one value that is not known, all else whole."""
    foreign = {"metadata__uid": "future", "metadata__name": "future", "spec__provider": "Ambient"}
    return manifest(**{**foreign, "metadata__finalizers": [api.FINALIZER], **changes})


UNREADABLE = {
    "an enum value of the spec": from_the_future(),
    "a field that became another": from_the_future(spec__provider="Istio", spec__gateways__0__selector="a=b"),
    "no gateway": from_the_future(spec__gateway=None),
    "a state in its history": from_the_future(spec__provider="Istio", status__history=[{"state": "Vanished"}]),
    "an observation of another shape": from_the_future(status__observation={"raisedLoggers": [{"pod": "p"}, "text"]}),
    "no observation": from_the_future(status__observation=None),
}
CASES = pytest.mark.parametrize("found", UNREADABLE.values(), ids=UNREADABLE.keys())


class Listing:
    """A cluster that has these releases and nothing else, and notes what is written to their status."""

    def __init__(self, *releases: JSON, fault: Exception | None = None) -> None:
        self.releases = releases
        self.fault = fault
        self.told: list[JSON] = []

    async def list(self, resource: Any, namespace: str | None, labels: dict[str, str]) -> list[JSON]:
        return [*self.releases] if resource.plural == "pluginreleases" else []

    async def get(self, resource: Any, namespace: str, name: str) -> JSON | None:
        return self.releases[0]

    async def apply_raw_status(self, metadata: JSON, status: JSON) -> None:
        if self.fault:
            raise self.fault
        self.told.append(status)


def world(cluster: Listing) -> Any:
    return SimpleNamespace(cluster=cluster, mesh=None, now=lambda: NOW, settings=Settings())


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons of what is posted as an Event."""
    posted: list[str] = []
    monkeypatch.setattr(kopf, "event", lambda body, *, reason, **_: posted.append(reason))
    return posted


@CASES
async def test_no_rollout_is_held_up(found: JSON) -> None:
    """A release that cannot be read is no rival, and its log levels are nobody's."""
    cluster = Listing(found, manifest())
    mine = release()
    entry = SimpleNamespace(world=world(cluster), release=mine)
    candidate = Candidate(Placement(mine, mine.spec.gateways[0]), ARTIFACT)
    await preflight.check_rivals(cast(Any, entry), candidate)
    assert await loggers.noted_by_others(cast(Any, cluster), "mine") == {}


async def test_what_can_be_read_of_it_counts() -> None:
    """A log level that it noted in a known way is put back by it and not by another."""
    note = {"namespace": "istio-ingress", "level": "info", "pods": ["p 0123456"]}
    noted = {**OBSERVED, "raisedLoggers": [{"pod": "q"}, note]}
    cluster = Listing(from_the_future(status__checkpoint={"gateways": [noted]}))
    assert await loggers.noted_by_others(cast(Any, cluster), "mine") == {"0123456": "info"}


@CASES
async def test_its_bell_rings(found: JSON) -> None:
    """A change of it is heard, whatever it says of its gateways."""
    memo = Memo(Settings())
    await handlers.release_changed(memo=memo, type="MODIFIED", body=kopf.Body(found), uid="future")
    assert memo.bell("future").is_set()


@CASES
async def test_it_says_so_itself(found: JSON, events: list[str]) -> None:
    """A pass over it ends in its own status and an Event, once, and loses nothing of what the status has."""
    cluster = Listing(found)
    step = await handlers.one_pass(world(cluster), kopf.Body(found), cast(Any, None), 0)
    assert step.look_again == Settings().resync
    [told] = cluster.told
    states = {one["type"]: (one["status"], one["reason"]) for one in told["conditions"]}
    assert states == {"Ready": ("False", "ReleaseUnreadable"), "Stalled": ("True", "ReleaseUnreadable")}
    assert told["observedGeneration"] == 1
    assert {key: told[key] for key in found.get("status") or {}} == (found.get("status") or {})
    again = Listing({**found, "status": told})
    await handlers.one_pass(world(again), kopf.Body(found), cast(Any, None), 0)
    assert (again.told, events) == ([], ["ReleaseUnreadable"])


async def test_a_status_that_cannot_be_written(events: list[str]) -> None:
    """An API server that refuses it is no reason to end."""
    found = from_the_future()
    cluster = Listing(found, fault=Transient(Reason.API_SERVER_UNAVAILABLE, "gone"))
    step = await handlers.one_pass(world(cluster), kopf.Body(found), cast(Any, None), 0)
    assert step.look_again == Settings().resync
    assert events == ["ReleaseUnreadable"]


def test_conditions_keep_their_time() -> None:
    """A condition's time moves only when its status does; what is true no more goes, the steps stay."""
    old = [
        {"type": kind, "status": "True", "lastTransitionTime": EARLIER}
        for kind in ("Ready", "Reconciling", "Stalled", "Applied")
    ]
    refused = Refused(Reason.RELEASE_UNREADABLE, "found", "remedy")
    told = stored.describe_status(from_the_future(status__conditions=old), refused, NOW)["conditions"]
    times = {one["type"]: one["lastTransitionTime"] for one in told}
    assert times == {"Ready": "2026-01-01T12:00:00Z", "Stalled": EARLIER, "Applied": EARLIER}
    later = stored.describe_status(from_the_future(status__conditions=told), refused, NOW + timedelta(hours=1))[
        "conditions"
    ]
    assert later == told


def test_a_table_shows_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pluginrelease status` lists what it can read, names what it cannot, and does not end as if that were all."""
    listed = [from_the_future(), manifest(metadata__creationTimestamp=EARLIER)]
    monkeypatch.setattr(status_command, "run", lambda place, act, **_: listed)
    ended = CliRunner().invoke(main, ["status", "-n", "istio-ingress", "--kubeconfig", "none"])
    assert ended.exit_code == 5
    assert "auth" in ended.stdout
    assert "ReleaseUnreadable: PluginRelease istio-ingress/future" in ended.stderr
