"""Releases that do not fit the models of this version: their own trouble, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
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
from pluginrelease.controller.interruption import SeenRelease
from pluginrelease.controller.reading import DirectReader
from pluginrelease.controller.recorder import Recorder
from pluginrelease.controller.right_of_way import RightOfWay
from pluginrelease.controller.store import Store
from pluginrelease.controller.wakeups import Wakeups
from pluginrelease.controller.writer import Writer
from pluginrelease.core.apiserver import stored
from pluginrelease.core.apiserver.watching import Change
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.mesh.target import MeshSettings
from pluginrelease.core.rollout import facts
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.status.event_records import Regarding
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
        self.carriers: list[JSON] = []
        self.deleted: list[str] = []
        self.unlistable: Exception | None = None

    async def list(self, resource: Any, namespace: str | None, labels: dict[str, str]) -> list[JSON]:
        if self.unlistable is not None and resource.plural == "wasmplugins":
            raise self.unlistable
        if resource.group == "extensions.istio.io":
            return [*self.carriers]
        return [*self.releases] if resource.plural == "pluginreleases" else []

    async def delete(self, observed: JSON) -> None:
        self.deleted.append(observed["metadata"]["name"])

    async def get(self, resource: Any, namespace: str, name: str) -> JSON | None:
        return self.releases[0]

    async def apply_raw_status(self, metadata: JSON, status: JSON) -> None:
        if self.fault:
            raise self.fault
        self.told.append(status)


def context(cluster: Listing) -> Any:
    writer = Writer(cast(Any, cluster))
    return SimpleNamespace(
        cluster=cluster,
        writer=writer,
        mesh=MeshSettings(),
        store=None,
        now=lambda: NOW,
        settings=Settings(),
        readings=stored.ReleaseReadings(),
        right_of_way=RightOfWay(),
    )


class Heard(Recorder):
    """Keeps the reasons of what would be posted as an Event."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def record(self, regarding: Regarding, event: Event, *, action: str = "") -> None:
        self.reasons.append(str(event.reason))


async def one_pass(cluster: Listing, found: JSON, heard: Heard) -> handlers.Next:
    """One pass over a release."""
    memo = Memo(Settings(), context=context(cluster), recorder=heard)
    return await handlers.one_pass(memo, kopf.Body(found), cast(Any, None), 0, SeenRelease())


@CASES
async def test_no_rollout_is_held_up(found: JSON) -> None:
    """A release that cannot be read is no rival, and its log levels are nobody's."""
    cluster = Listing(found, manifest())
    mine = facts.begin(release(), NOW)
    candidate = Candidate(mine.view("public").placement(), ARTIFACT)
    mine = mine.with_entry(replace(mine.entry("public"), aimed=candidate))
    work: Any = SimpleNamespace(reader=DirectReader(cast(Any, cluster)), mesh=MeshSettings(), context=context(cluster))
    left_out = await preflight.check_rivals(work, mine, frozenset({"public"}))
    assert left_out.errors == {}
    assert await loggers.noted_by_others(work.reader, "mine", ["0123456"]) == {}


async def test_what_can_be_read_of_it_counts() -> None:
    """A log level that it noted in a known way is put back by it and not by another."""
    note = {"namespace": "istio-ingress", "level": "info", "pods": ["p 0123456"]}
    noted = {**OBSERVED, "raisedLoggers": [{"pod": "q"}, note]}
    cluster = Listing(from_the_future(status__checkpoint={"gateways": [noted]}))
    reader = DirectReader(cast(Any, cluster))
    assert await loggers.noted_by_others(reader, "mine", ["0123456"]) == {"0123456": "info"}


@CASES
async def test_its_bell_rings(found: JSON) -> None:
    """A change of it is heard, whatever it says of its gateways."""
    memo = Memo(Settings())
    bell = memo.bell("future")
    Wakeups(Store(cast(Any, None), MeshSettings()), memo.ring, memo.forget).release_changed(
        Change(None, found), is_own=False
    )
    assert bell.is_set()


@CASES
async def test_it_says_so_itself(found: JSON) -> None:
    """A pass over it ends in its own status and an Event, once, and loses nothing of what the status has."""
    cluster, heard = Listing(found), Heard()
    step = await one_pass(cluster, found, heard)
    assert step.look_again == Settings().resync
    [told] = cluster.told
    states = {condition["type"]: (condition["status"], condition["reason"]) for condition in told["conditions"]}
    assert states == {"Ready": ("False", "ReleaseUnreadable"), "Stalled": ("True", "ReleaseUnreadable")}
    assert told["observedGeneration"] == 1
    assert {key: told[key] for key in found.get("status") or {}} == (found.get("status") or {})
    again = Listing({**found, "status": told})
    await one_pass(again, found, heard)
    assert (again.told, heard.reasons) == ([], ["ReleaseUnreadable"])


async def test_it_is_switched_off_all_the_same() -> None:
    """Its plugin leaves the gateways, found by its uid; the switch stays in the status."""
    carrier = {"metadata": {"name": "future-public", "namespace": "istio-ingress", "labels": {api.UID_LABEL: "future"}}}
    found = from_the_future(metadata__annotations={api.OFF_ANNOTATION: "1: it drops requests"})
    cluster, heard = Listing(found), Heard()
    cluster.carriers = [carrier]
    await one_pass(cluster, found, heard)
    [told] = cluster.told
    states = {condition["type"]: (condition["status"], condition["reason"]) for condition in told["conditions"]}
    assert states == {"Ready": ("False", "SwitchedOff"), "Stalled": ("True", "SwitchedOff")}
    assert cluster.deleted == ["future-public"]
    assert (told["switchedOff"]["reason"], told["handled"]) == ("it drops requests", {"off": "1: it drops requests"})
    without = {**found, "metadata": {**found["metadata"], "annotations": {}}, "status": told}
    later = Listing(without)
    later.carriers = [carrier]
    await one_pass(later, without, heard)
    assert (later.deleted, later.told) == (["future-public"], []), "the switch does not end with its annotation"


async def test_what_could_not_be_taken_off_is_tried_again() -> None:
    """The message says that the plugin may still be there, and the next try comes soon."""
    found = from_the_future(metadata__annotations={api.OFF_ANNOTATION: "1: it drops requests"})
    cluster, heard = Listing(found), Heard()
    cluster.unlistable = Transient(Reason.API_SERVER_UNAVAILABLE, "gone")
    step = await one_pass(cluster, found, heard)
    assert step.look_again < Settings().resync
    assert str(cluster.unlistable.sentence()) in cluster.told[0]["conditions"][0]["message"]


async def test_a_status_that_cannot_be_written() -> None:
    """An API server that refuses it is no reason to end."""
    found = from_the_future()
    cluster, heard = Listing(found, fault=Transient(Reason.API_SERVER_UNAVAILABLE, "gone")), Heard()
    step = await one_pass(cluster, found, heard)
    assert step.look_again == Settings().resync
    assert heard.reasons == ["ReleaseUnreadable"]


def test_conditions_keep_their_time() -> None:
    """A condition's time moves only when its status does; what is true no more goes, the steps stay."""
    old = [
        {"type": kind, "status": "True", "lastTransitionTime": EARLIER}
        for kind in ("Ready", "Reconciling", "Stalled", "Applied")
    ]
    refused = Refused(Reason.RELEASE_UNREADABLE, "found", "remedy")
    told = stored.describe_status(from_the_future(status__conditions=old), refused, NOW)["conditions"]
    times = {condition["type"]: condition["lastTransitionTime"] for condition in told}
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


def test_each_version_is_read_once() -> None:
    """Hundreds of passes list the same releases: what has not changed is not read again."""
    readings, same, other = stored.ReleaseReadings(), manifest(), manifest()
    same["metadata"]["resourceVersion"] = "1"
    other["metadata"] |= {"uid": "other", "name": "other", "resourceVersion": "1"}
    [first, _], _ = readings.sort_out([same, other])
    [again], _ = readings.sort_out([same])
    assert again is first
    [changed], _ = readings.sort_out([{**same, "metadata": {**same["metadata"], "resourceVersion": "2"}}])
    assert changed is not first
