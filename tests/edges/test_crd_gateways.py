"""Entries of ``spec.gateways`` on a real kube-apiserver: how they merge, what of them keeps its value, and that a
release with as many as there may be is within what the API server spends on rules."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pluginrelease import api
from pluginrelease.api import crd
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab
from tests.edges.crd_objects import GATEWAY, HIGRESS, RELEASE, Node, cel_messages, gateways, offer

NAMESPACE = "crd-gateways"
OTHER: Node = {"name": "internal", "namespace": "edge", "selector": {"matchLabels": {"istio": "edge"}}}
NAMED: Node = {**GATEWAY, "objectName": "auth-public"}


def here(*entries: Node, **spec: object) -> Node:
    """A release of this module's namespace with these entries."""
    found = gateways(*entries, **spec)
    found["metadata"]["namespace"] = NAMESPACE
    return found


@pytest.fixture
def stored(cluster: Lab) -> Iterator[Lab]:
    """The lab with a release of two entries in it, one of which names its object."""
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(here(NAMED, OTHER)))
    yield cluster
    cluster.kubectl("delete", api.PLURAL, "--all", "-n", NAMESPACE)


CHANGES: list[tuple[str, Node]] = [
    ("another selector is a rollout of this entry", here(NAMED, {**OTHER, "selector": {"matchLabels": {"a": "b"}}})),
    ("an entry comes", here(NAMED, OTHER, {**OTHER, "name": "third", "namespace": "third"})),
    ("an entry goes", here(NAMED)),
    ("an entry gets another name", here(NAMED, {**OTHER, "name": "inside"})),
    ("with its object's name", here({**NAMED, "name": "outside"}, OTHER)),
    ("the order is nobody's business", here(OTHER, NAMED)),
    ("consent to take over an object", here(NAMED, {**OTHER, "adopt": True})),
    ("another name, another namespace", here(NAMED, {**OTHER, "name": "inside", "namespace": "elsewhere"})),
]


@pytest.mark.parametrize(("reason", "changed"), CHANGES, ids=[row[0] for row in CHANGES])
def test_entries_may_change(stored: Lab, reason: str, changed: Node) -> None:
    """Entries come, go and get other selectors and names in a release that runs."""
    found = json.loads(offer(stored, changed, "apply"))
    names = {entry["name"] for entry in found["spec"]["gateways"]}
    assert names == {entry["name"] for entry in changed["spec"]["gateways"]}, reason


KEPT: list[tuple[str, Node, tuple[str, str]]] = [
    (
        "the plugin would stay behind in the old namespace",
        here(NAMED, {**OTHER, "namespace": "elsewhere"}),
        ("spec.gateways[].namespace", "cel"),
    ),
    (
        "the object would stay behind under its old name",
        here({**NAMED, "objectName": "another"}, OTHER),
        ("spec.gateways[].objectName", "cel"),
    ),
    (
        "an object that was named is called otherwise without",
        here(GATEWAY, OTHER),
        ("spec.gateways[]", "cel 0"),
    ),
    (
        "and one that was not, with a name",
        here(NAMED, {**OTHER, "objectName": "late"}),
        ("spec.gateways[]", "cel 0"),
    ),
    (
        "the plugin would stay behind in the other mesh",
        here(HIGRESS, provider="Higress", plugin={"priority": 1}),
        ("spec.provider", "cel"),
    ),
]


@pytest.mark.parametrize(("reason", "changed", "rule"), KEPT, ids=[row[0] for row in KEPT])
def test_what_keeps_its_value(stored: Lab, reason: str, changed: Node, rule: tuple[str, str]) -> None:
    """What says where an object is cannot change under it, and the refusal says what to do instead."""
    with pytest.raises(LabError) as refusal:
        offer(stored, changed, "apply")
    assert cel_messages()[rule] in str(refusal.value), reason


def test_entries_merge_by_name(stored: Lab) -> None:
    """Two teams may each apply an entry of their own to one release."""
    third = {**OTHER, "name": "third", "namespace": "third"}
    partial = {**here(third), "spec": {**RELEASE["spec"], "gateways": [third]}}
    stored.kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=json.dumps(partial))
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    assert {entry["name"] for entry in found["spec"]["gateways"]} == {"public", "internal", "third"}


def test_an_entry_is_stored_as_it_was_written(stored: Lab) -> None:
    """The API server adds nothing to an entry: what is in Git and what is in the cluster are the same."""
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    assert found["spec"]["gateways"] == [NAMED, OTHER]
    assert "deletionPolicy" not in found["spec"]


def defaults(node: Node, path: str) -> Iterator[str]:
    """The paths below a schema node that have a default."""
    if "default" in node:
        yield path
    for name, child in node.get("properties", {}).items():
        yield from defaults(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from defaults(node[key], f"{path}[]")


def test_no_item_of_a_gateways_list_has_a_default() -> None:
    """A GitOps tool that compares lists would see a default in an item as a difference for ever."""
    spec = crd.object_schema()["properties"]["spec"]
    found = set(defaults(spec, "spec"))
    assert [path for path in found if path.startswith(("spec.gateways", "spec.deletionPolicy"))] == []


def many(entries: int, labels: int) -> Node:
    """A release of as many entries as there may be, each with as many labels, all long."""
    selector = {f"{'l' * 50}-{number}": "v" * 63 for number in range(labels - 1)}
    return here(
        *(
            {
                "name": f"{'g' * 60}-{number}",
                "namespace": f"{'n' * 60}-{number // 2}",
                "objectName": f"{'o' * 250}-{number}"[:253].rstrip("-"),
                "selector": {"matchLabels": {**selector, "gateway": f"{number}"}},
            }
            for number in range(entries)
        )
    )


def test_the_largest_release_is_within_the_budget(cluster: Lab) -> None:
    """64 entries with 32 labels each are created and updated: rules over all pairs of entries cost little enough."""
    large = many(api.MAX_GATEWAYS, 32)
    try:
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(large))
        large["spec"]["gateways"][63]["selector"]["matchLabels"]["gateway"] = "moved"
        large["spec"]["plugin"] = {"priority": 7}
        found = json.loads(cluster.kubectl("replace", "-f", "-", "-o", "json", stdin=json.dumps(large)))
        assert len(found["spec"]["gateways"]) == api.MAX_GATEWAYS
        assert found["metadata"]["generation"] == 2
    finally:
        cluster.kubectl("delete", api.PLURAL, "--all", "-n", NAMESPACE)


def test_two_of_many_entries_that_are_alike_are_found(cluster: Lab) -> None:
    """The last pair of 64 is compared as well."""
    large = many(api.MAX_GATEWAYS, 32)
    first, last = large["spec"]["gateways"][62], large["spec"]["gateways"][63]
    last["selector"] = first["selector"]
    with pytest.raises(LabError, match="selector"):
        offer(cluster, large)
