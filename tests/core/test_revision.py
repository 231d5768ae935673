"""A revision: what makes it another one, and how it is kept to be rolled back to."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import istio
from tests.harness.releases import ARTIFACT, DIGEST, UID, abroad, placed, release

JSON = dict[str, Any]

ENTRY: JSON = {"name": "edge", "namespace": "edge", "selector": {"matchLabels": {"app": "edge"}}}
WHOLE: dict[str, Any] = {
    "spec__artifact__image__pullSecretRef": {"name": "keys"},
    "spec__artifact__image__insecure": True,
    "spec__plugin": {
        "name": "auth",
        "phase": "AUTHN",
        "priority": -5,
        "failStrategy": "FAIL_OPEN",
        "config": {"big": 2**53 + 1, "nested": {"a": [1, None, "x"]}, "ratio": 0.5},
    },
}


def identity(**changes: Any) -> str:
    return revision.compute_identity(release(**changes).spec, DIGEST)


def load(**changes: Any) -> str:
    return revision.compute_load(release(**changes).spec, DIGEST)


@pytest.mark.parametrize(
    ("changes", "another", "loaded_anew", "reason"),
    [
        ({"spec__plugin__config": {"a": 1}}, True, True, "another configuration"),
        ({"spec__plugin__name": "two"}, True, True, "another plugin of the module"),
        ({"spec__plugin__failStrategy": "FAIL_OPEN"}, True, True, "Envoy makes a new plugin for it"),
        ({"spec__plugin__phase": "AUTHN"}, True, False, "another place in the chain: Envoy loads nothing"),
        ({"spec__plugin__priority": 5}, True, False, "the same"),
        ({"spec__gateways__0__selector__matchLabels": {"app": "gw"}}, False, False, "where it runs is no part of it"),
        ({"spec__gateways": [ENTRY]}, False, False, "an entry under another name"),
        ({"spec__gateways": [ENTRY, {**ENTRY, "name": "more"}]}, False, False, "an entry more"),
        ({"spec__artifact__image__caSecretRef": {"name": "k"}}, False, False, "how the operator trusts the registry"),
        ({"spec__artifact__image__pullSecretRef": {"name": "k"}}, True, False, "gateways pull with another secret"),
        ({"spec__artifact__image__gatewayPullSecretRef": {"name": "k"}}, True, False, "or with one of their own"),
        ({"spec__artifact__image__ref": "registry.example.com/plugins/auth:2"}, False, False, "a tag of the digest"),
        ({"spec__suspend": True}, False, False, "nothing that a gateway sees"),
        ({"spec__checks__load__timeout": "9m"}, False, False, "nor this"),
        ({"spec__rollout__onFailure": "Hold"}, False, False, "nor this: it is a new rollout of the same revision"),
        ({"spec__revisionHistoryLimit": 1}, False, False, "nor this"),
        ({"metadata__name": "other"}, False, False, "a revision is one of its release"),
    ],
)
def test_what_makes_another_revision(changes: dict[str, Any], another: bool, loaded_anew: bool, reason: str) -> None:
    """What a gateway can notice is a new revision; what Envoy loads of it is a part of that."""
    assert (identity(**changes) != identity()) is another, reason
    assert (load(**changes) != load()) is loaded_anew, reason


def test_an_operator_of_before_knows_its_revisions() -> None:
    """A field that is not used is no part of a revision: an update of the operator rolls out nothing."""
    assert identity() == "ef3f3f5582"
    secret = {"spec__artifact__image__pullSecretRef": {"name": "k"}}
    there = {"spec__artifact__image__gatewayPullSecretRef": {"name": "k"}}
    assert len({identity(), identity(**secret), identity(**there)}) == 3


def test_another_digest_is_another_revision() -> None:
    """A tag that was pushed again is seen by what it means now."""
    again = "sha256:" + "0" * 64
    assert revision.compute_identity(release().spec, again) != identity()
    assert revision.compute_load(release().spec, again) != load()


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=5))
def test_the_order_of_keys_is_nothing(config: dict[str, Any]) -> None:
    """A configuration is the same one in whatever order it was written."""
    turned = dict(reversed(config.items()))
    assert identity(spec__plugin__config=config) == identity(spec__plugin__config=turned)
    assert revision.is_identity(identity(spec__plugin__config=config))


@pytest.mark.parametrize(
    ("text", "is_one", "reason"),
    [
        ("0123456789", True, "ten digits"),
        ("abcdef0123", True, "hexadecimal ones"),
        ("", False, "nothing"),
        ("abcdef012", False, "too few"),
        ("abcdef01234", False, "too many"),
        ("ABCDEF0123", False, "never in capitals"),
        ("abcdef0123\n", False, "a line's end"),
        ("../secrets", False, "ten characters of a path"),
        ("a/../../../../../api/v1/namespaces/kube-system/secrets/keys", False, "a way to somebody else's object"),
        ("abcdef012?", False, "a query"),
    ],
)
def test_only_a_revision_is_looked_up_as_one(text: str, is_one: bool, reason: str) -> None:
    """The value of rollback-to is anybody's text: it becomes part of an object's name only as ten hex digits."""
    assert revision.is_identity(text) is is_one, reason


# ------------------------------------------------------------------------------------------------------ how it is kept


def stored(asked: api.Release, number: int = 3) -> JSON:
    """A ControllerRevision as the API server gives it back."""
    found = copy.deepcopy(revision.manifest(asked, ARTIFACT, number))
    found["metadata"] |= {"uid": "object-uid", "resourceVersion": "17", "managedFields": []}
    return found


def test_a_revision_belongs_to_its_release() -> None:
    """It is found by its name and the release's uid, and goes when the release does, in the release's namespace."""
    asked = abroad(**WHOLE)
    kept = revision.manifest(asked, ARTIFACT, 3)
    own = kept["metadata"]
    assert own["name"] == f"auth-{revision.compute_identity(asked.spec, DIGEST)}"
    assert own["namespace"] == "team-a"
    assert own["labels"][api.UID_LABEL] == UID
    assert [(owner["uid"], owner["controller"]) for owner in own["ownerReferences"]] == [(UID, True)]
    assert kept["revision"] == 3


@pytest.mark.parametrize("changes", [{}, WHOLE], ids=["the least", "everything"])
def test_what_is_kept_is_what_runs_again(changes: dict[str, Any]) -> None:
    """A release whose spec has moved on renders the kept revision whole: artifact, plugin, secret."""
    then = abroad(**changes)
    recorded = revision.read(stored(then))
    assert (recorded.revision, recorded.number) == (revision.compute_identity(then.spec, DIGEST), 3)
    now = abroad(
        spec__artifact__image__ref="registry.example.com/plugins/auth:9",
        spec__artifact__wasmSha256="ab" * 32,
        spec__artifact__image__pullSecretRef={"name": "new-keys"},
        spec__plugin__config={"new": True},
        spec__plugin__priority=77,
    )
    effective = revision.effective(now, recorded)
    assert istio.wasm_plugin(placed(effective), recorded.artifact) == istio.wasm_plugin(placed(then), ARTIFACT)
    assert effective.spec.artifact.image.ref == ARTIFACT.image, "by digest: the tag may be another's by now"
    assert effective.spec.artifact.wasm_sha256 is None, "the new spec's checksum is not the old module's"
    assert effective.spec.artifact.image.insecure is then.spec.artifact.image.insecure


def test_how_a_rollback_is_checked_is_up_to_the_spec_of_now() -> None:
    """Checks, rollout, limits and gateways are the spec's: they are no part of a revision."""
    now = release(
        spec__gateways=[ENTRY], spec__rollout__onFailure="Hold", spec__checks__load__timeout="9m", spec__suspend=True
    )
    effective = revision.effective(now, revision.read(stored(release())))
    given_back = now.spec.model_copy(update={"artifact": effective.spec.artifact, "plugin": release().spec.plugin})
    assert effective.spec == given_back


def test_the_data_are_the_same_whatever_the_tag() -> None:
    """A ControllerRevision's data cannot be changed, so what people call the image stands beside them."""
    other = ARTIFACT.model_copy(update={"ref": "registry.example.com/plugins/auth:latest"})
    again = revision.manifest(release(spec__artifact__image__ref=other.ref), other, 4)
    assert revision.same_data(stored(release()), again)
    assert again["metadata"]["annotations"] == {api.REF_ANNOTATION: other.ref}
    moved = ARTIFACT.model_copy(update={"image": f"mirror.example.com/auth@{DIGEST}"})
    assert not revision.same_data(stored(release()), revision.manifest(release(), moved, 4))


def without(*path: str) -> JSON:
    found = stored(release())
    node = found
    for part in path[:-1]:
        node = node[part]
    del node[path[-1]]
    return found


def of_schema(number: int) -> JSON:
    found = stored(release())
    return {**found, "data": {**found["data"], "schema": number}}


THEIRS: JSON = {
    "apiVersion": "extensions.istio.io/v1alpha1",
    "kind": "WasmPlugin",
    "metadata": {
        "name": "auth-public",
        "namespace": "istio-ingress",
        "uid": "theirs",
        "resourceVersion": "17",
        "managedFields": [{"manager": "kubectl"}],
        "labels": {"team": "edge"},
        "annotations": {"note": "hello"},
        "ownerReferences": [{"kind": "Deployment", "name": "x", "uid": "y"}],
    },
    "spec": {"url": "oci://registry.example.com/theirs:1", "selector": {"matchLabels": {"app": "edge"}}},
    "status": {"observed": True},
}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (without("data"), "no data at all"),
        (without("data", "artifact"), "no artifact"),
        (without("data", "plugin"), "half a revision"),
        (without("data", "source"), "not where it comes from"),
        (without("data", "schema"), "of a version that did not number what it keeps"),
        (of_schema(revision.NEWER_SCHEMA + 1), "of a newer version, after a downgrade"),
        (of_schema(revision.SCHEMA - 1), "of an older one"),
        (revision.adopted_manifest(release(), THEIRS), "an object that was adopted"),
        (without("data", "artifact", "digest"), "half an artifact"),
        (without("metadata", "annotations"), "no annotations"),
        ({**stored(release()), "data": None}, "data of null"),
        ({**stored(release()), "data": "text"}, "data of another kind"),
        ({**stored(release()), "revision": None}, "no number"),
    ],
)
def test_what_is_not_ours_is_not_rolled_back_to(found: JSON, reason: str) -> None:
    """An object of the name that does not hold what the operator writes is refused by name, with a way out."""
    with pytest.raises(Refused) as refused:
        revision.read(found)
    assert refused.value.reason == "RevisionUnreadable", reason
    assert f"istio-ingress/{found['metadata']['name']}" in refused.value.message
    assert "history" in refused.value.remedy


@pytest.mark.parametrize(
    ("limit", "needed", "gone", "reason"),
    [
        (10, {"a"}, "", "all fit"),
        (2, {"a"}, "b", "the oldest of the others"),
        (0, {"a"}, "dcb", "none beside what is needed"),
        (0, {"a", "d"}, "cb", "what is needed never goes"),
        (1, {None}, "cba", "nothing is needed yet"),
        (0, {"not there"}, "dcba", "what is needed may be gone already"),
    ],
)
def test_old_revisions_go(limit: int, needed: set[str | None], gone: str, reason: str) -> None:
    """Beside those that are needed as many are kept as spec.revisionHistoryLimit says, the youngest."""
    asked = release(spec__revisionHistoryLimit=limit)
    found = [
        {"metadata": {"name": revision.name(asked, name)}, "revision": number} for number, name in enumerate("abcd", 1)
    ]
    went = [kept["metadata"]["name"][-1] for kept in revision.find_superfluous(asked, found, needed)]
    assert "".join(went) == gone, reason


# ---------------------------------------------------------------------------------- before the registry is asked


@pytest.mark.parametrize(
    ("changes", "another", "reason"),
    [
        ({"spec__artifact__image__ref": "registry.example.com/plugins/auth:2"}, True, "another reference"),
        ({"spec__artifact__image__semver": "1.x"}, True, "a range of versions"),
        ({"spec__artifact__wasmSha256": "ab" * 32}, True, "other bytes are wanted"),
        ({"spec__plugin__config": {"a": 1}}, True, "another configuration"),
        ({"spec__plugin__phase": "AUTHN"}, True, "another place in the chain"),
        ({"spec__artifact__image__pullSecretRef": {"name": "k"}}, True, "gateways pull with another secret"),
        ({"spec__artifact__image__gatewayPullSecretRef": {"name": "k"}}, True, "or with one of their own"),
        ({"spec__gateways": [ENTRY]}, False, "entries are where it goes"),
        ({"spec__checks__probes": [{"name": "login"}]}, False, "a probe more brings no bad revision back"),
        ({"spec__rollout__onFailure": "Hold"}, False, "how it is rolled out"),
        ({"spec__suspend": True}, False, "a pause"),
        ({"spec__deletionPolicy": "Orphan"}, False, "what happens later"),
        ({"spec__revisionHistoryLimit": 1}, False, "what is kept"),
        ({"spec__artifact__image__insecure": True}, False, "how the operator gets there"),
        ({"spec__artifact__image__interval": "5m"}, False, "how often a tag is asked for"),
        ({"metadata__annotations": {"a": "b"}}, False, "a note"),
        ({"metadata__generation": 9}, False, "a generation"),
    ],
)
def test_what_begins_another_rollout(changes: dict[str, Any], another: bool, reason: str) -> None:
    """Only what makes another revision; no other change of the spec tries a failed one again."""
    assert (revision.spec_hash(release(**changes).spec) != revision.spec_hash(release().spec)) is another, reason


# ------------------------------------------------------------------------------------------------- what was adopted


def test_an_adopted_object_is_kept_as_it_was() -> None:
    """Its spec, labels and annotations; not what the API server says of it, nor who owned it."""
    asked = abroad()
    kept = revision.adopted_manifest(asked, THEIRS)
    assert revision.read_adopted(kept) == {
        "apiVersion": THEIRS["apiVersion"],
        "kind": "WasmPlugin",
        "metadata": {
            "name": "auth-public",
            "namespace": "istio-ingress",
            "labels": {"team": "edge"},
            "annotations": {"note": "hello"},
        },
        "spec": THEIRS["spec"],
    }
    own = kept["metadata"]
    assert (own["namespace"], own["labels"][api.UID_LABEL], len(own["ownerReferences"])) == ("team-a", UID, 1)
    assert not revision.is_identity(own["name"].removeprefix("auth-")), "nobody can roll back to it by its name"


def test_another_object_is_kept_beside_it() -> None:
    """The name follows the content: two entries that adopt keep two objects, and one that is kept again is the same."""
    names = [
        revision.adopted_manifest(release(), found)["metadata"]["name"]
        for found in (THEIRS, THEIRS, {**THEIRS, "spec": {"url": "oci://other"}})
    ]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "nothing"),
        ({"schema": revision.SCHEMA}, "no object"),
        ({"schema": revision.SCHEMA + 1, "object": {}}, "of a newer version"),
        ({"schema": revision.SCHEMA, "object": "text"}, "no object either"),
    ],
)
def test_what_is_no_adopted_object_is_not_written_back(data: Any, reason: str) -> None:
    """It is refused by its name, on this release alone."""
    with pytest.raises(Refused) as refused:
        revision.read_adopted({**revision.adopted_manifest(release(), THEIRS), "data": data})
    assert refused.value.reason == "RevisionUnreadable", reason


def test_an_adopted_object_is_found_by_what_it_is() -> None:
    """When a status was lost nobody knows the name of what keeps it; of two adoptions in a row the later one counts."""
    place = ("istio-ingress", "auth-public")
    first, second = (
        revision.adopted_manifest(release(), {**THEIRS, "spec": {"url": url}}) for url in ("oci://1", "oci://2")
    )
    first["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    second["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    unreadable = {**second, "data": {"schema": revision.SCHEMA + 1, "object": {}}}
    listed = [stored(release()), unreadable, second, first]
    assert revision.find_adopted(listed, place) == second
    assert revision.find_adopted(listed, ("istio-ingress", "other")) is None
    assert revision.find_adopted([unreadable], place) is None


def test_an_adopted_object_is_never_pruned() -> None:
    """It is no revision, whatever the limit; and it takes no place of one."""
    asked = release(spec__revisionHistoryLimit=0)
    old, kept = stored(asked), revision.adopted_manifest(asked, THEIRS)
    assert revision.find_superfluous(asked, [old, kept], {None}) == [old]
    assert revision.find_superfluous(release(spec__revisionHistoryLimit=1), [old, kept], {None}) == []
