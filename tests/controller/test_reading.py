"""What a pass reads, it reads once, whatever the number of its entries."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import preflight
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import DirectReader
from pluginrelease.controller.steps import Each, Once, run_action
from pluginrelease.core.errors import Transient
from pluginrelease.core.rollout import facts
from pluginrelease.core.rollout.actions import RollOut
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.edges.kubernetes.resources import SECRETS
from tests.controller.rolling import crashed
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.releases import ARTIFACT, manifest

JSON = dict[str, Any]

BUSY = Transient(Reason.API_SERVER_UNAVAILABLE, "the API server answered 503")
SECRET: JSON = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "apps", "name": "pull", "uid": "1"}}
MANY = 20
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def reader_of(cluster: ScriptedAPI) -> DirectReader:
    return DirectReader(cast(Any, cluster))


async def test_who_asks_at_once_gets_one_answer() -> None:
    """However many steps want the same object, the API server is asked for it once."""
    cluster = ScriptedAPI(SECRET)
    reader = reader_of(cluster)
    found = await asyncio.gather(*(reader.get(SECRETS, "apps", "pull") for _ in range(5)))
    assert found == [SECRET] * 5
    assert await reader.get(SECRETS, "apps", "pull") == SECRET
    assert cluster.requests == ["GET secrets"]


async def test_an_error_is_not_remembered() -> None:
    """Whoever asks again after an API server that was busy gets the object."""
    cluster = ScriptedAPI(SECRET, faults={"GET secrets": BUSY})
    reader = reader_of(cluster)
    with pytest.raises(Transient):
        await reader.get(SECRETS, "apps", "pull")
    cluster.faults.clear()
    await asyncio.sleep(0)
    assert await reader.get(SECRETS, "apps", "pull") == SECRET


async def test_what_was_written_is_read_as_it_was_answered() -> None:
    """A pass does not read what was before its own write, and what it deleted is asked for again."""
    cluster = ScriptedAPI(SECRET)
    reader = reader_of(cluster)
    await reader.get(SECRETS, "apps", "pull")
    changed = {**SECRET, "data": {"key": "value"}}
    reader.took(changed)
    assert await reader.get(SECRETS, "apps", "pull") == changed
    reader.lost(changed)
    cluster.objects.clear()
    assert await reader.get(SECRETS, "apps", "pull") is None


async def test_who_stops_waiting_takes_the_answer_from_nobody() -> None:
    """A deadline of one step ends the wait of that step alone."""
    cluster, go = ScriptedAPI(SECRET), asyncio.Event()
    answer = cluster.get

    async def answer_late(*asked: Any) -> JSON | None:
        await go.wait()
        return await answer(*asked)

    cluster.get = answer_late  # type: ignore[method-assign]
    reader = reader_of(cluster)
    patient = asyncio.ensure_future(reader.get(SECRETS, "apps", "pull"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.get(SECRETS, "apps", "pull"), 0.01)
    go.set()
    assert await patient == SECRET
    assert cluster.requests == ["GET secrets"]


async def test_many_entries_cost_no_more_lists_than_there_are_entries() -> None:
    """All releases are listed once a pass, and each entry's pods once, not once for each pair of entries."""
    labels = [{"matchLabels": {"istio": "ingressgateway", f"edge-{number}": "yes"}} for number in range(MANY)]
    gateways = [
        {"name": f"edge-{number}", "namespace": "istio-ingress", "selector": selector}
        for number, selector in enumerate(labels)
    ]
    body = manifest(spec__gateways=gateways)
    cluster = ScriptedAPI(body, crashed())
    there = context(cluster)
    known = facts.begin(api.Release.model_validate(body), NOW)
    for entry in known.entries:
        known = known.with_entry(replace(entry, aimed=Candidate(known.view(entry.name).placement(), ARTIFACT)))
    steps = (
        Each(ConditionType.APPLIED, preflight.check_own_entries),
        Once(ConditionType.APPLIED, preflight.check_rivals),
    )
    names = tuple(entry.name for entry in known.entries)
    done = await run_action(PassContext(there, reader_of(cluster)), known, RollOut(names), steps)
    assert [entry.has_failed for entry in done.entries] == [False] * MANY
    assert cluster.requests.count("LIST pluginreleases") == 1
    assert cluster.requests.count("LIST pods") <= MANY
