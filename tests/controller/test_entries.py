"""Passes over a release of two entries: what becomes of the one when something is wrong with the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import observe, preflight
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.controller.scope import Candidate, EntryScope, ReconcileScope
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused, Transient, Waiting
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import placements
from pluginrelease.core.status import settlement
from tests.controller.scripted_api import ScriptedAPI, world
from tests.harness.reasons import give_reason
from tests.harness.releases import ARTIFACT, DIGEST, UID, manifest

JSON = dict[str, Any]

PUBLIC, INTERNAL = "public", "internal"
NAMESPACES = {PUBLIC: "istio-ingress", INTERNAL: "apps"}
LABELS = {"istio": "ingressgateway"}
AT = "2026-01-01T00:00:00Z"
OLD_PLUGIN: JSON = {"config": {"old": True}}
BUSY = Transient(Reason.API_SERVER_UNAVAILABLE, "the API server answered 503")


def entries(*names: str) -> list[JSON]:
    return [{"name": name, "namespace": NAMESPACES[name], "selector": {"matchLabels": LABELS}} for name in names]


def two(*names: str, **changes: Any) -> JSON:
    """Return a release of these entries, by default both, as a person wrote it."""
    return manifest(spec__gateways=entries(*(names or (PUBLIC, INTERNAL))), **changes)


def revision_of(body: JSON, plugin: JSON | None = None) -> str:
    spec = {**body["spec"], **({"plugin": plugin} if plugin else {})}
    return revision.compute_identity(api.Spec.model_validate(spec), DIGEST)


def consent(*names: str) -> dict[str, JSON]:
    """Return the Namespaces of these entries; each allows all others."""
    annotations = {api.ALLOWED_NAMESPACES_ANNOTATION: "*"}
    return {
        NAMESPACES[name]: {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACES[name], "annotations": annotations},
        }
        for name in names
    }


def carrier(body: JSON, name: str, plugin: JSON | None = None) -> JSON:
    """Return the WasmPlugin of an entry, with the plugin of some revision."""
    changed = {**body, "spec": {**body["spec"], **({"plugin": plugin} if plugin else {})}}
    [placement] = [found for found in placements(api.Release.model_validate(changed)) if found.name == name]
    made = istio.wasm_plugin(placement, ARTIFACT, 0)
    made["metadata"]["uid"] = f"object-{name}"
    return made


def kept(body: JSON, plugin: JSON) -> JSON:
    """Return the ControllerRevision of an old plugin."""
    return revision.manifest(
        api.Release.model_validate({**body, "spec": {**body["spec"], "plugin": plugin}}), ARTIFACT, 0
    )


def ran(body: JSON, stable: dict[str, str]) -> JSON:
    """Return the release after a rollout that has run; entry → the revision that is stable there."""
    done = {"type": "", "status": "True", "reason": "Done", "message": "", "lastTransitionTime": AT}
    rows = [
        {
            "name": name,
            "state": "Loaded",
            "reason": "Loaded",
            "revision": there,
            "stable": {"revision": there, "selector": {"matchLabels": LABELS}},
            "object": {
                "apiVersion": istio.TARGET.api_version,
                "kind": "WasmPlugin",
                "namespace": NAMESPACES[name],
                "name": carrier(two(), name)["metadata"]["name"],
            },
        }
        for name, there in stable.items()
    ]
    noted = [{"name": name, "revision": there, "since": AT} for name, there in stable.items()]
    spec = api.Release.model_validate(body).spec
    status = {
        "observedGeneration": 1,
        "artifact": ARTIFACT.wire(),
        "conditions": [{**done, "type": step} for step in ("Ready", "ArtifactReady", "Compatible", "Applied")],
        "targetRevision": revision_of(body),
        "gateways": rows,
        "checkpoint": {"gateways": noted},
        "rollout": {"specHash": revision.spec_hash(spec), "startedAt": AT, "completedAt": AT},
    }
    return {**body, "status": status}


ROWS = {
    "loaded": (State.LOADED, "Loaded"),
    "refuses": (State.UNHEALTHY, "PluginRejected"),
    "crashes": (State.UNHEALTHY, "GatewayCrashed"),
    "coming": (State.PENDING, "AwaitingConfig"),
}


@pytest.fixture
def shows(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the gateways of each entry show of the revision that is not old, by default that it is loaded."""
    said: dict[str, str] = {}

    async def judge(entry: EntryScope, candidate: Candidate) -> tuple[tuple[()], Verdict]:
        is_old = candidate.release.spec.plugin.config == OLD_PLUGIN["config"]
        state, reason = ROWS["loaded" if is_old else said.get(entry.name, "loaded")]
        pod = PodRef(entry.gateway.namespace, f"pod-{entry.name}", f"uid-{entry.name}", ready=True)
        return (), Verdict(
            state, give_reason(state, reason), f"it {reason}", (PodVerdict(pod, state, give_reason(state, reason), ""),)
        )

    async def check(
        work: ReconcileScope, pending: list[EntryScope], effective: api.Release, *_: object
    ) -> dict[str, tuple[Candidate, tuple[()]]]:
        preflight.aim(pending, effective, ARTIFACT)
        return {entry.name: (Candidate(entry.place(effective), ARTIFACT), ()) for entry in pending}

    monkeypatch.setattr(observe, "judge", judge)
    monkeypatch.setattr(preflight, "check", check)
    return said


async def settle(cluster: ScriptedAPI, body: JSON) -> settlement.Ending:
    return await reconcile(world(cluster), api.Release.model_validate(body), attempt=0)


def carried(cluster: ScriptedAPI) -> dict[str, str]:
    """Return entry → the revision that its object carries."""
    return {
        found["metadata"]["annotations"][api.GATEWAY_ANNOTATION]: found["metadata"]["annotations"].get(
            api.REVISION_ANNOTATION, ""
        )
        for (kind, _, _), found in cluster.objects.items()
        if kind.plural == "wasmplugins"
    }


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

    async def refuse(work: ReconcileScope, pending: list[EntryScope], *_: object) -> None:
        preflight.aim(pending, work.release, ARTIFACT)
        work.step = api.ConditionType.COMPATIBLE
        raise Refused("MissingImports", "gateway internal: the gateway lacks a function")

    monkeypatch.setattr(preflight, "check", refuse)
    body = two()
    cluster = ScriptedAPI(body)
    cluster.namespaces = consent(INTERNAL)
    ending = await settle(cluster, body)
    assert carried(cluster) == {}
    assert (ending.status.phase, [row.object for row in ending.status.gateways]) == ("Refused", [None, None])


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


# ------------------------------------------------------------------------------------------------------ adoption

FOREIGN: JSON = {
    "apiVersion": istio.TARGET.api_version,
    "kind": "WasmPlugin",
    "metadata": {"name": "auth-public", "namespace": "istio-ingress", "uid": "theirs", "labels": {"team": "edge"}},
    "spec": {"selector": {"matchLabels": LABELS}, "url": "oci://registry.example.com/theirs:1", "phase": "AUTHN"},
}


async def test_an_adopted_object_is_put_back_as_it_was(shows: dict[str, str]) -> None:
    """Its first revision fails: the object has its own spec and labels again, and is reported as not proven."""
    body = two(PUBLIC)
    body["spec"]["gateways"][0]["adopt"] = True
    body["spec"]["plugin"] = {"phase": "AUTHN"}
    cluster = ScriptedAPI(body, FOREIGN)
    shows[PUBLIC] = "refuses"
    ending = await settle(cluster, body)
    [found] = [thing for (kind, _, _), thing in cluster.objects.items() if kind.plural == "wasmplugins"]
    assert found["spec"] == FOREIGN["spec"]
    assert found["metadata"]["labels"].items() >= {"team": "edge", api.UID_LABEL: UID}.items()
    assert api.REVISION_ANNOTATION not in found["metadata"]["annotations"]
    [row] = ending.status.gateways
    assert (ending.status.phase, row.adopted is not None, row.revision) == ("RolledBack", True, None)


async def test_an_object_that_says_more_is_not_adopted(shows: dict[str, str]) -> None:
    """A field that the release does not set would go on acting beside it: nothing is written, and nothing kept."""
    body = two(PUBLIC)
    body["spec"]["gateways"][0]["adopt"] = True
    cluster = ScriptedAPI(body, FOREIGN)
    ending = await settle(cluster, body)
    assert "APPLY wasmplugins" not in cluster.requests
    ready = next(condition for condition in ending.status.conditions if condition.type == "Ready")
    assert (ready.reason, "spec.phase" in ready.message) == ("ForeignFields", True)
    assert ending.status.gateways[0].adopted is None


async def test_an_object_that_is_not_to_be_adopted_is_not_touched(shows: dict[str, str]) -> None:
    """Without `adopt: true` it is refused, with what to do."""
    body = two(PUBLIC)
    cluster = ScriptedAPI(body, FOREIGN)
    ending = await settle(cluster, body)
    assert "APPLY wasmplugins" not in cluster.requests
    assert next(one for one in ending.status.conditions if one.type == "Ready").reason == "ObjectNotOurs"
