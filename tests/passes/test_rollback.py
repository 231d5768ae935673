"""A revision that gateways cannot run is put back to the one before, or taken off, and stays so until somebody says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pluginrelease import api
from pluginrelease.core.gateway.verdict.refusal import RefusalText
from tests import wasm_modules
from tests.harness import evidence, gateways, registries
from tests.harness.cluster import (
    GATEWAY_NAMESPACE,
    JSON,
    LabCluster,
    conditions,
    is_ready,
    observed,
    plugin,
    ready,
    unique,
)

PATIENT = {"load": {"timeout": "10m"}}
# what is watched after Ready keeps the revision before it, whatever the limit
UNWATCHED = {"watchFor": "0s"}


def phase(name: str) -> Callable[[JSON], bool]:
    """Whether the release has come to this phase, for its newest spec."""
    return lambda it: observed(it) and it["status"].get("phase") == name


def says(value: str | None) -> Callable[[int, dict[str, str], str], bool]:
    """Answered through the plugin that adds ``x-plugin: value``; None: by no plugin."""
    return lambda status, headers, _: status == 200 and headers.get("x-plugin") == value


def carried(cluster: LabCluster, name: str) -> str:
    """The revision that the WasmPlugin carries."""
    found = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert found is not None
    return str(found["metadata"]["annotations"][api.REVISION_ANNOTATION])


def annotate(cluster: LabCluster, name: str, annotation: str, value: str | None = None) -> None:
    """As a person asks for something; None: the annotation goes."""
    change = f"{annotation}-" if value is None else f"{annotation}={value}"
    cluster.lab.kubectl("annotate", "prel", name, "-n", GATEWAY_NAMESPACE, change, "--overwrite")


def states(release: JSON) -> list[tuple[str, str]]:
    """(revision, state) of the history."""
    return [(entry["revision"], entry["state"]) for entry in release["status"]["history"]]


# ------------------------------------------------------------------------------------------------------- put back


def test_a_bad_update_is_put_back_in_full(cluster: LabCluster, tmp_path: Path) -> None:
    """An image that traps at its start, with another configuration and priority, is refused by the gateways: the old
    revision is put back whole, the release says why and stays Stalled, and the next good spec goes on from there."""
    name = unique("update")
    good = cluster.push(wasm_modules.answering(name), tmp_path)
    bad = cluster.push(wasm_modules.traps_at_start(), tmp_path)
    cluster.apply(cluster.manifest(name, good, plugin=plugin(config={"a": 1}, priority=7), checks=PATIENT))
    stable = cluster.await_ready(name)["status"]["stableRevision"]
    before = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)

    cluster.apply(cluster.manifest(name, bad, plugin=plugin(config={"a": 2}, failStrategy="FAIL_OPEN"), checks=PATIENT))
    rolled_back = cluster.await_release(name, phase("RolledBack"))
    failed = rolled_back["status"]["rollout"]["failure"]["revision"]
    after = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert before is not None
    assert after is not None
    assert after["spec"] == before["spec"]
    assert (ready(rolled_back)["status"], ready(rolled_back)["reason"]) == ("False", "PluginRejected")
    assert "proxy_on_vm_start failed" in ready(rolled_back)["message"]
    assert conditions(rolled_back)["Stalled"]["status"] == "True"
    assert rolled_back["status"]["stableRevision"] == stable == carried(cluster, name)
    assert states(rolled_back) == [(failed, "Failed"), (stable, "Stable")]
    assert rolled_back["status"]["summary"]["pods"] == "2/2"
    assert all(says(name)(*answer) for answer in cluster.answers())
    told = evidence.await_events(cluster.lab, rolled_back, {"PluginRejected", "RolledBack"})
    assert told["PluginRejected"]["type"] == "Warning"

    cluster.apply(cluster.manifest(name, good, plugin=plugin(config={"a": 3}), checks=PATIENT))
    assert cluster.await_ready(name)["status"]["stableRevision"] not in (stable, failed)


def test_a_first_release_that_fails_is_taken_off(cluster: LabCluster, tmp_path: Path) -> None:
    """Where nothing ran before, a refused plugin makes gateways answer 500 to everyone: it is taken off again, and
    tried again only when somebody asks for it."""
    name = unique("first")
    ref = cluster.push(wasm_modules.answering(name, refuses_configuration=True), tmp_path)
    cluster.apply(cluster.manifest(name, ref, plugin=plugin(config={"fail": True}), checks=PATIENT))
    removed = cluster.await_release(name, phase("Removed"))
    assert ready(removed)["reason"] == "PluginRejected"
    assert RefusalText.NO_CODE_RUNS in ready(removed)["message"]
    assert conditions(removed)["Stalled"]["status"] == "True"
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None
    cluster.await_answers(says(None))
    writes = evidence.written(cluster.lab).count((GATEWAY_NAMESPACE, name))

    annotate(cluster, name, api.RETRY_ANNOTATION, "once more")
    again = cluster.await_release(
        name, lambda it: phase("Removed")(it) and it["status"].get("handled", {}).get("retry") == "once more"
    )
    assert again["status"]["rollout"]["failure"]["at"] >= removed["status"]["rollout"]["failure"]["at"]
    assert evidence.written(cluster.lab).count((GATEWAY_NAMESPACE, name)) == writes + 1
    cluster.await_answers(says(None))

    # the listener that drains still has the refused one, and refuses the update that comes with the good one for it
    cluster.apply(cluster.manifest(name, ref, checks=PATIENT))
    cluster.await_ready(name)
    cluster.await_answers(says(name))


def test_hold_leaves_everything_as_it_is(cluster: LabCluster, tmp_path: Path) -> None:
    """With onFailure: Hold the failed revision stays for a person to look at, and heals with the next spec."""
    name = unique("hold")
    ref = cluster.push(wasm_modules.answering(name, refuses_configuration=True), tmp_path)
    spec = {"checks": PATIENT, "rollout": {"onFailure": "Hold"}}
    cluster.apply(cluster.manifest(name, ref, **spec))
    cluster.await_ready(name)
    cluster.apply(cluster.manifest(name, ref, plugin=plugin(config={"fail": True}), **spec))
    held = cluster.await_release(name, phase("Held"))
    assert ready(held)["reason"] == "PluginRejected"
    assert carried(cluster, name) == held["status"]["targetRevision"] != held["status"]["stableRevision"]
    cluster.apply(cluster.manifest(name, ref, **spec))
    cluster.await_ready(name)


def test_an_old_revision_on_demand(cluster: LabCluster, tmp_path: Path) -> None:
    """`pluginrelease.io/rollback-to` runs a revision of the history in place of the spec's, until a retry.

    Meanwhile the release is Stalled, also when the annotation goes or the spec changes otherwise. The history keeps as
    many revisions as it should.
    """
    name = unique("demand")
    refs = [cluster.push(wasm_modules.answering(f"{name}-{version}"), tmp_path) for version in range(3)]
    revisions = []
    for ref in refs:
        cluster.apply(cluster.manifest(name, ref, revisionHistoryLimit=1, rollout=UNWATCHED))
        revisions.append(cluster.await_ready(name)["status"]["stableRevision"])
    first, second, third = revisions
    assert states(cluster.release(name)) == [(third, "Stable"), (second, "Superseded")]
    kept = cluster.lab.kubectl("get", "controllerrevisions", "-n", GATEWAY_NAMESPACE, "-o", "name")
    assert f"{name}-{first}" not in kept
    assert all(f"{name}-{revision_id}" in kept for revision_id in (second, third))

    annotate(cluster, name, api.ROLLBACK_ANNOTATION, f"{second}:please")
    back = cluster.await_reason(name, "RollbackTo")
    assert back["status"]["stableRevision"] == second
    assert back["status"]["handled"]["rollbackTo"] == f"{second}:please"
    assert conditions(back)["Stalled"]["reason"] == "RollbackTo"
    assert all(says(f"{name}-1")(*answer) for answer in cluster.answers())

    annotate(cluster, name, api.ROLLBACK_ANNOTATION)
    cluster.apply(cluster.manifest(name, refs[2], revisionHistoryLimit=1, checks=PATIENT, rollout=UNWATCHED))
    cluster.await_reason(name, "RollbackTo")
    assert carried(cluster, name) == second

    annotate(cluster, name, api.ROLLBACK_ANNOTATION, f"{first}:gone")
    lost = cluster.await_reason(name, "RevisionNotFound")
    assert "pluginrelease history" in ready(lost)["message"]
    assert carried(cluster, name) == second

    cluster.retry(name)
    cluster.await_release(name, lambda it: is_ready(it) and it["status"]["stableRevision"] == third)


# ------------------------------------------------------------------------------------------------ other hands


def test_another_hand_is_put_right_and_told(cluster: LabCluster, tmp_path: Path) -> None:
    """A WasmPlugin that is edited or deleted by hand is written anew, and an event says what was changed."""
    name = unique("drift")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(cluster.manifest(name, ref))
    release = cluster.await_ready(name)
    patch = '{"spec": {"phase": "STATS"}}'
    cluster.lab.kubectl("patch", "wasmplugin", name, "-n", GATEWAY_NAMESPACE, "--type=merge", "-p", patch)
    told = evidence.await_events(cluster.lab, release, {"DriftCorrected"})
    assert "spec.phase" in told["DriftCorrected"]["message"]
    evidence.until(cluster.lab, "wasmplugin", GATEWAY_NAMESPACE, name, lambda it: it["spec"]["phase"] == "AUTHN")
    cluster.await_ready(name)


def test_the_same_plugin_twice_on_one_gateway(cluster: LabCluster, tmp_path: Path) -> None:
    """Of two releases that put one plugin with one configuration on the same pods the younger one is told so, and
    goes on as soon as the elder is gone."""
    elder, younger = unique("elder"), unique("younger")
    ref = cluster.push(wasm_modules.answering(elder), tmp_path)
    cluster.apply(cluster.manifest(elder, ref))
    cluster.await_ready(elder)
    selector = {"matchLabels": {"istio": "ingressgateway", "app": "istio-ingressgateway"}}
    gateway = {"provider": "Istio", "namespace": GATEWAY_NAMESPACE, "selector": selector}
    cluster.apply(cluster.manifest(younger, ref, gateway=gateway))
    told = cluster.await_reason(younger, "DuplicatePlugin")
    assert f"{GATEWAY_NAMESPACE}/{elder}" in ready(told)["message"]
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, younger) is None

    cluster.delete("prel", GATEWAY_NAMESPACE, elder)
    annotate(cluster, younger, api.RETRY_ANNOTATION, "now")
    cluster.await_ready(younger)


# -------------------------------------------------------------------------------------------------- registries


def test_gateways_fetch_again_when_the_registry_is_back(cluster: LabCluster, registry: registries.Registry) -> None:
    """A pod that started while the registry was down answers 403 to everyone and never fetches again by itself: once
    the registry is back it is made to, and the release is Ready again without anybody's doing."""
    name = unique("nudged")
    gateways.deploy(cluster, name, replicas=2)
    ref = registry.push(wasm_modules.answering(name), name)
    gateway = {"provider": "Istio", "namespace": name, "selector": {"matchLabels": {"istio": name}}}
    cluster.apply(cluster.manifest(name, ref, namespace=name, gateway=gateway))
    cluster.await_ready(name, namespace=name)
    registry.stop()
    unlucky = cluster.gateways(name)[0]
    cluster.delete("pod", name, unlucky.name)
    failed = cluster.await_reason(name, "FetchFailed", namespace=name)
    assert failed["status"]["phase"] == "Unhealthy", "after Ready nothing is put back"

    registry.start()
    healed = cluster.await_ready(name, namespace=name)
    assert healed["status"]["checkpoint"]["gateways"][0]["refetch"]["count"] == 1
    assert [cluster.lab.request(pod.address, 8080).status for pod in cluster.gateways(name)] == [200, 200]


def test_what_cannot_be_fetched_is_not_put_back(cluster: LabCluster, registry: registries.Registry) -> None:
    """When the stable image is gone from the registry, gateways that still run it are left alone: told to load it
    anew they would answer 403 to everyone."""
    name = unique("blocked")
    gateways.deploy(cluster, name, replicas=1)
    good = registry.push(wasm_modules.answering(name), name)
    bad = registry.push(wasm_modules.traps_at_start(), f"{name}-bad")
    gateway = {"provider": "Istio", "namespace": name, "selector": {"matchLabels": {"istio": name}}}
    cluster.apply(cluster.manifest(name, good, namespace=name, gateway=gateway))
    cluster.await_ready(name, namespace=name)
    registry.forget(f"spare/{name}")
    cluster.apply(cluster.manifest(name, bad, namespace=name, gateway=gateway))
    blocked = cluster.await_release(name, phase("RollbackBlocked"), namespace=name)
    assert ready(blocked)["reason"] == "PluginRejected"
    assert "ManifestNotFound" in ready(blocked)["message"]
    assert [cluster.lab.request(pod.address, 8080).headers.get("x-plugin") for pod in cluster.gateways(name)] == [name]

    registry.push(wasm_modules.answering(name), name)
    annotate_in = ("annotate", "prel", name, "-n", name, f"{api.RETRY_ANNOTATION}=now")
    cluster.lab.kubectl(*annotate_in)
    cluster.await_release(name, phase("RolledBack"), namespace=name)


def test_what_runs_is_looked_after_while_its_successor_is_refused(cluster: LabCluster, tmp_path: Path) -> None:
    """A new image that no gateway could load is refused before it is written; a WasmPlugin that somebody deletes
    meanwhile is put back as it was, so that the gateways are not left unprotected by a typing error."""
    name = unique("successor")
    good = cluster.push(wasm_modules.answering(name), tmp_path)
    bad = cluster.push(wasm_modules.unknown_abi(), tmp_path)
    cluster.apply(cluster.manifest(name, good))
    stable = cluster.await_ready(name)["status"]["stableRevision"]
    cluster.apply(cluster.manifest(name, bad))
    cluster.await_reason(name, "UnknownABI")

    cluster.lab.kubectl("delete", "wasmplugin", name, "-n", GATEWAY_NAMESPACE)
    back = evidence.until(cluster.lab, "wasmplugin", GATEWAY_NAMESPACE, name, lambda it: True)
    assert back["metadata"]["annotations"][api.REVISION_ANNOTATION] == stable
    assert ready(cluster.release(name))["reason"] == "UnknownABI"
    cluster.await_answers(says(name))
