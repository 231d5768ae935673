"""Fields that become empty, applied to a real API server after they were full."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from pluginrelease import api
from pluginrelease.api import crd
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import placements
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease_lab.host import Lab
from tests.harness.releases import ARTIFACT, manifest, release

NAMESPACE = "emptied"
NAME = "auth"

Node = dict[str, Any]
STATUS: Node = crd.structural(api.Status)


def sample(schema: Node) -> Any:
    """A value that the schema takes, with every field there is."""
    match schema.get("type"):
        case "object":
            more = schema.get("additionalProperties")
            one = {"key": sample(more)} if more else {}
            return {**one, **{name: sample(child) for name, child in schema.get("properties", {}).items()}}
        case "array":
            return [sample(schema["items"])]
        case "integer":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
    if "enum" in schema:
        return schema["enum"][0]
    if "pattern" in schema:
        return next(text for text in FITTING if re.search(schema["pattern"], text))
    return "2026-01-01T00:00:00Z" if schema.get("format") == "date-time" else "one"


# lines of what is noted of pods: one fits each pattern
FITTING = ("0hIu5P5.21aq", "p 0123456", "one")


def containers(schema: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where a status has a map, an object or a list that may be left out.

    What is in a list is replaced with it, but in one by name: there the items are merged, and ``[]`` is its only item.
    """
    for name, child in schema.get("properties", {}).items():
        here = (*path, name)
        if child["type"] in ("object", "array") and name not in schema.get("required", ()):
            yield here
        if child["type"] == "object":
            yield from containers(child, here)
        if child.get("x-kubernetes-list-type") == "map":
            yield from containers(child["items"], (*here, "[]"))


def with_empty(path: tuple[str, ...], schema: Node = STATUS) -> Node:
    """The full status, and one field empty."""
    name, *rest = path
    child = schema["properties"][name]
    nothing = {} if child["type"] == "object" else []
    full: Node = sample(schema)
    if rest[:1] == ["[]"]:
        return {**full, name: [left_out(tuple(rest[1:]), child["items"])]}
    return {**full, name: with_empty(tuple(rest), child) if rest else nothing}


def left_out(path: tuple[str, ...], schema: Node) -> Node:
    """The full item of a list by name, without one field: an item has no empty maps."""
    name, *rest = path
    full: Node = sample(schema)
    if rest:
        return {**full, name: left_out(tuple(rest), schema["properties"][name])}
    return {key: value for key, value in full.items() if key != name}


def at(node: Any, path: tuple[str, ...]) -> Any:
    """The value there; None where there is none."""
    for name in path:
        node = node[0] if name == "[]" else node.get(name, {})
    return node or None


async def write_status(lab: Lab, uid: str, content: Node) -> None:
    async with await Cluster.connect(lab.kubeconfig) as connected:
        await connected.apply_raw_status({"name": NAME, "namespace": NAMESPACE, "uid": uid}, content)


@pytest.fixture(scope="module")
def stored(cluster: Lab) -> Iterator[str]:
    """The uid of a PluginRelease on the API server."""
    wanted = manifest(metadata={"name": NAME, "namespace": NAMESPACE})
    made = json.loads(cluster.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(wanted)))
    yield made["metadata"]["uid"]
    cluster.kubectl("delete", api.PLURAL, NAME, "-n", NAMESPACE)


def status(lab: Lab) -> Node:
    return cast(Node, json.loads(lab.kubectl("get", api.PLURAL, NAME, "-n", NAMESPACE, "-o", "json"))["status"])


@pytest.mark.parametrize("path", [*containers(STATUS)], ids=".".join)
def test_a_part_of_the_status_becomes_empty(cluster: Lab, stored: str, path: tuple[str, ...]) -> None:
    """The API server takes a status in which any part was full and is empty now, and that part is gone."""
    asyncio.run(write_status(cluster, stored, sample(STATUS)))
    # a new object has a condition that is nobody's, beside ours
    assert path == ("conditions",) or at(status(cluster), path) == at(sample(STATUS), path)
    asyncio.run(write_status(cluster, stored, with_empty(path)))
    assert at(status(cluster), path) is None
    others = {name: value for name, value in sample(STATUS).items() if name not in (path[0], "conditions")}
    assert {name: status(cluster)[name] for name in others} == others


FULL: Node = {
    "spec__plugin__config": {"list": ["a"], "table": {"a": {"b": 1}}},
    "spec__plugin__env": [{"name": "LEVEL", "value": "info"}],
}

EMPTIED = [
    ("configuration", {**FULL, "spec__plugin__config": {}}, "pluginConfig", None),
    ("no configuration", {**FULL, "spec__plugin__config": None}, "pluginConfig", None),
    (
        "the plugin's own table is a value",
        {**FULL, "spec__plugin__config": {"list": ["a"], "table": {}}},
        "pluginConfig",
        {"list": ["a"], "table": {}},
    ),
    (
        "one within",
        {**FULL, "spec__plugin__config": {"list": [], "table": {"a": {}}}},
        "pluginConfig",
        {"list": [], "table": {"a": {}}},
    ),
    ("environment", {**FULL, "spec__plugin__env": []}, "vmConfig", None),
]


@pytest.mark.parametrize(("reason", "changes", "field", "left"), EMPTIED, ids=[row[0] for row in EMPTIED])
def test_a_part_of_the_wasm_plugin_becomes_empty(
    cluster: Lab, reason: str, changes: Node, field: str, left: Node | None
) -> None:
    """What a user empties in spec.plugin is empty in the WasmPlugin, where an empty table within a configuration stays
    one and is never null."""
    where = {"spec__gateways__0__namespace": NAMESPACE, "metadata__namespace": NAMESPACE}
    before, after = (
        istio.wasm_plugin(placements(release(**where, **fields))[0], ARTIFACT) for fields in (FULL, changes)
    )

    async def write() -> Node:
        async with await Cluster.connect(cluster.kubeconfig) as connected:
            uid = (await connected.apply(unowned(before), uid=None))["metadata"]["uid"]
            return await connected.apply(unowned(after), uid=uid)

    try:
        assert asyncio.run(write())["spec"].get(field) == left, reason
    finally:
        cluster.kubectl("delete", "wasmplugins.extensions.istio.io", "auth-public", "-n", NAMESPACE)


def unowned(wanted: Node) -> Node:
    """Without the owner, which is on no API server: the garbage collector would take the object."""
    del wanted["metadata"]["ownerReferences"]
    return wanted
