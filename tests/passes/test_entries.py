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
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, World, is_ready, observed, ready, unique

LAB, OTHER = "lab", "other"


def entries(name: str, there: str, *names: str) -> list[JSON]:
    """spec.gateways: the lab's gateways as ``lab``, and those of the namespace ``there`` as ``other``."""
    known: dict[str, JSON] = {
        LAB: {"namespace": GATEWAY_NAMESPACE, "selector": {"matchLabels": {"istio": "ingressgateway"}}},
        OTHER: {"namespace": there, "selector": {"matchLabels": {"istio": there}}},
    }
    return [{"name": entry, "objectName": f"{name}-{entry}", **known[entry]} for entry in names or (LAB, OTHER)]


@pytest.fixture
def there(world: World) -> str:
    """A namespace with a gateway of its own, that consents to releases of the lab's gateways' namespace."""
    namespace = unique("other")
    gateways.deploy(world, namespace, replicas=1)
    consent(world, namespace)
    return namespace


def consent(world: World, namespace: str, allowed: str | None = GATEWAY_NAMESPACE) -> None:
    """Allow releases of that namespace; None: of no other."""
    change = f"{api.ALLOWED_NAMESPACES_ANNOTATION}{'-' if allowed is None else f'={allowed}'}"
    world.lab.kubectl("annotate", "namespace", namespace, change, "--overwrite")


def manifest(world: World, name: str, ref: str, there: str, *names: str, **spec: Any) -> JSON:
    """A release of these entries, by default both."""
    return world.manifest(name, ref, gateways=entries(name, there, *names), **spec)


def carried(world: World, name: str, there: str) -> dict[str, str | None]:
    """Entry → the revision that its object carries; no entry without an object."""
    found = {
        LAB: world.get("wasmplugin", GATEWAY_NAMESPACE, f"{name}-{LAB}"),
        OTHER: world.get("wasmplugin", there, f"{name}-{OTHER}"),
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


def answer(world: World, namespace: str) -> set[str | None]:
    """What the gateways of a namespace put into the header of the plugin."""
    return {world.lab.request(pod.address, 8080).headers.get("x-plugin") for pod in world.gateways(namespace)}


SERVES: JSON = {"probes": [{"name": "serves", "port": 8080, "expect": {"status": 200}}]}


def test_two_gateways_in_two_namespaces(world: World, tmp_path: Path, there: str) -> None:
    """One release, one artifact, one object in each namespace; counts per entry, and over both."""
    name = unique("both")
    world.apply(manifest(world, name, world.push(wasm_modules.answering(name), tmp_path), there))
    release = world.await_ready(name)
    revision = release["status"]["targetRevision"]
    assert carried(world, name, there) == {LAB: revision, OTHER: revision}
    assert release["status"]["summary"] == {"gateways": "2/2", "pods": "3/3", "desired": 3, "loaded": 3, "failed": 0}
    assert {entry: row["stable"]["revision"] for entry, row in rows(release).items()} == {
        LAB: revision,
        OTHER: revision,
    }
    assert {(row["gateway"], row["state"]) for row in release["status"]["pods"]} == {(LAB, "Loaded"), (OTHER, "Loaded")}
    assert answer(world, GATEWAY_NAMESPACE) == answer(world, there) == {name}
    world.delete("prel", GATEWAY_NAMESPACE, name)
    assert carried(world, name, there) == {}


def test_one_of_two_refuses_it_and_both_get_the_old_one_back(world: World, tmp_path: Path, there: str) -> None:
    """The gateway of one namespace fails the probe with the new revision: the other one goes back with it."""
    name = unique("refuses")
    good, new = (world.push(wasm_modules.answering(value), tmp_path) for value in (name, f"{name}-new"))
    world.apply(manifest(world, name, good, there))
    before = world.await_ready(name)["status"]["targetRevision"]
    route_away(world, there)
    world.apply(manifest(world, name, new, there, checks=SERVES))
    back = world.await_release(name, has_come_to("RolledBack"), seconds=120)
    failure = back["status"]["rollout"]["failure"]
    assert (failure["reason"], failure["gateways"]) == ("ProbeFailed", [LAB, OTHER])
    assert f"gateway {OTHER}" in failure["message"]
    assert carried(world, name, there) == {LAB: before, OTHER: before}
    assert answer(world, GATEWAY_NAMESPACE) == {name}


def route_away(world: World, there: str) -> None:
    """Have the gateways of this namespace answer every request with a redirect."""
    found = world.get("virtualservice", there, "echo")
    assert found is not None
    spec = {**found["spec"], "http": [{"redirect": {"uri": "/elsewhere", "redirectCode": 302}}]}
    world.lab.kubectl("patch", "virtualservice", "echo", "-n", there, "--type=merge", "-p", json.dumps({"spec": spec}))


def test_an_entry_that_is_added_and_refuses_leaves_the_other_untouched(
    world: World, tmp_path: Path, there: str
) -> None:
    """The running entry is neither written nor rolled back; the new one gets nothing; without it all is well again."""
    name = unique("added")
    ref = world.push(wasm_modules.answering(name), tmp_path)
    world.apply(manifest(world, name, ref, there, LAB))
    revision = world.await_ready(name)["status"]["targetRevision"]
    route_away(world, there)
    checks = {"checks": SERVES}
    world.apply(manifest(world, name, ref, there, **checks))
    failed = world.await_release(name, has_come_to("Removed"), seconds=120)
    assert failed["status"]["rollout"]["failure"]["gateways"] == [OTHER]
    assert carried(world, name, there) == {LAB: revision}
    assert evidence.written(world.lab).count((GATEWAY_NAMESPACE, f"{name}-{LAB}")) == 1
    world.apply(manifest(world, name, ref, there, LAB, **checks))
    world.await_ready(name)


def test_an_entry_that_is_removed_takes_its_plugin_along(world: World, tmp_path: Path, there: str) -> None:
    """The other is not written again, and its gateways answer through the plugin all the time."""
    name = unique("removed")
    ref = world.push(wasm_modules.answering(name), tmp_path)
    world.apply(manifest(world, name, ref, there))
    revision = world.await_ready(name)["status"]["targetRevision"]
    world.apply(manifest(world, name, ref, there, LAB))
    release = world.await_release(name, lambda found: is_ready(found) and [*rows(found)] == [LAB])
    assert carried(world, name, there) == {LAB: revision}
    assert release["status"]["summary"]["gateways"] == "1/1"
    assert evidence.written(world.lab).count((GATEWAY_NAMESPACE, f"{name}-{LAB}")) == 1
    assert answer(world, GATEWAY_NAMESPACE) == {name}


def test_consent_that_is_withdrawn_for_one_of_two(world: World, tmp_path: Path, there: str) -> None:
    """What runs there stays, and nothing new is written there; the other entry gets the next revision."""
    name = unique("consent")
    first, second = (world.push(wasm_modules.answering(f"{name}-{version}"), tmp_path) for version in (1, 2))
    world.apply(manifest(world, name, first, there))
    before = world.await_ready(name)["status"]["targetRevision"]
    consent(world, there, None)
    world.await_reason(name, "NamespaceNotAllowed")
    world.apply(manifest(world, name, second, there))
    release = world.await_release(
        name, lambda found: observed(found) and rows(found)[LAB].get("stable", {}).get("revision") not in (None, before)
    )
    after = release["status"]["targetRevision"]
    assert carried(world, name, there) == {LAB: after, OTHER: before}
    assert ready(release)["reason"] == "NamespaceNotAllowed"
    assert answer(world, there) == {f"{name}-1"}
    consent(world, there)
    world.await_ready(name)
    assert carried(world, name, there) == {LAB: after, OTHER: after}


def test_a_selector_that_changes_is_a_rollout_of_its_entry_alone(world: World, tmp_path: Path, there: str) -> None:
    """No gateway of the other entry is written to."""
    name = unique("selector")
    ref = world.push(wasm_modules.answering(name), tmp_path)
    world.apply(manifest(world, name, ref, there))
    world.await_ready(name)
    changed = manifest(world, name, ref, there)
    changed["spec"]["gateways"][1]["selector"]["matchLabels"]["app"] = there
    world.apply(changed)
    release = world.await_release(
        name, lambda found: is_ready(found) and "app" in str(rows(found)[OTHER]["stable"].get("selector"))
    )
    assert release["status"]["rollout"].get("failure") is None
    assert evidence.written(world.lab).count((GATEWAY_NAMESPACE, f"{name}-{LAB}")) == 1
    assert answer(world, there) == {name}


def test_a_renamed_entry_keeps_its_object(world: World, tmp_path: Path, there: str) -> None:
    """Another name for the same object is no rollout: nothing is written but whose entry it is."""
    name = unique("renamed")
    ref = world.push(wasm_modules.answering(name), tmp_path)
    world.apply(manifest(world, name, ref, there))
    world.await_ready(name)
    uid = world.get("wasmplugin", there, f"{name}-{OTHER}")["metadata"]["uid"]  # type: ignore[index]
    renamed = manifest(world, name, ref, there)
    renamed["spec"]["gateways"][1]["name"] = "elsewhere"
    world.apply(renamed)
    release = world.await_release(name, lambda found: is_ready(found) and [*rows(found)] == [LAB, "elsewhere"])
    assert rows(release)["elsewhere"]["state"] == "Loaded"
    found = world.get("wasmplugin", there, f"{name}-{OTHER}")
    assert found is not None
    assert found["metadata"]["uid"] == uid
    assert answer(world, there) == {name}
