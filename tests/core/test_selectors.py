"""Who may select the same pods is found as if each selector were compared with every other one."""

from __future__ import annotations

import itertools
import random
import sys

import pytest

from pluginrelease.core.mesh.selectors import SelectorIndex
from pluginrelease.core.mesh.target import Pods

CONTAINER = "istio-proxy"


def where(namespace: str | None = "apps", container: str = CONTAINER, **labels: str) -> Pods:
    return Pods(namespace, labels, container)


# reason, what one selects, what another one selects, may they share a pod
CASES: list[tuple[str, Pods, Pods, bool]] = [
    ("the same labels", where(istio="a"), where(istio="a"), True),
    ("another value", where(istio="a"), where(istio="b"), False),
    ("other keys contradict nothing", where(istio="a"), where(app="b"), True),
    ("more labels", where(istio="a"), where(istio="a", app="b"), True),
    ("more labels, another value", where(istio="a"), where(istio="b", app="b"), False),
    ("another namespace", where(istio="a"), where("other", istio="a"), False),
    ("every namespace", where(None, istio="a"), where("other", istio="a"), True),
    ("another container", where(istio="a"), where(container="envoy", istio="a"), False),
    ("no labels", where(), where(istio="a"), True),
]


@pytest.mark.parametrize(("reason", "one", "other", "share"), CASES, ids=[row[0] for row in CASES])
def test_who_may_share_pods(reason: str, one: Pods, other: Pods, share: bool) -> None:
    """Two selectors share pods unless their namespaces, labels or containers contradict each other."""
    for mine, theirs in ((one, other), (other, one)):
        index = SelectorIndex()
        index.put("theirs", [theirs])
        assert (index.find(mine) == {"theirs"}) is share, reason
    assert (one.shared_with(other) is not None) is share, reason


def test_it_finds_what_a_comparison_finds() -> None:
    """Whoever comes, goes or changes: the index answers as `Pods.shared_with` does for each pair."""
    drawn, index, there = random.Random(7), SelectorIndex(), dict[str, list[Pods]]()
    namespaces, values = ("apps", "edge", None), ("a", "b", None)
    for _ in range(400):
        owner = f"release-{drawn.randrange(30)}"
        if drawn.random() < 0.25:
            index.drop(owner)
            there.pop(owner, None)
            continue
        chosen = [
            {key: value for key in ("app", "istio", "tier") if (value := drawn.choice(values)) is not None}
            for _ in range(drawn.randrange(1, 4))
        ]
        there[owner] = [Pods(drawn.choice(namespaces), labels, CONTAINER) for labels in chosen]
        index.put(owner, there[owner])
        asked = Pods(drawn.choice(namespaces), chosen[0], CONTAINER)
        expected = {name for name, wheres in there.items() if any(asked.shared_with(pods) for pods in wheres)}
        assert index.find(asked) == expected


def test_to_find_costs_what_is_found() -> None:
    """Among a thousand selectors of other values nothing is compared one by one."""
    index = SelectorIndex()
    for number in range(1000):
        index.put(f"release-{number}", [where(gateway=f"g{number}")])
    index.find(where(gateway="g0"))
    calls = itertools.count()
    sys.setprofile(lambda *_: next(calls))
    try:
        found = index.find(where(gateway="g7"))
    finally:
        sys.setprofile(None)
    assert found == {"release-7"}
    assert next(calls) < 200
