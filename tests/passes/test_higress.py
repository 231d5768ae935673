"""The life of a release on Higress: its own kind in a real API server, the lab's translator in its controller's place,
and a real istiod, agent and Envoy behind that. What Higress's own Envoy does otherwise is not proven here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease.core import adaptation, api, higress
from pluginrelease.lab import Lab, LabError, meshes, operator
from tests.passes.world import Operator, World, conditions, observed, ready, unique

JSON = dict[str, Any]
Built = Callable[[str], Path]

NAMESPACE = meshes.HIGRESS.namespace
KIND = f"{higress.TARGET.plural}.{higress.TARGET.group}"
GATEWAY = {"provider": "Higress", "namespace": NAMESPACE}
MOCKED = "mock.example.com"
MARKED = {"name": "marked", "expect": {"bodyContains": '"hello": "world"'}}
RULE = {"domain": [MOCKED], "config": {"mockEnable": True}}


@pytest.fixture(scope="module")
def higress_operator(higress_lab: Lab) -> Iterator[Operator]:
    """An operator on the lab with Higress, to which the API server must have refused nothing."""
    operator.install(higress_lab)
    running = Operator(higress_lab, higress_lab.log("operator"))
    running.start()
    yield running
    running.stop()
    assert operator.forbidden(higress_lab) == [], "the chart's RBAC lacks something that the operator asked for"


@pytest.fixture
def world(higress_lab: Lab, higress_operator: Operator) -> Iterator[World]:
    """The lab with its operator; what the test applied is deleted when it ends, and no gateway runs it any more."""
    one = World(higress_lab, higress_operator)
    yield one
    one.clean_up()
    taken_off(one)


@pytest.fixture
def module(built: Built, tmp_path: Path) -> Path:
    """The guides' plugin, as the Envoy of the lab loads it."""
    adapted = tmp_path / "my-plugin.wasm"
    adapted.write_bytes(adaptation.adapt(built("my-plugin").read_bytes()).content)
    return adapted


def manifest(world: World, name: str, ref: str, namespace: str = NAMESPACE, **plugin: Any) -> JSON:
    """A PluginRelease for Higress's gateways."""
    whole = {"phase": "AUTHN", "priority": 300, **plugin}
    gateway = {**GATEWAY, "namespace": namespace}
    return world.manifest(name, ref, namespace=namespace, gateway=gateway, plugin=whole)


def answers(world: World, host: str = "any.example.com") -> list[str]:
    """Of each gateway: ``mocked`` by the plugin, ``marked`` by it for the upstream, or ``bare``."""
    told = []
    for pod in world.gateways(NAMESPACE):
        body = world.lab.request(pod.address, headers={"Host": host}).body.decode()
        marked = body != "hello world" and json.loads(body)["headers"].get("hello") == "world"
        told.append("mocked" if body == "hello world" else "marked" if marked else "bare")
    return told


def settled(world: World, name: str, phase: str) -> JSON:
    """The release, once it is in this phase for the newest spec."""
    return world.await_release(
        name, lambda it: observed(it) and it["status"].get("phase") == phase, namespace=NAMESPACE
    )


def plugin_of(world: World, name: str) -> JSON:
    """The WasmPlugin that was written, of Higress's kind."""
    found = world.get(KIND, NAMESPACE, name)
    assert found is not None
    return found


def taken_off(world: World) -> None:
    """Returns when no gateway runs the plugin; a listener that drains may take up to 45 s."""
    deadline = time.monotonic() + 50
    while answers(world, MOCKED) != ["bare"]:
        assert time.monotonic() < deadline, "the gateways still run the plugin"


def test_the_kind_comes_after_the_operator(world: World, module: Path, tmp_path: Path) -> None:
    """Without Higress's kind a release waits and says what to install; when it comes the plugin is written, and the
    changes of another hand are noticed at once."""
    definition = world.lab.kubectl("get", "crd", KIND, "-o", "yaml")
    world.lab.kubectl("delete", "crd", KIND, "--timeout=60s")
    name = unique("late")
    try:
        world.apply(manifest(world, name, world.push(module, tmp_path)))
        waiting = world.await_reason(name, "KindNotInstalled", namespace=NAMESPACE)
        assert "Install Higress's CRDs" in conditions(waiting)["Applied"]["message"]
    finally:
        kept = yaml.safe_load(definition)
        bare = {**kept, "metadata": {"name": kept["metadata"]["name"]}}
        bare.pop("status", None)
        world.lab.kubectl("create", "-f", "-", stdin=yaml.safe_dump(bare))
        world.lab.kubectl("wait", operator.ESTABLISHED, "--timeout=30s", f"crd/{KIND}")
    world.await_ready(name, namespace=NAMESPACE)
    before = plugin_of(world, name)["metadata"]["uid"]
    world.delete(KIND, NAMESPACE, name)
    again = next(it for it in world.watch(KIND, name, NAMESPACE, seconds=30) if it["metadata"]["uid"] != before)
    assert again["metadata"]["labels"][api.UID_LABEL] == world.release(name, NAMESPACE)["metadata"]["uid"]


def test_from_applied_to_rules_to_rolled_back_to_deleted(world: World, module: Path, tmp_path: Path) -> None:
    """The main job on Higress: a plugin for all requests, then a rule for one domain, then configurations that do not
    work, which are put back, and off again. Ready means each time that every gateway runs it."""
    name, ref = unique("my-plugin"), world.push(module, tmp_path)
    world.apply(manifest(world, name, ref, config={"mockEnable": False}))
    first = world.await_ready(name, namespace=NAMESPACE)
    assert answers(world) == ["marked"]
    assert first["status"]["target"]["apiVersion"] == "extensions.higress.io/v1alpha1"
    assert first["status"]["gateways"]["summary"] == "1/1"
    written = plugin_of(world, name)["spec"]
    assert (written["defaultConfig"], "pluginConfig" in written) == ({"mockEnable": False}, False)

    env = [{"name": "LEVEL", "value": "info"}, {"name": "WASM_INSECURE_REGISTRIES", "valueFrom": "HOST"}]
    good = manifest(world, name, ref, config={"mockEnable": False}, matchRules=[RULE], env=env)
    good["spec"]["checks"] = {"probes": [MARKED]}
    world.apply(good)
    second = world.await_ready(name, namespace=NAMESPACE)
    assert (answers(world, MOCKED), answers(world)) == (["mocked"], ["marked"])

    for plugin, reason, words in (
        ({"matchRules": [{**RULE, "config": {"mockEnable": "yes"}}]}, "PluginRejected", "mockEnable is"),
        # with a rule beside it, the SDK drops a configuration that the plugin refuses, and says nothing
        ({"config": {"mockEnable": "yes"}}, "ProbeFailed", "marked"),
    ):
        world.apply({**good, "spec": {**good["spec"], "plugin": {**good["spec"]["plugin"], **plugin}}})
        put_back = settled(world, name, "RolledBack")
        assert (ready(put_back)["status"], ready(put_back)["reason"]) == ("False", reason)
        assert words in ready(put_back)["message"]
        assert put_back["status"]["stableRevision"] == second["status"]["stableRevision"]
        assert plugin_of(world, name)["spec"]["matchRules"] == [{**RULE, "configDisable": False}]
        assert (answers(world, MOCKED), answers(world)) == (["mocked"], ["marked"])

    world.apply(manifest(world, name, ref, configDisabled=True, matchRules=[RULE]))
    world.await_ready(name, namespace=NAMESPACE)
    assert (answers(world, MOCKED), answers(world)) == (["mocked"], ["bare"])

    world.delete(api.PLURAL, NAMESPACE, name)
    assert world.get(KIND, NAMESPACE, name) is None
    taken_off(world)


def test_a_rule_for_no_request_is_refused_by_us(world: World) -> None:
    """Higress would log an error that nobody reads and go on with the plugin before; here it cannot even be applied."""
    name = unique("aimless")
    with pytest.raises(LabError, match="say which requests the rule is for, by ingress, domain or service"):
        world.apply(manifest(world, name, "registry.example.com/p:1", matchRules=[{"config": {"mockEnable": True}}]))
    world.created.clear()


def test_another_namespace_is_nobodys(world: World, module: Path, tmp_path: Path) -> None:
    """Higress reads the WasmPlugins of its own namespace only, and says nothing of others: the release does, and
    writes none."""
    namespace, name = unique("team"), unique("elsewhere")
    world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    world.apply(manifest(world, name, world.push(module, tmp_path), namespace=namespace))
    refused = world.await_reason(name, "NotHigressNamespace", namespace=namespace)
    assert "usually higress-system" in conditions(refused)["Applied"]["message"]
    assert world.get(KIND, namespace, name) is None
