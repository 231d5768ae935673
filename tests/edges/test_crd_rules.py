"""The rules of the CRD on a real kube-apiserver: what each takes, what it refuses, and with which words."""

from __future__ import annotations

import pytest

from pluginrelease.api import crd
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab
from tests.edges import crd_objects
from tests.edges.crd_objects import CEL, CrdRule, constraints, offer, release
from tests.edges.crd_rules import MORE_REFUSED, RULES

NAMESPACE = crd_objects.NAMESPACE
# rules about a change: `test_crd_gateways` tries them on a stored object
TRANSITIONS = {
    ("spec.provider", "cel"),
    ("spec.gateways[]", "cel 0"),
    ("spec.gateways[].namespace", "cel"),
    ("spec.gateways[].objectName", "cel"),
}
MESSAGES = crd_objects.cel_messages()


def test_every_rule_of_the_spec_is_tried() -> None:
    """The table has a row for each constraint that the CRD puts on what people write, and no other row."""
    schema = crd.object_schema()
    [name_rule] = schema[CEL]
    assert "metadata.name" in name_rule["rule"]
    expected = {("metadata.name", "cel"), ("spec", "required")} | set(constraints(schema["properties"]["spec"], "spec"))
    assert expected == {(rule.path, rule.keyword) for rule in RULES} | TRANSITIONS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.path}-{rule.keyword}")
def test_a_rule_accepts_and_refuses(cluster: Lab, rule: CrdRule) -> None:
    """Each rule lets its edge value through, and refuses the value beyond it with words that help."""
    path = rule.path.removesuffix("{}")
    offer(cluster, release(path, rule.accepted))
    with pytest.raises(LabError) as refusal:
        offer(cluster, release(path, rule.refused), "create", "--validate=ignore")
    assert (rule.words or MESSAGES[rule.path, rule.keyword]) in str(refusal.value)


@pytest.mark.parametrize(("path", "value", "words"), MORE_REFUSED, ids=lambda it: str(it)[:40])
def test_more_is_refused(cluster: Lab, path: str, value: object, words: str) -> None:
    """The same rules see the other ways to break them."""
    with pytest.raises(LabError) as refusal:
        offer(cluster, release(path, value), "create", "--validate=ignore")
    assert MESSAGES.get((path, words), words) in str(refusal.value)


EXAMPLES = [(path, value) for path, value in crd.find_examples(crd.object_schema()["properties"]["spec"], "spec")]


@pytest.mark.parametrize(("path", "value"), EXAMPLES, ids=[path for path, _ in EXAMPLES])
def test_the_example_of_a_field_is_accepted(cluster: Lab, path: str, value: object) -> None:
    """What `kubectl explain` gives as an example, the API server takes."""
    offer(cluster, release(path, value))
