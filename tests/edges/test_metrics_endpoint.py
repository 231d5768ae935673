"""What Prometheus gets from the operator's own server, on either family of addresses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pluginrelease import api
from pluginrelease.controller import measuring
from pluginrelease.controller.lease_thread import LeaseThread
from pluginrelease.controller.store import Store
from pluginrelease.controller.turns import Stake, Turns
from pluginrelease.core.apiserver.health import ContactFacts, Watch
from pluginrelease.core.mesh.target import MeshSettings
from pluginrelease.edges import healthz, metrics
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.edges.metrics import Metrics
from tests.edges.real_envoy import free_port
from tests.reports import NOW, TRYING

OPEN = Watch("/api/v1/namespaces", is_kopfs=False, may_miss=False, last_open=100.0)
SHUT = Watch("/apis/pluginrelease.io/v1alpha1/pluginreleases", is_kopfs=True, may_miss=False, last_open=0.0)


async def scrape(counted: Metrics, address: str = "127.0.0.1") -> dict[tuple[str, ...], float]:
    """Name and label values → value, as Prometheus gets them over HTTP."""
    port = free_port("::1")
    page = healthz.make_page(counted.render, metrics.CONTENT_TYPE)
    host = f"[{address}]" if ":" in address else address
    async with healthz.serve(port, {"/metrics": page}), aiohttp.ClientSession() as session:
        async with session.get(f"http://{host}:{port}/metrics") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            text = await answer.text()
        async with session.get(f"http://{host}:{port}/healthz") as answer:
            assert answer.status == 404
    families = text_string_to_metric_families(text)
    return {(it.name, *it.labels.values()): it.value for family in families for it in family.samples}


def standing(facts: ContactFacts, age: float | None) -> tuple[Metrics, Turns]:
    """Metrics of an operator with this connection, and its turns."""
    counted, turns = Metrics(), Turns(1)
    lease = cast(LeaseThread, SimpleNamespace(age=lambda: age))
    facts = replace(facts, longest_pass=7.0)
    standings = measuring.Standings(Contact(), lease, turns, Store(cast(Any, None), MeshSettings()))
    counted.read_from(lambda: standings.read(facts, 100.0))
    return counted, turns


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_what_the_operator_that_acts_says_of_itself(address: str) -> None:
    """It is the leader, logged in, and tells which watch is closed and how many passes are under way."""
    counted, turns = standing(ContactFacts(started=0.0, watches=(OPEN, SHUT), answering_since=0.0), 1.5)
    async with turns.take(Stake.WRITTEN):
        found = await scrape(counted, address)
    assert found["pluginrelease_longest_pass_seconds",] == 7
    assert found["pluginrelease_leader",] == found["pluginrelease_logged_in",] == 1
    assert found["pluginrelease_lease_age_seconds",] == 1.5
    assert found["pluginrelease_ready",] == 0
    assert found["pluginrelease_watch_open", OPEN.path] == 1
    assert found["pluginrelease_watch_open", SHUT.path] == 0
    assert found["pluginrelease_passes", "Written", "UnderWay"] == 1
    assert found["pluginrelease_passes", "Nothing", "Waiting"] == 0


async def test_what_one_that_stands_by_says_of_itself() -> None:
    """It is ready and no leader, and gives out no watch, so that no alert takes it for blind."""
    facts = ContactFacts(started=0.0, watches=(SHUT,), answering_since=0.0, stands_by="b holds the Lease")
    found = await scrape(standing(facts, None)[0])
    assert (found["pluginrelease_leader",], found["pluginrelease_ready",]) == (0, 1)
    assert not [
        labels for labels in found if labels[0] in ("pluginrelease_watch_open", "pluginrelease_lease_age_seconds")
    ]


async def test_a_login_that_is_refused_shows() -> None:
    """A 401 turns pluginrelease_logged_in to 0, and readiness with it."""
    found = await scrape(standing(ContactFacts(started=0.0, watches=(), refusal="401 Unauthorized"), 1.0)[0])
    assert (found["pluginrelease_logged_in",], found["pluginrelease_ready",]) == (0, 0)


async def test_what_a_pass_came_to_is_counted() -> None:
    """The end of a rollout, its failure, a pass that was given up and one that failed."""
    counted = Metrics()
    context = cast(Any, SimpleNamespace(metrics=counted, now=lambda: datetime.now(UTC)))
    done = TRYING.model_copy(update={"completed_at": NOW})
    measuring.observe_ending(context, api.Status(rollout=TRYING), api.Status(rollout=done, phase="Ready"))
    with measuring.timed_pass(counted):
        pass
    with pytest.raises(ValueError, match="no"), measuring.timed_pass(counted):
        raise ValueError("no")
    found = await scrape(counted)
    assert found["pluginrelease_rollout_duration_seconds_count", "Loaded"] == 1
    assert found["pluginrelease_pass_duration_seconds_count", "Ended"] == 1
    assert found["pluginrelease_pass_duration_seconds_count", "Failed"] == 1
