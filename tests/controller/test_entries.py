"""Passes over a release of two entries: what becomes of the one when something is wrong with the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pluginrelease.api.reasons import Reason
from pluginrelease.controller import looking
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView
from tests.controller import scripted_steps
from tests.controller.entries import (
    BUSY,
    INTERNAL,
    JSON,
    OLD_PLUGIN,
    PUBLIC,
    carried,
    carrier,
    consent,
    kept,
    ran,
    revision_of,
    settle,
    two,
)
from tests.controller.scripted_api import ScriptedAPI

# ----------------------------------------------------------------------------------------------------- forward


async def test_both_get_it_with_one_checkpoint(shows: dict[str, str]) -> None:
    """The status is written once before the writes, whatever the number of entries; then both objects are there."""
    body = two()
    cluster = ScriptedAPI(body)
    cluster.namespaces = consent(INTERNAL)
    ending = await settle(cluster, body)
    assert carried(cluster) == {PUBLIC: revision_of(body), INTERNAL: revision_of(body)}
    writes = cluster.writes()
    assert writes.index("STATUS pluginreleases") < writes.index("APPLY wasmplugins")
    assert writes.count("STATUS pluginreleases") <= 3
    assert ending.status.summary is not None
    assert (ending.status.phase, ending.status.summary.gateways) == ("Ready", "2/2")
    assert [row.stable and row.stable.revision for row in ending.status.gateways] == [revision_of(body)] * 2


LEFT_OUT: list[tuple[str, dict[str, JSON], dict[str, BaseException | str], JSON | None, str]] = [
    ("its namespace does not consent", {"apps": {"metadata": {"name": "apps"}}}, {}, None, "NamespaceNotAllowed"),
    ("its namespace is missing", {}, {}, None, "NamespaceNotFound"),
    ("its namespace cannot be read", {}, {"GET namespaces": Waiting(Reason.FORBIDDEN, "no")}, None, "Forbidden"),
    ("its object is somebody's", consent(INTERNAL), {}, {"labels": {}}, "ObjectNotOurs"),
]


@pytest.mark.parametrize(
    ("reason", "namespaces", "faults", "foreign", "told"), LEFT_OUT, ids=[row[0] for row in LEFT_OUT]
)
async def test_an_entry_that_cannot_be_placed_is_left_out(
    reason: str,
    namespaces: dict[str, JSON],
    faults: dict[str, BaseException | str],
    foreign: JSON | None,
    told: str,
    shows: dict[str, str],
) -> None:
    """The other goes on and runs; the release is not Ready, and says how many and why."""
    body = two()
    cluster = ScriptedAPI(body, faults=faults)
    cluster.namespaces = namespaces
    if foreign is not None:
        theirs = carrier(body, INTERNAL)
        theirs["metadata"] |= foreign
        cluster = ScriptedAPI(body, theirs, faults=faults)
        cluster.namespaces = namespaces
    ending = await settle(cluster, body)
    status = ending.status
    assert carried(cluster)[PUBLIC] == revision_of(body), reason
    rows = {row.name: row for row in status.gateways}
    assert (rows[PUBLIC].state, rows[INTERNAL].state) == ("Loaded", "NotPlaced")
    assert rows[INTERNAL].reason == told
    assert rows[PUBLIC].stable is not None
    assert rows[INTERNAL].stable is None
    ready = next(condition for condition in status.conditions if condition.type == "Ready")
    assert (ready.status, ready.reason) == ("False", told)
    assert status.summary is not None
    assert status.summary.gateways == "1/2"


async def test_a_revision_that_one_gateway_refuses_before_the_write_is_written_to_none(
    monkeypatch: pytest.MonkeyPatch, shows: dict[str, str]
) -> None:
    """What the gateways of any placed entry could not load reaches nobody."""

    refused = Refused("MissingImports", "gateway internal: the gateway lacks a function")
    scripted_steps.check_by(monkeypatch, scripted_steps.refusing(refused))
    body = two()
    cluster = ScriptedAPI(body)
    cluster.namespaces = consent(INTERNAL)
    ending = await settle(cluster, body)
    assert carried(cluster) == {}
    assert (ending.status.phase, [row.object for row in ending.status.gateways]) == ("Refused", [None, None])


async def test_a_fault_of_ours_in_one_entry_loses_nothing_of_the_other(
    monkeypatch: pytest.MonkeyPatch, shows: dict[str, str]
) -> None:
    """What was written and seen of the other entry is in the status; the faulty one says that it is our fault."""
    body = two()
    cluster = ScriptedAPI(body)
    cluster.namespaces = consent(INTERNAL)
    judge = looking.judge

    async def fail_for_one(work: PassContext, entry: EntryView, candidate: Candidate) -> object:
        if entry.name == INTERNAL:
            raise RuntimeError("a fault of ours")
        return await judge(work, entry, candidate)

    monkeypatch.setattr(looking, "judge", fail_for_one)
    ending = await settle(cluster, body)
    rows = {row.name: row for row in ending.status.gateways}
    assert carried(cluster) == {PUBLIC: revision_of(body), INTERNAL: revision_of(body)}
    assert (rows[PUBLIC].state, rows[PUBLIC].reason) == ("Loaded", Reason.LOADED)
    assert rows[INTERNAL].reason is Reason.INTERNAL_ERROR
    assert ending.status.phase != "Ready"


# ------------------------------------------------------------------------------------------------------- failure


@dataclass(frozen=True)
class Failing:
    """``stable``: what ran before, by entry; ``shown``: what gateways show of the new one; ``end``: what runs then."""

    reason: str
    stable: dict[str, str]
    shown: dict[str, str]
    end: dict[str, str]
    phase: str = "RolledBack"
    faults: dict[str, BaseException | str] = field(default_factory=dict)


OLD, NEW = "old", "new"
BOTH_OLD = {PUBLIC: OLD, INTERNAL: OLD}
FAILINGS = [
    Failing("one refuses it: both get the old one back", BOTH_OLD, {INTERNAL: "refuses"}, BOTH_OLD),
    Failing("one crashes: both get the old one back", BOTH_OLD, {PUBLIC: "crashes"}, BOTH_OLD),
    Failing(
        "a new entry refuses: only it is taken off", {PUBLIC: NEW}, {INTERNAL: "refuses"}, {PUBLIC: NEW}, "Removed"
    ),
    Failing("a new entry and a new revision", {PUBLIC: OLD}, {INTERNAL: "refuses"}, {PUBLIC: OLD}),
    Failing("nothing ran anywhere", {}, {PUBLIC: "refuses"}, {}, "Removed"),
]


@pytest.mark.parametrize("case", FAILINGS, ids=lambda case: case.reason)
async def test_a_failure_puts_back_what_each_entry_ran(case: Failing, shows: dict[str, str]) -> None:
    """Entry by entry: the old revision, or nothing; an entry on which the revision is stable is not touched."""
    body = two()
    plugins = {OLD: OLD_PLUGIN, NEW: body["spec"].get("plugin")}
    names = {OLD: revision_of(body, OLD_PLUGIN), NEW: revision_of(body)}
    there = [carrier(body, name, plugins[which]) for name, which in case.stable.items()]
    if case.stable:
        body = ran(body, {name: names[which] for name, which in case.stable.items()})
    if OLD in case.stable.values():
        body["status"]["rollout"]["specHash"] = "another"
        body["status"]["targetRevision"] = names[OLD]
    cluster = ScriptedAPI(body, *there, kept(body, OLD_PLUGIN))
    cluster.namespaces = consent(INTERNAL)
    shows.update(case.shown)
    ending = await settle(cluster, body)
    assert carried(cluster) == {name: names[which] for name, which in case.end.items()}
    assert ending.status.phase in (case.phase, "RollingBack")
    assert ending.status.rollout is not None
    assert ending.status.rollout.failure is not None
    assert ending.status.rollout.failure.revision == names[NEW]
    untouched = [name for name, which in case.stable.items() if which == NEW]
    assert not set(untouched) & {row.name for row in ending.status.gateways if row.revision != names[NEW]}
    assert all(cluster.written.get(carrier(body, name)["metadata"]["name"], 0) == 0 for name in untouched)
    assert not set(untouched) & set(ending.status.rollout.failure.gateways)


# ---------------------------------------------------------------------------------------- entries that come and go


async def test_an_entry_that_is_removed_takes_its_plugin_along(shows: dict[str, str]) -> None:
    """The other is neither written nor looked for anew; the removed one's row is gone."""
    before = two()
    body = ran(two(PUBLIC), {PUBLIC: revision_of(before), INTERNAL: revision_of(before)})
    cluster = ScriptedAPI(body, carrier(before, PUBLIC), carrier(before, INTERNAL))
    ending = await settle(cluster, body)
    assert [*carried(cluster)] == [PUBLIC]
    assert "APPLY wasmplugins" not in cluster.requests
    assert [row.name for row in ending.status.gateways] == [PUBLIC]
    assert ending.status.phase == "Ready"


async def test_a_removed_entry_that_cannot_be_reached_is_said(shows: dict[str, str]) -> None:
    """Its row stays, with state Removing and why; the next pass tries again."""
    before = two()
    body = ran(two(PUBLIC), {PUBLIC: revision_of(before), INTERNAL: revision_of(before)})
    cluster = ScriptedAPI(body, carrier(before, PUBLIC), carrier(before, INTERNAL), faults={"DELETE wasmplugins": BUSY})
    ending = await settle(cluster, body)
    rows = {row.name: (row.state, row.reason) for row in ending.status.gateways}
    assert rows[INTERNAL] == ("Removing", BUSY.reason)
    assert ending.look_again < 60


async def test_a_removed_entry_is_found_without_a_status(shows: dict[str, str]) -> None:
    """A status that was lost does not leave a plugin behind: its object carries the release's uid."""
    body = two(PUBLIC)
    cluster = ScriptedAPI(body, carrier(two(), INTERNAL))
    await settle(cluster, body)
    assert [*carried(cluster)] == [PUBLIC]


async def test_a_removed_entry_is_left_where_the_policy_says_so(shows: dict[str, str]) -> None:
    """deletionPolicy: Orphan is for entries as well as for the release."""
    before = two()
    body = ran(two(PUBLIC, spec__deletionPolicy="Orphan"), {PUBLIC: revision_of(before), INTERNAL: revision_of(before)})
    cluster = ScriptedAPI(body, carrier(before, PUBLIC), carrier(before, INTERNAL))
    await settle(cluster, body)
    assert "DELETE wasmplugins" not in cluster.requests
    assert "DISOWN wasmplugins" in cluster.requests
