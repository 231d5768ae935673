"""The life of a release on real gateways: applied, served, changed, suspended, deleted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pluginrelease import api
from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster, Operator, conditions, is_ready, observed, ready, unique

JSON = dict[str, Any]
Built = Callable[[str], Path]

GATEWAY = "deployment/istio-ingressgateway"
STAMP = b"version-stamp:0000000000000000"


def plugin_of(cluster: LabCluster, name: str) -> JSON:
    """The WasmPlugin that was written for a release."""
    found = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert found is not None
    return found


def revision_of(plugin: JSON) -> str:
    """The revision that a WasmPlugin carries."""
    return str(plugin["metadata"]["annotations"][api.REVISION_ANNOTATION])


# ------------------------------------------------------------------------------------------------- the main job


def test_from_applied_to_served_to_deleted(cluster: LabCluster, built: Built, tmp_path: Path) -> None:
    """A release becomes Ready when every gateway runs the plugin, tells what it runs, and takes it off again.

    From the moment of Ready the guide's requests are answered by the plugin on every gateway; `kubectl wait`, the
    columns and the events tell the same; the gateways' log level is what it was; after the deletion neither the
    WasmPlugin nor the plugin's answers are left.
    """
    module, name = built("header-authorization"), unique("auth")
    first, second = cluster.gateways()
    gateways.filter_level(cluster.lab, first, "error")
    before = [gateways.filter_level(cluster.lab, pod) for pod in (first, second)]
    assert [status for status, _, _ in cluster.answers()] == [200, 200]

    cluster.apply(cluster.manifest(name, cluster.push(module, tmp_path), plugin={"phase": "AUTHN"}))
    cluster.lab.kubectl(
        "wait", "--for=condition=Ready", f"prel/{name}", "-n", GATEWAY_NAMESPACE, "--timeout=200s", timeout=210
    )
    assert [(status, body) for status, _, body in cluster.answers()] == [(403, "Forbidden by ASM Wasm Plugin")] * 2
    assert [status for status, _, _ in cluster.answers(allow="true")] == [200, 200]

    release = cluster.await_ready(name)
    tells_what_runs(cluster, release, module)
    tells_it_everywhere(cluster, release)
    assert raised_once(cluster, name)
    assert [gateways.filter_level(cluster.lab, pod) for pod in (first, second)] == before

    cluster.delete("prel", GATEWAY_NAMESPACE, name)
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None
    cluster.await_answers(lambda status, _headers, _body: status == 200)


def tells_what_runs(cluster: LabCluster, release: JSON, module: Path) -> None:
    """The status against the WasmPlugin and the module's own bytes."""
    status, plugin = release["status"], plugin_of(cluster, release["metadata"]["name"])
    artifact = status["artifact"]
    image, _, digest = plugin["spec"]["url"].removeprefix("oci://").partition("@")
    assert f"{image}@{digest}" == artifact["image"]
    assert digest == artifact["digest"]
    assert digest.startswith("sha256:")
    assert artifact["wasmSha256"] == hashlib.sha256(module.read_bytes()).hexdigest()
    assert artifact["size"] == module.stat().st_size
    assert (artifact["abi"], artifact["toolchain"].split()[0]) == ("0.2.0", "Go")
    assert status["targetRevision"] == status["stableRevision"] == revision_of(plugin)
    rows = status["pods"]
    assert status["summary"]["pods"] == "2/2"
    assert {row["name"] for row in rows} == {pod.name for pod in cluster.gateways()}
    assert {(row["state"], row["revision"]) for row in rows} == {("Loaded", revision_of(plugin))}


def tells_it_everywhere(cluster: LabCluster, release: JSON) -> None:
    """Conditions by kstatus, Events with the conditions' own reasons, and kubectl's columns."""
    name, found = release["metadata"]["name"], conditions(release)
    assert {kind: one["status"] for kind, one in found.items()} == dict.fromkeys(
        ("Ready", "ArtifactReady", "Compatible", "Applied", "Loaded"), "True"
    )
    assert release["status"]["observedGeneration"] == release["metadata"]["generation"] == 1
    reasons = {found[kind]["reason"] for kind in ("Ready", "Applied")}
    events = evidence.await_events(cluster.lab, release, reasons)
    assert {event["type"] for event in events.values()} == {"Normal"}
    assert found["ArtifactReady"]["message"].removesuffix(".") in events[found["Applied"]["reason"]]["message"]
    header, row = cluster.lab.kubectl("get", "prel", name, "-n", GATEWAY_NAMESPACE, "-o", "wide").splitlines()
    columns = ["NAME", "GATEWAYS", "LOADED", "PHASE", "READY", "REASON", "REVISION", "DIGEST", "AGE"]
    assert header.split() == columns
    status = release["status"]
    expected = ["1/1", "2/2", "Ready", "True", "Loaded", status["targetRevision"], status["artifact"]["digest"]]
    assert row.split()[:-1] == [name, *expected]


def raised_once(cluster: LabCluster, name: str) -> bool:
    """Whether the loggers' raise was noted before and is noted no more."""
    return not cluster.release(name)["status"]["checkpoint"]["gateways"][0].get("raisedLoggers")


# ------------------------------------------------------------------------------------------------- changes


def test_new_config_and_new_image_are_served(cluster: LabCluster, built: Built, tmp_path: Path) -> None:
    """A changed plugin.config and a changed image are new revisions, and Ready means that every gateway serves them."""
    wasm, name = built("versioned").read_bytes(), unique("versioned")
    assert wasm.count(STAMP) == 1
    other = wasm.replace(STAMP, b"version-stamp:newer-bytes-0001")
    manifest = cluster.manifest(name, cluster.push(wasm, tmp_path), plugin={"config": {"version": "one"}})
    steps = (
        ({}, "one"),
        ({"plugin": {"config": {"version": "two"}}}, "two"),
        ({"plugin": {"phase": "AUTHN"}, "artifact": image(cluster.push(other, tmp_path))}, "newer-bytes-0001"),
    )
    revisions = set()
    for change, served in steps:
        manifest["spec"] |= change
        cluster.apply(manifest)
        release = cluster.await_ready(name, seconds=150)
        assert [headers.get("x-plugin-version") for _, headers, _ in cluster.answers()] == [served, served]
        revisions.add(release["status"]["targetRevision"])
        assert revision_of(plugin_of(cluster, name)) == release["status"]["targetRevision"]
    assert len(revisions) == len(steps)


def image(ref: str) -> JSON:
    """spec.artifact for a reference of the lab's open registry."""
    return {"image": {"ref": ref, "insecure": True}}


def test_a_field_taken_away_is_taken_away(cluster: LabCluster, tmp_path: Path) -> None:
    """What the spec no longer says is no longer on the WasmPlugin; what others added to it stays."""
    name, ref = unique("fields"), cluster.push(wasm_modules.plugin(), tmp_path)
    cluster.apply(cluster.manifest(name, ref, plugin={"phase": "AUTHZ", "priority": 7, "config": {"a": 1}}))
    cluster.await_ready(name)
    cluster.lab.kubectl("annotate", "wasmplugin", name, "-n", GATEWAY_NAMESPACE, "example.com/note=theirs")
    spec = plugin_of(cluster, name)["spec"]
    assert (spec["phase"], spec["priority"], spec["pluginConfig"]) == ("AUTHZ", 7, {"a": 1})
    cluster.apply(cluster.manifest(name, ref, plugin={}))
    cluster.await_ready(name)
    plugin = plugin_of(cluster, name)
    assert not {"phase", "priority", "pluginConfig"} & plugin["spec"].keys()
    assert plugin["metadata"]["annotations"]["example.com/note"] == "theirs"


def test_a_hand_made_change_is_undone(cluster: LabCluster, tmp_path: Path) -> None:
    """A WasmPlugin that another hand changed or deleted is put back, without fetching the image again."""
    name, ref = unique("drift"), cluster.push(wasm_modules.plugin(), tmp_path)
    cluster.apply(cluster.manifest(name, ref, plugin={"config": {"a": 1}}))
    cluster.await_ready(name)
    uid, where = plugin_of(cluster, name)["metadata"]["uid"], ("wasmplugin", name, "-n", GATEWAY_NAMESPACE)
    drift = json.dumps({"spec": {"failStrategy": "FAIL_OPEN", "pluginConfig": {"a": 2}}})
    cluster.lab.kubectl("patch", *where, "--type=merge", "-p", drift)
    evidence.until(cluster.lab, "wasmplugin", GATEWAY_NAMESPACE, name, lambda it: undrifted(it["spec"]))
    cluster.lab.kubectl("delete", *where)
    made = evidence.until(cluster.lab, "wasmplugin", GATEWAY_NAMESPACE, name, lambda it: it["metadata"]["uid"] != uid)
    assert undrifted(made["spec"])
    assert len(evidence.fetched(cluster.lab, ref)) == 1


def undrifted(spec: JSON) -> bool:
    """Whether what the release says of the WasmPlugin is what it has."""
    return bool(spec["failStrategy"] == "FAIL_CLOSE" and spec["pluginConfig"] == {"a": 1})


# ------------------------------------------------------------------------------------------------- suspend


def test_suspended_means_untouched(cluster: LabCluster, tmp_path: Path) -> None:
    """While suspend is true nothing is written. Ready stays while the spec wants what runs; another spec is Stalled, as
    nobody makes it run. Resumed, the release goes on."""
    name, ref = unique("suspended"), cluster.push(wasm_modules.plugin(), tmp_path)
    manifest = cluster.manifest(name, ref, plugin={"config": {"step": 1}})
    cluster.apply(manifest)
    cluster.await_ready(name)
    before = plugin_of(cluster, name)

    manifest["spec"] |= {"suspend": True}
    cluster.apply(manifest)
    release = cluster.await_release(name, lambda it: observed(it) and ready(it)["reason"] == "Suspended")
    assert ready(release)["status"] == "True"
    assert not {"Reconciling", "Stalled"} & conditions(release).keys()
    manifest["spec"] |= {"plugin": {"config": {"step": 2}}}
    cluster.apply(manifest)
    release = cluster.await_reason(name, "Suspended")
    assert ready(release)["status"] == "False"
    assert conditions(release)["Stalled"]["reason"] == "Suspended"
    assert plugin_of(cluster, name)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    manifest["spec"]["suspend"] = False
    cluster.apply(manifest)
    cluster.await_ready(name)
    assert plugin_of(cluster, name)["spec"]["pluginConfig"] == {"step": 2}
    assert len([write for write in evidence.written(cluster.lab) if write == (GATEWAY_NAMESPACE, name)]) == 2


# ------------------------------------------------------------------------------------------------- deletion


def test_orphan_leaves_the_plugin_to_its_owner(cluster: LabCluster, tmp_path: Path) -> None:
    """deletionPolicy Orphan, also when it was Delete before, leaves the WasmPlugin where it is and owned by nobody.

    The garbage collector is known to have dealt with the release's end when it has taken another object of its.
    """
    name, ref = unique("orphan"), cluster.push(wasm_modules.plugin(), tmp_path)
    cluster.apply(cluster.manifest(name, ref))
    cluster.await_ready(name)
    [owner] = plugin_of(cluster, name)["metadata"]["ownerReferences"]
    witness = {"apiVersion": "v1", "kind": "ConfigMap"}
    witness["metadata"] = {"name": name, "namespace": GATEWAY_NAMESPACE, "ownerReferences": [owner]}
    cluster.apply(witness)
    cluster.apply(cluster.manifest(name, ref, deletionPolicy="Orphan"))
    cluster.await_ready(name)
    uid = plugin_of(cluster, name)["metadata"]["uid"]
    cluster.created.append(("wasmplugin", GATEWAY_NAMESPACE, name))

    cluster.delete("prel", GATEWAY_NAMESPACE, name)
    cluster.lab.kubectl(
        "wait", "--for=delete", f"configmap/{name}", "-n", GATEWAY_NAMESPACE, "--timeout=60s", timeout=70
    )
    left = plugin_of(cluster, name)["metadata"]
    assert (left["uid"], "ownerReferences" in left, "deletionTimestamp" in left) == (uid, False, False)


# ------------------------------------------------------------------------------------------------- gateways that change


def test_gateways_come_and_go(cluster: LabCluster, tmp_path: Path) -> None:
    """A new gateway pod is judged before Ready holds again: one that is added, and one that replaces another."""
    name, ref = unique("scaled"), cluster.push(wasm_modules.plugin(), tmp_path)
    cluster.apply(cluster.manifest(name, ref))
    cluster.await_ready(name)
    try:
        cluster.lab.kubectl("scale", GATEWAY, "-n", GATEWAY_NAMESPACE, "--replicas=3")
        cluster.await_release(name, lambda it: shows(it, "3/3") and is_ready(it), seconds=120)
        gone = cluster.gateways()[0].name
        cluster.lab.kubectl("delete", "pod", gone, "-n", GATEWAY_NAMESPACE, "--wait=false")
        replaced = cluster.await_release(
            name, lambda it: shows(it, "3/3") and is_ready(it) and gone not in loaded(it), seconds=120
        )
        assert len(loaded(replaced)) == 3
    finally:
        cluster.lab.kubectl("scale", GATEWAY, "-n", GATEWAY_NAMESPACE, "--replicas=2")
    cluster.await_release(name, lambda it: shows(it, "2/2") and is_ready(it), seconds=120)
    cluster.lab.kubectl("rollout", "status", GATEWAY, "-n", GATEWAY_NAMESPACE, "--timeout=60s", timeout=70)


def shows(release: JSON, summary: str) -> bool:
    """Whether the column Loaded shows this."""
    return bool(release["status"].get("summary", {}).get("pods") == summary)


def loaded(release: JSON) -> set[str]:
    """Names of the pods that are told as Loaded."""
    return {row["name"] for row in release["status"]["pods"] if row["state"] == "Loaded"}


# ------------------------------------------------------------------------------------------------- a new operator


def test_a_new_operator_finds_everything_as_it_is(
    cluster: LabCluster, running_operator: Operator, tmp_path: Path
) -> None:
    """A restarted operator asks the registry nothing, writes no WasmPlugin, and Ready stays True all the time."""
    name, ref = unique("restart"), cluster.push(wasm_modules.plugin(), tmp_path)
    manifest = cluster.manifest(name, ref)
    cluster.apply(manifest)
    cluster.await_ready(name)
    asked, writes = evidence.pulled(cluster.lab, ref), evidence.written(cluster.lab)
    assert asked

    running_operator.stop()
    running_operator.start()
    manifest["spec"]["checks"] = {"load": {"timeout": "3m"}}  # no new revision: the answer to it proves a whole pass
    cluster.apply(manifest)
    turns = []
    cluster.await_release(name, lambda it: bool(turns.append(ready(it)["status"]) or observed(it)))
    assert set(turns) == {"True"}
    assert evidence.pulled(cluster.lab, ref) == asked
    assert evidence.written(cluster.lab) == writes
