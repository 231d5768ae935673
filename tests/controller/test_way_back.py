"""The way back waits for nothing: whatever else fails or hangs, the object that carries the plugin is changed first."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import cleanup, loggers
from pluginrelease.controller.actions import roll_back
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused, Transient, Waiting
from pluginrelease.core.gateway.identity import pod_mark
from pluginrelease.core.mesh import istio, target
from pluginrelease.core.mesh.placement import placements
from pluginrelease.core.rollout import decisions, plan
from tests.controller.scripted_api import HANG, ScriptedAPI, ScriptedRegistry, context
from tests.harness.releases import ARTIFACT, DIGEST, UID, manifest, release

JSON = dict[str, Any]

BUSY = Transient(Reason.API_SERVER_UNAVAILABLE, "the API server answered 429", retry_after=1.0)
CHANGED = Transient(Reason.CONFLICT, "the object changed meanwhile")
FORBIDDEN = Waiting(Reason.FORBIDDEN, "the API server does not allow this")
STABLE = revision.compute_identity(release().spec, DIGEST)
FAILED = "ffffffffff"
GATEWAY = "istio-ingress"

POD: JSON = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "gateway", "namespace": GATEWAY, "uid": "pod", "labels": {"istio": "ingressgateway"}},
    "spec": {"containers": [{"name": "istio-proxy", "image": "proxy"}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}


def failed(reason: str, *, stable: str | None = STABLE, **changes: Any) -> JSON:
    """A release whose last look decided to go back, as the API server has it."""
    body = manifest(**changes)
    spec = api.Release.model_validate(body).spec
    [gateway] = spec.gateways
    at = "2026-01-01T00:00:00Z"
    failure = {"revision": FAILED, "gateways": [gateway.name], "reason": reason, "message": "no", "at": at}
    begun = {"specHash": revision.spec_hash(spec), "startedAt": at, "failure": failure}
    raised = [{"namespace": GATEWAY, "level": "warning", "pods": [f"gateway {pod_mark('pod')}"]}]
    observation = {"name": gateway.name, "revision": FAILED, "since": at, "raisedLoggers": raised}
    row: JSON = {"name": gateway.name, "state": "Unhealthy", "reason": reason, "revision": FAILED}
    if stable is not None:
        row["stable"] = {"revision": stable, "selector": gateway.selector.wire() if gateway.selector else None}
    body["status"] = {"rollout": begun, "gateways": [row], "checkpoint": {"gateways": [observation]}}
    return body


def carrier(body: JSON, carried: str = FAILED) -> JSON:
    """The WasmPlugin with the failed revision."""
    [placement] = placements(api.Release.model_validate(body))
    made = istio.wasm_plugin(placement, ARTIFACT, 0)
    made["metadata"]["uid"] = "object"
    made["metadata"]["annotations"][api.REVISION_ANNOTATION] = carried
    return made


def carrier_key(body: JSON) -> Any:
    """Where `ScriptedAPI` has it."""
    return next(iter(ScriptedAPI(carrier(body)).objects))


def kept(body: JSON) -> JSON:
    """The ControllerRevision of the stable one."""
    return revision.manifest(api.Release.model_validate(body), ARTIFACT, 0)


# ------------------------------------------------------------------------------------------------ after a failure

EVERYTHING: dict[str, BaseException | str] = {
    "STATUS pluginreleases": BUSY,
    "GET secrets": FORBIDDEN,
    "GET namespaces": FORBIDDEN,
    "LIST pods": HANG,
    "LIST pluginreleases": BUSY,
    "FORWARD pods": HANG,
}

FALLBACKS = [
    pytest.param("GatewayCrashed", STABLE, "APPLY wasmplugins", id="a crash, and an older revision"),
    pytest.param("GatewayUnresponsive", STABLE, "APPLY wasmplugins", id="a hang, and an older revision"),
    pytest.param("GatewayCrashed", None, "DELETE wasmplugins", id="a crash, and nothing before"),
    pytest.param("PluginRejected", None, "DELETE wasmplugins", id="a refusal, and nothing before"),
]


@pytest.mark.parametrize(("reason", "stable", "write"), FALLBACKS)
async def test_the_object_comes_first(reason: str, stable: str | None, write: str) -> None:
    """With the status, Secrets, namespaces, pods and the registry out of reach, the first write changes the object."""
    body = failed(reason, stable=stable)
    cluster = ScriptedAPI(body, carrier(body), kept(body), POD, faults=EVERYTHING)
    registry = ScriptedRegistry(HANG)
    with pytest.raises((Transient, TimeoutError)):  # what hangs goes on hanging, after the write
        async with asyncio.timeout(3):
            await reconcile(context(cluster, registry), api.Release.model_validate(body), attempt=0)
    assert cluster.writes()[0] == write
    assert registry.asked == 0


SWITCHED: list[tuple[str, JSON]] = [
    ("a rollout that failed", {}),
    ("an invalid spec", {"spec__checks": {"load": {"timeout": "9999999h"}}}),
    ("a suspended release", {"spec__suspend": True}),
    ("a release without status", {"status": {}}),
]


@pytest.mark.parametrize(("reason", "changes"), SWITCHED, ids=[row[0] for row in SWITCHED])
async def test_off_takes_the_object_away_first(reason: str, changes: JSON) -> None:
    """With everything else out of reach the plugin leaves the gateways, whatever is true of the release."""
    body = failed("GatewayCrashed", metadata__annotations={api.OFF_ANNOTATION: "1: it drops requests"}, **changes)
    body |= {"status": {}} if "status" in changes else {}
    cluster = ScriptedAPI(body, carrier(body), kept(body), POD, faults=EVERYTHING)
    registry = ScriptedRegistry(HANG)
    with pytest.raises((Transient, TimeoutError)):  # what hangs goes on hanging, after the write
        async with asyncio.timeout(3):
            await reconcile(context(cluster, registry), api.Release.model_validate(body), attempt=0)
    assert cluster.writes()[0] == "DELETE wasmplugins", reason
    assert registry.asked == 0


async def test_another_hand_is_answered_in_the_same_pass() -> None:
    """Where the object changed just before the write, the same pass reads it, decides and writes again."""
    body = failed("GatewayCrashed")
    cluster = ScriptedAPI(body, carrier(body), kept(body), POD)
    apply, conflicts = cluster.apply, [CHANGED, CHANGED]

    async def apply_late(wanted: JSON, **about: Any) -> JSON:
        if wanted["kind"] == "WasmPlugin" and conflicts:
            cluster.requests.append("APPLY wasmplugins")
            raise conflicts.pop()
        return await apply(wanted, **about)

    cluster.apply = apply_late  # type: ignore[method-assign]
    await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    first = [request for request in cluster.requests if request.endswith("wasmplugins")][:6]
    assert first == ["GET wasmplugins", "APPLY wasmplugins"] * 3
    assert plan.read_revision(cluster.objects[carrier_key(body)]) == STABLE


async def test_an_invalid_spec_does_not_hold_it_up() -> None:
    """A spec that says nonsense meanwhile is no reason to leave gateways crashing."""
    body = failed("GatewayCrashed", stable=None, spec__checks={"load": {"timeout": "9999999h"}})
    cluster = ScriptedAPI(body, carrier(body), POD)
    with pytest.raises(Refused):
        plan.check_durations(api.Release.model_validate(body).spec)
    await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    assert cluster.writes()[0] == "DELETE wasmplugins"


REFUSALS = [
    ("the image is there", None, True),
    ("the image is gone", Waiting(Reason.MANIFEST_NOT_FOUND, "gone"), False),
    ("the registry hangs", HANG, False),
]


@pytest.mark.parametrize(("reason", "fault", "written"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_gateways_that_refused_keep_the_code_they_have(
    reason: str, fault: BaseException | str | None, written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They serve the old code from memory: it is put back only when its image can be fetched."""
    monkeypatch.setattr(roll_back, "FETCHABLE_DEADLINE", 0.2)
    body = failed("PluginRejected")
    cluster = ScriptedAPI(body, carrier(body), kept(body), POD)
    ending = await reconcile(context(cluster, ScriptedRegistry(fault)), api.Release.model_validate(body), attempt=0)
    assert ("APPLY wasmplugins" in cluster.requests) is written, reason
    assert (ending.status.phase == "RollbackBlocked") is not written, reason


async def test_a_decision_that_could_not_be_written_is_not_taken_again() -> None:
    """The API server refuses the status: the next pass knows the failure all the same, and writes it then."""
    body = failed("GatewayCrashed")
    cluster = ScriptedAPI(body, carrier(body), kept(body), POD, faults={"STATUS pluginreleases": BUSY})
    there = context(cluster)
    with pytest.raises(Transient):
        await reconcile(there, api.Release.model_validate(body), attempt=0)
    cluster.faults.clear()
    forgetful = api.Release.model_validate(manifest())
    ending = await reconcile(there, forgetful, attempt=1)
    assert ending.status.rollout is not None
    assert ending.status.rollout.failure is not None
    assert "STATUS pluginreleases" in cluster.requests[-1:]
    assert cluster.writes().count("APPLY wasmplugins") == 1


# ---------------------------------------------------------------------------------------------------- a deletion


DELETIONS: list[tuple[str, JSON, dict[str, BaseException | str], list[str]]] = [
    ("gateways that hang", {}, {"FORWARD pods": HANG}, ["LoggerNotRestored"]),
    ("an API server that lists nothing", {}, {"LIST pluginreleases": BUSY}, ["LoggerNotRestored"]),
    ("a pod that is not found in time", {}, {"GET pods": HANG}, ["LoggerNotRestored"]),
    (
        "a secret that may not be read",
        {"spec__gateways__0__namespace": "apps"},
        {"GET secrets": FORBIDDEN},
        ["LoggerNotRestored", "SecretNotDeleted"],
    ),
]


@pytest.mark.parametrize(("reason", "changes", "faults", "said"), DELETIONS, ids=[row[0] for row in DELETIONS])
async def test_a_deletion_takes_the_plugin_first(
    reason: str,
    changes: JSON,
    faults: dict[str, BaseException | str],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plugin goes at once, the release a little later, and an event names what was left."""
    monkeypatch.setattr(loggers, "RESTORE_SECONDS", 0.2)
    monkeypatch.setattr(cleanup, "AFTERMATH_SECONDS", 0.4)
    monkeypatch.setattr(cleanup, "AFTERMATH_PAUSE", 0.05)
    body = failed("PluginRejected", **changes)
    cluster = ScriptedAPI(body, carrier(body), POD, faults=faults)
    began = time.monotonic()
    events = await cleanup.clean_up(context(cluster), body)
    assert time.monotonic() - began < 5.0, reason
    assert cluster.writes() == ["DELETE wasmplugins"], reason
    assert cluster.requests[:2] == ["GET wasmplugins", "DELETE wasmplugins"], reason
    assert sorted(event.reason for event in events) == said, reason


async def test_a_release_that_does_not_fit_its_schema_takes_its_plugin_along() -> None:
    """After a downgrade an object may say what this version does not know: deleting it still takes the plugin off."""
    body = manifest()
    plugin = carrier(failed("PluginRejected"))
    stranger = {**plugin, "metadata": {**plugin["metadata"], "name": "other", "labels": {api.UID_LABEL: "other"}}}
    copy = target.render_pull_secret(placements(api.Release.model_validate(body))[0], "e30=")
    body["spec"]["plugin"] = {"phase": "A_PHASE_OF_TOMORROW"}
    cluster = ScriptedAPI(plugin, stranger, copy)
    assert await cleanup.clean_up(context(cluster), body) == ()
    assert sorted(cluster.writes()) == ["DELETE secrets", "DELETE wasmplugins"]
    assert [key[-1] for key in cluster.objects] == ["other"]


async def test_a_deletion_waits_for_the_plugin() -> None:
    """What could not be deleted keeps the release: nothing must run that no object speaks of."""
    body = manifest()
    cluster = ScriptedAPI(carrier(body), faults={"DELETE wasmplugins": BUSY})
    with pytest.raises(Transient):
        await cleanup.clean_up(context(cluster), body)
    assert UID in str(cluster.objects)


LEAVING: list[tuple[str, str | None, BaseException, bool]] = [
    ("Orphan, and the namespace is out of reach for good", "Orphan", FORBIDDEN, True),
    ("Orphan, and the API server is busy", "Orphan", BUSY, False),
    ("no policy", None, FORBIDDEN, False),
    ("Delete", "Delete", FORBIDDEN, False),
]


@pytest.mark.parametrize(("reason", "policy", "fault", "ends"), LEAVING, ids=[row[0] for row in LEAVING])
async def test_orphan_lets_a_release_go_that_nobody_can_clean_up(
    reason: str, policy: str | None, fault: BaseException, ends: bool
) -> None:
    """What cannot be reached does not hold the release; an event names it. Nobody else's policy leaves anything."""
    body = manifest(**({"spec__deletionPolicy": policy} if policy else {}))
    cluster = ScriptedAPI(carrier(body), faults={"GET wasmplugins": fault})
    if not ends:
        with pytest.raises(type(fault)):
            await cleanup.clean_up(context(cluster), body)
        return
    events = await cleanup.clean_up(context(cluster), body)
    assert [event.reason for event in events] == ["LeftBehind"], reason
    assert "auth-public" in events[0].message


# ------------------------------------------------------------------------------------------------------ suspended


async def test_suspended_is_said_though_no_log_level_can_be_restored() -> None:
    """Suspending a release is written to its status while the API server or the gateways refuse all else."""
    body = failed("PluginRejected", spec__suspend=True)
    cluster = ScriptedAPI(body, carrier(body), POD, faults={"LIST pluginreleases": BUSY})
    ending = await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    assert ending.status.phase == "Suspended"
    assert cluster.writes() == ["STATUS pluginreleases"]
    known = ending.status.observation("public")
    assert known is not None
    assert known.raised_loggers, "what is still raised is not forgotten"


SUSPENDED = [
    ("the revision that failed is still written", FAILED, ["APPLY wasmplugins", "STATUS pluginreleases"]),
    ("what ran before is written already", STABLE, ["STATUS pluginreleases"]),
]


@pytest.mark.parametrize(("reason", "carries", "writes"), SUSPENDED, ids=[row[0] for row in SUSPENDED])
async def test_a_suspension_comes_after_a_way_back_that_was_not_begun(
    reason: str, carries: str, writes: list[str]
) -> None:
    """Gateways do not go on crashing because somebody suspends the release; nothing else is written."""
    body = failed("GatewayCrashed", spec__suspend=True)
    body["status"]["gateways"][0]["revision"] = carries
    cluster = ScriptedAPI(body, carrier(body, carries), kept(body), POD)
    ending = await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    assert ending.status.phase == "Suspended"
    assert [write for write in cluster.writes() if write in writes] == cluster.writes(), reason
    assert cluster.writes()[0] == writes[0], reason


# -------------------------------------------------------------------------------------------------------- a detour


async def test_envoy_refuses_what_is_put_back() -> None:
    """The plugin is off while the old listeners drain, as the condition Applied says; nothing is written back yet."""
    body = failed("PluginRefusedByWorkers")
    since = times.to_microseconds(datetime.now(UTC)).isoformat()
    body["status"]["rollout"]["fallbacks"] = [{"name": "public", "detour": {"offSince": since, "wasOff": True}}]
    cluster = ScriptedAPI(body, carrier(body, STABLE), kept(body), POD)
    ending = await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    [applied] = [about for about in ending.status.conditions if about.type == "Applied"]
    assert (applied.status, applied.reason) == ("False", "RollbackRefusedByEnvoy")
    assert "DELETE wasmplugins" in cluster.writes()
    assert "APPLY wasmplugins" not in cluster.writes()


VIA = "0123456789"
DETOURS: list[tuple[str, BaseException | None, bool]] = [
    ("it is not kept any more", None, True),
    ("its image is gone", Waiting(Reason.MANIFEST_NOT_FOUND, "gone"), True),
    ("the registry does not answer now", Transient(Reason.REGISTRY_UNAVAILABLE, "no answer"), False),
]


@pytest.mark.parametrize(("reason", "fault", "ends"), DETOURS, ids=[row[0] for row in DETOURS])
async def test_a_detour_that_cannot_be_taken_ends(reason: str, fault: BaseException | None, ends: bool) -> None:
    """Other bytes that cannot be written are passed over, and what is put back stays on its way."""
    body = failed("PluginRefusedByWorkers")
    older = manifest(spec__plugin={"config": {"older": True}})
    via = revision.compute_identity(api.Release.model_validate(older).spec, DIGEST)
    detour = {"via": via if fault else VIA, "triedOthers": True}
    body["status"]["rollout"]["fallbacks"] = [{"name": "public", "detour": detour}]
    cluster = ScriptedAPI(body, carrier(body, STABLE), kept(body), kept(older), POD)
    ending = await reconcile(context(cluster, ScriptedRegistry(fault)), api.Release.model_validate(body), attempt=0)
    decided = ending.status.rollout
    assert decided is not None
    taken = decisions.detour_of(decided, "public")
    assert (taken.via is None) is ends, reason
    assert taken.tried_others, reason
