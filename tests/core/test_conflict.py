"""Two releases of one plugin on the same pods: the younger one is told so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import conflict
from tests.harness.releases import placed, release

ROOT = "istio-system"
MESH = target.MeshSettings(istio_root_namespace=ROOT)
OTHERS_UID = "6f1c2a0e-0002-4000-8000-000000000002"
OLDER, YOUNGER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def young(**changes: Any) -> api.Release:
    return release(metadata__creationTimestamp=YOUNGER, **changes)


def old(**changes: Any) -> api.Release:
    given = {"metadata__name": "auth-too", "metadata__uid": OTHERS_UID, "metadata__creationTimestamp": OLDER}
    return release(**{**given, **changes})


REF, LABELS = "spec__artifact__image__ref", "spec__gateways__0__selector__matchLabels"
NAMESPACE, CONFIG = "spec__gateways__0__namespace", "spec__plugin__config"
MATCH = "spec__plugin__match"


def ports(*numbers: int) -> list[dict[str, Any]]:
    """``plugin.match`` for the listeners at these ports."""
    return [{"ports": [{"number": number} for number in numbers]}]


ALIKE: list[tuple[str, api.Release, api.Release]] = [
    ("the same twice", young(), old()),
    ("another tag of the repository", young(), old(**{REF: "registry.example.com/plugins/auth:2.0"})),
    ("by digest", young(), old(**{REF: "registry.example.com/plugins/auth@sha256:" + "0" * 64})),
    ("the Hub by its short name", young(**{REF: "auth:1"}), old(**{REF: "docker.io/library/auth:2"})),
    ("no configuration and an empty one", young(), old(**{CONFIG: {}})),
    ("another priority: it still runs twice", young(spec__plugin__priority=1), old(spec__plugin__priority=2)),
    ("another failStrategy", young(), old(spec__plugin__failStrategy="FAIL_OPEN")),
    ("pods may carry the labels of both", young(**{LABELS: {"app": "gw"}}), old(**{LABELS: {"tier": "edge"}})),
    ("the narrower selector", young(**{LABELS: {"app": "gw", "tier": "edge"}}), old(**{LABELS: {"app": "gw"}})),
    ("the root namespace reaches all", young(), old(**{NAMESPACE: ROOT})),
    ("from the root namespace too", young(**{NAMESPACE: ROOT}), old()),
    ("both in the root namespace", young(**{NAMESPACE: ROOT}), old(**{NAMESPACE: ROOT})),
    ("made in one second: by the uid", release(metadata__creationTimestamp=OLDER), old(metadata__uid="0")),
    ("of another namespace, for the same gateways", young(), old(metadata__namespace="team-a")),
    ("a listener of both", young(**{MATCH: ports(8080, 8443)}), old(**{MATCH: ports(8443)})),
    ("one means every listener", young(**{MATCH: ports(8080)}), old()),
    ("a reference that is none is like itself", young(**{REF: "no tag"}), old(**{REF: "no tag"})),
]

APART: list[tuple[str, api.Release, api.Release]] = [
    ("itself", young(), young()),
    ("a younger one: that one is told", young(), old(metadata__creationTimestamp="2026-01-03T00:00:00Z")),
    ("made in one second: the other gives way", release(metadata__creationTimestamp=OLDER), old()),
    ("one that is going", young(), old(metadata__deletionTimestamp=YOUNGER)),
    ("another plugin", young(), old(**{REF: "registry.example.com/plugins/other:1.2"})),
    ("another registry's", young(), old(**{REF: "mirror.example.com/plugins/auth:1.2"})),
    ("another configuration", young(**{CONFIG: {"for": "a"}}), old(**{CONFIG: {"for": "b"}})),
    ("another plugin of the module", young(spec__plugin__name="one"), old(spec__plugin__name="two")),
    ("another phase", young(spec__plugin__phase="AUTHN"), old(spec__plugin__phase="STATS")),
    ("no phase and one", young(), old(spec__plugin__phase="STATS")),
    ("no pod carries both values", young(**{LABELS: {"app": "a"}}), old(**{LABELS: {"app": "b", "tier": "edge"}})),
    ("gateways of another namespace", young(), old(**{NAMESPACE: "elsewhere"})),
    ("other listeners", young(**{MATCH: ports(8080)}), old(**{MATCH: ports(8443)})),
]


@pytest.mark.parametrize(("reason", "mine", "other"), ALIKE, ids=[row[0] for row in ALIKE])
def test_the_elder_of_two_alike_is_found(reason: str, mine: api.Release, other: api.Release) -> None:
    """One repository's plugin, run in one way, for pods that may be the same: the older release has them."""
    assert [elder for elder, _ in conflict.find_older_duplicates(placed(mine), [mine, other], MESH)] == [other], reason
    assert not list(conflict.find_older_duplicates(placed(other), [mine, other], MESH)), "the older one goes on"


@pytest.mark.parametrize(("reason", "mine", "other"), APART, ids=[row[0] for row in APART])
def test_who_is_no_rival(reason: str, mine: api.Release, other: api.Release) -> None:
    """What cannot put a plugin on a pod twice refuses nobody."""
    assert not list(conflict.find_older_duplicates(placed(mine), [mine, other], MESH)), reason


def test_the_younger_one_is_told_whose_plugin_it_is() -> None:
    """The refusal names the other release and what to do, and is looked at again soon."""
    refused = conflict.refuse_duplicate(old(metadata__namespace="team-a"))
    assert refused.reason == "DuplicatePlugin"
    assert "team-a/auth-too" in refused.message
    assert "different selectors" in refused.remedy
    assert refused.recheck == 30.0


@pytest.mark.parametrize(
    ("mine", "other", "namespace", "reason"),
    [
        ("istio-ingress", "istio-ingress", "istio-ingress", "where both are"),
        (ROOT, "istio-ingress", "istio-ingress", "where the one without reach is"),
        ("istio-ingress", ROOT, "istio-ingress", "whichever it is"),
        (ROOT, ROOT, None, "everywhere"),
    ],
)
def test_where_the_pods_of_both_would_be(mine: str, other: str, namespace: str | None, reason: str) -> None:
    """Before anybody is refused, such pods are looked for: in the narrower namespace, with the labels of both."""
    one = young(**{NAMESPACE: mine, LABELS: {"app": "gw"}})
    two = old(**{NAMESPACE: other, LABELS: {"tier": "edge"}})
    [found] = conflict.find_shared_pods(placed(one), two, MESH)
    assert found == target.Pods(namespace, {"app": "gw", "tier": "edge"}, "istio-proxy"), reason


SPECS = st.builds(
    lambda ref, labels, namespace: {REF: ref, LABELS: labels, NAMESPACE: namespace},
    st.sampled_from(["a.example.com/x:1", "a.example.com/x:2", "a.example.com/y:1"]),
    st.dictionaries(st.sampled_from("pq"), st.sampled_from("12"), min_size=1),
    st.sampled_from(["one", "two", ROOT]),
)


@given(SPECS, SPECS, st.booleans())
def test_of_two_at_most_one_gives_way(first: dict[str, Any], second: dict[str, Any], same_age: bool) -> None:
    """Two releases never refuse each other, and whether they are alike does not depend on who asks."""
    mine = young(**first)
    other = old(**second, metadata__creationTimestamp=YOUNGER if same_age else OLDER)
    refused = [
        bool(list(conflict.find_older_duplicates(placed(release_of), [mine, other], MESH)))
        for release_of in (mine, other)
    ]
    alike, and_back = (
        conflict.same_plugin(one.spec, two.spec) and bool(conflict.find_shared_pods(placed(one), two, MESH))
        for one, two in ((mine, other), (other, mine))
    )
    assert alike == and_back
    assert sum(refused) == int(alike)


def ended(**status: Any) -> api.Release:
    """The older one, after a pass that ended before a write; with these fields of its status."""
    ready = api.Condition(
        type="Ready", status="False", reason="UnknownABI", last_transition_time="2026-01-01T00:00:00Z"
    )
    return old().model_copy(update={"status": api.Status(conditions=[ready], **status)})


WRITTEN = api.ObjectStatus(api_version="v1", kind="WasmPlugin", namespace="istio-ingress", name="x")
RUNS = api.GatewayStatus(name="public", object=WRITTEN, revision="a" * 10, state="Loaded", reason="Loaded")
TAKEN_OFF = RUNS.model_copy(update={"object": None, "revision": None})
ELSEWHERE = RUNS.model_copy(update={"name": "internal"})


@pytest.mark.parametrize(
    ("other", "mine", "first", "reason"),
    [
        (ended(), young(), False, "an elder that never got there stands in nobody's way"),
        (ended(gateways=[RUNS]), young(), True, "one that runs and was refused a change does"),
        (
            young(),
            ended(gateways=[RUNS]),
            False,
            "one that runs goes on, whoever asks",
        ),
        (
            young().model_copy(update={"status": api.Status(gateways=[RUNS])}),
            old(),
            True,
            "who is on the pods already was there first, whatever the age",
        ),
        (
            ended(gateways=[TAKEN_OFF]),
            young(),
            False,
            "one that was taken off is on no pod",
        ),
        (
            ended(gateways=[RUNS]),
            young().model_copy(update={"status": api.Status(gateways=[ELSEWHERE])}),
            True,
            "a new entry of a release that runs elsewhere is not there yet",
        ),
    ],
)
def test_who_was_there_first(other: api.Release, mine: api.Release, first: bool, reason: str) -> None:
    """The pods are whose plugin is on them; among those that are not there yet, the older one's."""
    assert conflict.is_first(other, placed(mine)) is first, reason


SECOND = {"name": "internal", "namespace": "inner", "selector": {"matchLabels": {"app": "inner"}}}


def test_each_entry_is_compared_with_each_of_the_other() -> None:
    """Two releases meet on one gateway of several: the entry there is refused, the others go on."""
    here = {"name": "public", "namespace": "istio-ingress", "selector": {"matchLabels": {"app": "edge"}}}
    mine = young(spec__gateways=[here, SECOND])
    theirs = old(spec__gateways=[{**SECOND, "name": "theirs"}])
    found = [[*conflict.find_older_duplicates(placed(mine, place), [theirs], MESH)] for place in (0, 1)]
    assert found == [[], [(theirs, target.Pods("inner", {"app": "inner"}, "istio-proxy"))]]


def test_a_release_is_no_rival_of_its_own_entries() -> None:
    """An entry that is added to a running release meets the plugin of that release in the list."""
    ran: dict[str, Any] = {"name": "public", "state": "Loaded", "reason": "Loaded", "revision": "0123456789"}
    ran["object"] = {"apiVersion": "v1", "kind": "WasmPlugin", "namespace": "istio-ingress", "name": "auth-public"}
    mine = young(spec__gateways=[young().spec.gateways[0].wire(), SECOND], status={"gateways": [ran]})
    assert [*conflict.find_older_duplicates(placed(mine, 1), [mine], MESH)] == []
    assert [*conflict.find_older_duplicates(placed(mine, 0), [mine], MESH)] == []
