"""Entries that come, go and get other names: names of objects, what is carried over, and what is taken away."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import decisions, placements, plan
from tests.harness.releases import ARTIFACT, JSON, abroad, placed, placement, release

KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
EDGE = {"matchLabels": {"app": "edge"}}
INNER = {"matchLabels": {"app": "inner"}}
SINCE = "2026-01-01T12:00:00Z"


def gateway(name: str, selector: JSON | None = None, **fields: Any) -> JSON:
    return {"name": name, "namespace": "edge", "selector": selector or EDGE, **fields}


def row(name: str, written: str | None = None, selector: JSON | None = None, **fields: Any) -> api.GatewayStatus:
    """The row of an entry that ran on these pods, with an object of this name."""
    place = written and {"apiVersion": "v1", "kind": "WasmPlugin", "namespace": "edge", "name": written}
    stable = {"revision": "a" * 10, "selector": selector or EDGE}
    known = {"name": name, "object": place, "stable": stable, "state": "Loaded", "reason": "Loaded", **fields}
    return api.GatewayStatus.model_validate(known)


def having(gateways: list[JSON], *rows: api.GatewayStatus, **status: Any) -> api.Release:
    """A release with these entries, and these rows in its status."""
    asked = release(spec__gateways=gateways)
    return asked.model_copy(update={"status": api.Status(gateways=list(rows), **status)})


# ------------------------------------------------------------------------------------------------- names of objects


@pytest.mark.parametrize(
    ("asked", "expected", "reason"),
    [
        (placement(), "auth-public", "release and entry, in the release's own namespace"),
        (placed(abroad()), r"team-a-auth-public-[0-9a-f]{10}", "from another namespace that namespace and a hash"),
        (placement(spec__gateways__0__objectName="mine"), "mine", "as it is said"),
        (placed(abroad(spec__gateways__0__objectName="mine")), "mine", "from another namespace, too"),
    ],
)
def test_what_an_object_is_called(asked: Any, expected: str, reason: str) -> None:
    """`kubectl get wasmplugin` shows whose each one is."""
    assert re.fullmatch(expected, target.name_object(asked)), reason


@pytest.mark.parametrize("cut_at", ["-", "."])
@pytest.mark.parametrize("namespace", ["n" * 63, "istio-ingress"])
def test_the_longest_names_still_fit(cut_at: str, namespace: str) -> None:
    """The object and the copied secret of the longest release have names that the API server takes."""
    name = ("m" * 171 + cut_at * 2 + "m" * 60)[:200]
    longest = placement(metadata__namespace=namespace, metadata__name=name, spec__gateways__0__name="e" * 63)
    names = (target.name_object(longest), target.copied_secret_name(longest))
    assert all(len(found) <= 253 and KUBERNETES_NAME.fullmatch(found) for found in names)
    assert re.search("-[0-9a-f]{10}$", names[0])


WORDS = st.from_regex("[ab]([-ab]{0,6}[ab])?", fullmatch=True)
LONG = st.builds(lambda word, count: word * count, WORDS, st.integers(1, 30)).map(lambda name: name[:200].strip("-"))
NAMES = st.tuples(WORDS, WORDS | LONG, WORDS)


def named(triple: tuple[str, str, str]) -> str:
    space, name, entry = triple
    own = {"metadata__namespace": space, "metadata__name": name, "spec__gateways__0__name": entry}
    return target.name_object(placement(**own))


@given(NAMES, NAMES)
@settings(deadline=None)
def test_no_two_entries_share_an_object(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """Entries of releases from other namespaces never meet, however their names are put together."""
    assert (named(one) == named(other)) is (one == other)


@given(LONG, WORDS, WORDS)
@settings(deadline=None)
def test_no_two_entries_of_a_release_share_an_object(name: str, one: str, other: str) -> None:
    """In its own namespace, too."""
    at_home = ("istio-ingress", name)
    assert (named((*at_home, one)) == named((*at_home, other))) is (one == other)


def test_two_releases_at_home_may_meet_and_the_second_is_refused() -> None:
    """Readable names can be parted in two ways; nobody writes over the other."""
    first = placement(metadata__name="auth", spec__gateways__0__name="api-edge", metadata__uid="one")
    second = placement(metadata__name="auth-api", spec__gateways__0__name="edge", metadata__uid="two")
    assert target.name_object(first) == target.name_object(second) == "auth-api-edge"
    with pytest.raises(Refused) as refused:
        plan.check_owner(second, {"kind": "WasmPlugin", "metadata": target.render_metadata(first, "auth-api-edge")})
    assert refused.value.reason == "ObjectNotOurs"
    assert {"gateways[edge]", "objectName"} <= set(re.findall(r"[\w.]+(?:\[\w+\])?", refused.value.remedy))
    free = placement(metadata__name="auth-api", spec__gateways__0__name="edge", spec__gateways__0__objectName="mine")
    assert target.name_object(free) == "mine"


@pytest.mark.parametrize(
    ("known", "fields", "expected", "reason"),
    [
        (row("public", "auth-old"), {}, "auth-old", "an entry keeps the object that it has"),
        (row("public", "auth-old"), {"objectName": "mine"}, "mine", "what is said counts"),
        (row("public"), {}, r"istio-ingress-auth-public-\w+", "it has none now"),
        (row("public", "auth-old"), {"namespace": "inner"}, r"istio-ingress-auth-public-\w+", "it was elsewhere"),
        (row("internal", "auth-old"), {}, r"istio-ingress-auth-public-\w+", "another's"),
    ],
)
def test_which_object_an_entry_has(known: api.GatewayStatus, fields: JSON, expected: str, reason: str) -> None:
    """The name that the status knows counts for an entry that leaves it open."""
    asked = having([{**gateway("public"), **fields}], known)
    assert re.fullmatch(expected, target.name_object(placed(asked))), reason


# ------------------------------------------------------------------------------------------------------- other names

RENAMED = [
    ("the same pods", gateway("edge"), row("public", "auth-public"), True),
    ("the same objectName", gateway("edge", INNER, objectName="mine"), row("public", "mine"), True),
    ("the same pods, and another objectName", gateway("edge", objectName="other"), row("public", "mine"), False),
    ("other pods", gateway("edge", INNER), row("public", "auth-public"), False),
    ("another namespace", {**gateway("edge"), "namespace": "inner"}, row("public", "auth-public"), False),
    ("never seen running: it may run all the same", gateway("edge"), row("public", "auth-public", stable=None), True),
    ("never seen running, and other pods", gateway("edge", INNER), row("public", "auth-public", stable=None), True),
    (
        "never seen running, and elsewhere",
        {**gateway("edge"), "namespace": "inner"},
        row("public", "auth-public", stable=None),
        False,
    ),
    (
        "never seen running, and another objectName",
        gateway("edge", objectName="other"),
        row("public", "auth-public", stable=None),
        False,
    ),
    (
        "what was adopted is put back under its own name",
        gateway("edge"),
        row("public", "theirs", stable=None, adopted="auth-adopted-1"),
        False,
    ),
    ("it has no object", gateway("edge"), row("public"), False),
    ("it is still there", gateway("public"), row("public", "auth-public"), False),
]


@pytest.mark.parametrize(("reason", "entry", "known", "carried"), RENAMED, ids=[case[0] for case in RENAMED])
def test_an_entry_under_another_name(reason: str, entry: JSON, known: api.GatewayStatus, carried: bool) -> None:
    """One with the same target is the entry that is gone: it keeps object, stable revision, notes and pods."""
    noted = api.Checkpoint(gateways=[api.Observation(name="public", revision="a" * 10, since=SINCE)])
    pods = [api.PodStatus(gateway="public", name="a", namespace="edge", state="Loaded", reason="Loaded")]
    found = placements.carry_over(having([entry], known, checkpoint=noted, pods=pods))
    name = "edge" if carried else "public"
    assert found.status.gateways == [known.model_copy(update={"name": name})], reason
    assert found.status.observation(name) is not None
    assert [pod.gateway for pod in found.status.pods] == [name]
    if carried:
        assert known.object is not None
        assert target.name_object(placed(found)) == known.object.name
        assert placements.removed_rows(found) == []
        assert placements.carry_over(found) == found, "once"


def test_a_renamed_entry_keeps_its_object_for_good() -> None:
    """The next pass finds its row by the new name, and the object says whose it is."""
    found = placements.carry_over(having([gateway("edge")], row("public", "auth-public")))
    again = release(spec__gateways=[gateway("edge")]).model_copy(update={"status": found.status})
    assert placements.carry_over(again) == again
    assert target.make_head(placed(again), ARTIFACT, KIND)["metadata"]["name"] == "auth-public"
    assert target.provenance(placed(again))[api.GATEWAY_ANNOTATION] == "edge"


KIND = target.ResourceKind("extensions.istio.io", "v1alpha1", "WasmPlugin", "wasmplugins", "")


def test_a_new_name_ends_no_way_back() -> None:
    """An entry that goes back goes on doing so: the bad revision is not tried on it as on a new one."""
    failure = api.RolloutFailure(revision="b" * 10, gateways=["public"], reason="x", message="", at=SINCE)
    fallback = api.GatewayFallback(name="public", detour=api.Detour(was_off=True))
    rollout = api.RolloutStatus(spec_hash="h", started_at=SINCE, failure=failure, fallbacks=[fallback])
    found = placements.carry_over(having([gateway("edge")], row("public", "auth-public"), rollout=rollout))
    decided = found.status.rollout
    assert decided is not None
    assert decided.failure is not None
    assert decided.failure.gateways == ["edge"]
    assert decisions.detour_of(decided, "edge").was_off
    assert decisions.decide_intent(found, decided, found.spec.gateways[0]).goal is decisions.Goal.ROLLBACK


def test_one_object_is_carried_over_to_one_entry() -> None:
    """Of two that are gone one may be meant; the other one's object goes."""
    rows = (row("public", "auth-public"), row("partners", "auth-partners"))
    found = placements.carry_over(having([gateway("edge")], *rows))
    assert sorted(known.name for known in found.status.gateways) == ["edge", "partners"]
    assert [known.name for known in placements.removed_rows(found)] == ["partners"]


def test_who_of_two_that_never_ran_was_renamed_is_not_guessed() -> None:
    """Two that are gone, or two that are new, in one namespace: which is which cannot be known."""
    public, partners = (row(name, f"auth-{name}", stable=None) for name in ("public", "partners"))
    asked = having([gateway("edge")], public, partners)
    assert placements.carry_over(asked) == asked
    asked = having([gateway("edge"), gateway("inner", INNER)], public)
    assert placements.carry_over(asked) == asked


# ------------------------------------------------------------------------------------------------ entries that go


def test_which_rows_are_of_entries_that_are_gone() -> None:
    """Their objects have to go, in the order of the status."""
    asked = having([gateway("public")], row("old", "auth-old"), row("public", "auth-public"), row("older"))
    assert [known.name for known in placements.removed_rows(asked)] == ["old", "older"]


def thing(name: str, entry: str | None, namespace: str = "edge", **annotations: str) -> JSON:
    """An object with the release's uid, that says which entry it is for."""
    said = {**({api.GATEWAY_ANNOTATION: entry} if entry else {}), **annotations}
    return {
        "apiVersion": "v1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": namespace, "annotations": said or None},
    }


@pytest.mark.parametrize(
    ("found", "stray", "reason"),
    [
        (thing("auth-public", "public"), False, "the entry's own"),
        (thing("auth-internal", "internal"), True, "of an entry that is gone"),
        (thing("auth-public", "public", namespace="inner"), True, "of that name in another namespace"),
        (thing("auth-x", None), True, "it does not say whose it is"),
    ],
)
def test_what_belongs_to_no_entry(found: JSON, stray: bool, reason: str) -> None:
    """What carries the release's uid and is no entry's is taken away, also after the status was lost."""
    asked = having([gateway("public")], row("public", "auth-public"))
    assert placements.strays(asked, [found]) == ([found] if stray else []), reason


ADOPTED = {api.ADOPTED_ANNOTATION: "true"}


@pytest.mark.parametrize(
    ("entry", "known", "found", "written", "adopted", "reason"),
    [
        (gateway("public"), None, thing("auth-old", "public"), "auth-old", False, "it was renamed once"),
        (gateway("public", objectName="mine"), None, thing("mine", "public"), "mine", False, "it is where it must be"),
        (gateway("public", objectName="mine"), None, thing("x", "public"), None, False, "it must be elsewhere"),
        (gateway("public"), None, thing("auth-old", "internal"), None, False, "another entry's"),
        (gateway("public"), None, thing("auth-old", "public", "inner"), None, False, "of another namespace"),
        (gateway("public", objectName="mine"), None, thing("mine", "public", **ADOPTED), "mine", True, "adopted"),
        (gateway("public"), row("public"), thing("auth-old", "public"), "auth-old", False, "its row has none"),
        (gateway("public"), row("public", "auth-public"), thing("x", "public"), "auth-public", False, "it has one"),
    ],
)
def test_what_is_known_after_the_status_was_lost(
    entry: JSON, known: api.GatewayStatus | None, found: JSON, written: str | None, adopted: bool, reason: str
) -> None:
    """The objects say themselves whose they are: no gateway loses its plugin, and what was adopted is not deleted."""
    asked = placements.recall_objects(having([entry], *([known] if known else [])), [found])
    [row_after] = asked.status.gateways or [None]
    place = row_after.object if row_after else None
    assert (place.name if place else None) == written, reason
    assert target.is_adopted(placed(asked)) is adopted
    assert placements.strays(asked, [found]) == ([] if written == found["metadata"]["name"] else [found])


@pytest.mark.parametrize(
    ("policy", "adopted", "outlives"),
    [
        (None, None, False),
        (None, "auth-adopted-0123456789", True),
        ("Delete", None, False),
        ("Delete", "auth-adopted-0123456789", False),
        ("Orphan", None, True),
        ("Orphan", "auth-adopted-0123456789", True),
    ],
)
def test_what_outlives_an_entry(policy: str | None, adopted: str | None, outlives: bool) -> None:
    """deletionPolicy says it; unset, who made the object. What outlives has no owner that would take it along."""
    known = row("public", "auth-public", adopted=adopted)
    asked = release(spec__deletionPolicy=policy).model_copy(update={"status": api.Status(gateways=[known])})
    assert placements.outlives(asked, known) is outlives
    assert target.is_left_behind(placed(asked)) is outlives
    assert ("ownerReferences" not in target.render_metadata(placed(asked), "x")) is outlives
