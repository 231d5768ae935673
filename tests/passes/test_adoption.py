"""Adoption that is honest: what runs already, what another hand left there, what comes back, and a restored backup."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pluginrelease import api
from tests import wasm_modules
from tests.harness import registries
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster, conditions, is_ready, ready, unique

JSON = dict[str, Any]

QUICK = "3s"
# seconds: what a gateway has had for so long it had before a write, as its clock is known to whole seconds only
CLOCKS = 4.0


def bare(name: str, ref: str, **spec: Any) -> JSON:
    """A WasmPlugin as somebody has it by hand."""
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": GATEWAY_NAMESPACE, "labels": {"team": "edge"}},
        "spec": {"selector": {"matchLabels": {"istio": "ingressgateway"}}, "url": f"oci://{ref}", **spec},
    }


def adopting(cluster: LabCluster, name: str, ref: str, **spec: Any) -> JSON:
    """A release that takes it over."""
    manifest = cluster.manifest(name, ref, **spec)
    manifest["spec"]["gateways"][0]["adopt"] = True
    return manifest


def plugin_of(cluster: LabCluster, name: str) -> JSON:
    """The WasmPlugin, which must be there."""
    found = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert found is not None
    return found


def served_by(cluster: LabCluster, value: str) -> None:
    cluster.await_answers(lambda status, headers, _: headers.get("x-plugin") == value)


def annotate(cluster: LabCluster, name: str, annotation: str) -> None:
    cluster.lab.kubectl("annotate", "--overwrite", api.PLURAL, name, "-n", GATEWAY_NAMESPACE, annotation)


def test_what_runs_already_is_ready_at_once(cluster: LabCluster, tmp_path: Path) -> None:
    """A plugin is adopted at its own version: Envoy loads nothing, and the release is Ready as running, not proven by a
    new load. A gateway that starts afterwards proves it, and counts as any."""
    name = unique("same")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(bare(name, ref, phase="AUTHN", failStrategy="FAIL_CLOSE"))
    served_by(cluster, name)
    time.sleep(CLOCKS)
    cluster.apply(adopting(cluster, name, ref))
    release = cluster.await_ready(name, seconds=60.0)
    assert ready(release)["reason"] == "RunningNotProven"
    assert conditions(release)["Loaded"]["reason"] == "RunningNotProven"
    assert plugin_of(cluster, name)["spec"]["url"].endswith(release["status"]["artifact"]["digest"])

    first = cluster.gateways()[0]
    cluster.delete("Pod", GATEWAY_NAMESPACE, first.name)
    proved = cluster.await_release(name, lambda it: is_ready(it) and is_proved(it, first.name))
    assert {row["reason"] for row in proved["status"]["pods"]} == {"Loaded", "RunningNotProven"}


def is_proved(release: JSON, gone: str) -> bool:
    rows = release["status"]["pods"]
    return gone not in {row["name"] for row in rows} and "Loaded" in {row["reason"] for row in rows}


def test_leftovers_go_when_asked_and_come_back(cluster: LabCluster, tmp_path: Path) -> None:
    """A match and a key of the configuration would go on acting: they are named, and go in the write that brings the
    revision, when the release asks. `rollback-to: adopted` puts all of it back."""
    name = unique("leftovers")
    old, new = wasm_modules.answering(f"{name}-old"), wasm_modules.answering(f"{name}-new")
    theirs = bare(
        name,
        cluster.push(old, tmp_path),
        phase="AUTHN",
        match=[{"mode": "CLIENT"}],
        pluginConfig={"mode": "a", "debug": True},
    )
    before = cluster.apply(theirs)
    served_by(cluster, f"{name}-old")
    manifest = adopting(cluster, name, cluster.push(new, tmp_path), plugin={"phase": "AUTHN", "config": {"mode": "a"}})
    cluster.apply(manifest)
    refused = cluster.await_reason(name, "ForeignFields")
    assert "spec.match, spec.pluginConfig.debug" in ready(refused)["message"]
    assert plugin_of(cluster, name)["spec"] == before["spec"]

    annotate(cluster, name, f"{api.REMOVE_FOREIGN_FIELDS_ANNOTATION}=public")
    cluster.await_ready(name)
    found = plugin_of(cluster, name)
    assert "match" not in found["spec"]
    assert found["spec"]["pluginConfig"] == {"mode": "a"}
    assert found["metadata"]["labels"]["team"] == "edge", "what is not of the spec stays whose it is"
    assert found["metadata"]["generation"] == before["metadata"]["generation"] + 1, "the gateways saw one write"
    served_by(cluster, f"{name}-new")

    cluster.lab.kubectl(
        *("patch", "wasmplugin", name, "-n", GATEWAY_NAMESPACE, "--type=merge", "--field-manager=hand"),
        *("-p", json.dumps({"spec": {"sha256": "0" * 64}})),
    )
    cluster.await_release(name, lambda it: "sha256" not in plugin_of(cluster, name)["spec"])

    annotate(cluster, name, f"{api.ROLLBACK_ANNOTATION}=adopted:1")
    back = cluster.await_reason(name, "RollbackTo")
    assert conditions(back)["Stalled"]["reason"] == "RollbackTo"
    assert plugin_of(cluster, name)["spec"] == before["spec"]
    served_by(cluster, f"{name}-old")


def test_fields_that_another_hand_adds_are_named(cluster: LabCluster, tmp_path: Path) -> None:
    """Nobody asked for them to go: they stay, and Applied, Ready's message and an Event name them."""
    name = unique("added")
    cluster.apply(cluster.manifest(name, cluster.push(wasm_modules.answering(name), tmp_path)))
    cluster.await_ready(name)
    cluster.lab.kubectl(
        *("patch", "wasmplugin", name, "-n", GATEWAY_NAMESPACE, "--type=merge", "--field-manager=hand"),
        *("-p", '{"spec": {"match": [{"mode": "CLIENT"}]}}'),
    )
    told = cluster.await_release(name, lambda it: conditions(it)["Applied"]["reason"] == "ForeignFields")
    assert "spec.match" in conditions(told)["Applied"]["message"]
    assert "Warning: " in ready(told)["message"]
    assert plugin_of(cluster, name)["spec"]["match"] == [{"mode": "CLIENT"}]


def test_a_second_object_is_refused_and_then_adopted_or_gone(cluster: LabCluster, tmp_path: Path) -> None:
    """The same plugin by a WasmPlugin of another name: nothing is written beside it, until it goes."""
    name = unique("second")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(bare(f"{name}-old", ref, phase="AUTHN"))
    served_by(cluster, name)
    cluster.apply(cluster.manifest(name, ref))
    refused = cluster.await_reason(name, "DuplicatePlugin")
    assert f"WasmPlugin {GATEWAY_NAMESPACE}/{name}-old" in ready(refused)["message"]
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None
    cluster.delete("wasmplugin", GATEWAY_NAMESPACE, f"{name}-old")
    cluster.await_ready(name)

    cluster.apply(bare(f"{name}-again", ref, phase="STATS"))
    twice = cluster.await_release(name, lambda it: conditions(it)["Applied"]["reason"] == "DuplicatePlugin")
    assert ready(twice)["status"] == "True"


def test_a_restored_backup_is_taken_back(cluster: LabCluster, tmp_path: Path) -> None:
    """After a restore the release has another uid than its objects know: they are its own all the same, and traffic
    goes on. Nothing is refused, and the object has one owner."""
    name = unique("restored")
    cluster.apply(cluster.manifest(name, cluster.push(wasm_modules.answering(name), tmp_path)))
    before = cluster.await_ready(name)
    served_by(cluster, name)
    saved = [strip(cluster.release(name)), strip(plugin_of(cluster, name))]

    cluster.operator.stop()
    no_finalizer = '{"metadata": {"finalizers": null}}'
    where = (name, "-n", GATEWAY_NAMESPACE)
    cluster.lab.kubectl("patch", api.PLURAL, *where, "--type=merge", "-p", no_finalizer)
    cluster.lab.kubectl("delete", api.PLURAL, *where, "--cascade=orphan", "--timeout=60s", timeout=90)
    cluster.lab.kubectl("delete", "wasmplugin", *where, "--timeout=60s", timeout=90)
    for thing in saved:
        cluster.lab.kubectl("create", "-f", "-", stdin=json.dumps(thing))
    cluster.operator.start()

    release = cluster.await_ready(name, seconds=90.0)
    assert release["metadata"]["uid"] != before["metadata"]["uid"]
    found = plugin_of(cluster, name)
    assert found["metadata"]["labels"][api.UID_LABEL] == release["metadata"]["uid"]
    assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [release["metadata"]["uid"]]
    served_by(cluster, name)
    cluster.delete("prel", GATEWAY_NAMESPACE, name)
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None


def strip(thing: JSON) -> JSON:
    """An object as a backup restores it: labels, annotations and spec."""
    own = thing["metadata"]
    kept = {key: own[key] for key in ("name", "namespace", "labels", "annotations") if key in own}
    return {"apiVersion": thing["apiVersion"], "kind": thing["kind"], "metadata": kept, "spec": thing["spec"]}


def test_an_image_that_goes_is_a_warning(cluster: LabCluster, registry: registries.Registry, tmp_path: Path) -> None:
    """The registry deletes the image of a release at rest: Ready stays True and says so. When the same bytes are
    pushed again the warning goes."""
    name = unique("gone")
    module = wasm_modules.answering(name)
    cluster.operator.stop()
    cluster.operator.start("--resync", QUICK)
    try:
        cluster.apply(cluster.manifest(name, registry.push(module, name)))
        cluster.await_ready(name)
        registry.forget(f"spare/{name}")
        gone = cluster.await_release(name, lambda it: conditions(it)["ArtifactReady"]["reason"] == "ManifestGone")
        assert ready(gone)["status"] == "True"
        assert "Warning: " in ready(gone)["message"]
        assert "Stalled" not in conditions(gone)
        registry.push(module, name)
        cluster.await_release(name, lambda it: conditions(it)["ArtifactReady"]["status"] == "True")
    finally:
        cluster.operator.stop()
        cluster.operator.start()
