"""Passes over a release with ``configFrom``: another value, a missing Secret, and the way back without the user's."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.controller import looking
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.secrets import config_sources
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.core.status import settlement
from tests.controller.entries import BUSY, PUBLIC, settle, two
from tests.controller.scripted_api import ScriptedAPI
from tests.harness.releases import release

JSON = dict[str, Any]

NAMESPACE = "istio-ingress"
GOOD, BAD = "planted-good-value", "planted-bad-value"
SOURCE: JSON = {"kind": "Secret", "name": "token", "key": "token", "path": "/upstream/token"}
PLUGIN: JSON = {"phase": "AUTHN", "config": {"mode": "strict"}, "configFrom": [SOURCE]}


def secret(value: str | bytes, name: str = "token", kind: str = "Secret") -> JSON:
    raw = value if isinstance(value, bytes) else value.encode()
    text = base64.b64encode(raw).decode() if kind == "Secret" else raw.decode()
    metadata = {"name": name, "namespace": NAMESPACE, "uid": "users"}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"token": text}}


def put(cluster: ScriptedAPI, one: JSON) -> None:
    cluster.objects[cluster._key(one)] = {**one, "metadata": {**one["metadata"], "resourceVersion": "1"}}


def named(cluster: ScriptedAPI, kind: str) -> dict[str, JSON]:
    return {name: found for (resource, _, name), found in cluster.objects.items() if resource.plural == kind}


def token(cluster: ScriptedAPI) -> Any:
    """Return what the gateways are given."""
    [found] = named(cluster, "wasmplugins").values()
    return found["spec"]["pluginConfig"]["upstream"]["token"]


def after(body: JSON, ending: settlement.Ending) -> JSON:
    """Return the release as the API server has it after a pass."""
    return {**body, "status": ending.status.wire()}


async def ran(value: str = GOOD) -> tuple[ScriptedAPI, JSON]:
    """Return a cluster with a release that runs with this value."""
    body = two(PUBLIC, spec__plugin=PLUGIN)
    cluster = ScriptedAPI(body, secret(value))
    return cluster, after(body, await settle(cluster, body))


async def test_a_value_stands_in_the_wasm_plugin_and_in_secrets_alone(shows: dict[str, str]) -> None:
    """Neither status, Events nor revision has it; its Secret is immutable and the release's own."""
    cluster, body = await ran()
    assert (token(cluster), body["status"]["phase"]) == (GOOD, "Ready")
    elsewhere = [named(cluster, "controllerrevisions"), body]
    assert GOOD not in json.dumps(elsewhere)
    assert base64.b64encode(GOOD.encode()).decode() not in json.dumps(elsewhere)
    [kept] = [found for name, found in named(cluster, "secrets").items() if name.endswith("-config")]
    assert kept["immutable"]
    assert kept["metadata"]["name"] == f"auth-{body['status']['targetRevision']}-config"


@pytest.mark.parametrize("write", ["controllerrevisions", "wasmplugins"])
async def test_values_are_kept_before_they_are_written(write: str, shows: dict[str, str]) -> None:
    """Whatever ends the pass at a later write: a revision that is kept, or runs, has its values."""
    body = two(PUBLIC, spec__plugin=PLUGIN)
    cluster = ScriptedAPI(body, secret(GOOD), faults={f"APPLY {write}": BUSY})
    await settle(cluster, body)
    assert named(cluster, "wasmplugins") == {}
    assert [name for name in named(cluster, "secrets") if name.endswith("-config")]


async def test_nothing_is_written_while_nothing_changes(shows: dict[str, str]) -> None:
    """A second pass reads the values, finds the same, and leaves everything as it is."""
    cluster, body = await ran()
    cluster.requests.clear()
    ending = await settle(cluster, body)
    assert [write for write in cluster.writes() if not write.startswith("STATUS")] == []
    assert (ending.status.phase, ending.status.wire()["rollout"]) == ("Ready", body["status"]["rollout"])


async def test_another_value_is_another_revision(shows: dict[str, str]) -> None:
    """It is rolled out in the pass that finds it, an Event says so without it, and the old values are kept."""
    cluster, body = await ran()
    put(cluster, secret("planted-newer-value"))
    ending = await settle(cluster, body)
    assert token(cluster) == "planted-newer-value"
    assert ending.status.target_revision != body["status"]["targetRevision"]
    assert "ConfigChanged" in [event.reason for event in ending.events]
    assert "planted" not in json.dumps([ending.status.wire(), [event.message for event in ending.events]])
    assert len([name for name in named(cluster, "secrets") if name.endswith("-config")]) == 2


@pytest.fixture
def refuse_bad(shows: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateways refuse the plugin with the bad value, and load it with any other."""
    judge = looking.judge

    async def judge_value(work: PassContext, entry: EntryView, candidate: Candidate) -> Any:
        values = candidate.placement.config.values if candidate.placement.config is not None else ()
        shows[PUBLIC] = "refuses" if {"value": BAD} in (values or ()) else "loaded"
        return await judge(work, entry, candidate)

    monkeypatch.setattr(looking, "judge", judge_value)


async def test_the_way_back_needs_no_secret_of_the_user(refuse_bad: None) -> None:
    """The new value makes the gateways refuse the plugin; the old one is put back although no Secret has it now."""
    cluster, body = await ran()
    put(cluster, secret(BAD))
    ending = await settle(cluster, body)
    assert (token(cluster), ending.status.phase) == (GOOD, "RolledBack")
    cluster.objects = {key: found for key, found in cluster.objects.items() if key[-1] != "token"}
    drifted = named(cluster, "wasmplugins")["auth-public"]
    drifted["spec"]["pluginConfig"]["upstream"]["token"] = "of another hand"
    again = await settle(cluster, after(body, ending))
    assert (token(cluster), again.status.phase) == (GOOD, "RolledBack")


async def test_a_corrected_value_ends_the_rollback(refuse_bad: None) -> None:
    """As a corrected spec would: the release is not Stalled any more."""
    cluster, body = await ran()
    put(cluster, secret(BAD))
    ending = await settle(cluster, body)
    put(cluster, secret("planted-corrected-value"))
    corrected = await settle(cluster, after(body, ending))
    assert (token(cluster), corrected.status.phase) == ("planted-corrected-value", "Ready")


async def test_a_value_does_not_end_a_rollback_by_command(shows: dict[str, str]) -> None:
    """Whoever asked for an old revision keeps it, whatever the Secrets have now."""
    cluster, body = await ran()
    old = body["status"]["targetRevision"]
    put(cluster, secret("planted-newer-value"))
    body = after(body, await settle(cluster, body))
    wish = {api.ROLLBACK_ANNOTATION: old}
    body = {**body, "metadata": {**body["metadata"], "annotations": wish}}
    body = after(body, await settle(cluster, body))
    assert token(cluster) == GOOD
    put(cluster, secret("planted-newest-value"))
    await settle(cluster, body)
    assert token(cluster) == GOOD


MISSING: list[tuple[str, JSON | None, str]] = [
    ("no Secret", None, "ConfigSourceNotFound"),
    ("no key", {"other": "eA=="}, "ConfigKeyNotFound"),
    ("not UTF-8", {"token": "/w=="}, "InvalidConfigValue"),
]


@pytest.mark.parametrize(("reason", "data", "told"), MISSING, ids=[row[0] for row in MISSING])
async def test_what_runs_stays_while_a_value_is_missing(
    reason: str, data: JSON | None, told: str, shows: dict[str, str]
) -> None:
    """Nothing is written; the reason is in Ready; what was written is still watched, and kept as it was."""
    cluster, body = await ran()
    put(cluster, {**secret(GOOD), "data": data})
    if data is None:
        cluster.objects = {key: found for key, found in cluster.objects.items() if key[-1] != "token"}
    cluster.requests.clear()
    ending = await settle(cluster, body)
    ready = ending.status.condition(api.ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason, token(cluster)) == ("False", told, GOOD)
    assert "APPLY wasmplugins" not in cluster.requests
    drifted = named(cluster, "wasmplugins")["auth-public"]
    drifted["spec"]["pluginConfig"]["upstream"]["token"] = "of another hand"
    await settle(cluster, after(body, ending))
    assert token(cluster) == GOOD


async def test_a_release_that_never_ran_writes_nothing_without_its_value(shows: dict[str, str]) -> None:
    """The first revision waits for the Secret."""
    body = two(PUBLIC, spec__plugin=PLUGIN)
    cluster = ScriptedAPI(body)
    ending = await settle(cluster, body)
    ready = ending.status.condition(api.ConditionType.READY)
    assert ready is not None
    assert (ready.reason, named(cluster, "wasmplugins")) == ("ConfigSourceNotFound", {})


async def test_values_that_were_deleted_are_kept_again(shows: dict[str, str]) -> None:
    """While the revision runs its values are known, so the Secret is written again."""
    cluster, body = await ran()
    [name] = [name for name in named(cluster, "secrets") if name.endswith("-config")]
    cluster.objects = {key: found for key, found in cluster.objects.items() if key[-1] != name}
    await settle(cluster, body)
    assert name in named(cluster, "secrets")


async def test_a_secret_of_somebody_is_left_alone(shows: dict[str, str]) -> None:
    """The key's name is taken: the release says so, and changes nothing."""
    body = two(PUBLIC, spec__plugin=PLUGIN)
    theirs = secret("theirs", "auth-config-key")
    cluster = ScriptedAPI(body, secret(GOOD), theirs)
    ending = await settle(cluster, body)
    ready = ending.status.condition(api.ConditionType.READY)
    assert ready is not None
    assert (ready.reason, named(cluster, "wasmplugins")) == ("ObjectNotOurs", {})
    assert named(cluster, "secrets")["auth-config-key"]["data"] == theirs["data"]


async def test_values_go_with_their_revision(shows: dict[str, str]) -> None:
    """Beyond the history limit both are deleted, the values first."""
    body = two(PUBLIC, spec__plugin=PLUGIN, spec__revisionHistoryLimit=0, spec__rollout__watchFor="0s")
    cluster = ScriptedAPI(body, secret("value-number-0"))
    for number in range(1, 4):
        body = after(body, await settle(cluster, body))
        put(cluster, secret(f"value-number-{number}"))
    await settle(cluster, body)
    revisions = set(named(cluster, "controllerrevisions"))
    kept = {name.removesuffix("-config") for name in named(cluster, "secrets") if name.endswith("-config")}
    assert kept == revisions
    assert len(kept) < 4
    assert cluster.requests.index("DELETE secrets") < cluster.requests.index("DELETE controllerrevisions")


# ------------------------------------------------------------------------------------------------------- reading

READ: list[tuple[str, JSON, str, Any]] = [
    ("a text is whole", {"path": "/a"}, "on\n", "on\n"),
    ("JSON", {"path": "/a", "format": "YAML"}, '{"b": [1, true, null, "x"]}', {"b": [1, True, None, "x"]}),
    ("YAML", {"path": "/a", "format": "YAML"}, "b:\n- 1\n- 'on'\n", {"b": [1, "on"]}),
    ("a number", {"path": "/a", "format": "YAML"}, "42\n", 42),
    ("an object over the whole", {}, "b: 1\n", {"b": 1}),
]


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
@pytest.mark.parametrize(("reason", "fields", "text", "value"), READ, ids=[row[0] for row in READ])
async def test_a_value_is_read_as_the_item_says(
    reason: str, fields: JSON, text: str, value: Any, kind: str, shows: dict[str, str]
) -> None:
    """Secrets and ConfigMaps alike."""
    source = {key: one for key, one in SOURCE.items() if key != "path"} | {"kind": kind} | fields
    own = release(spec__plugin={"configFrom": [source]})
    found = await config_sources.read(ScriptedAPI(secret(text, kind=kind)), own, bytes(32))  # type: ignore[arg-type]
    assert found.values == ({"value": value},)


UNREADABLE: list[tuple[str, str]] = [
    ("two documents", "planted: 1\n---\nplanted: 2\n"),
    ("a key twice", "planted: 1\nplanted: 2\n"),
    ("a key twice in JSON", '{"planted": 1, "planted": 2}'),
    ("read differently by tools", "planted: on\n"),
    ("no YAML", "{planted: [\n"),
    ("not a number of JSON", "planted: .nan\n"),
    ("not an object", "planted\n"),
    ("nothing", ""),
]


@pytest.mark.parametrize(("reason", "text"), UNREADABLE, ids=[row[0] for row in UNREADABLE])
async def test_a_structure_that_is_unclear_is_refused_without_the_value(
    reason: str, text: str, shows: dict[str, str]
) -> None:
    """The message names the item, and nothing of the value."""
    source = {key: one for key, one in SOURCE.items() if key != "path"}
    own = release(spec__plugin={"configFrom": [source]})
    with pytest.raises(ReleaseError) as refused:
        await config_sources.read(ScriptedAPI(secret(text)), own, bytes(32))  # type: ignore[arg-type]
    assert (refused.value.reason, "planted" in refused.value.sentence()) == ("InvalidConfigValue", False)


async def test_what_is_optional_may_be_missing(shows: dict[str, str]) -> None:
    """A missing object and a missing key add nothing."""
    sources = [{**SOURCE, "name": name, "key": key, "optional": True} for name, key in (("no", "a"), ("token", "no"))]
    own = release(spec__plugin={"configFrom": sources})
    found = await config_sources.read(ScriptedAPI(secret(GOOD)), own, bytes(32))  # type: ignore[arg-type]
    assert found.values == ({}, {})
