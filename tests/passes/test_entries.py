"""One release for gateways in several namespaces: what becomes of each entry when entries come, go and fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pluginrelease import api
from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, is_ready, observed, ready, unique

LAB, OTHER = "lab", "other"


def entries(name: str, there: str, *names: str) -> list[JSON]:
    """spec.gateways: the lab's gateways as ``lab``, and those of the namespace ``there`` as ``other``."""
    known: dict[str, JSON] = {
        LAB: {"namespace": GATEWAY_NAMESPACE, "selector": {"matchLabels": {"istio": "ingressgateway"}}},
        OTHER: {"namespace": there, "selector": {"matchLabels": {"istio": there}}},
    }
    return [{"name": entry, "objectName": f"{name}-{entry}", **known[entry]} for entry in names or (LAB, OTHER)]


@pytest.fixture
def there(cluster: LabCluster) -> str:
    """A namespace with a gateway of its own, that consents to releases of the lab's gateways' namespace."""
    namespace = unique("other")
    gateways.deploy(cluster, namespace, replicas=1)
    consent(cluster, namespace)
    return namespace


def consent(cluster: LabCluster, namespace: str, allowed: str | None = GATEWAY_NAMESPACE) -> None:
    """Allow releases of that namespace; None: of no other."""
    change = f"{api.ALLOWED_NAMESPACES_ANNOTATION}{'-' if allowed is None else f'={allowed}'}"
    cluster.lab.kubectl("annotate", "namespace", namespace, change, "--overwrite")


def manifest(cluster: LabCluster, name: str, ref: str, there: str, *names: str, **spec: Any) -> JSON:
    """A release of these entries, by default both."""
    return cluster.manifest(name, ref, gateways=entries(name, there, *names), **spec)


def carried(cluster: LabCluster, name: str, there: str) -> dict[str, str | None]:
    """Entry → the revision that its object carries; no entry without an object."""
    found = {
        LAB: cluster.get("wasmplugin", GATEWAY_NAMESPACE, f"{name}-{LAB}"),
        OTHER: cluster.get("wasmplugin", there, f"{name}-{OTHER}"),
    }
    return {
        entry: plugin["metadata"]["annotations"].get(api.REVISION_ANNOTATION)
        for entry, plugin in found.items()
        if plugin
    }


def rows(release: JSON) -> dict[str, JSON]:
    """Entry → its row of the status."""
    return {row["name"]: row for row in release["status"].get("gateways", [])}


def has_come_to(phase: str) -> Callable[[JSON], bool]:
    return lambda release: observed(release) and release["status"].get("phase") == phase


def answer(cluster: LabCluster, namespace: str) -> set[str | None]:
    """What the gateways of a namespace put into the header of the plugin."""
    return {cluster.lab.request(pod.address, 8080).headers.get("x-plugin") for pod in cluster.gateways(namespace)}


SERVES: JSON = {"probes": [{"name": "serves", "port": 8080, "expect": {"status": 200}}]}


def test_two_gateways_in_two_namespaces(cluster: LabCluster, tmp_path: Path, there: str) -> None:
    """One release, one artifact, one object in each namespace; counts per entry, and over both."""
    name = unique("both")
    cluster.apply(manifest(cluster, name, cluster.push(wasm_modules.answering(name), tmp_path), there))
    release = cluster.await_ready(name)
    revision = release["status"]["targetRevision"]
    assert carried(cluster, name, there) == {LAB: revision, OTHER: revision}
    assert release["status"]["summary"] == {"gateways": "2/2", "pods": "3/3", "desired": 3, "loaded": 3, "failed": 0}
    assert {entry: row["stable"]["revision"] for entry, row in rows(release).items()} == {
        LAB: revision,
        OTHER: revision,
    }
    assert {(row["gateway"], row["state"]) for row in release["status"]["pods"]} == {(LAB, "Loaded"), (OTHER, "Loaded")}
    assert answer(cluster, GATEWAY_NAMESPACE) == answer(cluster, there) == {name}
    cluster.delete("prel", GATEWAY_NAMESPACE, name)
    assert carried(cluster, name, there) == {}


def test_one_of_two_refuses_it_and_both_get_the_old_one_back(cluster: LabCluster, tmp_path: Path, there: str) -> None:
    """The gateway of one namespace fails the probe with the new revision: the other one goes back with it."""
    name = unique("refuses")
    good, new = (cluster.push(wasm_modules.answering(value), tmp_path) for value in (name, f"{name}-new"))
    cluster.apply(manifest(cluster, name, good, there))
    before = cluster.await_ready(name)["status"]["targetRevision"]
    route_away(cluster, there)
    cluster.apply(manifest(cluster, name, new, there, checks=SERVES))
    back = cluster.await_release(name, has_come_to("RolledBack"), seconds=120)
    failure = back["status"]["rollout"]["failure"]
    assert (failure["reason"], failure["gateways"]) == ("ProbeFailed", [LAB, OTHER])
    assert f"gateway {OTHER}" in failure["message"]
    assert carried(cluster, name, there) == {LAB: before, OTHER: before}
    assert answer(cluster, GATEWAY_NAMESPACE) == {name}


def route_away(cluster: LabCluster, there: str) -> None:
    """Have the gateways of this namespace answer every request with a redirect."""
    found = cluster.get("virtualservice", there, "echo")
    assert found is not None
    spec = {**found["spec"], "http": [{"redirect": {"uri": "/elsewhere", "redirectCode": 302}}]}
    cluster.lab.kubectl(
        "patch", "virtualservice", "echo", "-n", there, "--type=merge", "-p", json.dumps({"spec": spec})
    )


def test_an_entry_that_is_added_and_refuses_leaves_the_other_untouched(
    cluster: LabCluster, tmp_path: Path, there: str
) -> None:
    """The running entry is neither written nor rolled back; the new one gets nothing; without it all is well again."""
    name = unique("added")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(manifest(cluster, name, ref, there, LAB))
    revision = cluster.await_ready(name)["status"]["targetRevision"]
    route_away(cluster, there)
    checks = {"checks": SERVES}
    cluster.apply(manifest(cluster, name, ref, there, **checks))
    failed = cluster.await_release(name, has_come_to("Removed"), seconds=120)
    assert failed["status"]["rollout"]["failure"]["gateways"] == [OTHER]
    assert carried(cluster, name, there) == {LAB: revision}
    assert evidence.written(cluster.lab).count((GATEWAY_NAMESPACE, f"{name}-{LAB}")) == 1
    cluster.apply(manifest(cluster, name, ref, there, LAB, **checks))
    cluster.await_ready(name)


def test_an_entry_that_is_removed_takes_its_plugin_along(cluster: LabCluster, tmp_path: Path, there: str) -> None:
    """The other is not written again, and its gateways answer through the plugin all the time."""
    name = unique("removed")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(manifest(cluster, name, ref, there))
    revision = cluster.await_ready(name)["status"]["targetRevision"]
    cluster.apply(manifest(cluster, name, ref, there, LAB))
    release = cluster.await_release(name, lambda found: is_ready(found) and [*rows(found)] == [LAB])
    assert carried(cluster, name, there) == {LAB: revision}
    assert release["status"]["summary"]["gateways"] == "1/1"
    assert evidence.written(cluster.lab).count((GATEWAY_NAMESPACE, f"{name}-{LAB}")) == 1
    assert answer(cluster, GATEWAY_NAMESPACE) == {name}


def test_consent_that_is_withdrawn_for_one_of_two(cluster: LabCluster, tmp_path: Path, there: str) -> None:
    """What runs there stays, and nothing new is written there; the other entry gets the next revision."""
    name = unique("consent")
    first, second = (cluster.push(wasm_modules.answering(f"{name}-{version}"), tmp_path) for version in (1, 2))
    cluster.apply(manifest(cluster, name, first, there))
    before = cluster.await_ready(name)["status"]["targetRevision"]
    consent(cluster, there, None)
    cluster.await_reason(name, "NamespaceNotAllowed")
    cluster.apply(manifest(cluster, name, second, there))
    release = cluster.await_release(
        name, lambda found: observed(found) and rows(found)[LAB].get("stable", {}).get("revision") not in (None, before)
    )
    after = release["status"]["targetRevision"]
    assert carried(cluster, name, there) == {LAB: after, OTHER: before}
    assert ready(release)["reason"] == "NamespaceNotAllowed"
    assert answer(cluster, there) == {f"{name}-1"}
    consent(cluster, there)
    cluster.await_ready(name)
    assert carried(cluster, name, there) == {LAB: after, OTHER: after}


def test_a_selector_that_changes_is_a_rollout_of_its_entry_alone(
    cluster: LabCluster, tmp_path: Path, there: str
) -> None:
    """No gateway of the other entry is written to."""
    name = unique("selector")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(manifest(cluster, name, ref, there))
    cluster.await_ready(name)
    changed = manifest(cluster, name, ref, there)
    changed["spec"]["gateways"][1]["selector"]["matchLabels"]["app"] = there
    cluster.apply(changed)
    release = cluster.await_release(
        name, lambda found: is_ready(found) and "app" in str(rows(found)[OTHER]["stable"].get("selector"))
    )
    assert release["status"]["rollout"].get("failure") is None
    assert evidence.written(cluster.lab).count((GATEWAY_NAMESPACE, f"{name}-{LAB}")) == 1
    assert answer(cluster, there) == {name}


def test_a_renamed_entry_keeps_its_object(cluster: LabCluster, tmp_path: Path, there: str) -> None:
    """Another name for the same object is no rollout: nothing is written but whose entry it is."""
    name = unique("renamed")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(manifest(cluster, name, ref, there))
    cluster.await_ready(name)
    uid = cluster.get("wasmplugin", there, f"{name}-{OTHER}")["metadata"]["uid"]  # type: ignore[index]
    renamed = manifest(cluster, name, ref, there)
    renamed["spec"]["gateways"][1]["name"] = "elsewhere"
    cluster.apply(renamed)
    release = cluster.await_release(name, lambda found: is_ready(found) and [*rows(found)] == [LAB, "elsewhere"])
    assert rows(release)["elsewhere"]["state"] == "Loaded"
    found = cluster.get("wasmplugin", there, f"{name}-{OTHER}")
    assert found is not None
    assert found["metadata"]["uid"] == uid
    assert answer(cluster, there) == {name}


def test_a_new_entry_and_a_new_revision_that_fail_together(cluster: LabCluster, tmp_path: Path, there: str) -> None:
    """The old entry gets its stable revision back, and the new one gets nothing."""
    name = unique("together")
    good, new = (cluster.push(wasm_modules.answering(value), tmp_path) for value in (name, f"{name}-new"))
    cluster.apply(manifest(cluster, name, good, there, LAB))
    before = cluster.await_ready(name)["status"]["targetRevision"]
    route_away(cluster, there)
    cluster.apply(manifest(cluster, name, new, there, checks=SERVES))
    back = cluster.await_release(name, has_come_to("RolledBack"), seconds=120)
    assert back["status"]["rollout"]["failure"]["gateways"] == [LAB, OTHER]
    cluster.await_release(name, lambda _: carried(cluster, name, there) == {LAB: before})
    assert answer(cluster, GATEWAY_NAMESPACE) == {name}


def test_an_entry_that_is_renamed_early_keeps_its_object(cluster: LabCluster, tmp_path: Path) -> None:
    """Nobody has seen it running, and it may run all the same: it is not deleted and made again."""
    name = unique("early")
    nobody = {"namespace": GATEWAY_NAMESPACE, "selector": {"matchLabels": {"app": name}}}
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    cluster.apply(cluster.manifest(name, ref, gateways=[{"name": "edge", **nobody}]))
    cluster.await_reason(name, "NoGatewayPods")
    uid = cluster.get("wasmplugin", GATEWAY_NAMESPACE, f"{name}-edge")["metadata"]["uid"]  # type: ignore[index]
    cluster.apply(cluster.manifest(name, ref, gateways=[{"name": "border", **nobody}]))
    cluster.await_release(name, lambda found: observed(found) and [*rows(found)] == ["border"])
    found = cluster.get("wasmplugin", GATEWAY_NAMESPACE, f"{name}-edge")
    assert found is not None
    assert (found["metadata"]["uid"], found["metadata"]["annotations"][api.GATEWAY_ANNOTATION]) == (uid, "border")
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, f"{name}-border") is None
