"""What is written and why: nothing without need, nothing over somebody else's work, nothing that is not allowed."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import istio, target
from pluginrelease.core.rollout import plan
from tests.harness.releases import ARTIFACT, UID, abroad, placed, placement, release

JSON = dict[str, Any]
THEIRS = "6f1c2a0e-0002-4000-8000-000000000002"
SOMEBODY = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gateway", "uid": THEIRS}


def wanted(**changes: Any) -> JSON:
    return istio.wasm_plugin(placement(**changes), ARTIFACT)


def stored(manifest: JSON | None = None) -> JSON:
    """A manifest as the API server gives it back: with a uid, a generation, managed fields and a status."""
    found = copy.deepcopy(manifest or wanted())
    found["metadata"] |= {"uid": "object-uid", "generation": 4, "resourceVersion": "17", "managedFields": []}
    found["status"] = {}
    return found


def test_what_is_not_there_is_made() -> None:
    """The first write says why, and claims nothing that somebody may have put there meanwhile."""
    drafted = plan.draft(placement(), [(wanted(), None)])
    [write] = drafted.writes
    assert write == plan.Write(wanted(), uid=None, why=write.why)
    assert write.why
    assert drafted.reaches_gateways


def test_what_is_as_wanted_is_left_alone() -> None:
    """A settled release writes nothing, whatever the API server has added."""
    drafted = plan.draft(placement(), [(wanted(), stored())])
    assert drafted.converged
    assert not drafted.reaches_gateways


def test_a_change_is_written_to_the_object_that_was_seen() -> None:
    """The write names the object's uid: one that was made anew in between is not touched."""
    changed = placement(spec__plugin__priority=5)
    [write] = plan.draft(changed, [(istio.wasm_plugin(changed, ARTIFACT), stored())]).writes
    assert write.uid == "object-uid"
    assert write.why == "metadata.annotations.pluginrelease.io/revision differs"


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("spec", "url"), "oci://registry.example.com/evil:1", "spec.url"),
        (("spec", "selector"), {"matchLabels": {"istio": "other"}}, "spec.selector.matchLabels.istio"),
        (("spec", "failStrategy"), "FAIL_OPEN", "spec.failStrategy"),
        (("spec",), {}, "spec.selector"),
    ],
)
def test_another_hands_change_is_taken_back(path: tuple[str, ...], value: object, why: str) -> None:
    """Somebody's edit of what the release says is seen by its path and written over."""
    edited = stored()
    node = edited
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    [write] = plan.draft(placement(), [(wanted(), edited)]).writes
    assert write.why == f"{why} differs"
    assert write.reaches_gateways


def test_what_others_add_is_theirs() -> None:
    """A label, an annotation, an owner or a field that somebody put beside ours starts no tug-of-war."""
    edited = stored()
    edited["metadata"]["labels"]["team"] = "edge"
    edited["metadata"]["annotations"]["note"] = "hello"
    edited["metadata"]["ownerReferences"].append(SOMEBODY)
    edited["spec"]["verificationKey"] = "theirs"
    assert plan.draft(placement(), [(wanted(), edited)]).converged


def test_a_number_is_the_same_number_in_the_api_servers_spelling() -> None:
    """The API server writes 1.0 as 1 and keeps null: neither is a difference, or every look would write again."""
    config = {"ratio": 1.0, "none": None, "list": [1.0, None]}
    edited = stored(wanted(spec__plugin__config=config))
    edited["spec"]["pluginConfig"] = {"ratio": 1, "none": None, "list": [1, None]}
    asked = placement(spec__plugin__config=config)
    assert plan.draft(asked, [(istio.wasm_plugin(asked, ARTIFACT), edited)]).converged


def test_a_release_that_becomes_an_orphan_lets_go_at_once() -> None:
    """deletionPolicy Orphan takes the owner off the object now: a foreground deletion would be faster than we are."""
    orphan = placement(spec__deletionPolicy="Orphan")
    [write] = plan.draft(orphan, [(istio.wasm_plugin(orphan, ARTIFACT), stored())]).writes
    assert write.why == "metadata.ownerReferences differs"
    assert "ownerReferences" not in write.manifest["metadata"]


@pytest.mark.parametrize(
    ("field", "reason"),
    [("labels", "the label that says whose it is"), ("ownerReferences", "the owner")],
)
def test_mended_metadata_is_no_news_to_gateways(field: str, reason: str) -> None:
    """When only metadata is put right, no gateway loads anything anew, and none is asked for a new proof."""
    edited = stored()
    if field == "labels":
        edited["metadata"]["labels"].pop(api.MANAGED_BY_LABEL)
    else:
        edited["metadata"]["ownerReferences"] = []
    drafted = plan.draft(placement(), [(wanted(), edited)])
    assert not drafted.converged, reason
    assert not drafted.reaches_gateways, reason


def test_a_rotated_password_is_written() -> None:
    """The copy of the pull secret follows its original."""
    there = placed(abroad(spec__artifact__image__pullSecretRef={"name": "keys"}))
    old, new = (target.render_pull_secret(there, content) for content in ("b2xk", "bmV3"))
    [write] = plan.draft(there, [(new, stored(old))]).writes
    assert write.why == "data..dockerconfigjson differs"


def test_a_field_that_is_no_longer_wanted_is_seen_by_the_revision() -> None:
    """A priority that is taken out of the spec leaves the object: the revision differs, so the whole is applied."""
    before = stored(wanted(spec__plugin__priority=5))
    [write] = plan.draft(placement(), [(wanted(), before)]).writes
    assert "priority" not in write.manifest["spec"]
    assert write.reaches_gateways


# -------------------------------------------------------------------------------------------------------- whose it is


def owned_by(uid: str | None, **annotations: str) -> JSON:
    found = stored()
    found["metadata"]["labels"] = {} if uid is None else {api.UID_LABEL: uid}
    found["metadata"]["annotations"] = annotations
    return found


def test_an_object_of_nobody_is_not_overwritten() -> None:
    """A hand-made WasmPlugin of the same name refuses the release; the remedy names the field that allows it."""
    with pytest.raises(Refused) as refused:
        plan.draft(placement(), [(wanted(), owned_by(None))])
    assert refused.value.reason == "ObjectNotOurs"
    assert "WasmPlugin istio-ingress/auth-public" in refused.value.message
    assert "adopt: true" in refused.value.remedy
    assert "gateways[public]" in refused.value.remedy


def test_an_object_without_any_labels_is_of_nobody() -> None:
    """The API server leaves out empty maps, or gives null for them."""
    bare = stored()
    for empty in (None, {}):
        bare["metadata"]["labels"] = empty
        with pytest.raises(Refused):
            plan.check_owner(placement(), bare)
    del bare["metadata"]["labels"]
    with pytest.raises(Refused):
        plan.check_owner(placement(), bare)


def test_an_object_of_nobody_is_taken_over_when_asked() -> None:
    """With adopt: true the object becomes the release's, under the uid that was seen."""
    adopting = placement(spec__gateways__0__adopt=True)
    [write] = plan.draft(adopting, [(wanted(), owned_by(None))]).writes
    assert write.uid == "object-uid"
    assert write.manifest["metadata"]["labels"][api.UID_LABEL] == UID


@pytest.mark.parametrize("adopt", [False, None])
def test_adopting_is_asked_for(adopt: bool | None) -> None:
    """An entry that does not say so takes nothing over."""
    with pytest.raises(Refused):
        plan.check_owner(placement(spec__gateways__0__adopt=adopt), owned_by(None))


def test_adopting_is_asked_for_entry_by_entry() -> None:
    """What one entry may take over is closed to the others."""
    first = {"name": "public", "namespace": "istio-ingress", "adopt": True}
    asked = release(spec__gateways=[first, {"name": "internal", "namespace": "istio-ingress"}])
    plan.check_owner(placed(asked, 0), owned_by(None))
    with pytest.raises(Refused) as refused:
        plan.check_owner(placed(asked, 1), owned_by(None))
    assert "gateways[internal]" in refused.value.remedy


def test_another_releases_object_is_never_taken() -> None:
    """Not even with adopt: true: two releases would write over each other for ever. The message names the other."""
    other = owned_by(THEIRS, **{api.RELEASE_ANNOTATION: "team-b/auth"})
    adopting = placement(spec__gateways__0__adopt=True)
    with pytest.raises(Refused) as refused:
        plan.draft(adopting, [(wanted(), other)])
    assert refused.value.reason == "ObjectNotOurs"
    assert "team-b/auth" in refused.value.message
    assert api.UID_LABEL in refused.value.remedy


def test_another_release_without_a_name_is_told_by_its_uid() -> None:
    """When the annotation was taken off, the message still says who it is."""
    with pytest.raises(Refused, match=THEIRS):
        plan.check_owner(placement(), owned_by(THEIRS))


def test_clean_up_knows_its_own() -> None:
    """Only an object with the release's uid is the release's: one of the same name that was made anew is not."""
    assert plan.is_ours(release(), stored())
    assert not plan.is_ours(release(), owned_by(THEIRS))
    assert not plan.is_ours(release(), owned_by(None))


# ---------------------------------------------------------------------------------------------------------- allowed


def namespace(**annotations: str) -> JSON:
    return {"metadata": {"name": "istio-ingress", "annotations": annotations}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [("team-a", "named"), ("team-b, team-a", "one of several"), ("*", "everybody"), (" team-a ", "white space")],
)
def test_a_namespace_lets_in_whom_it_names(value: str, reason: str) -> None:
    """The owner of the gateways' namespace says whose releases may write there."""
    plan.check_allowed(placed(abroad()), namespace(**{api.ALLOWED_NAMESPACES_ANNOTATION: value}))
    assert reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("team-b", "another team"),
        ("team-a-staging", "a longer name"),
        ("team", "a shorter one"),
        ("", "nobody"),
        ("team-*", "no patterns: a name or all"),
    ],
)
def test_a_namespace_lets_in_nobody_else(value: str, reason: str) -> None:
    """A release from elsewhere is refused, with the command that would allow it."""
    with pytest.raises(Refused) as refused:
        plan.check_allowed(placed(abroad()), namespace(**{api.ALLOWED_NAMESPACES_ANNOTATION: value}))
    assert refused.value.reason == "NamespaceNotAllowed", reason
    assert "kubectl annotate namespace istio-ingress pluginrelease.io/allowed-namespaces=team-a" in refused.value.remedy


@pytest.mark.parametrize("metadata", [{"name": "x"}, {"name": "x", "annotations": None}])
def test_a_namespace_that_says_nothing_lets_in_nobody(metadata: JSON) -> None:
    """Without the annotation another namespace's gateways are closed."""
    with pytest.raises(Refused):
        plan.check_allowed(placed(abroad()), {"metadata": metadata})


def test_when_we_wrote_it() -> None:
    """An operator that died after its write finds in the object since when gateways may have it."""
    found = stored()
    assert plan.read_write_time(None) is None
    assert plan.read_write_time(found) is None
    ours = {"manager": api.FIELD_MANAGER, "operation": "Apply", "time": "2026-01-01T12:00:00Z"}
    theirs = {"manager": "kubectl", "operation": "Update", "time": "2026-01-01T13:00:00Z"}
    found["metadata"]["managedFields"] = [ours, theirs]
    assert plan.read_write_time(found) == datetime(2026, 1, 1, 12, tzinfo=UTC)


# -------------------------------------------------------------------------------------------- adopted, and given back

CONFIG = {"spec__plugin__config": {"a": 1, "list": [1]}, "spec__gateways__0__adopt": True}


def theirs(**spec: Any) -> JSON:
    """A WasmPlugin that somebody made by hand, and that says these things beside what the release would."""
    found = stored(wanted(**CONFIG))
    found["metadata"] |= {"labels": {"team": "edge"}, "annotations": {"note": "hello"}, "ownerReferences": []}
    found["spec"] |= spec
    return found


@pytest.mark.parametrize(
    ("spec", "foreign", "reason"),
    [
        ({}, None, "all that it says the release says, too"),
        ({"url": "oci://registry.example.com/theirs:1"}, None, "a field with another value is written over"),
        ({"pluginConfig": {"a": 2, "list": [2, 3]}}, None, "so is one within, and a list is one value"),
        ({"match": [{"mode": "CLIENT"}]}, "spec.match", "a field that no release sets goes on acting"),
        ({"sha256": "0" * 64}, "spec.sha256", "this one would keep every other revision from being loaded"),
        ({"phase": "AUTHN", "type": "HTTP"}, "spec.phase, spec.type", "each is named"),
        ({"pluginConfig": {"a": 1, "list": [1], "b": {"c": 1}}}, "spec.pluginConfig.b", "an apply merges maps"),
        ({"selector": {"matchLabels": {"more": "x"}}}, "spec.selector.matchLabels.more", "it would choose other pods"),
    ],
)
def test_adoption_compares_the_whole_spec(spec: JSON, foreign: str | None, reason: str) -> None:
    """An apply leaves what others own, so an object that says more than the release is not taken over."""
    entry = placement(**CONFIG)
    if foreign is None:
        plan.check_whole(entry, wanted(**CONFIG), theirs(**spec))
        return
    with pytest.raises(Refused) as refused:
        plan.check_whole(entry, wanted(**CONFIG), theirs(**spec))
    assert refused.value.reason == "ForeignFields", reason
    assert refused.value.message.endswith(f": {foreign}")
    assert refused.value.recheck == plan.RECHECK


def test_what_is_ours_already_may_have_more() -> None:
    """What others add to an object of the release is theirs, and no reason to stop."""
    plan.check_whole(placement(), wanted(), {**stored(), "spec": {**wanted()["spec"], "match": []}})
    plan.check_whole(placement(), wanted(), None)


def kept(**annotations: str) -> JSON:
    """An object as it was kept when it was adopted."""
    found = theirs(match=[{"mode": "CLIENT"}])
    metadata = {"name": "auth-public", "namespace": "istio-ingress", "labels": {"team": "edge"}}
    return {**found, "metadata": {**metadata, "annotations": {"note": "hello", **annotations}}}


def test_what_is_written_back_is_what_was_kept() -> None:
    """The whole spec, their labels and annotations; and whose it is, as the release goes on owning it."""
    entry = placement(**CONFIG)
    given_back = plan.render_taken_back(entry, kept())
    assert given_back["spec"] == kept()["spec"]
    assert given_back["metadata"]["labels"] == {
        "team": "edge",
        api.MANAGED_BY_LABEL: api.MANAGED_BY,
        api.UID_LABEL: UID,
    }
    assert given_back["metadata"]["annotations"] == {"note": "hello", **target.provenance(entry)}
    assert not plan.needs_taking_back(given_back, stored(given_back))


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (api.REVISION_ANNOTATION, "a release that was deleted and left the object carried a revision there"),
        (api.REFETCH_ANNOTATION, "so are its nudges"),
        ("kubectl.kubernetes.io/last-applied-configuration", "kubectl's note is of what it applied, not of this"),
    ],
)
def test_what_is_not_written_back(annotation: str, reason: str) -> None:
    """It would say of the object what is not so, and it would be written back at every pass."""
    given_back = plan.render_taken_back(placement(**CONFIG), kept(**{annotation: "0123456789"}))
    assert annotation not in given_back["metadata"]["annotations"], reason
    assert not plan.needs_taking_back(given_back, stored(given_back))


@pytest.mark.parametrize(
    ("observed", "needs", "reason"),
    [
        (kept(), False, "it is as it was"),
        ({**kept(), "spec": {**kept()["spec"], "verificationKey": "theirs"}}, False, "what others add is theirs"),
        (stored(wanted(**CONFIG)), True, "it still carries the revision"),
        ({**kept(), "spec": {**kept()["spec"], "url": "oci://other"}}, True, "somebody changed it"),
        ({**kept(), "spec": {}}, True, "somebody emptied it"),
        ({**kept(), "spec": {**kept()["spec"], "imagePullPolicy": "UNSPECIFIED_POLICY"}}, True, "a nudge of ours"),
    ],
)
def test_when_it_is_written_back(observed: JSON, needs: bool, reason: str) -> None:
    """Only while the object is not what was kept: an object that is right is not written again at every pass."""
    assert plan.needs_taking_back(plan.render_taken_back(placement(**CONFIG), kept()), observed) is needs, reason


def test_a_policy_that_they_had_is_theirs() -> None:
    """imagePullPolicy is how gateways are nudged; of an adopted object it is written back as it was."""
    had = {**kept(), "spec": {**kept()["spec"], "imagePullPolicy": "UNSPECIFIED_POLICY"}}
    given_back = plan.render_taken_back(placement(**CONFIG), had)
    assert given_back["spec"]["imagePullPolicy"] == "UNSPECIFIED_POLICY"
    assert not plan.needs_taking_back(given_back, had)
